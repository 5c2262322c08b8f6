"""Tables: rows of raw values, shown on a terminal, as Markdown or as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console
from rich.table import Table as RichTable

MARKS: Final = {True: "yes", False: "NO", None: "-"}


def mark(met: bool | None) -> str:
    """Return the mark of a requirement; None if there is none, or it is unknown."""
    return MARKS[met]


def number(digits: int) -> Callable[[Any], str]:
    """Make a formatter that rounds to a number of digits."""
    return lambda value: f"{value:.{digits}f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table.

    Attributes:
        key: The key of its values in the rows.
        heading: What stands above it.
        show: Formats a value.
        absent: What stands for None.
    """

    key: str
    heading: str
    show: Callable[[Any], str] = str
    absent: str = MARKS[None]

    def cell(self, value: Any) -> str:
        """Return what stands for a value."""
        return self.absent if value is None else self.show(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table with what it is to be read with.

    Attributes:
        title: What it shows.
        columns: Its columns; rows may hold more, which only JSON shows.
        rows: Its rows; where a row has "met", False means that something asked is missed.
        notes: How the figures were got.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]
    notes: Sequence[str] = ()

    @property
    def is_met(self) -> bool:
        """Whether no row misses what was asked."""
        return all(row.get("met") is not False for row in self.rows)

    def cells(self) -> list[list[str]]:
        """Return the formatted values, row by row."""
        return [[column.cell(row[column.key]) for column in self.columns] for row in self.rows]

    def to_json(self) -> dict[str, Any]:
        """Return all values, raw."""
        return {"title": self.title, "rows": list(self.rows), "notes": list(self.notes)}

    def to_markdown(self) -> str:
        """Return a table for a README."""
        lines = [
            f"**{self.title}**",
            "",
            f"| {' | '.join(column.heading for column in self.columns)} |",
            f"|{'---|' * len(self.columns)}",
            *(f"| {' | '.join(row)} |" for row in self.cells()),
            "",
            *(f"{note}\n" for note in self.notes),
        ]
        return "\n".join(lines)

    def print(self, console: Console) -> None:
        """Print the table to the terminal."""
        console.print(self.title, style="bold")
        table = RichTable(box=None, padding=(0, 2, 0, 0), header_style="bold")
        for column in self.columns:
            table.add_column(column.heading)
        for row in self.cells():
            table.add_row(*row)
        console.print(table)
        for note in self.notes:
            console.print(f"note: {note}")
        console.print()
