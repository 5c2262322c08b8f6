"""A sweep as a page: a table that is sorted and filtered, and pictures of what is left.

What the scripts read is small, since sweeps are large: figures stand by column, names once each,
and what sites cost in a part of its own, which is read when sites are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Final

from edgeattn.records.sweep import SweepRow
from edgeattn.records.trace import KIND_TITLES
from edgeattn.report.html import in_script, page_of
from edgeattn.report.page_data import Strings, short
from edgeattn.report.palette import MARKS
from edgeattn.report.sweep import (
    FACETS,
    INTERVALS,
    MEASURES,
    Sweep,
    by_reason,
    headline_of,
    hidden_us,
    to_show,
)

#: So many rows stand in the page for who has no JavaScript.
ROWS_WITHOUT_SCRIPT: Final = 100
# So many jobs of one reason are named.
_FAILURES: Final = 200
_SCRIPTS: Final = (
    "dom.js", "units.js", "tip.js", "sweep-data.js", "sweep-table.js", "sweep-front.js",
    "sweep-heat.js", "sweep-sites.js", "sweep.js",
)  # fmt: skip
# Figures by which fronts are found are whole: what differs in no digit that is read may decide.
_WHOLE: Final = frozenset({"latency", *MEASURES})
_FIGURES: Final[dict[str, Callable[[SweepRow], float | None]]] = {
    "latency": lambda row: row.latency_ms,
    "low": lambda row: row.latency_interval_ms and row.latency_interval_ms[0],
    "high": lambda row: row.latency_interval_ms and row.latency_interval_ms[1],
    "aboveMs": lambda row: row.above_ms,
    "above": lambda row: row.above_percent,
    "aboveLow": lambda row: row.above_interval_percent and row.above_interval_percent[0],
    "aboveHigh": lambda row: row.above_interval_percent and row.above_interval_percent[1],
    "params": lambda row: row.params,
    "macs": lambda row: row.macs,
    "elementOps": lambda row: row.element_ops,
    "bytes": lambda row: row.traffic_bytes,
    "kernels": lambda row: row.kernels,
    "sitesUs": lambda row: row.attention_us,
    "hiddenUs": hidden_us,
    "energy": lambda row: row.energy_mj,
    "weights": lambda row: row.weights_bytes,
    "activations": lambda row: row.activations_bytes,
}


def render(found: Sweep) -> str:
    """Render a sweep as one HTML file, of which no part is fetched."""
    found = to_show(found)
    by_cost = sorted(range(len(found.rows)), key=lambda at: _cost(found.rows[at]))
    return page_of(
        "sweep.html.jinja",
        scripts=_SCRIPTS,
        styles=("sweep.css",),
        data=sweep_data(found),
        sites=in_script(sites_data(found)),
        title=found.title,
        headline=headline_of(found),
        command=found.command,
        found=found,
        places=found.by_place(),
        longest=[found.rows[at] for at in by_cost[:ROWS_WITHOUT_SCRIPT]],
        intervals=INTERVALS,
        measures=MEASURES,
        failures=_FAILURES,
        reasons=by_reason(found.failed),
        facets=FACETS,
    )


def _cost(row: SweepRow) -> tuple[str, bool, float]:
    """Return what rows stand by for who has no script: what they cost above the plain model."""
    return row.evidence, row.above_percent is None, row.above_percent or 0.0


def sweep_data(found: Sweep) -> dict[str, Any]:
    """Return what the page's scripts read at once."""
    rows = found.rows
    places = list(found.by_place())
    number = {place: at for at, place in enumerate(places)}
    return {
        "kinds": [[kind, title, MARKS[kind]] for kind, title in KIND_TITLES.items()],
        "count": len(rows),
        "places": [{"title": one.title, "evidence": one.evidence} for one in places],
        "place": [number[place] for place in found.places],
        "facets": {name: _coded(map(read, rows)) for name, read in FACETS.items()},
        "figures": {
            name: _figures(map(read, rows), is_whole=name in _WHOLE)
            for name, read in _FIGURES.items()
        },
        "notes": _coded("\n".join(row.notes) for row in rows),
        "versions": _coded(
            ", ".join(f"{name} {said}" for name, said in row.versions.items()) for row in rows
        ),
        "keys": [row.key for row in rows],
    }


def sites_data(found: Sweep) -> dict[str, Any]:
    """Return what sites cost, of each row; lists that several rows share stand there once."""
    strings = Strings()
    lists = _Lists()
    rows = [
        [
            lists(strings(one.path) for one in row.sites),
            lists(strings(one.attention) for one in row.sites),
            lists(strings("×".join(map(str, one.shape))) for one in row.sites),
            lists(math.prod(one.shape) if one.shape else 0 for one in row.sites),
            lists(_short(one.time_us) for one in row.sites),
            lists(_short(one.macs_us) for one in row.sites),
            lists(one.traffic_bytes for one in row.sites),
            lists(one.launches for one in row.sites),
        ]
        if row.sites
        else 0
        for row in found.rows
    ]
    return {"strings": strings.all(), "lists": lists.all(), "rows": rows}


class _Lists:
    """Lists, each kept once."""

    def __init__(self) -> None:
        self._places: dict[tuple[Any, ...], int] = {}

    def __call__(self, values: Iterable[Any]) -> int:
        """Return the place of a list."""
        return self._places.setdefault(tuple(values), len(self._places))

    def all(self) -> list[tuple[Any, ...]]:
        """Return all lists, each at its place."""
        return list(self._places)


def _coded(texts: Iterable[str]) -> dict[str, Any]:
    """Return a column of names: each of them once, in order, and which of them each row has."""
    said = list(texts)
    names = sorted(set(said))
    place = {name: at for at, name in enumerate(names)}
    return {"names": names, "codes": [place[one] for one in said]}


def _figures(values: Iterable[float | None], *, is_whole: bool) -> list[float | None] | None:
    """Return a column of figures; None if none is known."""
    said = [_finite(value) if is_whole else _short(value) for value in values]
    return said if any(one is not None for one in said) else None


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def _short(value: float | None) -> float | None:
    finite = _finite(value)
    return None if finite is None else short(finite)
