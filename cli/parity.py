"""`edgeattn parity`: a file or an engine against what it was made from, or all rungs between."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from edgeattn.base import files
from edgeattn.base.errors import CheckError, InputError
from edgeattn.options.cast import CastOptions
from edgeattn.options.export import ExportOptions
from edgeattn.options.flags import Flag
from edgeattn.options.hosts import only
from edgeattn.options.model import ModelRequest
from edgeattn.options.parity import ParityOptions
from edgeattn.options.photos import PHOTO_NAMES
from edgeattn.options.precision import HINTS
from edgeattn.runtimes.inputs import closed

from .groups import Asked, grouped
from .ladder import climb, print_ladder
from .options import Casting, Lowering, Modelling, cast_options, request_of
from .screen import Screen
from .tables import print_notes, print_parity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from edgeattn.models.build import BuiltModel
    from edgeattn.parity import ParityReport, Tolerance
    from edgeattn.parity.openvino import OpenVino
    from edgeattn.precision.pixels import Chosen
    from edgeattn.records.manifest import Tensor
    from edgeattn.runtimes.onnxruntime import Array
    from edgeattn.workflows.host_step import There
    from edgeattn.workflows.pipeline import Top

ENGINE: Final = ".engine"


@grouped
def parity(
    *,
    subject: Annotated[
        str,
        Flag(
            "A.onnx",
            "The ONNX file or engine to judge; with --ladder an ONNX file, or a model as for"
            " export.",
        ),
    ],
    other: Annotated[Path | None, Flag("[B.onnx]", "The file to compare it with.")] = None,
    how: ParityOptions,
    choice: Modelling,
    lowering: Lowering,
    cast: Casting,
    screen: Screen,
) -> None:
    """Compare an ONNX file with another one, or with a model, output by output.

    An engine (X.engine) is run on its GPU, and compared with the ONNX file that its manifest names,
    or with B.onnx. With --on, an ONNX file's engine is built and run on the device itself. Ends
    with 0 if they agree. If not, ends with 1 and names the first module that differs; with --ladder
    or --on, the first rung that falls too. With --runtime openvino and nothing to compare it with,
    a file is compared with itself in ONNX Runtime.
    """
    _check_runtime(subject, how)
    by, cast = _openvino(how, cast)
    if how.on and subject.endswith(".onnx"):
        files.check_is_file(Path(subject))  # before a host is bothered
    if how.on and subject.endswith(".onnx") and not how.ladder:
        _check_file_alone(other, how, choice, lowering)
        _climb(subject, how, choice, lowering, cast, screen, by)
    elif how.ladder or (how.on and not subject.endswith(ENGINE)):
        if other is not None or how.reference is not None or how.max_rel is not None:
            raise InputError(
                "A ladder takes neither a second file, nor --reference, nor --max-rel."
            )
        _climb(subject, how, choice, lowering, cast, screen, by)
    elif (
        how.opset is not None
        or how.dynamic_batch
        or lowering.given()
        or (cast.given() - {*PHOTO_NAMES})
    ):
        raise InputError(
            "Options of an export, of lowering or of a cast are given, and nothing is made.",
            mend="Add --ladder.",
        )
    else:
        _compare(Path(subject), other, how, choice, cast, screen, by)


def _climb(
    subject: str,
    how: ParityOptions,
    choice: Asked[ModelRequest],
    lowering: Asked[ExportOptions],
    cast: Asked[CastOptions],
    screen: Screen,
    by: OpenVino | None,
) -> None:
    is_narrow = by is not None and by.precision != "fp32"
    with screen.working() as stage:
        options = cast_options(cast, seed=choice.value("seed"), min_sqnr_db=how.min_sqnr)
        if options is None and how.min_sqnr is not None and not is_narrow:
            raise InputError(
                "--min-sqnr is what the cast is held to, and none is asked for.",
                mend="Add --precision fp16 or --precision int8.",
            )
        inputs, notes = None, list[str]()
        if how.data:
            from edgeattn.precision.pixels import read_inputs

            stage("reading the data")
            inputs, notes = read_inputs(how.data, subject, *_taken(subject, choice, cast))
        built = None
        if how.reference is not None:
            built = _built(request_of(choice, how.reference), Path(subject), stage)
        with _top(how, stage, by) as there:
            ladder = climb(
                subject, how, choice, lowering, options, inputs, stage, built=built, there=there
            )
        ladder = ladder.model_copy(update={"notes": tuple(dict.fromkeys([*ladder.notes, *notes]))})
    screen.show(ladder, lambda console: print_ladder(console, ladder))
    if ladder.first_fall is not None:
        raise typer.Exit(CheckError.exit_code)


@contextlib.contextmanager
def _top(
    how: ParityOptions, stage: Callable[[str], None], by: OpenVino | None
) -> Iterator[Top | None]:
    """Yield what the last rung is climbed on, if that is asked for."""
    if by is not None:
        from edgeattn.workflows.openvino_step import OpenVinoHere

        yield OpenVinoHere(runtime=by, min_sqnr_db=how.min_sqnr)
        return
    with _there(how, stage) as there:
        yield there


def _openvino(
    how: ParityOptions, cast: Asked[CastOptions]
) -> tuple[OpenVino | None, Asked[CastOptions]]:
    """Return OpenVINO on this machine, if it is to run files, and what is left to be cast.

    On a ladder fp16 is a cast; bf16, and without a ladder fp16 too, is what OpenVINO computes in.
    """
    if how.runtime != "openvino" or how.on:
        return None, cast
    from edgeattn.parity.openvino import OpenVino
    from edgeattn.runtimes.openvino import CPU

    device, precision = how.openvino_device or CPU, cast.values["precision"]
    if precision != "bf16" and (how.ladder or precision not in HINTS):
        return OpenVino(device=device), cast
    return (
        OpenVino(device=device, precision=precision),
        cast | Asked(CastOptions, {"precision": None}),
    )


@contextlib.contextmanager
def _there(how: ParityOptions, stage: Callable[[str], None]) -> Iterator[There | None]:
    """Connect to the host that the last rung is climbed on, if one is asked for."""
    if not how.on:
        yield None
        return
    from edgeattn.workflows.host_step import there

    device = how.openvino_device
    with there(only(how.on), stage, runtime=how.runtime, openvino_device=device) as found:
        yield found


def _check_runtime(subject: str, how: ParityOptions) -> None:
    """Refuse a runtime that is not to be had, or does not go with what is compared.

    Raises:
        InputError: It is none of those.
    """
    if how.runtime not in (None, "onnxruntime", "openvino", *(["tensorrt"] if how.on else [])):
        raise InputError(
            f"--runtime {how.runtime} runs no ONNX file here.",
            mend="Name onnxruntime or openvino; or compare an engine: edgeattn parity X.engine",
        )
    if how.openvino_device is not None and how.runtime != "openvino":
        raise InputError(
            "--openvino-device is given, and not --runtime openvino.",
            mend="Add --runtime openvino.",
        )
    if how.runtime is not None and subject.endswith(ENGINE):
        raise InputError(
            f"{subject} is an engine, which its own library runs.", mend="Leave --runtime out."
        )
    if how.runtime == "onnxruntime" and how.ladder and not how.on:
        raise InputError(
            "The rungs of a ladder run in ONNX Runtime as it is.", mend="Leave --runtime out."
        )


def _check_file_alone(
    other: Path | None,
    how: ParityOptions,
    choice: Asked[ModelRequest],
    lowering: Asked[ExportOptions],
) -> None:
    """Refuse what says nothing where a file itself is judged on a host."""
    if other is not None or how.max_rel is not None:
        raise InputError("An ONNX file on a host takes neither a second file nor --max-rel.")
    if how.opset is not None or how.dynamic_batch or lowering.given():
        raise InputError(
            "Options of an export or of lowering are given, and the file is taken as it is.",
            mend="Add --ladder.",
        )
    if how.reference is None and choice.given() - {"seed", "shape"}:
        raise InputError("Options of a model are given without --reference MODEL.")


def _taken(
    subject: str, choice: Asked[ModelRequest], cast: Asked[CastOptions]
) -> tuple[list[Tensor], Chosen]:
    """Return what a file or a model takes, and what photos for it are normalised by."""
    if subject.endswith(".onnx"):
        return _taken_by_file(Path(subject), cast)
    from edgeattn.models.build import build
    from edgeattn.precision.pixels import choose
    from edgeattn.records.manifest import Tensor

    built = build(request_of(choice, subject))
    taken = [
        Tensor(name="", shape=tuple(one.shape), dtype=str(one.dtype).rpartition(".")[2])
        for one in built.inputs
    ]
    return taken, choose(cast.value("pixels"), own=built.pixels)


def _taken_by_file(onnx: Path, cast: Asked[CastOptions]) -> tuple[list[Tensor], Chosen]:
    from edgeattn.graph.reading import read
    from edgeattn.graph.writing import describe
    from edgeattn.precision.pixels import choose

    model = read(onnx).model
    return list(describe(model.graph.inputs)), choose(cast.value("pixels"), path=onnx, model=model)


def _compare(
    path: Path,
    other: Path | None,
    how: ParityOptions,
    choice: Asked[ModelRequest],
    cast: Asked[CastOptions],
    screen: Screen,
    by: OpenVino | None,
) -> None:
    """Compare a file or an engine with another file, or with a model."""
    if by is not None and how.reference is None:
        other = other or path
    _check_asked(path, other, how.reference, choice)
    if cast.given() and not how.data:
        raise InputError("--mean, --resize and the like are for photos, and no --input is given.")
    notes: list[str] = []
    with screen.working() as stage:
        stage("reading the file")
        tolerance = _tolerance(path, how.max_rel, how.min_sqnr, by)
        inputs = None
        if how.data:
            from edgeattn.precision.pixels import read_inputs

            taken = _taken_by_file(_onnx_of(path, other), cast)
            inputs, notes = read_inputs(how.data, str(path), *taken)
        if how.reference is not None:
            built = _built(request_of(choice, how.reference), path, stage)
            notes += built.notes
            stage("parity")
            report = _with_model(path, built, inputs, tolerance, by)
        else:
            stage("parity")
            with _comparison(path, how, stage, by) as compare:
                report = compare(
                    path, other, inputs=inputs, seed=choice.value("seed"), tolerance=tolerance
                )
    report = report.model_copy(update={"notes": (*report.notes, *notes)})
    if by is not None:
        from edgeattn.records.parity import ParityThere
        from edgeattn.runtimes.openvino import machine_of

        report = ParityThere(**dict(report), machine=machine_of(by.device))
    screen.show(report, lambda console: _report(console, report))
    if not report.passed:
        raise typer.Exit(CheckError.exit_code)


@contextlib.contextmanager
def _comparison(
    path: Path, how: ParityOptions, stage: Callable[[str], None], by: OpenVino | None
) -> Iterator[Callable[..., ParityReport]]:
    """Return what compares a file, or an engine, with an ONNX file."""
    if path.suffix != ENGINE:
        from edgeattn.parity import compare_files

        yield compare_files if by is None else functools.partial(compare_files, compare=by.compare)
        return
    from edgeattn.engine.parity import compare_engine

    with _there(how, stage) as there:
        yield compare_engine if there is None else there.compare


def _report(console: Console, report: ParityReport) -> None:
    from edgeattn.records.parity import ParityThere

    if isinstance(report, ParityThere):
        console.print(f"on {report.machine.title}")
    print_parity(console, report)
    print_notes(console, report.notes)


def _built(request: ModelRequest, onnx: Path, stage: Callable[[str], None]) -> BuiltModel:
    """Build the reference, on inputs of the file's shapes unless others are asked."""
    from edgeattn.models.build import build
    from edgeattn.options.shapes import Shape
    from edgeattn.runtimes.onnxruntime import Session, dtype_of

    if not request.shapes:
        # The file knows them; asking for them again would only be a way to get them wrong.
        # Of its types only whole numbers count: a half file may be of a float32 model.
        taken = [(closed(value.shape), dtype_of(value)) for value in Session(onnx).inputs]
        shapes = tuple(Shape(shape, "" if "float" in own else own) for shape, own in taken)
        request = dataclasses.replace(request, shapes=shapes)
    stage("build")
    return build(request)


