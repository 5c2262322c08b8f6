"""Draws time by module, as an icicle: the whole on top, and below each module what it holds."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from edgeattn.report.content import Report
from edgeattn.report.headline import share, subject
from edgeattn.report.palette import BACKBONE, SITE
from edgeattn.report.pictures import icicle
from edgeattn.report.plots.canvas import (
    FOOT,
    HEAD,
    SIDE,
    axes_at,
    extent,
    fitted,
    titled,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

_LINE: Final = 0.34
# Narrower than this, of the picture, nothing would be seen.
_LEAST: Final = 0.0004


def inches(report: Report) -> float:
    """Return how high the picture wants to be."""
    tiles = icicle(report.rows[subject(report)].attribution)
    return HEAD + _LINE * (1 + max(tile.depth for tile in tiles)) + FOOT + 0.1


def draw(report: Report, room: Figure | SubFigure) -> None:
    """Draw the modules of the model that the report is about."""
    from matplotlib.patches import Rectangle

    row = report.rows[subject(report)]
    tiles = icicle(row.attribution)
    titled(room, f"Time by module: {row.label}, sites in orange", [row])
    depth = 1 + max(tile.depth for tile in tiles)
    axes = axes_at(room, left=SIDE, top=HEAD, right=SIDE, height=_LINE * depth)
    total = tiles[0].time_us or 1.0
    axes.set(xlim=(0, total), ylim=(depth, 0))
    axes.axis("off")
    width = extent(room)[0] - 2 * SIDE
    older: Counter[int] = Counter()
    for tile in tiles:
        older[tile.parent] += 1
        if tile.time_us < _LEAST * total:
            continue
        # Neighbours differ in tone, so that they are seen to be two.
        tone = 1.0 if older[tile.parent] % 2 else 0.78
        colour = (SITE if tile.is_site else BACKBONE).light
        axes.add_patch(
            Rectangle(
                (tile.start_us, tile.depth), tile.time_us, 0.96,
                facecolor=colour, edgecolor="white", linewidth=0.5, alpha=tone,
            )
        )  # fmt: skip
        room_inches = width * tile.time_us / total - 0.08
        figure = share(tile.time_us / total)
        shown = fitted(f"{tile.name} {figure}", room_inches, 7.5)
        if not shown.endswith(figure):
            shown = fitted(tile.name, room_inches, 7.5)
        axes.text(tile.start_us + 0.05 * total / width, tile.depth + 0.5, shown, va="center",
                  size=7.5)  # fmt: skip
