"""Draws kernels by operations per byte and per second, under the roofs of their device."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from edgeattn.records.kinds import Kind
from edgeattn.records.trace import KIND_TITLES
from edgeattn.report.content import Report
from edgeattn.report.headline import subject
from edgeattn.report.palette import KINDS, MARKS
from edgeattn.report.pictures import Point, Roofline, roofline
from edgeattn.report.plots.canvas import HEAD, INK, SIDE, SOFT, axes_at, legend_at, titled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.lines import Line2D
    from matplotlib.markers import MarkerStyle

_HIGH: Final = 3.3
_LEGEND: Final = 0.25
# Copies compute nothing, and stand left of the axis, in a strip as wide as this factor.
_STRIP: Final = 2.6


def inches(_: Report) -> float:
    """Return how high the picture wants to be."""
    return HEAD + _LEGEND + _HIGH + 0.6


def draw(report: Report, room: Figure | SubFigure) -> None:
    """Draw the kernels of the model that the report is about."""
    row = report.rows[subject(report)]
    found = roofline(row.attribution)
    titled(room, f"Roofline: {row.label}, marks as large as times", [row])
    axes = axes_at(room, left=0.8, top=HEAD + _LEGEND, right=SIDE, height=_HIGH)
    if not found.points:
        axes.axis("off")
        axes.text(0, 1, "The bytes of no kernel are known.")
        return
    _draw_points(axes, found)
    present = {point.owned.kernel.kind for point in found.points}
    marks = [_mark(kind, title) for kind, title in KIND_TITLES.items() if kind in present]
    marks.append(_mark("matmul", "hollow: 0 MACs", face="white"))
    legend_at(room, marks, top=HEAD - 0.12)


def _draw_points(axes: Axes, found: Roofline) -> None:
    from matplotlib.ticker import NullLocator

    computing = [point.intensity for point in found.points if point.operations]
    left = min([0.1, *computing]) / 1.7
    right = 2 * max([10.0, *computing, found.gops / found.gbps if found.gops and found.gbps else 0])
    heights = [_height(point, left) for point in found.points]
    top = 2 * max([*heights, found.gops or 0])
    has_copies = any(not point.operations for point in found.points)
    start = left / _STRIP if has_copies else left
    axes.set(
        xscale="log", yscale="log", xlim=(start, right), ylim=(min(heights) / 2, top),
        xlabel="operations a byte: 2 for each MAC, 1 for each that FLOP counters skip",
        ylabel="G operations a second",
    )  # fmt: skip
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set_minor_locator(NullLocator())
    axes.grid(color="#e4e6ea", lw=0.6)
    axes.set_axisbelow(True)
    if has_copies:
        axes.axvspan(start, left / 1.05, color="#eceef1", lw=0)
        axes.set_xticks([tick for tick in axes.get_xticks() if left < tick < right])
        axes.annotate("copies, by bandwidth", (start, min(heights) / 2), xytext=(3, 4),
                      textcoords="offset points", color=SOFT, size=6.5)  # fmt: skip
    longest = max(point.owned.kernel.time_us for point in found.points)
    # Copies have no place across: they are spread, so that they can be told apart.
    spread = ((place * 0.618) % 1 for place in range(len(found.points)))
    groups: dict[tuple[Kind, bool], list[tuple[float, float, float]]] = defaultdict(list)
    for point, part in zip(found.points, spread, strict=True):
        kernel = point.owned.kernel
        across = point.intensity if point.operations else left / _STRIP ** (0.15 + 0.7 * part)
        area = 10 + 150 * kernel.time_us / longest
        groups[kernel.kind, bool(kernel.macs)].append((across, _height(point, left), area))
    for (kind, has_macs), places in groups.items():
        across_all, heights_all, areas = zip(*places, strict=True)
        axes.scatter(
            across_all,
            heights_all,
            s=areas,
            marker=_shape(kind),
            facecolor=KINDS[kind].light if has_macs else "#ffffffaa",
            edgecolor=KINDS[kind].light if not has_macs else "#ffffff88",
            linewidth=0.9 if not has_macs else 0.4,
            zorder=3,
        )
    _draw_roofs(axes, found, start=start, left=left, right=right)


def _height(point: Point, left: float) -> float:
    """Return where a kernel stands: by its rate, or a copy by the bandwidth that it reaches."""
    return point.gops if point.operations else point.gbps * left


def _draw_roofs(axes: Axes, found: Roofline, *, start: float, left: float, right: float) -> None:
    ground = {"facecolor": "#ffffffcc", "edgecolor": "none", "pad": 1}
    if found.gbps:
        end = min(found.gops / found.gbps, right) if found.gops else right
        heights = [found.gbps * left, found.gbps * left, found.gbps * end]
        axes.plot([start, left, end], heights, color=INK, lw=1.3)
        along = left * (end / left) ** 0.6
        axes.annotate(f"{found.gbps:.3g} GB/s", (along, found.gbps * along), xytext=(-6, 4),
                      textcoords="offset points", ha="right", weight="bold", bbox=ground,
                      zorder=4)  # fmt: skip
    if found.gops:
        ridge = min(found.gops / found.gbps, right) if found.gbps else left
        axes.plot([ridge, right], [found.gops] * 2, color=INK, lw=1.3)
        axes.annotate(found.peak, (right, found.gops), xytext=(0, 4),
                      textcoords="offset points", ha="right", weight="bold", bbox=ground,
                      zorder=4)  # fmt: skip


def _shape(kind: Kind) -> MarkerStyle:
    """Return a kind's mark; matplotlib counts upwards."""
    from matplotlib.markers import MarkerStyle
    from matplotlib.path import Path

    corners = [(x, -y) for x, y in MARKS[kind]]
    return MarkerStyle(Path([*corners, corners[0]], closed=True) if corners else "o")


def _mark(kind: Kind, title: str, face: str = "") -> Line2D:
    from matplotlib.lines import Line2D

    colour = KINDS[kind].light
    return Line2D(
        [], [], lw=0, marker=_shape(kind), markersize=5.5, color=colour, label=title,
        markerfacecolor=face or colour,
    )  # fmt: skip
