"""A history as a page: latency by commit, with intervals, as a picture and as a table."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from edgeattn.report.headline import Headline
from edgeattn.report.history import History, Run, Series, to_show
from edgeattn.report.html import page_of
from edgeattn.report.units import milliseconds

_HEIGHT, _TOP, _BOTTOM, _LEFT, _RIGHT = 220.0, 12.0, 52.0, 64.0, 40.0
_STEP: Final = 46.0
_LEAST_WIDTH: Final = 420.0
_TICKS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A run in a picture, in its own units; `low` and `high` are the ends of its interval."""

    run: Run
    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """The picture of a series."""

    series: Series
    width: float
    height: float
    left: float
    points: tuple[Point, ...]
    ticks: tuple[tuple[float, str], ...]

    @property
    def line(self) -> str:
        """The points in a row, as SVG's polyline takes them."""
        return " ".join(f"{one.x:.1f},{one.y:.1f}" for one in self.points)


def render(found: History) -> str:
    """Render a history as one HTML file, of which no part is fetched."""
    found = to_show(found)
    changed = [run for one in found.series for run in one.runs if run.verdict]
    runs = sum(len(one.runs) for one in found.series)
    slower = sum(run.verdict == "slower" for run in changed)
    headline = Headline(
        subject=found.title,
        said=f"{runs} runs",
        cost=f"{slower} slower than the one before, {len(changed) - slower} faster",
        more=(),
    )
    return page_of(
        "history.html.jinja",
        scripts=(),
        styles=("history.css",),
        data={},
        title=found.title,
        command=found.command,
        headline=headline,
        charts=[_chart(one) for one in found.series],
    )


def _chart(series: Series) -> Chart:
    bounds = [run.bounds or (run.trace.latency_ms.p50,) * 2 for run in series.runs]
    least, most = min(low for low, _ in bounds), max(high for _, high in bounds)
    step = _nice((most - least) / _TICKS or most / _TICKS)
    bottom = math.floor(least / step) * step
    top = max(math.ceil(most / step), bottom / step + 1) * step

    def y(latency_ms: float) -> float:
        part = (latency_ms - bottom) / (top - bottom)
        return _HEIGHT - _BOTTOM - part * (_HEIGHT - _TOP - _BOTTOM)

    width = max(_LEAST_WIDTH, _LEFT + _RIGHT + _STEP * len(series.runs))
    apart = (width - _LEFT - _RIGHT) / len(series.runs)
    points = [
        Point(
            run=run,
            x=_LEFT + (at + 0.5) * apart,
            y=y(run.trace.latency_ms.p50),
            low=y(low),
            high=y(high),
        )
        for at, (run, (low, high)) in enumerate(zip(series.runs, bounds, strict=True))
    ]
    ticks = [bottom + number * step for number in range(round((top - bottom) / step) + 1)]
    return Chart(
        series=series,
        width=width,
        height=_HEIGHT,
        left=_LEFT,
        points=tuple(points),
        ticks=tuple((y(one), milliseconds(one)) for one in ticks),
    )


def _nice(step: float) -> float:
    """Return 1, 2 or 5 times a power of ten, not less than a step."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(one * power for one in (1, 2, 5, 10) if one * power >= step * (1 - 1e-9))
