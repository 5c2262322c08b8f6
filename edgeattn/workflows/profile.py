"""Profile: what a model takes on this machine, or is predicted to take on a device, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from edgeattn.base.errors import EdgeattnError, InputError
from edgeattn.base.files import scratch
from edgeattn.base.git import head
from edgeattn.base.versions import installed
from edgeattn.devices.schema import DeviceProfile
from edgeattn.engine import apart
from edgeattn.engine.target import choose as choose_target
from edgeattn.graph.reading import facts_of
from edgeattn.hosts.visit import Guest, Visit, side_by_side
from edgeattn.options.build import EngineOptions, Profile
from edgeattn.options.model import ModelRequest
from edgeattn.options.profile import TOGETHER, Item, ProfileOptions, Stage, TrtexecFiles
from edgeattn.options.shapes import Shape
from edgeattn.profiling import samples
from edgeattn.profiling.assemble import Profiled, above_in
from edgeattn.profiling.measure import traces as onnx
from edgeattn.profiling.measure.hosts.onnxruntime import measure as by_python
from edgeattn.profiling.measure.hosts.trtexec import measure as by_trtexec
from edgeattn.profiling.measure.tensorrt import traces as tensorrt
from edgeattn.profiling.measure.torch import traces as torch
from edgeattn.profiling.predict.again import beside, profile_of
from edgeattn.profiling.predict.cpu import traces as cpu
from edgeattn.profiling.predict.gpu import traces as gpu
from edgeattn.profiling.predict.gpu.predict import How
from edgeattn.profiling.route import Route, check_runtimes, choose, is_model, named_device
from edgeattn.profiling.sources.engines.plans import Plan, build_plan
from edgeattn.profiling.sources.engines.source import EngineSource, read_engine
from edgeattn.profiling.sources.model import Subject, read_subject
from edgeattn.profiling.sources.trtexec.traces import of_files
from edgeattn.records.manifest import Tensor
from edgeattn.records.trace import Commit, Trace
from edgeattn.runtimes.blame import blames_the_file
from edgeattn.workflows.build import BuildOptions
from edgeattn.workflows.build import build as build_engine

_APART: Final = "Batches were measured one after another, each in processes of its own."


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A host, and what is to be profiled on it: the first is what the others are compared with."""

    guest: Guest
    items: Sequence[Item]


@dataclass(frozen=True, slots=True, kw_only=True)
class OnHosts:
    """What was found on several hosts.

    Attributes:
        found: What was found, host by host.
        failed: Why nothing was found on a host; what was found on others is worth having.
    """

    found: list[Profiled]
    failed: tuple[EdgeattnError, ...]


def profile_on(
    lanes: Sequence[Lane],
    options: ProfileOptions,
    *,
    command: str = "",
    on_stage: Stage = lambda _: None,
) -> OnHosts:
    """Profile files on hosts, all hosts at the same time, and each host's files side by side.

    A prediction stands beside each, for the device that is named, or for the host's own.

    Args:
        lanes: The hosts, and what is profiled on each.
        options: How.
        command: The command line to record.
        on_stage: Called with the name of each stage as it begins.

    Raises:
        EdgeattnError: Nothing was found on any host: why, of the first.
    """
    named = named_device(options).device if options.device is not None else None
    if options.threads is not None and all(
        _runtimes_on(lane.guest, lane.items, options) == ("tensorrt",) for lane in lanes
    ):
        raise InputError(
            "--threads is for ONNX Runtime and OpenVINO, and trtexec measures there.",
            mend="Leave it out, or add --runtime onnxruntime.",
        )

    def measure(lane: Lane) -> list[Profiled]:
        guest = lane.guest
        name = f"{guest.host.address}: " if len(lanes) > 1 else ""
        with scratch() as folder, guest.visit() as visit:
            found = _on(visit, lane.items, options, folder, lambda said: on_stage(f"{name}{said}"))
        found = [_of_host(one, visit) for one in _signed(found, command)]
        on_stage(f"{name}predict")
        device = named or profile_of(guest.facts, found[0].row.trace.runtime)
        return [
            beside(one, device, options.power_mode, plan=partial(_plan_of, item, device, options))
            for one, item in zip(found, lane.items, strict=True)
        ]

    def end() -> None:
        for lane in lanes:
            lane.guest.host.close()

    done = side_by_side(measure, lanes, end)
    failed = tuple(one for one in done if isinstance(one, EdgeattnError))
    if len(failed) == len(lanes):
        raise failed[0]
    found = [one for lane in done if not isinstance(lane, EdgeattnError) for one in lane]
    return OnHosts(found=found, failed=failed)


