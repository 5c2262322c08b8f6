"""An ONNX file against a torch module, or against another ONNX file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgeattn.parity.compare import batch_of, compare_file, precision_of
from edgeattn.parity.emulate import as_stored
from edgeattn.parity.metrics import Tolerance, tolerance_of
from edgeattn.parity.references import BATCHES, batches_of, file_reference, module_reference
from edgeattn.records.parity import ParityReport
from edgeattn.runtimes.onnxruntime import Array, Session, random_inputs

if TYPE_CHECKING:
    import torch


def check_file(
    path: Path,
    module: torch.nn.Module,
    inputs: Sequence[torch.Tensor],
    *,
    tolerance: Tolerance | None = None,
) -> ParityReport:
    """Check an ONNX file against a torch module that holds the same weights.

    Args:
        path: The ONNX file.
        module: The module, in evaluation mode.
        inputs: One tensor per input; where the file's batch is open, sizes 1, 2, 3 and 8 of the
            same values are run as well.
        tolerance: What passes; by default that of the file's precision.

    Raises:
        InputError: If the file cannot be loaded, or does not take these inputs.
    """
    tolerance = tolerance or tolerance_of(precision_of(path))
    return compare_file(path, module_reference(module, batches_of(path, inputs)), tolerance)


def compare_files(
    path: Path,
    other: Path,
    *,
    inputs: Sequence[Array] | None = None,
    seed: int = 0,
    tolerance: Tolerance | None = None,
) -> ParityReport:
    """Check one ONNX file against another, which is the reference.

    Args:
        path: The file to judge.
        other: The reference.
        inputs: One array per input; drawn from a normal distribution by default.
        seed: Seed of the draw.
        tolerance: What passes; by default that of the file's precision.

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
    return compare_file(path, file_reference(other, arrays, outputs), tolerance)
