"""The ladder: a model step by step from its source to its engine, and the first rung that falls.

Each rung is compared with the rung below and with the start. Rungs above one that fell are not
climbed: they stand on it. A rung that cannot be climbed here is said to be so, and never passes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from edgeattn.base.errors import CheckError, InputError, MissingError
from edgeattn.parity.bisect import first_difference_of_files
from edgeattn.parity.compare import Run, summarise
from edgeattn.parity.metrics import Tolerance
from edgeattn.parity.report import describe_failure
from edgeattn.records.ladder import Comparison, Ladder, Rung
from edgeattn.records.parity import ParityReport
from edgeattn.runtimes.onnxruntime import Array
from edgeattn.workflows.ladder.rungs import Made, Side, Step

_NOT_WITH_RANDOM: Final = (
    "Not climbed with random weights: the model amplifies rounding until torch's own float32 result"
    " is {db:.0f} dB from float64's."
)
_NOTHING_TOLD: Final = (
    " Nothing can be told from that: the model amplifies rounding until torch's own float32 result"
    " is {db:.0f} dB from float64's."
)


def climb(
    model: str,
    sides: Sequence[Side],
    steps: Sequence[Step],
    *,
    notes: list[str],
    on_stage: Callable[[str], None] = lambda _: None,
) -> Ladder:
    """Climb rung by rung, until one falls.

    Args:
        model: What is climbed with, for the report.
        sides: The model with its own weights, and with random ones where it is torch's.
        steps: The rungs, from the lowest.
        notes: What the user should know; rungs add to it.
        on_stage: Called with the name of each rung as it begins.

    Returns:
        The report. Whether a rung fell is for the caller to judge.

    Raises:
        InputError: A rung cannot be made of this model, or not as it was asked.
    """
    start = sides[0].below
    standing = list(sides)
    rungs: list[Rung] = []
    for step in steps:
        fallen = next((one for one in rungs if one.state == "fell"), None)
        if fallen is not None:
            reason = f"It stands on {fallen.rung}, which fell."
            rungs.append(_not_climbed(step, reason))
            continue
        on_stage(step.name)
        began = time.perf_counter()
        rung = _climbed(step, standing, start, notes)
        seconds = round(time.perf_counter() - began, 3)
        rungs.append(rung.model_copy(update={"seconds": seconds}))
    fell = next((one for one in rungs if one.state == "fell"), None)
    return Ladder(
        model=model,
        start=start,
        rungs=tuple(rungs),
        first_fall=None if fell is None else fell.rung,
        first_difference=None if fell is None else fell.first_difference,
        notes=tuple(notes),
    )


def _climbed(step: Step, standing: list[Side], start: str, notes: list[str]) -> Rung:
    """Take every side up one rung; a side of which nothing can be told stays behind."""
    comparisons: list[Comparison] = []
    for side in [one for one in standing if one.weights in step.weights]:
        try:
            made = step.make(side, side.path)
        except MissingError as error:
            return _not_climbed(step, " ".join(filter(None, [error.fact, error.mend])))
        except CheckError as error:
            return _fell(step, comparisons, error.fact, None)
        try:
            runs = list(made.runs)
        except InputError as error:
            fact = error.fact.replace(str(made.path), step.name)  # it lies in a scratch folder
            return _fell(step, comparisons, fact, None)
        except MissingError as error:
            return _not_climbed(step, error.fact)
        found = [_compared(step, side, runs, side.below, side.outputs)]
        if side.below != start:
            found.append(_compared(step, side, runs, start, side.references))
        chaos_db = _chaos_db(side, found)
        if side.weights == "random" and chaos_db is not None:
            standing.remove(side)
            notes.append(_NOT_WITH_RANDOM.format(db=chaos_db))
            continue
        comparisons += [one for one, _ in found]
        failed = next((pair for pair in found if not pair[1].passed), None)
        if failed is not None or made.fault:
            return _fallen(step, side, made, failed, comparisons)
        side.below, side.path = step.name, made.path
        side.outputs = {run.batch: run.outputs for run in runs if run.optimisations == "off"}
    return Rung(
        rung=step.name,
        state="passed",
        precision=step.tolerance.precision,
        comparisons=tuple(comparisons),
    )


def _compared(
    step: Step,
    side: Side,
    runs: Sequence[Run],
    against: str,
    references: Mapping[int, Sequence[Array]],
) -> tuple[Comparison, ParityReport]:
    """Compare the runs of a rung; in float32, by the model's own rounding where that is large."""
    report = _report(side, runs, references, step.tolerance)
    if not report.passed and step.tolerance.precision == "fp32" and side.floor_db is not None:
        from edgeattn.parity.rounding import relaxed_by

        report = _report(side, runs, references, relaxed_by(step.tolerance, side.floor_db))
    comparison = Comparison(
        against=against,
        weights=side.weights,
        passed=report.passed,
        max_rel_tolerance=report.max_rel_tolerance,
        min_sqnr_db=report.min_sqnr_db,
        runs=len(report.cases),
        outputs=report.outputs,
    )
    return comparison, report


def _report(
    side: Side,
    runs: Sequence[Run],
    references: Mapping[int, Sequence[Array]],
    tolerance: Tolerance,
) -> ParityReport:
    cases = [run.judge(references, weights=side.weights, tolerance=tolerance) for run in runs]
    return summarise(cases, tolerance)


def _chaos_db(side: Side, found: Sequence[tuple[Comparison, ParityReport]]) -> float | None:
    """Return the rounding floor where a difference says nothing, because it lies so low."""
    from edgeattn.parity.rounding import LOWEST_FLOOR_DB

    if all(report.passed for _, report in found) or side.floor_db is None:
        return None
    return side.floor_db if side.floor_db < LOWEST_FLOOR_DB else None


def _fallen(
    step: Step,
    side: Side,
    made: Made,
    failed: tuple[Comparison, ParityReport] | None,
    comparisons: Sequence[Comparison],
) -> Rung:
    """Return why a rung fell, and where the difference begins."""
    if failed is None:
        return _fell(step, comparisons, made.fault, _between(side, made, step.tolerance))
    comparison, report = failed
    tolerance = Tolerance(
        precision=report.precision,
        max_rel=report.max_rel_tolerance,
        min_sqnr_db=report.min_sqnr_db,
    )
    is_start = side.path == Path() or comparison.against != side.below
    first = side.locate(made.path, tolerance) if is_start else _between(side, made, tolerance)
    report = report.model_copy(update={"first_difference": first})
    reason = f"It differs from {comparison.against}: {describe_failure(report)}"
    if (chaos_db := _chaos_db(side, [failed])) is not None:
        reason += _NOTHING_TOLD.format(db=chaos_db)
    return _fell(step, comparisons, reason, first)


def _between(side: Side, made: Made, tolerance: Tolerance) -> str | None:
    """Find the first difference between a rung and the file below."""
    if made.locate is not None:
        return made.locate(tolerance)
    arrays = next(iter(side.arrays.values()))
    return first_difference_of_files(made.path, side.path, arrays, tolerance)


def _fell(step: Step, comparisons: Sequence[Comparison], reason: str, first: str | None) -> Rung:
    return Rung(
        rung=step.name,
        state="fell",
        precision=step.tolerance.precision,
        comparisons=tuple(comparisons),
        first_difference=first,
        reason=reason,
    )


def _not_climbed(step: Step, reason: str) -> Rung:
    return Rung(
        rung=step.name,
        state="not climbed",
        precision=step.tolerance.precision,
        reason=" ".join(reason.split()),
    )
