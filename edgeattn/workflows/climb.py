"""Climbing a ladder: each step is compared, and the first that falls ends the climb.

Each rung is compared with the rung below and with the start. Rungs above one that fell are not
climbed: they stand on it. A rung that cannot be climbed here is said to be so, and never passes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from edgeattn.base.errors import CheckError, InputError, MissingError
from edgeattn.parity.compare import Reference, Run, compare_runs, summarise
from edgeattn.parity.floor import Floor, judge, relaxed_by, tells_nothing
from edgeattn.parity.metrics import Tolerance
from edgeattn.parity.references import file_reference
from edgeattn.parity.report import describe_failure
from edgeattn.records.ladder import Comparison, Ladder, Rung
from edgeattn.records.parity import Optimisations, ParityReport
from edgeattn.workflows.pipeline import Candidate, Step

_NOT_WITH_RANDOM: Final = (
    "Not climbed with random weights: the model amplifies rounding until {floor}."
)
_NOTHING_TOLD: Final = " Nothing can be told from that: the model amplifies rounding until {floor}."


@dataclass(slots=True, kw_only=True)
class _Standing:
    """How far the model is up, with one kind of weights.

    Attributes:
        start: What the ladder stands on.
        below: What stands on the rung that is reached.
        rung: The name of that rung.
        path: The file that stands there; nothing stands at torch.
    """

    start: Reference
    below: Reference
    rung: str
    path: Path


def climb(
    model: str,
    start: str,
    references: Sequence[Reference],
    steps: Sequence[Step],
    *,
    path: Path = Path(),
    notes: list[str],
    on_stage: Callable[[str], None] = lambda _: None,
) -> Ladder:
    """Climb rung by rung, until one falls.

    Args:
        model: What is climbed with, for the report.
        start: The name of what the ladder stands on.
        references: That, with the model's own weights, and with random ones where it is torch's.
        steps: The rungs, from the lowest.
        path: The file that the ladder stands on, if it is one.
        notes: What the user should know; rungs add to it.
        on_stage: Called with the name of each rung as it begins.

    Returns:
        The report. Whether a rung fell is for the caller to judge.

    Raises:
        InputError: A rung cannot be made of this model, or not as it was asked.
        MissingError: What a rung that is asked for by name needs is not there.
    """
    standing = [_Standing(start=one, below=one, rung=start, path=path) for one in references]
    rungs: list[Rung] = []
    fell: Rung | None = None
    for step in steps:
        if fell is not None:
            rungs.append(_not_climbed(step, f"It stands on {fell.rung}, which fell."))
            continue
        on_stage(step.name)
        began = time.perf_counter()
        rung = _climbed(step, standing, start, notes)
        seconds = round(time.perf_counter() - began, 3)
        rungs.append(rung.model_copy(update={"seconds": seconds}))
        fell = rung if rung.state == "fell" else None
    return Ladder(
        model=model,
        start=start,
        rungs=tuple(rungs),
        first_fall=None if fell is None else fell.rung,
        first_difference=None if fell is None else fell.first_difference,
        notes=tuple(notes),
    )


def _climbed(step: Step, standing: list[_Standing], start: str, notes: list[str]) -> Rung:
    """Take the model up one rung; weights of which nothing can be told stay behind."""
    comparisons: list[Comparison] = []
    for one in [one for one in standing if one.start.weights in step.weights]:
        came = _run(step, one, comparisons)
        if isinstance(came, Rung):
            return came
        made, runs = came
        against = {one.rung: one.below, start: one.start}
        found = [_compared(step, runs, one.start, *pair) for pair in against.items()]
        if one.start.weights == "random" and (chaos := _chaos(one.start, found)):
            standing.remove(one)
            notes.append(_NOT_WITH_RANDOM.format(floor=chaos))
            continue
        comparisons += [comparison for comparison, _ in found]
        failed = next((pair for pair in found if not pair[1].passed), None)
        if failed is not None or made.fault:
            return _fallen(step, one, made, failed, comparisons)
        outputs = {run.batch: run.outputs for run in runs if run.optimisations == "off"}
        one.below = file_reference(made.path, one.start.inputs, outputs, weights=one.start.weights)
        one.rung, one.path = step.name, made.path
    return Rung(
        rung=step.name,
        state="passed",
        precision=step.tolerance.precision,
        comparisons=tuple(comparisons),
    )


def _run(
    step: Step, one: _Standing, comparisons: Sequence[Comparison]
) -> tuple[Candidate, list[Run]] | Rung:
    """Make what stands on a rung, and run it; or return why it is not climbed, or fell."""
    made = None
    try:
        made = step.make(one.start, one.path)
        return made, list(made.runs)
    except CheckError as error:
        return _fell(step, comparisons, error.fact, None)
    except MissingError as error:
        if step.is_asked:
            raise
        return _not_climbed(step, " ".join(filter(None, [error.fact, error.mend])))
    except InputError as error:
        if made is None or step.is_asked:
            raise
        fact = error.fact.replace(str(made.path), step.name)  # it lies in a scratch folder
        return _fell(step, comparisons, fact, None)


def _compared(
    step: Step, runs: Sequence[Run], start: Reference, against: str, reference: Reference
) -> tuple[Comparison, ParityReport]:
    """Compare the runs of a rung; in float32, by the model's own rounding where that is large."""

    def some(optimisations: Sequence[Optimisations]) -> list[Run]:
        return [run for run in runs if run.optimisations in optimisations]

    tolerance = step.tolerance
    report = compare_runs(some, replace(reference, measure_floor=None), tolerance)
    if not report.passed and tolerance.precision == "fp32" and start.floor is not None:
        cases = [judge(case, tolerance, start.floor) for case in report.cases]
        floor = start.floor
        report = summarise(cases, relaxed_by(tolerance, floor.db, lowest_db=floor.lowest_db))
    comparison = Comparison(
        against=against,
        weights=reference.weights,
        passed=report.passed,
        max_rel_tolerance=report.max_rel_tolerance,
        min_sqnr_db=report.min_sqnr_db,
        runs=len(report.cases),
        outputs=report.outputs,
    )
    return comparison, report


def _chaos(start: Reference, found: Sequence[tuple[Comparison, ParityReport]]) -> Floor | None:
    """Return the rounding floor where a difference says nothing, because it lies so low."""
    failed = [report for _, report in found if not report.passed]
    if not failed or start.floor is None:
        return None
    is_lost = all(tells_nothing(report, start.floor) for report in failed)
    return start.floor if is_lost else None


def _fallen(
    step: Step,
    one: _Standing,
    made: Candidate,
    failed: tuple[Comparison, ParityReport] | None,
    comparisons: Sequence[Comparison],
) -> Rung:
    """Return why a rung fell, and where the difference begins."""
    locate = made.locate or partial(one.below.locate, made.path)
    if failed is None:
        # The file below lies in a scratch folder.
        fault = made.fault.replace(str(one.path), one.rung)
        return _fell(step, comparisons, fault, locate(step.tolerance))
    comparison, report = failed
    if comparison.against != one.rung:
        locate = partial(one.start.locate, made.path)
    first = locate(Tolerance.of(report))
    report = report.model_copy(update={"first_difference": first})
    reason = f"It differs from {comparison.against}: {describe_failure(report)}"
    if (chaos := _chaos(one.start, [failed])) is not None:
        reason += _NOTHING_TOLD.format(floor=chaos)
    return _fell(step, comparisons, reason, first)


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
