"""ONNX Runtime on the CPU, measured: latency, the time of each node, and what sites add."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from edgeattn.base import files
from edgeattn.base.versions import version_of
from edgeattn.base.worker import ask
from edgeattn.options.profile import ProfileOptions, Stage
from edgeattn.profiling.measure.machine import usable_cores
from edgeattn.profiling.measure.onnxruntime.graph import NAMELESS, Origin, name_all, origins
from edgeattn.profiling.measure.rounds import Timed, timed_of, told
from edgeattn.profiling.predict.cpu.work import with_work
from edgeattn.records.kinds import kind_of, strongest
from edgeattn.records.trace import Kernel
from edgeattn.runtimes.timed import Job

if TYPE_CHECKING:
    import onnx_ir as ir

_PROCESS: Final = "edgeattn.profiling.measure.onnxruntime.process"
_DOES: Final = {"time": "measured", "profile": "profiled"}
_PRECISIONS: Final = {"float": "fp32", "float16": "fp16", "int8": "int8", "uint8": "int8"}


def time_models(
    paths: Sequence[Path], options: ProfileOptions, *, on_progress: Stage = lambda _: None
) -> Timed:
    """Measure models end to end, without the profiler; several in interleaved rounds.

    Args:
        paths: The ONNX files.
        options: How they are run: on as many threads as there are cores by default.
        on_progress: Told how far it is.

    Raises:
        InputError: ONNX Runtime does not load one of them, or fails while it runs.
    """
    job = _job("time", paths, options)
    found = ask(
        _PROCESS,
        asdict(job),
        does=_DOES[job.task],
        on_progress=lambda said: on_progress(told(said)),
    )
    return Timed(**timed_of(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfiledModel:
    """What ONNX Runtime's profiler says of a model.

    Attributes:
        kernels: Its kernels, each with its work.
        profiled_us: What the whole run took while they were timed.
    """

    kernels: tuple[Kernel, ...]
    profiled_us: float


def profile_kernels(
    path: Path,
    model: ir.Model,
    costs: Mapping[str, int],
    options: ProfileOptions,
    *,
    once: bool = False,
) -> ProfiledModel:
    """Take a model through ONNX Runtime's profiler.

    Args:
        path: The ONNX file.
        model: Its model.
        costs: Multiply-accumulates of each of its nodes.
        options: How it is run.
        once: Run it once, for its kernels and shapes: the times mean nothing then.

    Raises:
        InputError: ONNX Runtime does not load it, or fails while it runs.
    """
    import onnx_ir

    with files.scratch() as folder:
        job = replace(_job("profile", [path], options), folder=str(folder), once=once)
        found = ask(_PROCESS, asdict(job), does=_DOES[job.task], on_progress=lambda _: None)
        optimised = onnx_ir.load(Path(folder) / "optimised.onnx")
        name_all(optimised)
        known = origins(model, optimised)
    rows = list(_named(found["nodes"], optimised))
    _give_shapes(rows, model, optimised)
    return ProfiledModel(
        kernels=with_work(_kernels(rows, known, model, costs), optimised),
        profiled_us=found["profiled_us"],
    )


def _job(task: Literal["time", "profile"], paths: Sequence[Path], options: ProfileOptions) -> Job:
    return Job(
        task=task,
        models=tuple(map(str, paths)),
        threads=options.threads or usable_cores(),
        batch=options.batch,
        shapes=options.shapes,
        seed=options.seed,
        limit_s=options.limit_s,
    )


def version() -> str:
    """Return the version of ONNX Runtime."""
    return version_of("onnxruntime") or version_of("onnxruntime-gpu") or "unknown"


def _named(rows: Sequence[dict[str, Any]], optimised: ir.Model) -> Iterator[dict[str, Any]]:
    """Return nodes that have no name in the graph the names that `name_all` gave them.

    The profiler calls them by operator and index; they come in the graph's order.
    """
    known = {node.name for node in optimised.graph}
    nameless: dict[str, list[str]] = {}
    for node in optimised.graph:
        if (node.name or "").startswith(NAMELESS):
            nameless.setdefault(node.op_type, []).append(node.name or "")
    for row in rows:
        waiting = nameless.get(row["op"], [])
        if row["name"] in known or not waiting:
            yield row
        else:
            yield row | {"name": waiting.pop(0)}


def _give_shapes(rows: Sequence[dict[str, Any]], model: ir.Model, optimised: ir.Model) -> None:
    """Give the values of the optimised graph the shapes that the profiler saw, in place."""
    import onnx_ir as ir

    bound = {value.name: value.shape for value in model.graph.inputs}
    for value in optimised.graph.inputs:
        value.shape = bound.get(value.name, value.shape)
    shapes = {row["name"]: row["output_shapes"] for row in rows}
    for node in optimised.graph:
        written = [value for value in node.outputs if value.name]
        for value, shape in zip(written, shapes.get(node.name, ()), strict=False):
            value.shape = ir.Shape(shape)


def _kernels(
    rows: Sequence[dict[str, Any]],
    known: Mapping[str, Origin],
    model: ir.Model,
    costs: Mapping[str, int],
) -> Iterator[Kernel]:
    ops = {node.name or "": node.op_type for node in model.graph}
    counted: Counter[str] = Counter()
    nowhere = Origin(nodes=(), inputs=(), outputs=())
    for row in rows:
        origin = known.get(row["name"], nowhere)
        kind = kind_of(row["op"])
        macs = 0
        for node in origin.nodes:
            # A layer that is two kernels is computed in one of them.
            if kind_of(ops.get(node, "")) == kind and not counted[node]:
                macs += costs.get(node, 0)
                counted[node] += 1
        yield Kernel(
            name=row["name"],
            op=row["op"],
            kind=_kind(row, origin, ops),
            time_us=float(row["time_us"]),
            traffic_bytes=row["activation_bytes"] + origin.weights_bytes,
            macs=macs,
            nodes=origin.nodes,
            inputs=origin.inputs,
            outputs=origin.outputs,
            causes=origin.causes,
            precision=_PRECISIONS.get(row["dtype"], ""),
        )


def _kind(row: Mapping[str, Any], origin: Origin, ops: Mapping[str, str]) -> Any:
    """Return the kind of a kernel: its operator's, unless that is one that stands for others."""
    if row["op"] in ops.values() or not origin.nodes:
        return kind_of(row["op"])
    of_nodes = strongest(kind_of(ops.get(node, "")) for node in origin.nodes)
    return kind_of(row["op"]) if of_nodes is None else of_nodes
