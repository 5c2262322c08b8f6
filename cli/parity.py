"""`edgeattn parity`: a file or an engine against what it was made from, or all rungs between."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from edgeattn.base.errors import CheckError, InputError
from edgeattn.options.cast import CastOptions
from edgeattn.options.export import ExportOptions
from edgeattn.options.model import ModelRequest
from edgeattn.runtimes.inputs import closed, read_input

from .groups import Asked, grouped
from .ladder import LadderChoice, cast_of, climb, print_ladder
from .options import Casting, Lowering, request_of
from .screen import Screen
from .tables import print_notes, print_parity

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from edgeattn.models.build import BuiltModel
    from edgeattn.parity import ParityReport, Tolerance
    from edgeattn.runtimes.onnxruntime import Array

ENGINE: Final = ".engine"


@grouped
def parity(
    *,
    subject: Annotated[
        str,
        typer.Argument(
            metavar="A.onnx",
            help="The ONNX file or engine to judge; with --ladder an ONNX file, or a model as for"
            " export.",
        ),
    ],
    other: Annotated[
        Path | None, typer.Argument(metavar="[B.onnx]", help="The file to compare it with.")
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference", metavar="MODEL", help="The model to compare it with, as for export."
        ),
    ] = None,
    how: LadderChoice,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--input",
            metavar="FILE",
            help="Real data instead of random, once per input: an .npy file, or an image, which"
            " is resized to the input (bicubic, not cropped), brought to 0...1 and normalised by"
            " ImageNet's mean and deviation.",
        ),
    ] = None,
    max_rel: Annotated[
        float | None,
        typer.Option(
            "--max-rel",
            min=0,
            help="Largest error over |value| + its root mean square. [1e-3; fp16 and engines 0.1;"
            " int8 none]",
        ),
    ] = None,
    min_sqnr: Annotated[
        float | None,
        typer.Option(
            "--min-sqnr",
            metavar="DB",
            help="Smallest SQNR in dB; on a ladder, of the cast. [80; fp16 and engines 40; int8"
            " none]",
        ),
    ] = None,
    choice: Asked[ModelRequest],
    lowering: Lowering,
    cast: Casting,
    screen: Screen,
) -> None:
    """Compare an ONNX file with another one, or with a model, output by output.

    An engine (X.engine) is run on its GPU, and compared with the ONNX file that its manifest names,
    or with B.onnx. Ends with 0 if they agree. If not, ends with 1 and names the first module that
    differs; with --ladder, the first rung that falls too.
    """
    if how.ladder:
        if other is not None or reference is not None or max_rel is not None:
            raise InputError(
                "A ladder takes neither a second file, nor --reference, nor --max-rel."
            )
        _climb(subject, choice, how, lowering, cast, min_sqnr, data or [], screen)
    elif how != LadderChoice() or lowering.given() or cast.given():
        raise InputError(
            "Options of an export, of lowering or of a cast are given, and nothing is made.",
            mend="Add --ladder.",
        )
    else:
        _compare(Path(subject), other, reference, choice, data or [], max_rel, min_sqnr, screen)


def _climb(
    subject: str,
    choice: Asked[ModelRequest],
    how: LadderChoice,
    lowering: Asked[ExportOptions],
    cast: Asked[CastOptions],
    min_sqnr: float | None,
    data: list[Path],
    screen: Screen,
) -> None:
    with screen.working() as stage:
        options = cast_of(cast, min_sqnr, seed=choice.value("seed"))
        inputs = None
        if data:
            stage("reading the data")
            shapes = _shapes(subject, choice)
            inputs = _read(data, subject, shapes)
        ladder = climb(subject, choice, how, lowering, options, inputs, stage)
    screen.show(ladder, lambda console: print_ladder(console, ladder))
    if ladder.first_fall is not None:
        raise typer.Exit(CheckError.exit_code)


def _shapes(subject: str, choice: Asked[ModelRequest]) -> list[Sequence[int | str | None]]:
    """Return the shapes that a file or a model takes."""
    if subject.endswith(".onnx"):
        return _shapes_of(Path(subject))
    from edgeattn.models.build import build

    return [list(one.shape) for one in build(request_of(choice, subject)).inputs]


def _compare(
    path: Path,
    other: Path | None,
    reference: str | None,
    choice: Asked[ModelRequest],
    data: list[Path],
    max_rel: float | None,
    min_sqnr: float | None,
    screen: Screen,
) -> None:
    """Compare a file or an engine with another file, or with a model."""
    _check_asked(path, other, reference, choice)
    notes: tuple[str, ...] = ()
    with screen.working() as stage:
        stage("reading the file")
        tolerance = _tolerance(path, max_rel, min_sqnr)
        inputs = _read(data, str(path), _shapes_of(_onnx_of(path, other))) if data else None
        if path.suffix == ENGINE:
            from edgeattn.engine.parity import compare_engine

            stage("parity")
            report = compare_engine(
                path, other, inputs=inputs, seed=choice.value("seed"), tolerance=tolerance
            )
        elif other is not None:
            from edgeattn.parity import compare_files

            stage("parity")
            report = compare_files(
                path, other, inputs=inputs, seed=choice.value("seed"), tolerance=tolerance
            )
        else:
            assert reference is not None
            built = _built(request_of(choice, reference), path, stage)
            notes = built.notes
            stage("parity")
            report = _with_model(path, built, inputs, tolerance)
    if screen.json and not screen.quiet:  # the report has no place for them
        for note in notes:
            print(f"note: {note}", file=sys.stderr)
    screen.show(report, lambda console: _report(console, report, notes))
    if not report.passed:
        raise typer.Exit(CheckError.exit_code)


def _report(console: Console, report: ParityReport, notes: tuple[str, ...]) -> None:
    print_parity(console, report)
    print_notes(console, notes)


def _built(request: ModelRequest, onnx: Path, stage: Callable[[str], None]) -> BuiltModel:
    """Build the reference, on inputs of the file's shapes unless others are asked."""
    from edgeattn.models.build import build
    from edgeattn.runtimes.onnxruntime import Session

    if not request.shapes:
        # The file knows them; asking for them again would only be a way to get them wrong.
        shapes = tuple(closed(value.shape) for value in Session(onnx).inputs)
        request = dataclasses.replace(request, shapes=shapes)
    stage("build")
    return build(request)


