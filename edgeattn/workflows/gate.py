"""Gate: whether models keep a limit, against what they were run with or what was saved before.

What was saved is set side by side by commit too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgeattn.base.errors import InputError
from edgeattn.profiling import samples
from edgeattn.profiling.gate import Check, Gate, Limit
from edgeattn.profiling.predict.difference import difference as predicted
from edgeattn.records.trace import RUNTIMES, Difference, SavedRow, Trace
from edgeattn.report.content import Report, Row
from edgeattn.report.history import History, Run, history_of, how
from edgeattn.report.saved import read_saved

#: Of two that were measured at different times.
APART: Final = (
    "It was not run in the same rounds: the interval has the spread of both runs, and nothing of"
    " what changed in between."
)
_OTHERWISE = "One of both was saved by an edgeattn that did not tell processes apart."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Figures:
    latency_ms: float
    latency_interval_ms: tuple[float, float] | None
    above_ms: float | None = None
    above_percent: float | None = None
    above_interval_percent: tuple[float, float] | None = None


def gate(
    report: Report,
    limit: Limit,
    *,
    baseline: Sequence[SavedRow] | None = None,
    is_strict: bool = False,
) -> Gate:
    """Judge the models of a report.

    Args:
        report: The report.
        limit: What they may take.
        baseline: What was saved before of the same models; None to compare each with what it was
            run with, where the limit is of a difference.
        is_strict: Whether not to be able to tell counts as to fail.

    Raises:
        InputError: Nothing is compared with anything.
    """
    if limit.is_of_two and baseline is not None:
        checks, new = _against(report, limit, [one.trace for one in baseline])
        return Gate(limit=limit, checks=tuple(checks), new=tuple(new), is_strict=is_strict)
    checks = list(_checks(report, limit))
    if not checks:
        raise InputError(
            f"--fail-above {limit} is of what a model takes above another, and none is compared.",
            mend="Add --against FILE, --baseline SAVED.json, or a limit in all: --fail-above 8ms",
        )
    return Gate(limit=limit, checks=tuple(checks), is_strict=is_strict)


def history(paths: Sequence[Path], *, command: str = "") -> History:
    """Read saved results, and put them in the order of their commits.

    Args:
        paths: What profile or compare wrote.
        command: The command line to record.

    Raises:
        InputError: A file is not there, is cut off, is something else, or of another schema.
    """
    runs = [Run(file=path.name, trace=row.trace) for path in paths for row in read_saved([path])]
    return history_of(runs, _since, command=command)


def _checks(report: Report, limit: Limit) -> Iterator[Check]:
    """Judge each model by itself, or above the first that ran as it did."""
    for row in report.rows:
        against = _name(report, report.first(row)) if limit.is_of_two else ""
        if row.difference is not None or not limit.is_of_two:
            yield _check(_name(report, row), against, limit, row.trace, row.difference)


def _against(report: Report, limit: Limit, saved: Sequence[Trace]) -> tuple[list[Check], list[str]]:
    """Judge each model above what was saved of it; return the models that were not saved too."""
    checks, new = [], []
    for row in report.rows:
        there = [one for one in saved if _are_comparable(one, row.trace)]
        same = [one for one in there if _named(one) == _named(row.trace)]
        if not same and len(report.rows) == len(there) == 1:
            same = there
        if not same:
            new.append(_name(report, row))
            continue
        before = same[-1]
        label = " ".join(filter(None, _named(before)))
        above, notes = _since(row.trace, before), []
        if row.trace.evidence == "measured":
            notes = [APART]
            if not before.generations or not row.trace.generations:
                notes.append(_OTHERWISE)
        label = f"{label} of {before.commit.short}" if before.commit else f"{label} as saved"
        note = " ".join(notes)
        checks.append(_check(_name(report, row), label, limit, row.trace, above, note))
    if not checks:
        raise InputError(
            f"The baseline has nothing to compare {new[0]} with. It has"
            f" {'; '.join(dict.fromkeys(map(_told, saved)))}. This is"
            f" {_told(report.rows[0].trace)}.",
            mend="Saved results are compared by model, runtime, precision and device. Of models on"
            " a machine that changes, run both: --against FILE",
        )
    return checks, new


def _since(now: Trace, before: Trace) -> Difference:
    """Return how a model's latency differs from what it was before."""
    if now.evidence == "measured":
        return samples.apart(now, before)
    return predicted(
        now.kernels,
        now.latency_ms.p50,
        before.kernels,
        before.latency_ms.p50,
        now.shared_spread,
    )


def _check(
    model: str, against: str, limit: Limit, trace: Trace, above: Difference | None, note: str = ""
) -> Check:
    figures = _Figures(latency_ms=trace.latency_ms.p50, latency_interval_ms=samples.spread(trace))
    if above is not None:
        figures = _Figures(
            latency_ms=figures.latency_ms,
            latency_interval_ms=figures.latency_interval_ms,
            above_ms=above.p50_ms,
            above_percent=above.percent,
            above_interval_percent=above.bounds,
        )
    found = limit.bounds(figures)
    assert found is not None, "it is compared with something, or is limited in all"
    return Check(model=model, against=against, found=found, verdict=limit.verdict(found), note=note)


def _name(report: Report, row: Row) -> str:
    name = row.label
    if len({one.device for one in report.rows}) > 1:
        name += f" on {row.device}"
    if len({one.trace.evidence for one in report.rows}) > 1:
        name += f", {row.trace.evidence}"
    return name


def _named(trace: Trace) -> tuple[str, str]:
    return trace.name, trace.variant


def _are_comparable(a: Trace, b: Trace) -> bool:
    """Return whether two figures have in common what decides them, but for the model."""
    is_batch = None in (a.batch, b.batch) or a.batch == b.batch  # older files do not tell it
    return is_batch and how(a) == how(b)


def _told(trace: Trace) -> str:
    named = " ".join(filter(None, (*_named(trace), trace.precision)))
    where = trace.machine.host or trace.machine.title
    batch = f" at batch {trace.batch}" if (trace.batch or 1) > 1 else ""
    return f"{named}{batch} ({trace.evidence}, {RUNTIMES[trace.runtime]} on {where})"
