"""How tables look on a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def table(*headers: str, right: Iterable[int] = ()) -> Table:
    """A table without a frame, one space from what stands above it.

    Args:
        headers: The headings of its columns.
        right: The columns of numbers, which stand on the right.
    """
    from rich.table import Table

    made = Table(*headers, box=None, padding=(0, 2, 0, 0), header_style="bold")
    for place in right:
        made.columns[place].justify = "right"
    return made


def columns(rows: Iterable[tuple[str, str]]) -> Table:
    """Name on the left, facts on the right."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 2, 0, 0))
    for row in rows:
        grid.add_row(*row)
    return grid
