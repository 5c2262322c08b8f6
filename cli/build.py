"""`edgeattn build`: an engine of an ONNX file or of a model, and what was built."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from edgeattn.base import files
from edgeattn.base.errors import CheckError, InputError
from edgeattn.options.build import EngineOptions, TargetOptions
from edgeattn.options.export import ExportOptions
from edgeattn.options.flags import Flag
from edgeattn.options.hosts import only
from edgeattn.options.model import ModelRequest
from edgeattn.options.precision import named

from .export import destination as onnx_destination
from .groups import Asked, grouped
from .options import (
    Casting,
    Lowering,
    Modelling,
    Writing,
    cast_options,
    command_line,
    export_options,
    request_of,
)
from .screen import Screen
from .tables import print_engine, print_notes

if TYPE_CHECKING:
    from rich.console import Console

    from edgeattn.engine.target import Target
    from edgeattn.records.engine import EngineManifest
    from edgeattn.workflows.build import Builder


_FILE: Final = ".onnx"


@grouped
def build(
    *,
    model: Annotated[str, Flag("MODEL", "An ONNX file, or a model as `edgeattn export` takes.")],
    context: typer.Context,
    output: Annotated[
        Path | None, Flag("--output -o FILE.engine", "Where to write; a folder will do.")
    ] = None,
    where: TargetOptions,
    cast: Casting,
    engine: Asked[EngineOptions],
    log: Annotated[Path | None, Flag("--log FILE", "Keep the library's whole log.")] = None,
    choice: Modelling,
    lowering: Lowering,
    writing: Writing,
    screen: Screen,
) -> None:
    """Build an engine for a device, there or without one, and say what was built.

    Writes FILE.engine, and beside it FILE.json: kernels, traffic, precision of each kernel. Ends
    with 1 if kernels were built in another precision than was asked.
    """
    with screen.working() as stage:
        from edgeattn.options.cast import check_options
        from edgeattn.workflows.build import BuildOptions
        from edgeattn.workflows.build import build as build_engine

        precision = cast.values["precision"] and named(cast.values["precision"])
        asked = engine.read(precision=precision or "fp32")
        casting = cast_options(cast, seed=choice.value("seed"))
        if where.on and model.endswith(_FILE):
            files.check_is_file(Path(model))  # before a host is bothered
        with _chosen(where, asked, stage) as (chosen, builder, opset):
            if casting is not None and not model.endswith(_FILE):
                check_options(casting)  # before a model is exported; a file may need no cast
            path = _source(
                model,
                _folder(output),
                choice,
                lowering | writing,
                chosen,
                where,
                opset,
                context,
                stage,
            )
            found = build_engine(
                path,
                BuildOptions(
                    target=chosen, engine=asked, precision=precision, cast=casting, log=log
                ),
                output or Path(),
                builder=builder,
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


@contextlib.contextmanager
def _chosen(
    where: TargetOptions, asked: EngineOptions, stage: Callable[[str], None]
) -> Iterator[tuple[Target, Builder, int | None]]:
    """Choose what is built for, what builds it (a library that is here, or a host), and an opset.

    Yields:
        Them; the opset is the highest that is taken there, None if it is not known.
    """
    if where.on:
        from edgeattn.workflows.build_on import builder_on

        if where.device or where.compute_capability or where.runtime or where.plan:
            raise InputError(
                "A host builds for itself, with its own TensorRT: --on takes neither --device,"
                " --compute-capability, --runtime nor --plan.",
                mend="Leave that out.",
            )
        with builder_on(only(where.on), asked, on_stage=stage) as found:
            yield found
        return
    from edgeattn.engine.build import check
    from edgeattn.engine.target import choose
    from edgeattn.workflows.build import build_here

    chosen = choose(
        device=where.device,
        capability=where.compute_capability,
        runtime=where.runtime,
        as_plan=where.plan,
    )
    check(chosen.library, asked)
    yield chosen, build_here, None if chosen.device is None else chosen.device.opset


def _source(
    model: str,
    folder: Path,
    choice: Asked[ModelRequest],
    writing: Asked[ExportOptions],
    target: Target,
    where: TargetOptions,
    opset: int | None,
    context: typer.Context,
    stage: Callable[[str], None],
) -> Path:
    """Return the ONNX file to build: the one that is named, or the model's, exported beside it."""
    if model.endswith(_FILE):
        if choice.given() - {"seed"} or writing.given():
            raise InputError(
                f"Options of a model are given, and {model} is a file that is exported already.",
                mend="To lower it: edgeattn optimize IN.onnx -o OUT.onnx. To build it for shapes:"
                " --opt-shapes INPUT:1x3x224x224",
            )
        return Path(model)
    from edgeattn.workflows.export import export

    version = target.library.version if where.on else None
    options = export_options(writing, highest=opset, device=where.device, tensorrt=version)
    request = request_of(choice, model)
    path = onnx_destination(folder, model, [one.label for one in request.attentions])
    export(request, options, path, command=command_line(context.obj), on_stage=stage)
    return path


def _folder(output: Path | None) -> Path:
    if output is None:
        return Path()
    return output if output.is_dir() else output.parent


def _report(console: Console, manifest: EngineManifest) -> None:
    print_engine(console, manifest)
    print_notes(console, manifest.notes)
