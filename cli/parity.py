"""`edgeattn parity`: an ONNX file against another, or against the model that it was made from."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeattn.errors import CheckError, InputError

from .groups import grouped
from .inputs import closed, read_input
from .options import ModelChoice
from .screen import Screen
from .tables import print_notes, print_parity

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from edgeattn.models.build import BuiltModel
    from edgeattn.models.source import ModelRequest
    from edgeattn.parity import ParityReport, Tolerance
    from edgeattn.parity.runtime import Array


@grouped
def parity(
    *,
    onnx: Annotated[Path, typer.Argument(metavar="A.onnx", help="The file to judge.")],
    choice: ModelChoice,
    other: Annotated[
        Path | None, typer.Argument(metavar="[B.onnx]", help="The file to compare it with.")
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference", metavar="MODEL", help="The model to compare it with, as for export."
        ),
    ] = None,
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
            help="Largest error over |value| + its root mean square. [1e-3; with fp16 weights 0.1]",
        ),
    ] = None,
    min_sqnr: Annotated[
        float | None,
        typer.Option("--min-sqnr", metavar="DB", help="Smallest SQNR in dB. [80; fp16 40]"),
    ] = None,
    screen: Screen,
) -> None:
    """Compare an ONNX file with another one, or with a model, output by output.

    Ends with 0 if they agree. If not, ends with 1 and names the first module that differs.
    """
    if (other is None) == (reference is None):
        raise InputError(
            "Give one thing to compare with: a second ONNX file, or --reference MODEL."
        )
    if other is not None and choice != ModelChoice(seed=choice.seed):
        raise InputError("Options of a model are given without --reference MODEL.")
    for path in filter(None, (onnx, other)):
        if not path.is_file():
            raise InputError(f"There is no file {path}.")
    with screen.working() as stage:
        stage("reading the file")
        tolerance = _tolerance(onnx, max_rel, min_sqnr)
        arrays = _read(data or [], onnx)
        notes: tuple[str, ...] = ()
        if other is not None:
            from edgeattn.parity import compare_files

            stage("parity")
            report = compare_files(
                onnx, other, inputs=arrays, seed=choice.seed, tolerance=tolerance
            )
        else:
            assert reference is not None
            built = _built(choice.request(reference), onnx, stage)
            notes = built.notes
            stage("parity")
            report = _with_model(onnx, built, arrays, tolerance)
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
    """Builds the reference, on inputs of the file's shapes unless others are asked."""
    from edgeattn.models.build import build
    from edgeattn.parity.runtime import Session

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


def _read(data: list[Path], onnx: Path) -> list[Array] | None:
    """Reads the files given with --input; None if there are none."""
    if not data:
        return None
    from edgeattn.parity.runtime import Session

    wanted = Session(onnx).inputs
    if len(data) != len(wanted):
        raise InputError(
            f"{onnx} takes {len(wanted)} inputs, and {len(data)} files are given.",
            mend="Give --input once for each.",
        )
    return [read_input(path, value.shape) for path, value in zip(data, wanted, strict=True)]


def _tolerance(onnx: Path, max_rel: float | None, min_sqnr: float | None) -> Tolerance | None:
    """What passes: None, which is the tolerance of the file's precision, or that one changed."""
    if max_rel is None and min_sqnr is None:
        return None
    from edgeattn.parity import tolerance_of
    from edgeattn.parity.compare import precision_of

    usual = tolerance_of(precision_of(onnx))
    return dataclasses.replace(
        usual,
        max_rel=usual.max_rel if max_rel is None else max_rel,
        min_sqnr_db=usual.min_sqnr_db if min_sqnr is None else min_sqnr,
    )
