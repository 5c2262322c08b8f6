"""`edgeattn profile`: what a model takes, where, and what FLOPs do not say of it."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from edgeattn.base.errors import InputError

from .groups import grouped
from .options import (
    CastChoice,
    ExportChoice,
    LoweringChoice,
    ModelChoice,
    Texts,
    command_line,
    parse_shape,
)
from .reporting import TOP, OutputChoice, print_report
from .screen import Screen

if TYPE_CHECKING:
    from edgeattn.options.export import ExportOptions
    from edgeattn.options.profile import Item, ProfileOptions, TrtexecFiles
    from edgeattn.profiling.assemble import Profiled

_FILES: Final = "--layers and --profile are of a run that was measured already"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DeviceChoice:
    """What is measured on, or predicted for, and by which runtime."""

    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            metavar="NAME",
            help="A device, or the path of a file of your own. [this machine, or an engine's own]"
            " See: edgeattn devices list.",
        ),
    ] = None
    power_mode: Annotated[
        str | None,
        typer.Option("--power-mode", metavar="NAME", help="Its power mode, as in 15W."),
    ] = None
    runtime: Annotated[
        str | None,
        typer.Option(
            "--runtime",
            metavar="NAME",
            help="onnxruntime, tensorrt, tensorrt-rtx or torch, where the file leaves a choice.",
        ),
    ] = None
    predict: Annotated[
        bool, typer.Option("--predict", help="Predict even what could be measured here.")
    ] = False
    threads: Annotated[
        int | None, typer.Option("--threads", metavar="N", min=1, help="Threads. [all cores]")
    ] = None
    batch: Annotated[
        int, typer.Option("--batch", metavar="N", min=1, help="What an open batch stands for.")
    ] = 1
    limit: Annotated[
        float,
        typer.Option(
            "--limit",
            metavar="S",
            min=0.1,
            help="Seconds after which no new window is measured, for each model compared.",
        ),
    ] = 30.0
    site: Annotated[
        Texts,
        typer.Option(
            "--site",
            metavar="GLOB",
            help="Modules that are sites, such as '*.se'. [those of the manifest, or found gates]",
        ),
    ] = None
    marginal: Annotated[
        bool | None,
        typer.Option(
            "--marginal/--no-marginal",
            help="Profile the model with its sites replaced by identity too."
            " [of an ONNX file, and not of an engine]",
        ),
    ] = None

    def options(self, choice: ModelChoice) -> ProfileOptions:
        """Read the options."""
        from edgeattn.options.profile import ProfileOptions

        return ProfileOptions(
            device=self.device,
            power_mode=self.power_mode,
            runtime=self.runtime,
            predict=self.predict,
            threads=self.threads,
            batch=self.batch,
            shapes=tuple(parse_shape(text) for text in choice.shape or ()),
            seed=choice.seed,
            site_globs=tuple(self.site or ()),
            marginal=self.marginal,
            limit_s=self.limit,
        )

    def target(self) -> str:
        """Return what models are lowered for: the runtime that they are to be profiled by.

        Raises:
            InputError: There is no such device.
        """
        if self.runtime in ("onnxruntime", "torch"):
            return "onnxruntime"
        if self.runtime is not None:
            return "tensorrt"
        if self.device is None:
            return "onnxruntime"
        from edgeattn.devices.profile import find

        return "onnxruntime" if find(self.device).kind == "cpu" else "tensorrt"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrtexecChoice:
    """Files of a run of trtexec's."""

    layers: Annotated[
        Path | None,
        typer.Option(
            "--layers",
            metavar="FILE.json",
            help="What trtexec --exportLayerInfo wrote, anywhere; MODEL is then its ONNX file, or"
            " left out.",
        ),
    ] = None
    profile: Annotated[
        Path | None,
        typer.Option("--profile", metavar="FILE.json", help="What --exportProfile wrote."),
    ] = None
    times: Annotated[
        Path | None, typer.Option("--times", metavar="FILE.json", help="What --exportTimes wrote.")
    ] = None

    def files(self) -> TrtexecFiles | None:
        """Return the files; None where none are given.

        Raises:
            InputError: One is given that is of no use without another.
        """
        from edgeattn.options.profile import TrtexecFiles

        if self.layers is None:
            if self.profile is not None or self.times is not None:
                raise InputError("--profile and --times go with --layers.", mend="Add --layers.")
            return None
        if self.times is not None and self.profile is None:
            raise InputError("--times goes with --profile.", mend="Add --profile.")
        return TrtexecFiles(layers=self.layers, profile=self.profile, times=self.times)


