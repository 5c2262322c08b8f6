"""The gate of a cast: the file against the float32 one, over all samples together."""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path
from typing import Final, Literal

import numpy as np

from edgeattn.base.errors import CheckError, InputError
from edgeattn.parity.bisect import first_difference_of_files
from edgeattn.parity.compare import summarise
from edgeattn.parity.emulate import as_stored
from edgeattn.parity.metrics import Tolerance, measure
from edgeattn.parity.report import describe_failure
from edgeattn.precision.calibration import Samples
from edgeattn.records.parity import ParityCase, ParityReport
from edgeattn.runtimes.onnxruntime import Array, Session, give_memory_back

#: So many samples are compared at most: each runs three times.
MOST: Final = 16
_OPTIMISATIONS: Final[tuple[Literal["off", "on"], ...]] = ("off", "on")


class Judge:
    """Compares cast files with the float32 file that they were made from.

    Args:
        source: The float32 file.
        samples: What is run; where the batch is open, as one batch.

    Raises:
        InputError: The float32 file cannot be run, or gives NaN or infinity.
    """

    def __init__(self, source: Path, samples: Samples) -> None:
        self._source = source
        session = Session(source)
        self._names = session.output_names
        self._batches = _batches(session, samples)
        self._references = _run(session, self._batches)
        _check_finite(source, self._names, self._references)

    def judge(self, path: Path, tolerance: Tolerance) -> ParityReport:
        """Compare a file, with ONNX Runtime's optimisations off and on.

        Half precision is emulated without them: see `emulate`.

        Raises:
            CheckError: It cannot be run.
        """
        cases = []
        for optimisations in _OPTIMISATIONS:
            give_memory_back()
            stored = as_stored(path) if optimisations == "off" else contextlib.nullcontext(path)
            try:
                with stored as file:
                    outputs = _run(Session(file, optimisations=optimisations), self._batches)
            except InputError as error:
                raise CheckError(
                    f"What was made of {self._source} does not run: {error.fact}",
                    mend="Nothing was written. Please report this with the command that you gave.",
                ) from error
            measured = tuple(
                measure(name, want, have, tolerance)
                for name, want, have in zip(self._names, self._references, outputs, strict=True)
            )
            case = ParityCase(
                weights="model",
                optimisations=optimisations,
                batch=len(self._batches[0][0]),
                outputs=measured,
            )
            cases.append(case)
        return summarise(cases, tolerance)

    def refusal(self, path: Path, report: ParityReport, tolerance: Tolerance) -> CheckError:
        """Return the error of a file that differs: it names the first value that does."""
        with as_stored(path) as file:
            first = first_difference_of_files(file, self._source, self._batches[0], tolerance)
        report = report.model_copy(update={"first_difference": first})
        return CheckError(
            f"The cast model differs from {self._source}: {describe_failure(report)}",
            mend="Nothing was written. Keep more in float32 (--keep-fp32 MODULE), or ask for less"
            " (--min-sqnr DB).",
        )


def _batches(session: Session, samples: Samples) -> list[list[Array]]:
    """Return the samples as arrays in the inputs' order: one batch of all where it is open."""
    taken = [
        [feed[value.name] for value in session.inputs] for feed in itertools.islice(samples, MOST)
    ]
    if not session.has_open_batch:
        return taken
    return [[np.concatenate(arrays) for arrays in zip(*taken, strict=True)]]


def _run(session: Session, batches: list[list[Array]]) -> list[Array]:
    """Return each output over all batches."""
    outputs = [session.run(arrays) for arrays in batches]
    return [
        np.concatenate([np.atleast_1d(array) for array in arrays])
        for arrays in zip(*outputs, strict=True)
    ]


def _check_finite(source: Path, names: list[str], outputs: list[Array]) -> None:
    for name, output in zip(names, outputs, strict=True):
        if output.dtype.kind == "f" and not np.isfinite(output).all():
            raise InputError(
                f"Output {name} of {source} holds NaN or infinity, so nothing can be compared.",
                mend="Give a model whose weights are trained, or at least in range.",
            )
