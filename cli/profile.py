"""`edgeattn profile`: what a model takes, where, and what FLOPs do not say of it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from edgeattn.base.errors import InputError
from edgeattn.base.files import scratch
from edgeattn.options.cast import CastOptions
from edgeattn.options.export import ExportOptions
from edgeattn.options.flags import Flag
from edgeattn.options.model import ModelRequest
from edgeattn.options.profile import Item, ProfileOptions, TrtexecFiles

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
    request_of,
)
from .reporting import TOP, OutputChoice, print_report
from .screen import Screen

if TYPE_CHECKING:
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
    where: Asked[ProfileOptions],
    files: Asked[TrtexecFiles],
    out: OutputChoice,
    choice: Modelling,
    cast: Casting,
    lowering: Lowering,
    writing: Writing,
    top: Top = None,
    context: typer.Context,
    screen: Screen,
) -> None:
    """Profile a model: what it takes, where, and what FLOPs do not say of it.

    ONNX Runtime measures an ONNX file on this machine. With --device, the kernels of a real
    TensorRT plan are predicted for that device, or measured where its GPU is here. With --layers
    and --profile, the run was somebody else's, and trtexec wrote it down.
    """
    with screen.working() as stage, contextlib.ExitStack() as stack:
        from edgeattn.report.content import report_of
        from edgeattn.report.document import profile_document

        given = _files(files)
        names = [name for name in (against, model) if name is not None]
        out.check(read=[Path(name) for name in names])
        folder = stack.enter_context(scratch())
        models = Models(where, choice, cast, lowering | writing, folder, stage)
        command = command_line(context.obj)
        if given is not None:
            found = _of_files(given, model, against, models, command)
        elif model is None:
            raise InputError("No model is named.", mend="See: edgeattn profile --help")
        else:
            out.check_runtime(lambda: models.runtime(names[-1]))
            found = models.profiled(names, command)
        report = report_of([one.row for one in found], command=command)
        document = profile_document(report)
        stage("write")
        out.write(report, document, found[-1].information)
    shown = None if screen.verbose else top or TOP
    screen.show(document, lambda console: print_report(console, report, top=shown))


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


@dataclasses.dataclass(frozen=True, slots=True)
class Models:
    """Models that are named, and brought to files where they are none."""

    where: Asked[ProfileOptions]
    choice: Asked[ModelRequest]
    cast: Asked[CastOptions]
    writing: Asked[ExportOptions]
    folder: Path
    stage: Callable[[str], None]

    def options(self) -> ProfileOptions:
        """Return how to profile."""
        return self.where.read(shapes=self.choice.value("shapes"), seed=self.choice.value("seed"))

    def runtime(self, name: str) -> str:
        """Return the runtime that a model is profiled by."""
        from edgeattn.profiling.route import choose, is_model

        if is_model(name):
            options = self.options()
            return options.runtime or target_of(options)
        return choose(Path(name), self.options()).runtime

    def profiled(self, names: Sequence[str], command: str) -> list[Profiled]:
        """Profile models; the first is what others are compared with."""
        from edgeattn.profiling.route import is_model
        from edgeattn.workflows.profile import profile as profile_items
        from edgeattn.workflows.profile import profile_torch

        options = self.options()
        if options.runtime == "torch" and all(map(is_model, names)):
            requests = [request_of(self.choice, name) for name in names]
            return profile_torch(requests, names, options, command=command, on_stage=self.stage)
        asked = self.choice.given() - {"seed", "shape"} | self.cast.given() | self.writing.given()
        if asked and not any(map(is_model, names)):
            raise InputError(
                f"Options of a model are given, and {names[-1]} is a file.",
                mend="Give the model's name, or change the file: edgeattn optimize, edgeattn cast.",
            )
        items = [item for name in names for item in self._items(name)]
        return profile_items(items, options, command=command, on_stage=self.stage)

    def _items(self, name: str) -> list[Item]:
        from edgeattn.profiling.route import is_model
        from edgeattn.workflows.compare import make, name_of

        if not is_model(name):
            path = Path(name)
            return [Item(path=path, name=path.name)]
        request = request_of(self.choice, name)
        words = [name_of(name), *(one.name for one in request.attentions)]
        return make(
            request, "-".join(words), self.export(), self.folder, stock=False, on_stage=self.stage
        )

    def export(self) -> ExportOptions:
        """Return how models are exported: for the runtime that they are to be profiled by."""
        asked = self.writing
        options = self.options()
        own = target_of(options)
        if asked.values["target"] is None and not asked.values["no_lower"]:
            asked |= Asked(ExportOptions, {"target": own})
        cast = cast_options(self.cast, seed=self.choice.value("seed"))
        device = options.device if own == "tensorrt" else None
        return export_options(asked, cast=cast, device=device)


def target_of(options: ProfileOptions) -> str:
    """Return what models are lowered for: the runtime that they are to be profiled by.

    Raises:
        InputError: There is no such device.
    """
    if options.runtime is not None:
        return "onnxruntime" if options.runtime in ("onnxruntime", "torch") else "tensorrt"
    if options.device is None:
        return "onnxruntime"
    from edgeattn.devices.profile import find

    return "onnxruntime" if find(options.device).kind == "cpu" else "tensorrt"
