"""Draws images a second, and the latency of a run, by batch: a line for each model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from edgeattn.base.errors import InputError
from edgeattn.records.kinds import STRENGTH
from edgeattn.report.content import Report
from edgeattn.report.curves import Curve, Point, curves
from edgeattn.report.palette import KINDS
from edgeattn.report.plots.canvas import FOOT, HEAD, SIDE, axes_at, extent, fitted, titled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

_HIGH: Final = 2.3
_LEFT: Final = 0.75
_BELOW: Final = 0.6
_MARKS: Final = "o^sDpv*"


def inches(report: Report) -> float:
    """Return how high the picture wants to be."""
    groups = {one.evidence for one in curves(report.rows)}
    return HEAD + (_HIGH + _BELOW) * len(groups) + FOOT


def draw(report: Report, room: Figure | SubFigure) -> None:
    """Draw all models; what is measured has axes of its own, and so has what is predicted.

    Raises:
        InputError: No model was profiled at several batches.
    """
    drawn = curves(report.rows)
    if not drawn:
        raise InputError(
            "No model of this report was profiled at several batches.",
            mend="For example: edgeattn profile MODEL --batches 1,2,4,8",
        )
    titled(room, "Images a second, and latency, by batch", report.rows)
    half = (extent(room)[0] - SIDE) / 2
    top = HEAD
    for evidence in dict.fromkeys(one.evidence for one in drawn):
        some = [one for one in drawn if one.evidence == evidence]
        rates = axes_at(room, left=_LEFT, top=top, right=half + SIDE, height=_HIGH)
        times = axes_at(room, left=half + _LEFT, top=top, right=SIDE, height=_HIGH)
        for place, curve in enumerate(some):
            _line(rates, place, curve, [_rates(one) for one in curve.points])
            _line(times, place, curve, [(one.latency_ms, one.interval_ms) for one in curve.points])
        for axes, said in ((rates, "images a second"), (times, "latency of a run, ms")):
            batches = sorted({one.batch for curve in some for one in curve.points})
            axes.set(xscale="log", ylim=(0, None), ylabel=f"{said}, {evidence}", xlabel="batch")
            axes.set_xticks(batches, [f"{one}" for one in batches])
            axes.minorticks_off()
            axes.grid(color="#e4e6ea", lw=0.6)
            axes.set_axisbelow(True)
        times.legend(frameon=False, fontsize=7.5, loc="upper left")
        top += _HIGH + _BELOW


def _rates(point: Point) -> tuple[float, tuple[float, float] | None]:
    if point.interval_ms is None:
        return point.images_per_s, None
    low_ms, high_ms = point.interval_ms
    return point.images_per_s, (1e3 * point.batch / high_ms, 1e3 * point.batch / low_ms)


def _line(
    axes: Axes,
    place: int,
    curve: Curve,
    figures: Sequence[tuple[float, tuple[float, float] | None]],
) -> None:
    bounds = [interval or (value, value) for value, interval in figures]
    below = [max(value - low, 0) for (value, _), (low, _) in zip(figures, bounds, strict=True)]
    above = [max(high - value, 0) for (value, _), (_, high) in zip(figures, bounds, strict=True)]
    axes.errorbar(
        [one.batch for one in curve.points],
        [value for value, _ in figures],
        yerr=[below, above],
        color=KINDS[STRENGTH[place % len(STRENGTH)]].light,
        marker=_MARKS[place % len(_MARKS)],
        lw=1.4,
        markersize=5,
        elinewidth=0.9,
        capsize=2.5,
        label=fitted(curve.label, 3, 7.5),
    )
