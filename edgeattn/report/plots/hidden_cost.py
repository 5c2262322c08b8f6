"""Draws what FLOPs see of models, beside what they take: wedges that open from nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import groupby
from typing import TYPE_CHECKING, Final, TypeAlias

from edgeattn.records.trace import Evidence
from edgeattn.report.bands import HiddenCost, Tier, hidden_cost
from edgeattn.report.content import Report, Row
from edgeattn.report.headline import of_attention, share, subject
from edgeattn.report.palette import BACKBONE, SITE
from edgeattn.report.plots.canvas import (
    FOOT,
    HEAD,
    SIDE,
    SITE_INK,
    SOFT,
    axes_at,
    extent,
    fitted,
    text_at,
    titled,
)
from edgeattn.report.units import count, microseconds, size

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

# Of one model: how high each measure's bar is, and what flows between them. Of many: two thin bars.
_THICK: Final[Mapping[str, float]] = {"macs": 0.34, "time_us": 0.5, "traffic_bytes": 0.24}
_FLOW: Final = 0.62
_THIN: Final = 0.13
_THIN_FLOW: Final = 0.24
_PITCH: Final = 0.68
_HEADING: Final = 0.3
# A site that has less than this of a measure has no width to be seen, but a pin.
_SEEN: Final = 0.001
_LEFT: Final = 1.95
_RIGHT: Final = 1.2
_Corners: TypeAlias = list[tuple[float, float]]
_WRITTEN: Final[Mapping[str, tuple[str, Callable[[float], str]]]] = {
    "macs": ("MACs", count),
    "time_us": ("time", microseconds),
    "traffic_bytes": ("bytes moved", size),
}


def inches(report: Report) -> float:
    """Return how high the picture wants to be."""
    groups = _groups(report)
    number = sum(map(len, groups.values()))
    of_one = sum(_THICK.values()) + 2 * _FLOW
    of_many = _PITCH * number + _HEADING * len(groups)
    return HEAD + 0.15 + (of_one if number == 1 else of_many) + FOOT


def draw(report: Report, room: Figure | SubFigure) -> None:
    """Draw each model that has sites; of several, MACs and time alone."""
    groups = _groups(report)
    rows = [row for group in groups.values() for row in group]
    titled(room, str(of_attention(report)), rows)
    if len(rows) == 1:
        _draw_one(rows[0], room)
        return
    top = HEAD
    for evidence, group in groups.items():
        text_at(room, SIDE, top, evidence, weight="bold", color=SOFT)
        top += _HEADING
        for row in group:
            _draw_small(row, room, top)
            top += _PITCH


def _groups(report: Report) -> dict[Evidence, list[Row]]:
    """Return the models that have sites, the measured apart; or else the one that is shown."""
    rows = [row for row in report.rows if row.attribution.sites] or [report.rows[subject(report)]]
    groups: dict[Evidence, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.trace.evidence, []).append(row)
    return groups


def _draw_small(row: Row, room: Figure | SubFigure, top: float) -> None:
    found = hidden_cost(row.attribution)
    tiers = [(tier, _THIN) for tier in found.tiers if tier.measure != "traffic_bytes"]
    height = _THIN * len(tiers) + _THIN_FLOW * (len(tiers) - 1)
    axes = axes_at(room, left=_LEFT, top=top, right=_RIGHT, height=height)
    _draw_flows(axes, found, tiers, _THIN_FLOW)
    width = extent(room)[0] - _LEFT - _RIGHT
    label = fitted(row.label, _LEFT - SIDE - 0.1, 8)
    axes.text(-0.1 / width, height / 2, label, ha="right", va="center", size=8)
    for place, (tier, thick) in enumerate(tiers):
        said = f"{share(tier.site_share)} of {_WRITTEN[tier.measure][0]}"
        colour = SITE_INK if tier.measure == "time_us" else SOFT
        at = place * (_THIN + _THIN_FLOW) + thick / 2
        axes.text(1 + 0.08 / width, at, said, color=colour, va="center", weight="bold")


def _draw_one(row: Row, room: Figure | SubFigure) -> None:
    found = hidden_cost(row.attribution)
    tiers = [(tier, _THICK[tier.measure]) for tier in found.tiers]
    height = sum(thick for _, thick in tiers) + _FLOW * (len(tiers) - 1)
    axes = axes_at(room, left=_LEFT, top=HEAD + 0.15, right=SIDE, height=height)
    width = extent(room)[0] - _LEFT - SIDE
    _draw_flows(axes, found, tiers, _FLOW)
    top = 0.0
    for tier, thick in tiers:
        title, written = _WRITTEN[tier.measure]
        middle = top + thick / 2
        left = (SIDE - _LEFT) / width
        axes.text(left, middle - 0.09, f"{title} {written(tier.total)}", va="center", weight="bold")
        if row.attribution.sites:
            said = f"sites {share(tier.site_share)}"
            axes.text(left, middle + 0.1, said, va="center", weight="bold", color=SITE_INK, size=10)
        _label_bands(axes, found, tier, middle=middle, width=width)
        top += thick + _FLOW


def _label_bands(axes: Axes, found: HiddenCost, tier: Tier, *, middle: float, width: float) -> None:
    """Write stages into their bands, and shares into those of neighbouring sites."""
    from matplotlib.patheffects import withStroke

    places = groupby(range(len(found.bands)), lambda at: found.bands[at].is_site or -at - 1)
    for _, run in places:
        group = list(run)
        start, end = tier.edges[group[0]], tier.edges[group[-1] + 1]
        band = found.bands[group[0]]
        said = share(end - start) if band.is_site else band.name
        shown = fitted(said, (end - start) * width - 0.06, 8)
        if shown and (shown == said or not band.is_site):
            written = axes.text((start + end) / 2, middle, shown, ha="center", va="center", size=8)
            if band.is_site:
                written.set(
                    weight="bold", path_effects=[withStroke(linewidth=3, foreground=SITE.light)]
                )


def _draw_flows(
    axes: Axes, found: HiddenCost, tiers: list[tuple[Tier, float]], flow: float
) -> None:
    """Draw bars of the same bands below each other, and what flows from each to the next."""
    from matplotlib.collections import LineCollection, PolyCollection

    bars: dict[bool, list[_Corners]] = {False: [], True: []}
    flows: dict[bool, list[_Corners]] = {False: [], True: []}
    pins: list[_Corners] = []
    top = 0.0
    for at, (tier, thick) in enumerate(tiers):
        bottom, below = top + thick, top + thick + flow
        for place, band in enumerate(found.bands):
            start, end = tier.edges[place : place + 2]
            bars[band.is_site].append([(start, top), (end, top), (end, bottom), (start, bottom)])
            if band.is_site and end - start < _SEEN:
                pins.append([(start, top - 0.06), (start, bottom)])
            if at + 1 < len(tiers):
                a, b = tiers[at + 1][0].edges[place : place + 2]
                flows[band.is_site].append([(start, bottom), (end, bottom), (b, below), (a, below)])
        top = below
    axes.set(xlim=(0, 1), ylim=(top - flow, 0))
    axes.axis("off")
    for is_site, colour in ((False, BACKBONE.light), (True, SITE.light)):
        axes.add_collection(
            PolyCollection(
                flows[is_site],
                facecolor=colour,
                alpha=0.45 if is_site else 0.16,
                lw=0,
            )
        )
        axes.add_collection(PolyCollection(bars[is_site], facecolor=colour, ec="white", lw=0.5))
    axes.add_collection(LineCollection(pins, color=SITE_INK, lw=0.9, clip_on=False))  # fmt: skip