def _on(
    visit: Visit, items: Sequence[Item], options: ProfileOptions, folder: Path, on_stage: Stage
) -> list[Profiled]:
    is_onnx = all(item.path.suffix == ".onnx" for item in items)
    marginal = is_onnx if options.marginal is None else options.marginal
    runtimes = _runtimes_on(Guest(visit.host, visit.facts), items, options)
    measure = by_trtexec if runtimes == ("tensorrt",) else by_python
    options = replace(options, runtime=",".join(runtimes))
    return measure(items, options, visit, folder, marginal=marginal, on_stage=on_stage)


def _runtimes_on(guest: Guest, items: Sequence[Item], options: ProfileOptions) -> tuple[str, ...]:
    is_onnx = all(item.path.suffix == ".onnx" for item in items)
    asked = options.runtimes if is_onnx else ("tensorrt",)
    return tuple(guest.runtime(one) for one in asked or (None,))


def _of_host(found: Profiled, visit: Visit) -> Profiled:
    """Record in a trace which host it was measured on, and what a user should know of that."""
    trace = found.row.trace
    machine = trace.machine.model_copy(update={"host": str(visit.host.address)})
    notes = (*trace.notes, *visit.room.notes)
    trace = trace.model_copy(update={"machine": machine, "notes": notes})
    return replace(found, row=found.row.model_copy(update={"trace": trace}))


def _plan_of(item: Item, device: DeviceProfile | None, options: ProfileOptions) -> Plan | None:
    """Plan a model whose engine's layers a host does not tell; None of an engine that is given."""
    if device is None or item.path.suffix != ".onnx":
        return None
    with scratch() as folder:
        model = _subject(item, options).model
        return build_plan(model, device, folder, timeout_s=options.plan_timeout_s)


@blames_the_file
def profile(
    items: Sequence[Item],
    options: ProfileOptions,
    *,
    command: str = "",
    on_stage: Stage = lambda _: None,
) -> list[Profiled]:
    """Profile files, side by side.

    Args:
        items: ONNX files and engines; several are run in interleaved rounds, and
            compared with the first.
        options: How.
        command: The command line to record.
        on_stage: Called with the name of each stage as it begins.

    Returns:
        A trace for each, and what it takes above the first.

    Raises:
        InputError: A file cannot be read or run, or an option does not fit.
        MissingError: What is asked cannot be had on this machine.
    """
    route = route_of(items, options)
    on_stage("read")
    by = _onnx if route.runtime in ("onnxruntime", "openvino") else _engines
    with scratch() as folder:
        return _signed(by(items, options, route, folder, on_stage), command)


def route_of(items: Sequence[Item], options: ProfileOptions) -> Route:
    """Return by what, and whether here, files are profiled side by side; ONNX files need not be.

    Raises:
        InputError: They cannot be compared, or an option does not fit.
        MissingError: What is asked cannot be had on this machine.
    """
    check_runtimes(options)
    return _common([choose(item.path, options.of(item)) for item in items])


def profile_torch(
    requests: Sequence[ModelRequest],
    names: Sequence[str],
    options: ProfileOptions,
    *,
    command: str = "",
    on_stage: Stage = lambda _: None,
) -> list[Profiled]:
    """Profile models in torch's eager mode, side by side.

    Args:
        requests: The models.
        names: What each is called.
        options: How.
        command: The command line to record.
        on_stage: Called with the name of each stage as it begins.

    Raises:
        InputError: A model cannot be built, or does not run.
        MissingError: Something needed is not on this machine.
    """
    if options.device is not None or options.predict:
        raise InputError("torch is measured on this machine, and predicted for none.")
    return _signed(torch.measure(requests, names, options, on_stage), command)


def profile_files(
    files: TrtexecFiles, onnx: Path | None, options: ProfileOptions, *, command: str = ""
) -> list[Profiled]:
    """Make a trace of what trtexec exported.

    Args:
        files: Its files.
        onnx: The ONNX file that the engine was built from; None if it is not at hand.
        options: The device; whether to predict.
        command: The command line to record.

    Raises:
        InputError: A file cannot be read, or they do not belong together.
    """
    route = named_device(options)
    subject = None if onnx is None else _subject(Item(path=onnx, name=onnx.stem), options)
    return _signed(of_files(files, subject, options, route), command)


