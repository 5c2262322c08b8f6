"""What models take of memory, on a terminal: what is planned, and what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from edgeattn.records.trace import Memory
from edgeattn.report.content import Row
from edgeattn.report.grid import table
from edgeattn.report.units import size

if TYPE_CHECKING:
    from rich.table import Table

#: What the planned figure rests on, in a few words.
PLANNED_BY: Final = {
    "graph": "node by node",
    "library": "by the library, without inputs and outputs",
    "": "",
}

#: What columns are called: planned before it ran, then measured.
TITLES: Final = {
    "weights": "weights_bytes",
    "activations, planned": "activations_bytes",
    "arena": "arena_bytes",
    "process": "resident_bytes",
    "process, at most": "peak_bytes",
}


def of_one(memory: Memory | None) -> Iterator[tuple[str, str]]:
    """Return what a model takes, as facts with their names."""
    if memory is None:
        return
    said = [f"weights {size(memory.weights_bytes)}"]
    if memory.activations_bytes is not None:
        by = PLANNED_BY[memory.planned_by] + (f", at {memory.at}" if memory.at else "")
        said.append(f"activations {size(memory.activations_bytes)} at most, planned {by}")
    yield "memory", " · ".join(said)
    measured = [
        (memory.arena_bytes, "in ONNX Runtime's arena"),
        (memory.resident_bytes, "in the process"),
        (memory.peak_bytes, "at most, while it loads and runs"),
    ]
    if said := [f"{size(value)} {what}" for value, what in measured if value is not None]:
        yield "memory, measured", " · ".join(said)


def told(memories: Sequence[Memory | None]) -> Iterator[tuple[str, list[str]]]:
    """Return columns of what models take, with their titles: those of which anything is known."""
    for title, name in TITLES.items():
        values = [None if one is None else getattr(one, name) for one in memories]
        if any(value is not None for value in values):
            yield title, [size(value) for value in values]


def of_models(rows: Sequence[Row]) -> Iterator[Table]:
    """Return what several models take, side by side; nothing where nothing is known."""
    known = [(row.label, row.trace.memory) for row in rows if row.trace.memory is not None]
    columns = dict(told([one for _, one in known]))
    if not columns:
        return
    made = table("model", *columns, right=range(1, 1 + len(columns)))
    for place, (label, _) in enumerate(known):
        made.add_row(label, *(said[place] for said in columns.values()))
    yield made
