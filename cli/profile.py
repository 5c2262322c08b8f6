"""`edgeattn profile`: what a model takes, where, and what FLOPs do not say of it."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from edgeattn.base.errors import EdgeattnError, InputError
from edgeattn.base.files import scratch
from edgeattn.base.legible import legible, shortened
from edgeattn.options.cast import PRECISIONS as CASTABLE
from edgeattn.options.cast import CastOptions, check_options
from edgeattn.options.export import ExportOptions
from edgeattn.options.flags import Flag
from edgeattn.options.gate import GateOptions
from edgeattn.options.model import ModelRequest
from edgeattn.options.precision import HINTS, several
from edgeattn.options.profile import Item, ProfileOptions, Stage, TrtexecFiles, parse_batches

from .gating import Gating, end_with_gate, print_gate
from .groups import Asked, grouped
from .options import (
    Casting,
    Lowering,
    Modelling,
    Top,
    Writing,
    cast_options,
    command_line,
    export_options,
    only_of,
    request_of,
)
from .reporting import TOP, OutputChoice, print_report
from .screen import Screen

if TYPE_CHECKING:
    from rich.console import Console

    from edgeattn.hosts.visit import Guest
    from edgeattn.profiling.assemble import Profiled

_FILES: Final = "--layers and --profile are of a run that was measured already"


@grouped
def profile(
    *,
    model: Annotated[
        str | None,
        Flag("[MODEL]", "An ONNX file, an engine, or a model as `edgeattn export` takes."),
    ] = None,
    against: Annotated[
        str | None, Flag("--against B", "Compare with another, run in interleaved rounds with it.")
    ] = None,
    batches: Annotated[
        str | None,
        Flag(
            "--batches N,N,…",
            "Profile at several batches, one after another. A file's batch must be open; a model is"
            " exported so.",
        ),
    ] = None,
    where: Asked[ProfileOptions],
    files: Asked[TrtexecFiles],
    out: OutputChoice,
    gate: GateOptions,
    choice: Modelling,
    cast: Casting,
    lowering: Lowering,
    writing: Writing,
    top: Top = None,
    context: typer.Context,
    screen: Screen,
) -> None:
    """Profile a model: what it takes, where, and what FLOPs do not say of it.

    ONNX Runtime measures an ONNX file on this machine. With --on, a machine that is reached by
    SSH measures it: nothing is installed there, and nothing left. With --device, the kernels of a
    real TensorRT plan are predicted for that device, or measured where its GPU is here. With
    --layers and --profile, the run was somebody else's, and trtexec wrote it down.
    """
    failed: tuple[EdgeattnError, ...] = ()
    with screen.working() as stage, contextlib.ExitStack() as stack:
        from edgeattn.report.content import report_of
        from edgeattn.report.document import document_of, profile_document

        several = () if batches is None else parse_batches(batches)
        if several and "batch" in where.given():
            raise InputError("--batch and --batches are both given.", mend="Leave --batch out.")
        given = _files(files)
        if given is not None and several:
            raise InputError(f"{_FILES}, at one batch: leave --batches out.")
        if given is not None and where.value("hosts"):
            raise InputError(f"{_FILES}: leave --on out.")
        names = [name for name in (against, model) if name is not None]
        out.check(read=[Path(name) for name in (*names, gate.baseline) if name is not None])
        gating = Gating.of(gate, out, is_compared=against is not None)
        folder = stack.enter_context(scratch())
        guests = stack.enter_context(connected(where, stage))
        writing |= lowering
        models = Models(where, choice, cast, writing, folder, stage, guests, several, gating)
        command = command_line(context.obj)
        if given is not None:
            found = _of_files(given, model, against, models, command)
        elif model is None:
            raise InputError("No model is named.", mend="See: edgeattn profile --help")
        else:
            out.check_runtime(lambda: models.runtime(names[-1]))
            found, failed = models.profiled(names, command)
        report = report_of([one.row for one in found], command=command)
        is_pair = len(guests) < 2 and not any(row.way or row.batch for row in report.rows)
        document = profile_document(report) if is_pair else document_of(report)
        document |= failures(failed)
        judged = gating.judge(report, document) if gating else None
        stage("write")
        out.write(report, document, found[-1].information, judged)
    shown = None if screen.verbose else top or TOP

    def show(console: Console) -> None:
        print_report(console, report, top=shown)
        print_gate(console, judged)

    screen.show(document, show)
    end_with(failed)
    end_with_gate(judged)


@contextlib.contextmanager
def connected(
    where: Asked[ProfileOptions], stage: Callable[[str], None]
) -> Iterator[tuple[Guest, ...]]:
    """Connect to the hosts that are asked for; to none if none is."""
    texts = where.value("hosts")
    if not texts:
        yield ()
        return
    from edgeattn.hosts.visit import guests

    where.read().check_hosts()
    with guests(texts, stage) as found:
        yield found


def failures(failed: Sequence[EdgeattnError]) -> dict[str, Any]:
    """Return what a document says of hosts on which nothing was found; nothing if all did it."""
    told = [{"fact": error.fact, "mend": error.mend} for error in failed]
    return {"failed": told} if told else {}


def end_with(failed: Sequence[EdgeattnError]) -> None:
    """End with the error of the first host that failed, once what others found is shown."""
    for error in failed:
        print(f"error: {shortened(legible(str(error)))}", file=sys.stderr)
    if failed:
        raise typer.Exit(failed[0].exit_code)


def _files(asked: Asked[TrtexecFiles]) -> TrtexecFiles | None:
    """Return the files of a run of trtexec's, or None if none are given.

    Raises:
        InputError: One is given that is of no use without another.
    """
    given = asked.given()
    if "times" in given and "profile" not in given:
        raise InputError("--times goes with --profile.", mend="Add --profile.")
    return asked.read() if given else None


def _of_files(
    given: TrtexecFiles, model: str | None, against: str | None, models: Models, command: str
) -> list[Profiled]:
    from edgeattn.workflows.profile import profile_files

    if against is not None:
        raise InputError(f"{_FILES}: it cannot be run in rounds with another.")
    if model is not None and not model.endswith(".onnx"):
        raise InputError(f"{_FILES}: MODEL can be its ONNX file only, not {model}.")
    if model is not None and given.layers is None:
        raise InputError(
            "Without its layers, nothing of a profile belongs to a node.",
            mend=f"Add --layers, or leave {model} out.",
        )
    onnx = None if model is None else Path(model)
    return profile_files(given, onnx, models.options(), command=command)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What models are exported for.

    Attributes:
        target: What they are lowered for.
        tensorrt: The version of TensorRT that is to run them; None if it is not known.
        opset: The highest opset that it takes; None if that is not known.
        runtime: What runs them, where several do; "" else.
        device: The device that they are for, if one is named.
    """

    target: str
    tensorrt: str | None = None
    opset: int | None = None
    runtime: str = ""
    device: str | None = None

    @property
    def name(self) -> str:
        """What a folder of such models is called."""
        return self.runtime or f"{self.target}{self.tensorrt or ''}"


