"""Draws time by kind of work: a bar for each model, the backbone first, then its sites."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgeattn.records.trace import KIND_TITLES
from edgeattn.report.content import Report
from edgeattn.report.palette import KINDS, SITE
from edgeattn.report.pictures import Bar, kinds
from edgeattn.report.plots.canvas import (
    FOOT,
    HEAD,
    INK,
    SIDE,
    axes_at,
    fitted,
    legend_at,
    titled,
)
from edgeattn.report.units import microseconds

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

_PITCH: Final = 0.34
_LEFT: Final = 1.95
_LEGEND: Final = 0.15
_BETWEEN: Final = 0.6


def inches(report: Report) -> float:
    """Return how high the picture wants to be."""
    groups = kinds(report)
    return HEAD + _LEGEND + _PITCH * len(report.rows) + _BETWEEN * len(groups) + FOOT


def draw(report: Report, room: Figure | SubFigure) -> None:
    """Draw all models; what is measured has axes of its own, and so has what is predicted."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    titled(room, "Time by kind of work, that of sites underlined", report.rows)
    top = HEAD + _LEGEND
    for evidence, bars in kinds(report).items():
        height = _PITCH * len(bars)
        axes = axes_at(room, left=_LEFT, top=top, right=0.8, height=height)
        for place, bar in enumerate(bars):
            _draw_bar(axes, place, bar)
        said = f"ms, {evidence}"
        if any(bar.above for bar in bars):
            said += "; below Σ: so far above the first, nine times in ten"
        axes.set(ylim=(len(bars) - 0.5, -0.5), xlabel=said)
        axes.set_yticks(range(len(bars)), [fitted(bar.label, _LEFT - SIDE, 8) for bar in bars])
        axes.tick_params("y", length=0)
        axes.spines["left"].set_visible(False)
        top += height + _BETWEEN
    used = {part.kind for bars in kinds(report).values() for bar in bars for part in bar.parts}
    marks: list[Artist] = [
        Patch(color=KINDS[kind].light, label=title)
        for kind, title in KIND_TITLES.items()
        if kind in used
    ]
    marks.append(
        Line2D([], [], color=INK, marker="|", markersize=9, lw=0, label="latency, end to end")
    )
    legend_at(room, marks, top=HEAD - 0.12)


def _draw_bar(axes: Axes, place: int, bar: Bar) -> None:
    start_ms = 0.0
    for part in bar.parts:
        wide_ms = part.time_us / 1e3
        axes.barh(place, wide_ms, 0.62, start_ms, color=KINDS[part.kind].light, ec="white", lw=0.6)
        if part.is_site:
            axes.barh(place + 0.38, wide_ms, 0.1, start_ms, color=SITE.light)
        start_ms += wide_ms
    latency_ms = bar.latency_us / 1e3
    axes.plot([latency_ms] * 2, [place - 0.42, place + 0.42], color=INK, lw=1.4)
    end_ms = max(start_ms, latency_ms)
    if bar.interval_us is not None:
        low_ms, high_ms = (bound / 1e3 for bound in bar.interval_us)
        end_ms = max(end_ms, high_ms)
        axes.errorbar(
            latency_ms,
            place,
            xerr=[[max(latency_ms - low_ms, 0)], [max(high_ms - latency_ms, 0)]],
            color=INK,
            lw=1,
            capsize=2.5,
        )
    axes.annotate(
        "\n".join([f"Σ {microseconds(1e3 * start_ms)}", *([bar.above] if bar.above else [])]),
        (end_ms, place),
        xytext=(5, 0),
        textcoords="offset points",
        va="center",
        weight="bold",
        size=8,
        annotation_clip=False,
    )
