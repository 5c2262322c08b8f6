"""An ONNX file against a torch module, or against another ONNX file: a report, or an error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgeattn.base.errors import CheckError, InputError
from edgeattn.parity.compare import Reference, batch_of, compare_file, precision_of
from edgeattn.parity.emulate import as_stored
from edgeattn.parity.floor import tells_nothing
from edgeattn.parity.metrics import Tolerance, tolerance_of
from edgeattn.parity.references import (
    BATCHES,
    batches_of,
    file_reference,
    module_reference,
    run_reference,
)
from edgeattn.parity.report import describe_failure
from edgeattn.records.parity import ParityReport
from edgeattn.runtimes.blame import blames_the_file
from edgeattn.runtimes.onnxruntime import Array, Session, random_inputs

if TYPE_CHECKING:
    import torch

Compare = Callable[[Path, Reference, Tolerance], ParityReport]


def check_file(
    path: Path,
    module: torch.nn.Module,
    inputs: Sequence[torch.Tensor],
    *,
    tolerance: Tolerance | None = None,
    compare: Compare = compare_file,
) -> ParityReport:
    """Check an ONNX file against a torch module that holds the same weights.

    Args:
        path: The ONNX file.
        module: The module, in evaluation mode.
        inputs: One tensor per input; where the file's batch is open, sizes 1, 2, 3 and 8 of the
            same values are run as well.
        tolerance: What passes; by default that of the file's precision.
        compare: Runs the file, and compares it with the reference; ONNX Runtime by default.

    Raises:
        InputError: If the file cannot be loaded, or does not take these inputs.
    """
    tolerance = tolerance or tolerance_of(precision_of(path))
    reference = module_reference(module, batches_of(path, inputs))
    return _told(compare(path, reference, tolerance), reference, "the model")


@blames_the_file
def compare_files(
    path: Path,
    other: Path,
    *,
    inputs: Sequence[Array] | None = None,
    seed: int = 0,
    tolerance: Tolerance | None = None,
    compare: Compare = compare_file,
) -> ParityReport:
    """Check one ONNX file against another, which is the reference.

    Args:
        path: The file to judge.
        other: The reference.
        inputs: One array per input; drawn from a normal distribution by default.
        seed: Seed of the draw.
        tolerance: What passes; by default that of the file's precision.
        compare: Runs the file, and compares it with the reference; ONNX Runtime by default.

    Raises:
        InputError: If a file cannot be loaded, or the two take different inputs.
    """
    tolerance = tolerance or tolerance_of(precision_of(path))
    with as_stored(other) as file:
        session = Session(file)
    if inputs is not None:
        drawn = [inputs]
    else:
        batches = BATCHES if session.has_open_batch else (None,)
        drawn = [random_inputs(session, batch=b, seed=seed + (b or 0)) for b in batches]
    arrays = {batch_of(values): values for values in drawn}
    outputs = {batch: session.run(values) for batch, values in arrays.items()}
    del session  # before the next one doubles its memory
    reference = file_reference(other, arrays, outputs)
    return _told(compare(path, reference, tolerance), reference, str(other))


def _told(report: ParityReport, reference: Reference, name: str) -> ParityReport:
    """Return a report with what it rests on."""
    return report.model_copy(update={"notes": (*report.notes, *reference.remarks(report, name))})


def must_agree(
    path: Path,
    reference: Path,
    *,
    shapes: Sequence[Sequence[int]] = (),
    seed: int = 0,
    data: Sequence[Array] | None = None,
) -> tuple[ParityReport, list[str]]:
    """Check a file against the one it was made from, on random inputs or on data.

    Where the batch is open, sizes 1, 2, 3 and 8 are run.

    Args:
        path: The file to judge.
        reference: The file it was made from.
        shapes: One per input; needed only where dimensions other than the batch are open.
        seed: Seed of the inputs.
        data: One array per input instead.

    Returns:
        The report, passed, and notes for the user.

    Raises:
        InputError: The reference cannot be run, or gives nothing to compare.
        CheckError: The file cannot be run, or differs: names the first value that does.
    """
    tolerance = tolerance_of_rewrites(reference)
    expected, notes = run_reference(reference, shapes, seed, data)
    try:
        report = compare_file(path, expected, tolerance)
    except InputError as error:
        raise CheckError(
            f"What was made of {reference} does not run: {error.fact}",
            mend="Nothing was written. Please report this with the command that you gave.",
        ) from error
    if report.passed:
        return report, [*notes, *expected.remarks(report, str(reference))]
    if expected.floor is not None and tells_nothing(report, expected.floor):
        raise CheckError(
            f"Nothing can be proven of {reference} on these inputs: {expected.floor}.",
            mend="Nothing was written. Give data that fits the model: --input FILE, once per input",
        )
    fact = f"The lowered model differs from {reference}: {describe_failure(report)}"
    mend = "Please report this with the command that you gave."
    if expected.floor is not None and expected.floor.db < tolerance.min_sqnr_db:
        fact += f" That is more than rounding explains, though {expected.floor}."
        mend = f"Data that fits the model tells more: --input FILE. If it differs there too: {mend}"
    raise CheckError(fact, mend=f"Nothing was written. {mend}")


def tolerance_of_rewrites(path: Path) -> Tolerance:
    """Return the tolerance for what is made of a file without another precision.

    Raises:
        InputError: It is no ONNX model.
    """
    precision = precision_of(path)
    # Between its Q/DQ pairs an int8 file computes in float32, and rewrites are exact there.
    return tolerance_of("fp32" if precision == "int8" else precision)
