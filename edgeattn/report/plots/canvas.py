"""What drawings have in common: titles, places in inches, and names that fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from edgeattn.records.trace import RUNTIMES
from edgeattn.report.content import Row

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

INK: Final = "#1b1e24"
SOFT: Final = "#555d6b"
SITE_INK: Final = "#b0480a"
ALERT: Final = "#8a5600"

#: Room above a drawing, for its title, in inches; below it; and beside it.
HEAD: Final = 0.95
FOOT: Final = 0.25
SIDE: Final = 0.25
# A letter is so wide, of its size; a point is 1/72 inch.
_LETTER: Final = 0.55


def titled(room: Figure | SubFigure, title: str, rows: Sequence[Row]) -> None:
    """Write a drawing's title, and below it whether it is measured, and on what."""
    width, _ = extent(room)
    inside = width - 2 * SIDE
    text_at(room, SIDE, 0.2, fitted(title, inside, 12), fontsize=12, weight="bold")
    text_at(room, SIDE, 0.44, fitted(_grounds(rows), inside, 8.5), fontsize=8.5, color=SOFT)
    alerts = dict.fromkeys(row.trace.machine.not_for for row in rows if row.trace.machine.not_for)
    if alerts:
        said = fitted(f"Not this device's own plan: {'; '.join(alerts)}", inside, 8.5)
        text_at(room, SIDE, 0.62, said, fontsize=8.5, color=ALERT, weight="bold")


def _grounds(rows: Sequence[Row]) -> str:
    """Return whether rows are measured or predicted, on what, and by what."""
    said = []
    for row in rows:
        machine = row.trace.machine
        mode = f", {machine.power_mode}" if machine.power_mode else ""
        by = f"{RUNTIMES[row.trace.runtime]} {row.trace.runtime_version}"
        said.append(f"{row.trace.evidence} on {machine.title}{mode}, {by}")
    return " · ".join(dict.fromkeys(said))


def extent(room: Figure | SubFigure) -> tuple[float, float]:
    """Return the width and height of a figure, or of a part of one, in inches."""
    dots = room.get_dpi()
    return room.bbox.width / dots, room.bbox.height / dots


def text_at(room: Figure | SubFigure, left: float, top: float, said: str, **how: object) -> None:
    """Write a text, its top left corner at a place in inches from the room's own."""
    width, height = extent(room)
    room.text(left / width, 1 - top / height, said, va="top", **how)  # type: ignore[arg-type]


def axes_at(
    room: Figure | SubFigure, *, left: float, top: float, right: float, height: float
) -> Axes:
    """Make axes at a place in inches from the room's left, top and right."""
    whole_width, whole_height = extent(room)
    return room.add_axes(
        (
            left / whole_width,
            1 - (top + height) / whole_height,
            (whole_width - left - right) / whole_width,
            height / whole_height,
        )
    )


def legend_at(room: Figure | SubFigure, marks: Sequence[Artist], *, top: float) -> None:
    """Put a legend below a title."""
    width, height = extent(room)
    room.legend(
        handles=marks,
        loc="upper left",
        bbox_to_anchor=(SIDE / width, 1 - top / height),
        ncols=len(marks),
        frameon=False,
        borderpad=0,
        borderaxespad=0,
        columnspacing=1.1,
        handlelength=0.9,
        handletextpad=0.4,
        fontsize=7.5,
    )


def fitted(text: str, inches: float, points: float) -> str:
    """Cut a text to what fits; "" if nothing legible would be left."""
    most = int(inches * 72 / (points * _LETTER))
    if len(text) <= most:
        return text
    return f"{text[: most - 1]}…" if most >= 4 else ""
