"""What a model took, commit by commit: saved results in the order of their commits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from edgeattn.base.legible import all_legible, legible
from edgeattn.profiling import samples
from edgeattn.records.trace import RUNTIMES, Difference, Evidence, Trace
from edgeattn.report.grid import table
from edgeattn.report.table import bar, interval_title
from edgeattn.report.units import milliseconds

if TYPE_CHECKING:
    from rich.console import RenderableType

SCHEMA_VERSION: Literal[1] = 1
_LONGEST: Final = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One saved result.

    Attributes:
        file: The file that it is from.
        trace: The trace.
        change: How its latency differs from that of the run before it; None of the first.
    """

    file: str
    trace: Trace
    change: Difference | None = None

    @property
    def name(self) -> str:
        """Its commit, or its file where there is none."""
        return self.trace.commit.short if self.trace.commit else self.file

    @property
    def date(self) -> str:
        """The day of its commit; "" if that is not known."""
        return self.trace.commit.date[:10] if self.trace.commit else ""

    @property
    def subject(self) -> str:
        """The first line of its commit's message."""
        return self.trace.commit.subject if self.trace.commit else ""

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Between what bounds its latency lies."""
        return samples.spread(self.trace)

    @property
    def verdict(self) -> Literal["", "faster", "slower"]:
        """Whether it differs from the run before, as far as the interval tells."""
        bounds = self.change.bounds if self.change else None
        if bounds is None or bounds[0] <= 0 <= bounds[1]:
            return ""
        return "slower" if bounds[0] > 0 else "faster"


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One model on one device, in the order of its commits.

    Attributes:
        title: What it is, on what, by what.
        evidence: Whether it was measured or predicted.
        runs: The runs.
    """

    title: str
    evidence: Evidence
    runs: tuple[Run, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What a report of saved results by commit shows."""

    title: str
    series: tuple[Series, ...]
    command: str = ""


def how(trace: Trace) -> tuple[str, ...]:
    """Return what two figures must have in common to be compared, but for the model."""
    machine = trace.machine
    where = machine.device if trace.evidence == "predicted" else machine.host or machine.title
    return trace.evidence, trace.runtime, trace.precision, where, machine.power_mode


def history_of(
    runs: Sequence[Run], change: Callable[[Trace, Trace], Difference], *, command: str = ""
) -> History:
    """Put saved results in order.

    Args:
        runs: The results, in the order of their files; those of a model without all of their
            commits stay in it.
        change: Returns how a trace differs from an earlier one.
        command: The command that made it.
    """
    groups: dict[tuple[object, ...], list[Run]] = {}
    for one in runs:
        trace = one.trace
        key = (trace.name, trace.variant, trace.batch, *how(trace))
        groups.setdefault(key, []).append(one)
    series = []
    for some in map(_in_order, groups.values()):
        chained = [
            replace(one, change=change(one.trace, some[at - 1].trace) if at else None)
            for at, one in enumerate(some)
        ]
        first = some[0].trace
        title = _title(first)
        series.append(Series(title=title, evidence=first.evidence, runs=tuple(chained)))
    names = list(dict.fromkeys(one.trace.name for one in runs))
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return History(title=f"{names[0]}{more} by commit", series=tuple(series), command=command)


def _in_order(runs: list[Run]) -> list[Run]:
    """Return runs in the order of their commits, as they are where one has none."""
    dates = [date for one in runs if (date := _date(one)) is not None]
    if len(dates) < len(runs):
        return runs
    return [runs[at] for at in sorted(range(len(runs)), key=dates.__getitem__)]


def _date(run: Run) -> datetime | None:
    try:
        found = datetime.fromisoformat(run.trace.commit.date if run.trace.commit else "")
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _title(trace: Trace) -> str:
    where = trace.machine.host or trace.machine.title
    batch = f"batch {trace.batch}" if (trace.batch or 1) > 1 else ""
    named = " ".join(filter(None, (trace.name, trace.variant)))
    mode = trace.machine.power_mode
    told = (trace.precision, batch, RUNTIMES[trace.runtime], " ".join(filter(None, (where, mode))))
    return ", ".join(filter(None, (named, *told)))


def to_show(found: History) -> History:
    """Return a history whose names can be shown."""
    series = [
        replace(
            one,
            title=legible(one.title),
            runs=tuple(
                replace(
                    run,
                    file=legible(run.file),
                    trace=Trace.model_validate(all_legible(run.trace.model_dump())),
                )
                for run in one.runs
            ),
        )
        for one in found.series
    ]
    return History(title=legible(found.title), series=tuple(series), command=legible(found.command))


def document_of(found: History) -> dict[str, Any]:
    """Return a history as JSON."""
    return {
        "schema_version": SCHEMA_VERSION,
        "artifact": "history",
        "title": found.title,
        "series": [
            {
                "title": one.title,
                "model": one.runs[0].trace.name,
                "variant": one.runs[0].trace.variant,
                "evidence": one.evidence,
                "runs": [
                    {
                        "file": run.file,
                        "commit": run.trace.commit and run.trace.commit.model_dump(),
                        "latency_ms": run.trace.latency_ms.p50,
                        "interval_ms": run.bounds,
                        "change": run.change and run.change.model_dump(),
                        "verdict": run.verdict,
                    }
                    for run in one.runs
                ],
            }
            for one in found.series
        ],
        "command": found.command,
    }


def lines(found: History) -> Iterator[RenderableType]:
    """Return what is printed of a history: a table of each model."""
    from rich.text import Text

    for one in to_show(found).series:
        style = "black on green" if one.evidence == "measured" else "black on yellow"
        yield Text.assemble((f" {one.evidence.upper()} ", style), f" {one.title}")
        change = next((run.change for run in one.runs if run.change), None)
        title = interval_title(change) if change else ""
        grid = table(
            "commit", "day", "", "latency", "interval", "since the last", title, "", "",
            right=range(3, 7),
        )  # fmt: skip
        most = max(run.trace.latency_ms.p50 for run in one.runs)
        for run in one.runs:
            grid.add_row(
                run.name,
                run.date,
                run.subject[:_LONGEST],
                milliseconds(run.trace.latency_ms.p50),
                "" if run.bounds is None else " … ".join(map(milliseconds, run.bounds)),
                "" if run.change is None else f"{run.change.percent:+.1f} %",
                "{:+.1f} … {:+.1f}".format(*run.change.bounds)
                if run.change and run.change.bounds
                else "",
                run.verdict,
                bar(run.trace.latency_ms.p50, most),
                style={"slower": "red", "faster": "green"}.get(run.verdict),
            )
        yield grid
        yield ""
    yield "note: Runs of two commits were not run in the same rounds: an interval has both runs'"
    yield "      own spread, and nothing of what else changed in between."
