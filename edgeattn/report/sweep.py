"""What a report of a sweep shows: its rows by where they ran, and which of them nothing beats."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from edgeattn.base.legible import all_legible, legible
from edgeattn.records.sweep import SweepRow
from edgeattn.records.trace import Evidence
from edgeattn.report.headline import Headline

SCHEMA_VERSION: Literal[1] = 1
ARTIFACT: Final = "sweep"

#: By what rows of a place are told apart, and what each is called.
FACETS: Final[dict[str, Callable[[SweepRow], str]]] = {
    "model": lambda row: row.model,
    "attention": lambda row: row.attention or "plain",
    "at": lambda row: row.at or ("as published" if row.attention else ""),
    "precision": lambda row: row.precision,
    "runtime": lambda row: row.runtime,
    "target": lambda row: row.target or "stock",
    "opset": lambda row: str(row.opset),
    "options": lambda row: row.options,
}
EVIDENCES: Final[tuple[Evidence, ...]] = ("measured", "predicted")
#: What the interval of a per cent is called.
INTERVALS: Final[dict[Evidence, str]] = {"measured": "95 %", "predicted": "90 %, predicted"}
#: What latency is set against.
MEASURES: Final[dict[str, str]] = {"params": "parameters", "macs": "MACs"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where rows can be set beside each other: one device in one power mode, measured or predicted.

    Attributes:
        title: What it is called: of two with one name, its address too.
    """

    evidence: Evidence
    device: str
    power_mode: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What a report of a sweep shows.

    Attributes:
        rows: What its jobs found.
        failed: Jobs that failed, each with the reason.
        title: Its heading.
        command: The command that made it.
        places: Where each row ran, in the order of the rows.
        front: The measures against which nothing beats a row: nothing at its place has both a
            lower latency and less of it. Plain models, which beat all that is made of them, are
            left out where there are others.
    """

    rows: tuple[SweepRow, ...]
    failed: Mapping[str, str]
    title: str
    command: str = ""
    places: tuple[Place, ...] = field(init=False)
    front: tuple[tuple[str, ...], ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "places", tuple(_places(self.rows)))
        object.__setattr__(self, "front", tuple(_fronts(self)))

    def by_place(self) -> dict[Place, list[int]]:
        """Return the numbers of rows by where they ran; what was measured comes first."""
        found: dict[Place, list[int]] = {}
        for at, place in enumerate(self.places):
            found.setdefault(place, []).append(at)
        return dict(sorted(found.items(), key=lambda one: one[0].evidence))


def sweep_of(
    rows: Sequence[SweepRow], failed: Mapping[str, str], *, title: str = "", command: str = ""
) -> Sweep:
    """Return what a report of a sweep shows.

    Args:
        rows: What its jobs found.
        failed: Jobs that failed, each with the reason.
        title: The heading; by default, what the rows are of.
        command: The command that made it.
    """
    return Sweep(
        rows=tuple(rows), failed=dict(failed), title=title or _title(rows), command=command
    )


def to_show(found: Sweep) -> Sweep:
    """Return a sweep whose names can be shown: on a terminal, in HTML, and in other programs."""
    return sweep_of(
        [_row_to_show(row) for row in found.rows],
        all_legible(dict(found.failed)),
        title=legible(found.title),
        command=legible(found.command),
    )


def _row_to_show(row: SweepRow) -> SweepRow:
    said = row.model_dump(mode="json")
    shown = all_legible(said)
    return row if shown == said else SweepRow.model_validate(shown)


def document_of(found: Sweep) -> dict[str, Any]:
    """Return a sweep as JSON."""
    return {
        "schema_version": SCHEMA_VERSION,
        "artifact": ARTIFACT,
        "title": found.title,
        "rows": [
            row.model_dump(mode="json") | {"on_front": front}
            for row, front in zip(found.rows, found.front, strict=True)
        ],
        "failed": [{"job": job, "fact": fact} for job, fact in found.failed.items()],
        "command": found.command,
    }


def counted(number: int, what: str) -> str:
    """Return how many there are of a thing: 1 model, 5 models."""
    return f"{number:,} {what}{'s' if number != 1 else ''}"


def headline_of(found: Sweep) -> Headline:
    """Put what a sweep shows into a headline: between what attention costs the least and most.

    It is of what was measured, if anything was.
    """
    evidence: Evidence = "measured" if _of(found, "measured") else "predicted"
    rows = _of(found, evidence)
    costs = [(one.above_percent, one) for one in rows if one.above_percent is not None]
    failed = f"{len(found.failed)} failed" if found.failed else ""
    said = ", ".join(filter(None, (counted(len(found.rows), "row"), failed)))
    if not costs:
        return Headline(subject=found.title, said=said, cost="", more=())
    least, most = (pick(costs, key=lambda one: one[0]) for pick in (min, max))
    return Headline(
        subject=found.title,
        said=said,
        cost=f"{least[0]:+.1f} to {most[0]:+.1f} % above plain, {evidence}",
        more=(f"Least {_named(least[1])}, most {_named(most[1])}.",),
    )


def hidden_us(row: SweepRow) -> float | None:
    """Return what a row's sites take that their MACs do not explain; None of the plain model."""
    if not row.sites:
        return None
    return sum(one.time_us - (one.macs_us or 0.0) for one in row.sites)