def _with_model(
    onnx: Path, built: BuiltModel, arrays: list[Array] | None, tolerance: Tolerance | None
) -> ParityReport:
    from edgeattn.parity import check_file

    inputs = built.inputs
    if arrays is not None:
        import torch

        dtype = inputs[0].dtype  # pixels come as whole numbers, and convolutions take none
        inputs = tuple(torch.from_numpy(array).to(dtype) for array in arrays)
    return check_file(onnx, built.module, inputs, tolerance=tolerance)


def _check_asked(
    path: Path, other: Path | None, reference: str | None, choice: Asked[ModelRequest]
) -> None:
    """Refuse what cannot be compared, before anything is read."""
    is_engine = path.suffix == ENGINE
    if is_engine and reference is not None:
        raise InputError("An engine is compared with an ONNX file, not with a model.")
    if not is_engine and (other is None) == (reference is None):
        raise InputError(
            "Give one thing to compare with: a second ONNX file, or --reference MODEL.",
            mend="Or climb from the model to the engine: --ladder",
        )
    if reference is None and choice.given() - {"seed"}:
        raise InputError("Options of a model are given without --reference MODEL.")
    for file in filter(None, (path, other)):
        if not file.is_file():
            raise InputError(f"There is no file {file}.")


def _onnx_of(path: Path, other: Path | None) -> Path:
    """Return the ONNX file whose inputs the data is for."""
    if path.suffix != ENGINE:
        return path
    from edgeattn.engine.parity import source_of
    from edgeattn.records.engine import read_manifest

    return other or source_of(path, read_manifest(path))


def _shapes_of(onnx: Path) -> list[Sequence[int | str | None]]:
    from edgeattn.runtimes.onnxruntime import Session

    return [value.shape for value in Session(onnx).inputs]


def _read(
    data: list[Path], subject: str, shapes: Sequence[Sequence[int | str | None]]
) -> list[Array]:
    """Read the files given with --input."""
    if len(data) != len(shapes):
        raise InputError(
            f"{subject} takes {len(shapes)} inputs, and {len(data)} files are given.",
            mend="Give --input once for each.",
        )
    return [read_input(path, shape) for path, shape in zip(data, shapes, strict=True)]


def _tolerance(path: Path, max_rel: float | None, min_sqnr: float | None) -> Tolerance | None:
    """What passes: None, which is the tolerance of the file's precision, or that one changed."""
    if max_rel is None and min_sqnr is None:
        return None
    usual = _usual(path)
    return dataclasses.replace(
        usual,
        max_rel=usual.max_rel if max_rel is None else max_rel,
        min_sqnr_db=usual.min_sqnr_db if min_sqnr is None else min_sqnr,
    )


def _usual(path: Path) -> Tolerance:
    if path.suffix == ENGINE:
        from edgeattn.engine.parity import tolerance_of_engine
        from edgeattn.records.engine import read_manifest

        return tolerance_of_engine(read_manifest(path).precision.asked)
    from edgeattn.parity import tolerance_of
    from edgeattn.parity.compare import precision_of

    return tolerance_of(precision_of(path))
