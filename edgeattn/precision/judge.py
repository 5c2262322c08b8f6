"""The gate of a cast: the file against the float32 one, over all samples together."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from edgeattn.base.errors import CheckError, InputError
from edgeattn.base.memory import give_memory_back
from edgeattn.options.cast import NEARER
from edgeattn.parity.compare import Run, compare_runs, runs_of
from edgeattn.parity.floor import HALF_COSTS_DB, tells_nothing
from edgeattn.parity.metrics import Tolerance
from edgeattn.parity.references import check_finite, file_reference
from edgeattn.parity.report import describe_failure
from edgeattn.precision.calibration import Samples
from edgeattn.records.parity import Optimisations, ParityReport
from edgeattn.runtimes.onnxruntime import Array, Session

#: So many samples are compared at most: each runs three times.
MOST: Final = 16


class Judge:
    """Compares cast files with the float32 file that they were made from.

    Args:
        source: The float32 file.
        samples: What is run; where the batch is open, as one batch.

    Raises:
        InputError: The float32 file cannot be run, or gives NaN or infinity alone.
    """

    def __init__(self, source: Path, samples: Samples) -> None:
        self._source = source
        session = Session(source)
        self._batches = dict(enumerate(_batches(session, samples)))
        self._size = len(self._batches[0][0])
        outputs = _joined([session.run(arrays) for arrays in self._batches.values()])
        check_finite(source, session.output_names, outputs)
        reference = file_reference(source, self._batches, {self._size: outputs})
        # Another precision is never alike.
        self._reference = replace(reference, optimised=None)

    def judge(self, path: Path, tolerance: Tolerance) -> ParityReport:
        """Compare a file, with ONNX Runtime's optimisations off and on.

        Raises:
            CheckError: It cannot be run.
        """
        give_memory_back()
        try:
            return compare_runs(partial(self._runs, path), self._reference, tolerance)
        except InputError as error:
            raise CheckError(
                f"What was made of {self._source} does not run: {error.fact}",
                mend="Nothing was written. Please report this with the command that you gave.",
            ) from error

    def notes(self, report: ParityReport) -> list[str]:
        """Say what a report rests on besides the tolerance."""
        return self._reference.remarks(report, str(self._source))

    def refusal(self, path: Path, report: ParityReport) -> CheckError:
        """Return the error of a file that differs: it names the first value that does."""
        floor = self._reference.floor
        if floor is not None and tells_nothing(report, floor):
            return CheckError(
                f"Nothing can be told of a cast of {self._source} on these inputs: {floor}.",
                mend="Nothing was written. Give data that fits the model: --calibration DATA",
            )
        report = self._reference.located(report, path)
        fact = f"The cast model differs from {self._source}: {describe_failure(report)}"
        is_half = report.precision == "fp16"
        if is_half and floor is not None and floor.db - HALF_COSTS_DB < report.min_sqnr_db:
            fact += f" No half is near it on these inputs: {floor}. Data that fits the model may"
            fact += " tell more (--calibration DATA)."
        return CheckError(
            fact,
            mend=f"Nothing was written. {NEARER[report.precision]}\n"
            "Or ask for less: edgeattn cast --min-sqnr DB",
        )

    def _runs(self, path: Path, optimisations: Sequence[Optimisations]) -> Iterator[Run]:
        """Run a file on every batch, and yield all batches as one run."""
        runs = runs_of(path, self._batches, optimisations)
        for _, group in itertools.groupby(runs, key=lambda run: run.optimisations):
            parts = list(group)
            outputs = _joined([run.outputs for run in parts])
            yield replace(parts[0], batch=self._size, outputs=outputs)


def _batches(session: Session, samples: Samples) -> list[list[Array]]:
    """Return the samples as arrays in the inputs' order: one batch of all where it is open."""
    taken = [
        [feed[value.name] for value in session.inputs] for feed in itertools.islice(samples, MOST)
    ]
    if not session.has_open_batch:
        return taken
    return [[np.concatenate(arrays) for arrays in zip(*taken, strict=True)]]


def _joined(outputs: Sequence[Sequence[Array]]) -> list[Array]:
    """Return each output over all batches."""
    return [
        np.concatenate([np.atleast_1d(array) for array in arrays])
        for arrays in zip(*outputs, strict=True)
    ]