@grouped
def profile(
    *,
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="An ONNX file, an engine, or a model as `edgeattn export` takes.",
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="B", help="Compare with another, run in turns with it."),
    ] = None,
    where: DeviceChoice,
    files: TrtexecChoice,
    out: OutputChoice,
    choice: ModelChoice,
    cast: CastChoice,
    lowering: LoweringChoice,
    writing: ExportChoice,
    top: Annotated[
        int | None, typer.Option("--top", metavar="N", min=1, help="Show N sites only. [8]")
    ] = None,
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

        given = files.files()
        names = [name for name in (against, model) if name is not None]
        out.check(read=[Path(name) for name in names])
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgeattn-")))
        models = Models(where, choice, cast, lowering, writing, scratch, stage)
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


def _of_files(
    given: TrtexecFiles, model: str | None, against: str | None, models: Models, command: str
) -> list[Profiled]:
    from edgeattn.workflows.profile import profile_files

    if against is not None:
        raise InputError(f"{_FILES}: it cannot be run in turns with another.")
    if model is not None and not model.endswith(".onnx"):
        raise InputError(f"{_FILES}: MODEL can be its ONNX file only, not {model}.")
    onnx = None if model is None else Path(model)
    return profile_files(given, onnx, models.options(), command=command)


@dataclasses.dataclass(frozen=True, slots=True)
class Models:
    """Models that are named, and brought to files where they are none."""

    where: DeviceChoice
    choice: ModelChoice
    cast: CastChoice
    lowering: LoweringChoice
    writing: ExportChoice
    folder: Path
    stage: Callable[[str], None]

    def options(self) -> ProfileOptions:
        """Return how to profile."""
        return self.where.options(self.choice)

    def runtime(self, name: str) -> str:
        """Return the runtime that a model is profiled by."""
        from edgeattn.profiling.route import choose, is_model

        if is_model(name):
            return self.where.runtime or self.where.target()
        return choose(Path(name), self.options()).runtime

    def profiled(self, names: Sequence[str], command: str) -> list[Profiled]:
        """Profile models; the first is what others are compared with."""
        from edgeattn.profiling.route import is_model
        from edgeattn.workflows.profile import profile as profile_items
        from edgeattn.workflows.profile import profile_torch

        options = self.options()
        if self.where.runtime == "torch" and all(map(is_model, names)):
            requests = [self.choice.request(name) for name in names]
            return profile_torch(requests, names, options, command=command, on_stage=self.stage)
        asked = (self.choice, self.cast, self.lowering, self.writing)
        of_files = ModelChoice(seed=self.choice.seed, shape=self.choice.shape)
        if not any(map(is_model, names)) and asked != (
            of_files, CastChoice(), LoweringChoice(), ExportChoice(),
        ):  # fmt: skip
            raise InputError(
                f"Options of a model are given, and {names[-1]} is a file.",
                mend="Give the model's name, or change the file: edgeattn optimize, edgeattn cast.",
            )
        items = [item for name in names for item in self._items(name)]
        return profile_items(items, options, command=command, on_stage=self.stage)

    def _items(self, name: str) -> list[Item]:
        from edgeattn.options.profile import Item
        from edgeattn.profiling.route import is_model
        from edgeattn.workflows.compare import make, name_of

        if not is_model(name):
            path = Path(name)
            return [Item(path=path, name=path.name)]
        request = self.choice.request(name)
        words = [name_of(name), *(one.name for one in request.attentions)]
        return make(
            request, "-".join(words), self.export(), self.folder, stock=False, on_stage=self.stage
        )

    def export(self) -> ExportOptions:
        """Return how models are exported: for the runtime that they are to be profiled by."""
        lowering = self.lowering
        if lowering.target is None and not self.writing.no_lower:
            lowering = dataclasses.replace(lowering, target=self.where.target())
        options = self.writing.options(lowering)
        return dataclasses.replace(options, cast=self.cast.options(seed=self.choice.seed))
