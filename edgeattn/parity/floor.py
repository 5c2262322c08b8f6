"""The rounding floor: how far a reference is from itself, where it amplifies rounding.

Some models amplify rounding errors from layer to layer, or end in numbers that float32 hardly
resolves (a detector that sees nothing). Two correct float32 results of such a model differ by more
than the tolerance. What a reference misses itself by is measured then, and what lies near that is
no fault of the candidate's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from edgeattn.parity.metrics import Tolerance
from edgeattn.records.parity import Optimisations, OutputParity, ParityCase, ParityReport
from edgeattn.runtimes.onnxruntime import Array

#: Two results that are each at the floor differ by 3 dB more; the rest is room for another order
#: of summation.
_MARGIN_DB: Final = 10.0
#: Half has 13 bits of significand fewer than float32.
HALF_COSTS_DB: Final = 78.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """How far a reference is from itself.

    Attributes:
        off: Each output at its worst, for runs with ONNX Runtime's optimisations off.
        on: The same, for those with them on.
        lowest_db: Below this, hardly anything could be told from rounding, so nothing is proven.
        reason: What was measured, in words, with a place for `db`.
    """

    off: Sequence[OutputParity]
    on: Sequence[OutputParity]
    lowest_db: float
    reason: str

    @property
    def db(self) -> float:
        """The smallest SQNR of all outputs, optimisations off, in dB."""
        return min(map(_db, self.off), default=float("inf"))

    def __str__(self) -> str:
        """Return what was measured, in words."""
        return self.reason.format(db=self.db)

    def of(self, optimisations: Optimisations) -> Sequence[OutputParity]:
        """Return that of each output for one kind of runs."""
        return self.on if optimisations == "on" else self.off


def relaxed_by(tolerance: Tolerance, floor_db: float, *, lowest_db: float) -> Tolerance:
    """Return the tolerance for a model whose rounding floor lies this low.

    Returns:
        The same one where the floor lies high enough for it, or too low to tell anything.
    """
    lowest = min(tolerance.min_sqnr_db, floor_db - _MARGIN_DB)
    if floor_db < lowest_db or lowest == tolerance.min_sqnr_db:
        return tolerance
    factor = 10 ** ((tolerance.min_sqnr_db - lowest) / 20)
    return replace(tolerance, min_sqnr_db=lowest, max_rel=tolerance.max_rel * factor)


def judge(case: ParityCase, tolerance: Tolerance, floor: Floor) -> ParityCase:
    """Judge each output of a case by its rounding floor, where that lies too low for the tolerance.

    Args:
        case: The case, measured against the reference.
        tolerance: The tolerance for a model that does not amplify rounding.
        floor: What was measured of the reference.

    Returns:
        The case with its verdicts, and the lowest floor that bears on one.
    """
    outputs, floors = [], []
    for output, own in zip(case.outputs, floor.of(case.optimisations), strict=True):
        passed = output.passed or is_rounding(output, own, tolerance, floor.lowest_db)
        if not output.passed and (passed or _db(own) < floor.lowest_db):
            floors.append(_db(own))
        outputs.append(output.model_copy(update={"passed": passed}))
    return case.model_copy(
        update={"outputs": tuple(outputs), "rounding_floor_db": min(floors, default=None)}
    )


def tells_nothing(report: ParityReport, floor: Floor) -> bool:
    """Return whether all that fails in a report has a floor too low to tell anything."""
    return not report.passed and all(
        _db(own) < floor.lowest_db
        for case in report.cases
        for output, own in zip(case.outputs, floor.of(case.optimisations), strict=True)
        if not output.passed
    )


def nudged(inputs: Sequence[Array], seed: int) -> list[Array]:
    """Return inputs of which every float is the next one above or below, at random.

    Arrays that hold whole numbers alone stay: those may be indices, whatever their type.
    """
    generator = np.random.default_rng(seed)
    moved = []
    for array in inputs:
        if array.dtype.kind == "f" and not np.array_equal(array, np.rint(array)):
            up = generator.integers(0, 2, array.shape, dtype=np.bool_)
            towards = np.where(up, np.inf, -np.inf).astype(array.dtype)
            array = np.nextafter(array, towards)  # noqa: PLW2901 - the same values, nearly
        moved.append(array)
    return moved


def is_rounding(
    output: OutputParity, floor: OutputParity, tolerance: Tolerance, lowest_db: float
) -> bool:
    """Return whether what an output differs by is no more than its reference does by itself."""
    if floor.sqnr_db is None or floor.sqnr_db < lowest_db:
        return False
    relaxed = relaxed_by(tolerance, floor.sqnr_db, lowest_db=lowest_db)
    most = max(relaxed.max_rel, floor.max_rel * 10 ** (_MARGIN_DB / 20))
    return replace(relaxed, max_rel=most).admits(output.max_rel, output.sqnr_db)


def _db(output: OutputParity) -> float:
    return float("inf") if output.sqnr_db is None else output.sqnr_db
