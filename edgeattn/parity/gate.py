"""The gate of `edgeattn optimize`: a file against the one it was made from, or an error."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgeattn.base.errors import CheckError, InputError
from edgeattn.parity.compare import Reference, batch_of, compare_file, precision_of
from edgeattn.parity.emulate import as_stored
from edgeattn.parity.metrics import Tolerance, tolerance_of
from edgeattn.parity.references import BATCHES, file_reference, fits
from edgeattn.parity.report import describe_failure
from edgeattn.records.parity import ParityReport
from edgeattn.runtimes.onnxruntime import Array, Session, give_memory_back, random_inputs


def must_agree(
    path: Path, reference: Path, *, shapes: Sequence[Sequence[int]] = (), seed: int = 0
) -> tuple[ParityReport, list[str]]:
    """Check a file against the one it was made from, on random inputs.

    Where the batch is open, sizes 1, 2, 3 and 8 are run.

    Args:
        path: The file to judge.
        reference: The file it was made from.
        shapes: One per input; needed only where dimensions other than the batch are open.
        seed: Seed of the inputs.

    Returns:
        The report, passed, and notes for the user.

    Raises:
        InputError: The reference cannot be run, or gives nothing to compare.
        CheckError: The file cannot be run, or differs: names the first value that does.
    """
    tolerance = tolerance_of_rewrites(reference)
    expected, notes = run_reference(reference, shapes, seed)
    try:
        report = compare_file(path, expected, tolerance)
    except InputError as error:
        raise CheckError(
            f"What was made of {reference} does not run: {error.fact}",
            mend="Nothing was written. Please report this with the command that you gave.",
        ) from error
    if report.passed:
        return report, notes
    raise CheckError(
        f"The lowered model differs from {reference}: {describe_failure(report)}",
        mend="Nothing was written. Please report this with the command that you gave.",
    )


def tolerance_of_rewrites(path: Path) -> Tolerance:
    """Return the tolerance for what is made of a file without another precision.

    Raises:
        InputError: It is no ONNX model.
    """
    precision = precision_of(path)
    # Between its Q/DQ pairs an int8 file computes in float32, and rewrites are exact there.
    return tolerance_of("fp32" if precision == "int8" else precision)


def run_reference(
    path: Path, shapes: Sequence[Sequence[int]], seed: int
) -> tuple[Reference, list[str]]:
    """Run the file that others are compared with, on random inputs.

    Args:
        path: The file.
        shapes: One per input; needed only where dimensions other than the batch are open.
        seed: Seed of the inputs.

    Returns:
        The reference, and notes for the user.

    Raises:
        InputError: It cannot be run, or gives nothing to compare.
    """
    session = _session(path)
    wanted = _shapes(session, shapes)
    arrays: dict[int, list[Array]] = {}
    outputs: dict[int, list[Array]] = {}
    notes: list[str] = []
    for batch in BATCHES if session.has_open_batch else (1,):
        drawn = random_inputs(session, batch=batch, seed=seed + batch, shapes=wanted)
        size = batch_of(drawn)
        try:
            outputs[size] = session.run(drawn)
        except InputError as error:
            if not outputs:
                raise
            notes.append(f"The file that was read does not run at a batch of {size}: {error.fact}")
            continue
        arrays[size] = drawn
        _check_finite(path, session, outputs[size])
    del session  # before the next one doubles its memory
    give_memory_back()
    return file_reference(path, arrays, outputs), notes


def _session(path: Path) -> Session:
    try:
        with as_stored(path) as file:
            return Session(file)
    except InputError as error:
        raise InputError(
            error.fact,
            mend="What ONNX Runtime cannot run cannot be proven equal, so it is not optimized.",
        ) from error


def _shapes(session: Session, shapes: Sequence[Sequence[int]]) -> list[list[int | str]]:
    """Put the shapes that were given over the open dimensions, the batch's left open."""
    if not shapes:
        for value in session.inputs:
            if not all(isinstance(size, int) for size in value.shape[1:]):
                raise InputError(
                    f"Input {value.name} has open dimensions: {value.shape}.",
                    mend="Give the shape to check it with: --shape 1x3x224x224, once per input.",
                )
        return [list(value.shape) for value in session.inputs]
    if len(shapes) != len(session.inputs):
        raise InputError(
            f"The model takes {len(session.inputs)} inputs, and {len(shapes)} shapes are given.",
            mend="Give --shape once for each.",
        )
    closed = []
    for value, given in zip(session.inputs, shapes, strict=True):
        if not fits(given, value.shape):
            raise InputError(f"Input {value.name} takes {value.shape}, not {list(given)}.")
        first = value.shape[:1] if session.has_open_batch else given[:1]
        closed.append([*first, *given[1:]])
    return closed


def _check_finite(path: Path, session: Session, outputs: Sequence[Array]) -> None:
    for name, output in zip(session.output_names, outputs, strict=True):
        if output.dtype.kind == "f" and output.size and not np.isfinite(output).any():
            raise InputError(
                f"Output {name} of {path} holds only NaN or infinity, so nothing can be compared.",
                mend="Give a model whose weights are trained, or at least in range.",
            )
