"""A sweep on a terminal: of each device the rows that cost least, and what failed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from edgeattn.records.sweep import SweepRow
from edgeattn.report.grid import table
from edgeattn.report.sweep import (
    FACETS,
    INTERVALS,
    Place,
    Sweep,
    counted,
    headline_of,
    to_show,
)
from edgeattn.report.table import bar, evidence_badge
from edgeattn.report.units import count, milliseconds

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

# Against what a row is on the front, in few letters.
_FRONTS: Final = {"params": "params", "macs": "MACs"}
# What rows of one place may differ in, beside the model and the attention.
_WAYS: Final = ("at", "opset", "precision", "target", "runtime", "options")


def lines(found: Sweep, *, top: int | None) -> Iterator[RenderableType]:
    """Return what is printed of a sweep.

    Args:
        found: The sweep.
        top: How many rows of each place are shown, those that cost least above the plain model,
            and how many jobs that failed; None for all.
    """
    from rich.text import Text

    found = to_show(found)
    said = headline_of(found)
    yield Text(str(said), style="bold red")
    yield from said.more
    for place, numbers in found.by_place().items():
        yield ""
        badge = evidence_badge(place.evidence)
        runtimes = {found.rows[at].runtime for at in numbers}
        by = f", by {runtimes.pop()}" if len(runtimes) == 1 else ""
        yield Text.assemble(badge, f" on {place.title}: {counted(len(numbers), 'row')}{by}")
        yield _table(found, place, numbers, top)
        if top is not None and top < len(numbers):
            yield f"… and {len(numbers) - top} more"
    if found.failed:
        yield ""
        yield Text(f"{len(found.failed)} failed", style="bold yellow")
        for job, reason in list(found.failed.items())[:top]:
            yield f"{job}: {reason}"
        if top is not None and len(found.failed) > top:
            yield f"… and {len(found.failed) - top} more"


def _table(found: Sweep, place: Place, numbers: Sequence[int], top: int | None) -> Table:
    rows = [found.rows[at] for at in numbers]
    ways = [way for way in _WAYS if len({FACETS[way](row) for row in rows if row.attention}) > 1]
    first = 2 + len(ways)
    made = table(
        "model", "attention", *ways, "latency", "interval, ms", "above", "%",
        INTERVALS[place.evidence], "", "params", "MACs", "kernels", "front",
        right=[*range(first, first + 5), *range(first + 6, first + 9)],
    )  # fmt: skip
    for column in made.columns[2:]:
        column.no_wrap = True
    by_cost = sorted(numbers, key=lambda at: _cost(found.rows[at]))
    most = max((row.above_percent or 0.0 for row in rows), default=0.0)
    for at in by_cost[:top]:
        row = found.rows[at]
        above = row.above_percent
        made.add_row(
            row.model,
            FACETS["attention"](row),
            *(FACETS[way](row) for way in ways),
            milliseconds(row.latency_ms),
            _bounds(row.latency_interval_ms, "{:.3g} … {:.3g}"),
            "" if row.above_ms is None else milliseconds(row.above_ms),
            "" if above is None else f"{above:+.1f}",
            _bounds(row.above_interval_percent, "{:+.1f} … {:+.1f}"),
            bar(above or 0.0, most),
            count(row.params),
            count(row.macs),
            str(row.kernels),
            ", ".join(_FRONTS[measure] for measure in found.front[at]),
        )
    return made


def _cost(row: SweepRow) -> tuple[bool, float, float]:
    """Return what rows are ordered by: what they cost above the plain model, if it is known."""
    above = row.above_percent
    return above is None, above or 0.0, row.latency_ms


def _bounds(bounds: tuple[float, float] | None, form: str) -> str:
    return "" if bounds is None else form.format(*bounds)