def _with_model(
    onnx: Path,
    built: BuiltModel,
    arrays: list[Array] | None,
    tolerance: Tolerance | None,
    by: OpenVino | None,
) -> ParityReport:
    from edgeattn.parity import check_file

    inputs = built.inputs
    if arrays is not None:
        import torch

        # Pixels come as whole numbers, and convolutions take none.
        pairs = zip(arrays, inputs, strict=True)
        inputs = tuple(torch.from_numpy(array).to(one.dtype) for array, one in pairs)
    how = {} if by is None else {"compare": by.compare}
    return check_file(onnx, built.module, inputs, tolerance=tolerance, **how)


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


def _tolerance(
    path: Path, max_rel: float | None, min_sqnr: float | None, by: OpenVino | None
) -> Tolerance | None:
    """Return what passes: None for the tolerance of the file's precision, or that one changed."""
    is_narrow = by is not None and by.precision != "fp32"
    if max_rel is None and min_sqnr is None and not is_narrow:
        return None
    usual = _usual(path, by)
    return dataclasses.replace(
        usual,
        max_rel=usual.max_rel if max_rel is None else max_rel,
        min_sqnr_db=usual.min_sqnr_db if min_sqnr is None else min_sqnr,
    )


def _usual(path: Path, by: OpenVino | None) -> Tolerance:
    if path.suffix == ENGINE:
        from edgeattn.engine.parity import tolerance_of_engine
        from edgeattn.records.engine import read_manifest

        return tolerance_of_engine(read_manifest(path).precision.asked)
    from edgeattn.parity import tolerance_of
    from edgeattn.parity.compare import precision_of

    own = precision_of(path)
    return tolerance_of(
        own if by is None or own == "int8" or by.precision == "fp32" else by.precision
    )