@dataclasses.dataclass(frozen=True, slots=True)
class Models:
    """Models that are named, and brought to files where they are none."""

    where: Asked[ProfileOptions]
    choice: Asked[ModelRequest]
    cast: Asked[CastOptions]
    writing: Asked[ExportOptions]
    folder: Path
    stage: Callable[[str], None]
    guests: tuple[Guest, ...] = ()
    batches: tuple[int, ...] = ()
    gating: Gating | None = None

    def options(self) -> ProfileOptions:
        """Return how to profile."""
        known = {} if self.gating is None else self.gating.precision()
        shapes, seed = self.choice.value("shapes"), self.choice.value("seed")
        return self.where.read(shapes=shapes, seed=seed, **known)

    def runtime(self, name: str) -> str:
        """Return the runtime that a model is profiled by; of several, the first."""
        from edgeattn.profiling.route import choose, is_model

        options = self._for(next(iter(self.options().runtimes), None))
        if self.guests:
            return self.guests[0].runtime(options.runtime)
        if is_model(name):
            return options.runtime or target_of(options)
        return choose(Path(name), options).runtime

    def _for(self, runtime: str | None) -> ProfileOptions:
        return dataclasses.replace(self.options(), runtime=runtime)

    def casts(self) -> dict[str, CastOptions | None]:
        """Return how float32 files are cast to the precisions that are asked; {} for one alone.

        Raises:
            InputError: There is no such precision.
        """
        text = self.cast.values["precision"]
        asked = () if text is None else several(text)
        by_hint = "openvino" in self.options().runtimes and set(asked) & {*HINTS}
        if len(asked) < 2 and "bf16" not in asked and not by_hint:
            return {}
        seed = self.choice.value("seed")
        found = {
            one: cast_options(self.cast | Asked(CastOptions, only_of(one)), seed=seed)
            if one in CASTABLE
            else None
            for one in asked
        }
        for cast in filter(None, found.values()):
            check_options(cast)
        return found

    def profiled(
        self, names: Sequence[str], command: str
    ) -> tuple[list[Profiled], tuple[EdgeattnError, ...]]:
        """Profile models; the first is what others are compared with.

        Returns:
            What was found, and why nothing was found on a host.
        """
        from edgeattn.workflows.profile import over_batches

        run = self._run(names, command)
        if self.batches:
            return over_batches(run, self.options(), self.batches, self.stage)
        return run(self.options(), self.stage)

    def _run(
        self, names: Sequence[str], command: str
    ) -> Callable[[ProfileOptions, Stage], tuple[list[Profiled], tuple[EdgeattnError, ...]]]:
        """Bring models to files, and return what profiles them as often as it is asked."""
        from edgeattn.profiling.route import is_model
        from edgeattn.workflows.profile import Lane, profile_on, profile_torch
        from edgeattn.workflows.profile import profile as profile_items

        options = self.options()
        if options.runtime == "torch" and all(map(is_model, names)):
            requests = [request_of(self.choice, name) for name in names]
            return lambda how, stage: (
                profile_torch(requests, names, how, command=command, on_stage=stage),
                (),
            )
        asked = self.choice.given() - {"seed", "shape"} | self.cast.given() | self.writing.given()
        casts = self.casts().keys()
        if casts and options.runtimes == ("openvino",) and casts <= {"fp32", *HINTS}:
            asked -= {"precision"}  # OpenVINO's own, of the file as it is
        if asked and not any(map(is_model, names)):
            raise InputError(
                f"Options of a model are given, and {names[-1]} is a file.",
                mend="Give the model's name, or change the file: edgeattn optimize, edgeattn cast.",
            )
        if self.batches:
            from edgeattn.workflows.profile import check_batches

            for name in names:
                check_batches(Path(name), self.batches)
        made = {aim: self._all_items(names, aim) for aim in self.aims()}
        if self.guests:
            lanes = [
                Lane(guest=one, items=[item for aim in self.aims_of(one) for item in made[aim]])
                for one in self.guests
            ]

            def on_hosts(
                how: ProfileOptions, stage: Stage
            ) -> tuple[list[Profiled], tuple[EdgeattnError, ...]]:
                on = profile_on(lanes, how, command=command, on_stage=stage)
                return on.found, on.failed

            return on_hosts
        items = [item for each in made.values() for item in each]
        return lambda how, stage: (profile_items(items, how, command=command, on_stage=stage), ())

    def aims_of(self, guest: Guest) -> list[Aim]:
        """Return what models are exported for that a host is to run, one for each runtime.

        Raises:
            MissingError: It runs none.
        """
        asked = self.options().runtimes
        found = []
        for one in asked or (None,):
            runtime = guest.runtime(one)
            by = runtime if len(asked) > 1 else ""
            if runtime == "tensorrt":
                facts = guest.facts
                found.append(Aim(target=runtime, tensorrt=facts.tensorrt, opset=facts.opset))
            else:
                found.append(Aim(target=runtime, runtime=by))
        return found

    def aims(self) -> list[Aim]:
        """Return what models are exported for, each once: for each host, or for what is here."""
        if self.guests:
            return list(dict.fromkeys(aim for one in self.guests for aim in self.aims_of(one)))
        from edgeattn.profiling.route import check_runtimes

        options = self.options()
        check_runtimes(options)
        if len(options.runtimes) > 1:
            return [Aim(target=target_of(self._for(one)), runtime=one) for one in options.runtimes]
        target = target_of(options)
        return [Aim(target=target, device=options.device if target == "tensorrt" else None)]

    def _all_items(self, names: Sequence[str], aim: Aim) -> list[Item]:
        """Return what is profiled of all names; two that would be called the same have theirs."""
        each = [self._items(name, aim, str(at)) for at, name in enumerate(names)]
        called = [{item.name for item in items} for items in each]
        is_unclear = len(set(names)) > 1 and bool(set.intersection(*called))
        return [
            dataclasses.replace(item, name=name) if is_unclear else item
            for name, items in zip(names, each, strict=True)
            for item in items
        ]

    def _items(self, name: str, aim: Aim, home: str) -> list[Item]:
        from edgeattn.profiling.route import is_model
        from edgeattn.workflows.compare import Casting, make, name_of

        by = aim.runtime or next(iter(self.options().runtimes), aim.target)
        casting = Casting(aim.runtime, by, self.casts())
        if not self.guests:
            casting.check(self.options().openvino_device)
        if not is_model(name):
            path = Path(name)
            return casting.items([Item(path=path, name=path.name)], self.stage)
        request = request_of(self.choice, name)
        words = [name_of(name), *(one.label for one in request.attentions)]
        folder = self.folder / aim.name / home
        folder.mkdir(parents=True)
        return make(
            request,
            "-".join(words),
            self.export(aim),
            folder,
            stock=False,
            on_stage=self.stage,
            casting=casting,
        )

    def export(self, aim: Aim) -> ExportOptions:
        """Return how models are exported: for what they are to be profiled by."""
        asked = self.writing
        if self.batches or self.options().batch != 1:
            asked |= Asked(ExportOptions, {"dynamic_batch": True})
        if asked.values["target"] is None and not asked.values["no_lower"]:
            asked |= Asked(ExportOptions, {"target": aim.target})
        is_for_it = asked.values["target"] == aim.target and asked.values["tensorrt"] is None
        if aim.tensorrt is not None and is_for_it:
            asked |= Asked(ExportOptions, {"tensorrt": aim.tensorrt})
        cast = None
        if not self.casts():
            cast = cast_options(self.cast, seed=self.choice.value("seed"))
        return export_options(asked, highest=aim.opset, cast=cast, device=aim.device)


def target_of(options: ProfileOptions) -> str:
    """Return what models are lowered for: the runtime that they are to be profiled by.

    Raises:
        InputError: There is no such device.
    """
    if options.runtime == "openvino":
        return "openvino"
    if options.runtime is not None:
        return "onnxruntime" if options.runtime in ("onnxruntime", "torch") else "tensorrt"
    if options.device is None:
        return "onnxruntime"
    from edgeattn.devices.profile import find

    return "onnxruntime" if find(options.device).kind == "cpu" else "tensorrt"