def over_batches(
    run: Callable[[ProfileOptions, Stage], tuple[list[Profiled], tuple[EdgeattnError, ...]]],
    options: ProfileOptions,
    batches: Sequence[int],
    on_stage: Stage,
) -> tuple[list[Profiled], tuple[EdgeattnError, ...]]:
    """Profile models at several batches, one after another.

    Run by turns, a small batch would find the caches full of a large one's activations, which are
    not there where it is deployed; and the memory of all would have to be there at once.

    Args:
        run: Profiles the models as it is told, and says why nothing was found on a host.
        options: How.
        batches: The batches, from the smallest on.
        on_stage: Called with the name of each stage as it begins.

    Returns:
        What was found; and why nothing was at a batch, of memory perhaps: others are worth having.

    Raises:
        EdgeattnError: Nothing was found at the smallest: why.
    """
    found: list[Profiled] = []
    failed: list[EdgeattnError] = []
    for place, batch in enumerate(batches, 1):
        stage = partial(_stage, on_stage, f"batch {batch}, {place}/{len(batches)}")
        try:
            some, faults = run(options.at_batch(batch), stage)
        except EdgeattnError as error:
            if not found:
                raise
            some, faults = [], (error,)
        found += some
        failed += [type(one)(f"Batch {batch}: {one.fact}", mend=one.mend) for one in faults]
    return _by_batch(found), tuple(failed)


def _by_batch(found: Sequence[Profiled]) -> list[Profiled]:
    """Say of each model what it takes above the same at its smallest batch, and how that is known.

    It is another run, at another time: its interval has the spread of both.
    """
    firsts: dict[tuple[str, ...], Trace] = {}
    done = []
    for one in found:
        trace = one.row.trace
        where = (trace.machine.host, trace.machine.device, trace.runtime, trace.precision)
        first = firsts.setdefault((trace.name, trace.variant, *where), trace)
        above = None
        if first is not trace:
            above = (
                samples.apart(trace, first)
                if trace.evidence == "measured"
                else above_in(trace, first)
            )
        if trace.evidence == "measured":
            trace = trace.model_copy(update={"notes": (*trace.notes, _APART)})
        row = one.row.model_copy(update={"trace": trace, "by_batch": above})
        done.append(replace(one, row=row))
    return done


def _stage(on_stage: Stage, batch: str, name: str) -> None:
    on_stage(f"{batch}: {name}")


def check_batches(path: Path, batches: Sequence[int]) -> None:
    """Refuse a file that cannot be run at several batches; a model's name is none.

    Raises:
        InputError: It is an engine, or its batch is fixed at another.
    """
    if is_model(str(path)):
        return
    if path.suffix != ".onnx":
        raise InputError(
            f"{path} is an engine, which is tuned for its own shapes.",
            mend="Give its ONNX file: an engine is built, or planned, for each batch.",
        )
    sizes = [one.shape[0] for one in facts_of(path).inputs if one.shape]
    is_open = any(isinstance(size, str) for size in sizes)
    fixed = next(iter(sizes), 1)
    if not is_open and {*batches} != {fixed}:
        raise InputError(
            f"The batch of {path} is fixed at {fixed}, and --batches asks for others.",
            mend="Leave it open where it is exported: edgeattn export MODEL --dynamic-batch; or"
            " give --batches the model's name.",
        )


def _signed(found: Sequence[Profiled], command: str) -> list[Profiled]:
    """Record in every trace the command, the commit here, and the versions of what made it."""
    here = head()
    commit = None if here is None else Commit(**here._asdict())
    signature = {"command": command, "versions": installed(), "commit": commit}
    signed = []
    for one in found:
        trace = one.row.trace.model_copy(update=signature)
        signed.append(replace(one, row=one.row.model_copy(update={"trace": trace})))
    return signed


def _common(routes: Sequence[Route]) -> Route:
    """Return the route of all models; figures of different routes cannot be compared."""
    first = routes[0]
    for other in routes[1:]:
        both = {first.runtime, other.runtime}
        is_one = len(both) == 1 or (first.evidence == "measured" and both <= {*TOGETHER})
        if not is_one or other.evidence != first.evidence:
            raise InputError(
                f"One is {first.evidence} by {first.runtime}, the other {other.evidence} by"
                f" {other.runtime}: they cannot be compared.",
                mend="Give two files of one kind, or name the --device of both.",
            )
    return first