def _of(found: Sweep, evidence: Evidence) -> list[SweepRow]:
    return [row for row in found.rows if row.evidence == evidence]


def _named(row: SweepRow) -> str:
    at = f" at {row.at}" if row.at else ""
    return f"{FACETS['attention'](row)}{at} on {row.model}, {row.title}"


def _title(rows: Sequence[SweepRow]) -> str:
    if not rows:
        return "Nothing was found"
    attentions = counted(len({row.attention for row in rows if row.attention}), "attention")
    models = counted(len({row.model for row in rows}), "model")
    return f"{attentions}, {models}, {counted(len({row.device for row in rows}), 'device')}"


def _places(rows: Sequence[SweepRow]) -> Iterable[Place]:
    """Return where each row ran."""
    devices: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        devices.setdefault((row.title, row.power_mode), set()).add(row.device)
    for row in rows:
        title = ", ".join(filter(None, (row.title, row.power_mode)))
        is_one = len(devices[row.title, row.power_mode]) == 1
        yield Place(
            evidence=row.evidence,
            device=row.device,
            power_mode=row.power_mode,
            title=title if is_one else f"{title} ({row.device})",
        )


def _fronts(found: Sweep) -> Iterable[tuple[str, ...]]:
    """Return against which measures each row is on the front of its place."""
    on = {
        measure: {
            at
            for numbers in found.by_place().values()
            for at in _front(found.rows, numbers, measure)
        }
        for measure in MEASURES
    }
    return (
        tuple(measure for measure in MEASURES if at in on[measure]) for at in range(len(found.rows))
    )


def _front(rows: Sequence[SweepRow], numbers: Sequence[int], measure: str) -> Iterable[int]:
    """Yield the rows that nothing beats in latency and in a measure, which it has, at once."""
    known = [at for at in numbers if getattr(rows[at], measure) is not None]
    compared = [at for at in known if rows[at].attention] or known
    best, best_at = math.inf, -math.inf
    for at in sorted(compared, key=lambda one: (getattr(rows[one], measure), rows[one].latency_ms)):
        value, latency_ms = getattr(rows[at], measure), rows[at].latency_ms
        if latency_ms < best or (latency_ms == best and value == best_at):
            best, best_at = latency_ms, value
            yield at


def by_reason(failed: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the jobs that failed by the reason, what most of them have in common first."""
    found: dict[str, list[str]] = {}
    for job, reason in failed.items():
        found.setdefault(reason, []).append(job)
    return dict(sorted(found.items(), key=lambda one: -len(one[1])))
