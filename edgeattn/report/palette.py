"""The colours and marks of pictures, on the page and in figures.

Each stands out from the page by 3:1 at least, and from the others for people who do not tell red,
green or blue apart; marks say the same once more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edgeattn.records.kinds import Kind


@dataclass(frozen=True, slots=True)
class Colour:
    """A colour on a light page, and on a dark one."""

    light: str
    dark: str


PAPER: Final = Colour("#fcfcfb", "#15171c")
SITE: Final = Colour("#e46e26", "#f0833a")
BACKBONE: Final = Colour("#8791a4", "#66718a")
KINDS: Final[dict[Kind, Colour]] = {
    "matmul": Colour("#628ce0", "#5573d8"),
    "reduction": Colour("#6c32b1", "#e58be8"),
    "pointwise": Colour("#8c5f1c", "#f2d264"),
    "shuffle": Colour("#72075a", "#8d5f84"),
    "pooling": Colour("#176c74", "#86e4ee"),
    "normalisation": Colour("#2a4918", "#93bd8f"),
    "other": Colour("#8e8c94", "#8f8f93"),
}

#: The corners of each kind's mark, in a square of side 2 around nothing; a circle has none.
MARKS: Final[dict[Kind, tuple[tuple[float, float], ...]]] = {
    "matmul": (),
    "reduction": ((0, -1), (1, 0.8), (-1, 0.8)),
    "pointwise": ((-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)),
    "shuffle": ((0, -1.15), (1.15, 0), (0, 1.15), (-1.15, 0)),
    "pooling": ((0, -1.05), (1, -0.32), (0.62, 0.85), (-0.62, 0.85), (-1, -0.32)),
    "normalisation": ((0, 1), (1, -0.8), (-1, -0.8)),
    "other": (
        (-0.35, -1), (0.35, -1), (0.35, -0.35), (1, -0.35), (1, 0.35), (0.35, 0.35), (0.35, 1),
        (-0.35, 1), (-0.35, 0.35), (-1, 0.35), (-1, -0.35), (-0.35, -0.35),
    ),
}  # fmt: skip