def _subject(item: Item, options: ProfileOptions) -> Subject:
    return read_subject(
        item.path, batch=options.batch, shapes=options.shapes, site_globs=options.site_globs
    )


def _onnx(
    items: Sequence[Item], options: ProfileOptions, route: Route, folder: Path, on_stage: Stage
) -> list[Profiled]:
    subjects = [_subject(item, options) for item in items]
    if route.evidence == "measured":
        return onnx.measure(items, subjects, options, folder, on_stage)
    assert route.device is not None
    assert route.point is not None
    return cpu.predict(
        items, subjects, route.device, route.point, options, folder, on_stage=on_stage
    )


def _engines(
    items: Sequence[Item], options: ProfileOptions, route: Route, folder: Path, on_stage: Stage
) -> list[Profiled]:
    is_cheap = all(item.path.suffix == ".onnx" for item in items)
    marginal = is_cheap if options.marginal is None else options.marginal
    if route.evidence == "measured":
        return _measured_engines(items, options, route, folder, marginal, on_stage)
    assert route.device is not None
    assert route.point is not None
    sources = []
    if is_cheap:
        apart.start()
    for item in items:
        on_stage(f"kernels of {item.name}")
        sources.append(_planned(item, options, route, folder, on_stage))
    return gpu.predict(
        items,
        sources,
        route.device,
        route.point,
        folder,
        marginal=marginal,
        plan_timeout_s=options.plan_timeout_s,
        how=How(
            runtime="tensorrt" if options.runtime == "tensorrt" else None,
            cuda_graph=options.cuda_graph,
        ),
        on_stage=on_stage,
    )


def _planned(
    item: Item, options: ProfileOptions, route: Route, folder: Path, on_stage: Stage
) -> EngineSource:
    if item.path.suffix != ".onnx":
        return read_engine(item.path, options)
    assert route.device is not None
    subject = _subject(item, options)
    plan = build_plan(
        subject.model,
        route.device,
        folder,
        timeout_s=options.plan_timeout_s,
        on_progress=lambda done, count: on_stage(f"kernels of {item.name} {done}/{count}"),
    )
    return EngineSource.of(subject, plan)


def _measured_engines(
    items: Sequence[Item],
    options: ProfileOptions,
    route: Route,
    folder: Path,
    marginal: bool,
    on_stage: Stage,
) -> list[Profiled]:
    build = partial(_built, options)
    engines = []
    for place, item in enumerate(items):
        if item.path.suffix == ".onnx":
            on_stage(f"build {item.name}")
            engines.append(build(item.path, folder / f"engine-{place}"))
        else:
            engines.append(item.path)
    sources = [read_engine(engine, options) for engine in engines]
    return tensorrt.measure(
        items,
        engines,
        sources,
        options,
        route,
        folder,
        build=build,
        marginal=marginal,
        on_stage=on_stage,
    )


def _built(options: ProfileOptions, onnx: Path, folder: Path) -> Path:
    """Build the engine of an ONNX file for the GPU that is here, into a new folder."""
    folder.mkdir()
    profiles = engine_profiles(facts_of(onnx).inputs, options)
    target = choose_target(
        device=options.device, capability=None, runtime=options.runtime, as_plan=False
    )
    manifest = build_engine(
        onnx, BuildOptions(target=target, engine=EngineOptions(profiles=profiles)), folder
    )
    return folder / manifest.engine


def engine_profiles(inputs: Sequence[Tensor], options: ProfileOptions) -> tuple[Profile, ...]:
    """Return the shapes that an engine is built for: those alone that it is to be profiled at.

    Args:
        inputs: What its model takes.
        options: The batch, or the shapes.

    Returns:
        None where all inputs have fixed shapes, or it is not said what stays open.
    """
    asked = options.shapes or [(options.batch, *one.shape[1:]) for one in inputs]
    shapes = {
        one.name: Shape(size for size in shape if isinstance(size, int))
        for one, shape in zip(inputs, asked, strict=False)
    }
    is_known = all(len(shapes.get(one.name, ())) == len(one.shape) for one in inputs)
    is_open = any(isinstance(size, str) for one in inputs for size in one.shape)
    return (Profile(min=shapes, opt=shapes, max=shapes),) if is_open and is_known else ()
