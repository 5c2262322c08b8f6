"""A report's pictures as files: SVG, or PNG. The same report gives the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgeattn.base.errors import InputError
from edgeattn.report.content import Report, to_show
from edgeattn.report.curves import curves
from edgeattn.report.plots import batches, hidden_cost, icicle, kinds, roofline
from edgeattn.report.plots.canvas import INK, SOFT

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

_INCHES_WIDE: Final = 9.0
_DOTS_PER_INCH: Final = 160
_FORMATS: Final = (".svg", ".png")


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture.

    Attributes:
        draw: Draws a report into a figure, or a part of one.
        inches: How high it wants to be.
    """

    draw: Callable[[Report, Figure | SubFigure], None]
    inches: Callable[[Report], float]


PICTURES: Final[Mapping[str, Picture]] = {
    "hidden-cost": Picture(hidden_cost.draw, hidden_cost.inches),
    "kinds": Picture(kinds.draw, kinds.inches),
    "icicle": Picture(icicle.draw, icicle.inches),
    "roofline": Picture(roofline.draw, roofline.inches),
    "batches": Picture(batches.draw, batches.inches),
}


def draw(report: Report, picture: str | None, path: Path) -> None:
    """Draw a picture of a report into a file.

    Args:
        report: The report.
        picture: One of `PICTURES`; None for all of them on one sheet.
        path: The file: .svg or .png.

    Raises:
        InputError: There is no such picture, or none of this report; or the file's name says no
            format that we write.
    """
    if path.suffix.lower() not in _FORMATS:
        raise InputError(
            f"A figure cannot be written as {path.suffix or path.name!r}.",
            mend=f"Name a file that ends in {' or '.join(_FORMATS)}.",
        )
    if picture is not None and picture not in PICTURES:
        raise InputError(f"There is no picture {picture!r}.", mend=f"One of: {', '.join(PICTURES)}")
    report = to_show(report)
    saved(lambda: _sheet(report) if picture is None else _single(report, PICTURES[picture]), path)


def saved(make: Callable[[], Figure], path: Path) -> None:
    """Write a drawing into a file, in the style that all drawings share.

    Args:
        make: Draws it.
        path: The file: .svg or .png.
    """
    import matplotlib as mpl

    with mpl.rc_context():
        _set_style()
        make().savefig(
            path,
            dpi=_DOTS_PER_INCH,
            # A date would make each file another.
            metadata={"Date": None} if path.suffix.lower() == ".svg" else {},
        )


def _set_style() -> None:
    """Set what all drawings share, whatever the user's own settings are."""
    import matplotlib as mpl

    mpl.rcdefaults()
    mpl.rcParams.update(
        {
            "axes.edgecolor": SOFT,
            "axes.labelcolor": SOFT,
            "axes.labelsize": 8,
            "axes.linewidth": 0.8,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "font.size": 8.5,
            # Outlines of letters look the same whatever fonts a reader has.
            "svg.fonttype": "path",
            "svg.hashsalt": "edgeattn",
            "text.color": INK,
            # A name with dollar signs is no formula.
            "text.parse_math": False,
            "xtick.color": SOFT,
            "ytick.color": SOFT,
        }
    )


def _single(report: Report, picture: Picture) -> Figure:
    from matplotlib.figure import Figure

    made = Figure(figsize=(_INCHES_WIDE, picture.inches(report)), facecolor="white")
    picture.draw(report, made)
    return made


def _sheet(report: Report) -> Figure:
    """Draw all pictures, in two columns."""
    from matplotlib.figure import Figure

    by_batch = [PICTURES["batches"]] if curves(report.rows) else []
    columns = [
        [*by_batch, PICTURES["hidden-cost"], PICTURES["icicle"]],
        [PICTURES["kinds"], PICTURES["roofline"]],
    ]
    heights = [[one.inches(report) for one in column] for column in columns]
    whole = max(map(sum, heights))
    made = Figure(figsize=(len(columns) * _INCHES_WIDE, whole), facecolor="white")
    across = made.add_gridspec(1, len(columns))
    for place, (column, inches) in enumerate(zip(columns, heights, strict=True)):
        left = whole - sum(inches)
        down = made.add_subfigure(across[place])
        grid = down.add_gridspec(len(column) + 1, 1, height_ratios=[*inches, left or 1e-6])
        for at, picture in enumerate(column):
            picture.draw(report, down.add_subfigure(grid[at]))
    return made
