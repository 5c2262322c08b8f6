"""`edgeattn build`: an engine of an ONNX file or of a model, and what was built."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from edgeattn.base.errors import CheckError, InputError

from .export import destination as onnx_destination
from .groups import grouped
from .options import (
    CastChoice,
    ExportChoice,
    LoweringChoice,
    ModelChoice,
    Texts,
    command_line,
)
from .screen import Screen
from .tables import print_engine, print_notes

if TYPE_CHECKING:
    from rich.console import Console

    from edgeattn.engine.target import Target
    from edgeattn.options.build import EngineOptions
    from edgeattn.options.precision import Precision
    from edgeattn.records.engine import EngineManifest


_FILE: Final = ".onnx"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TargetChoice:
    """What to build for, and by which library."""

    device: Annotated[
        str | None,
        typer.Option("--device", metavar="NAME", help="The device. See: edgeattn devices list."),
    ] = None
    compute_capability: Annotated[
        str | None,
        typer.Option(
            "--compute-capability",
            metavar="8.6",
            help="What to build for, where no device is named.",
        ),
    ] = None
    runtime: Annotated[
        str | None,
        typer.Option(
            "--runtime",
            metavar="NAME",
            help="tensorrt or tensorrt-rtx. [what is installed and can serve the device]",
        ),
    ] = None
    plan: Annotated[
        bool,
        typer.Option(
            "--plan",
            help="For a device that cannot be built for here: build the nearest architecture's"
            " engine, for profiling only.",
        ),
    ] = False

    def target(self) -> Target:
        """Choose the library and the compute capability.

        Raises:
            InputError: A name is not known.
            MissingError: It cannot be built for here.
        """
        from edgeattn.engine.target import choose

        return choose(
            device=self.device,
            capability=self.compute_capability,
            runtime=self.runtime,
            as_plan=self.plan,
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EngineChoice:
    """What the library is asked; the words are trtexec's."""

    min_shapes: Annotated[
        Texts,
        typer.Option(
            "--min-shapes",
            metavar="NAME:1x3x224x224",
            help="Smallest shapes; several inputs with commas between, once per profile.",
        ),
    ] = None
    opt_shapes: Annotated[
        Texts, typer.Option("--opt-shapes", metavar="NAME:…", help="Shapes to tune for.")
    ] = None
    max_shapes: Annotated[
        Texts, typer.Option("--max-shapes", metavar="NAME:…", help="Largest shapes.")
    ] = None
    workspace: Annotated[
        int | None,
        typer.Option("--workspace", metavar="MiB", min=1, help="Most scratch memory of a tactic."),
    ] = None
    timing_cache: Annotated[
        Path | None,
        typer.Option("--timing-cache", metavar="FILE", help="Tactics' times, read and written."),
    ] = None
    optimization_level: Annotated[
        int | None,
        typer.Option("--optimization-level", min=0, max=5, help="How hard the builder tries."),
    ] = None
    version_compatible: Annotated[
        bool, typer.Option("--version-compatible", help="An engine for later versions too.")
    ] = False
    hardware_compatible: Annotated[
        bool,
        typer.Option("--hardware-compatible", help="An engine for every GPU of Ampere and later."),
    ] = False
    dla: Annotated[
        int | None, typer.Option("--dla", metavar="N", min=0, help="The DLA core to run on.")
    ] = None
    gpu_fallback: Annotated[
        bool, typer.Option("--gpu-fallback", help="What the DLA cannot do runs on the GPU.")
    ] = False

    def options(self, precision: Precision | None) -> EngineOptions:
        """Read the options.

        Raises:
            InputError: The shapes cannot be read, or are not complete.
        """
        from edgeattn.engine.shapes import parse_profiles
        from edgeattn.options.build import EngineOptions

        return EngineOptions(
            precision=precision or "fp32",
            profiles=parse_profiles(
                self.min_shapes or (), self.opt_shapes or (), self.max_shapes or ()
            ),
            workspace_mib=self.workspace,
            timing_cache=self.timing_cache,
            optimization_level=self.optimization_level,
            version_compatible=self.version_compatible,
            hardware_compatible=self.hardware_compatible,
            dla_core=self.dla,
            gpu_fallback=self.gpu_fallback,
        )


@grouped
def build(
    *,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="An ONNX file, or a model as `edgeattn export` takes."
        ),
    ],
    context: typer.Context,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE.engine", help="Where to write; a folder will do."
        ),
    ] = None,
    where: TargetChoice,
    cast: CastChoice,
    engine: EngineChoice,
    log: Annotated[
        Path | None, typer.Option("--log", metavar="FILE", help="Keep the library's whole log.")
    ] = None,
    choice: ModelChoice,
    lowering: LoweringChoice,
    writing: ExportChoice,
    screen: Screen,
) -> None:
    """Build an engine for a device, without one if need be, and say what was built.

    Writes FILE.engine, and beside it FILE.json: kernels, traffic, precision of each kernel. Ends
    with 1 if kernels were built in another precision than was asked.
    """
    with screen.working() as stage:
        from edgeattn.engine.build import check
        from edgeattn.options.cast import check_options
        from edgeattn.workflows.build import BuildOptions
        from edgeattn.workflows.build import build as build_engine

        chosen = where.target()
        precision = cast.asked()
        asked = engine.options(precision)
        casting = cast.options(seed=choice.seed)
        check(chosen.library, asked)
        if casting is not None and not model.endswith(_FILE):
            check_options(casting)  # before a model is exported; a file may need no cast
        source = _source(model, _folder(output), choice, lowering, writing, chosen, context, stage)
        found = build_engine(
            source,
            BuildOptions(
                target=chosen,
                engine=asked,
                precision=precision,
                cast=casting,
                log=log,
            ),
            output or Path(),
            command=command_line(context.obj),
            on_stage=stage,
        )
    folder = _folder(output)
    document = found.model_copy(
        update={"engine": str(folder / found.engine), "manifest": str(folder / found.manifest)}
    )
    screen.show(document, lambda console: _report(console, document))
    if found.precision.mismatches:
        raise typer.Exit(CheckError.exit_code)


def _source(
    model: str,
    folder: Path,
    choice: ModelChoice,
    lowering: LoweringChoice,
    writing: ExportChoice,
    target: Target,
    context: typer.Context,
    stage: Callable[[str], None],
) -> Path:
    """Return the ONNX file to build: the one that is named, or the model's, exported beside it."""
    if model.endswith(_FILE):
        asked = (choice, lowering, writing)
        if asked != (ModelChoice(seed=choice.seed), LoweringChoice(), ExportChoice()):
            raise InputError(
                f"Options of a model are given, and {model} is a file that is exported already.",
                mend="To lower it: edgeattn optimize IN.onnx -o OUT.onnx",
            )
        return Path(model)
    from edgeattn.workflows.export import export

    device = target.device
    options = writing.options(lowering, highest=None if device is None else device.opset)
    request = choice.request(model)
    path = onnx_destination(folder, model, [one.name for one in request.attentions])
    export(request, options, path, command=command_line(context.obj), on_stage=stage)
    return path


def _folder(output: Path | None) -> Path:
    if output is None:
        return Path()
    return output if output.is_dir() else output.parent


def _report(console: Console, manifest: EngineManifest) -> None:
    print_engine(console, manifest)
    print_notes(console, manifest.notes)
