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
}


def of_one(memory: Memory | None) -> Iterator[tuple[str, str]]:
    """Return what a model takes, as facts with their names."""
    if memory is None:
        return
    by = PLANNED_BY[memory.planned_by] + (f", at {memory.at}" if memory.at else "")
    activations = f"activations {size(memory.activations_bytes)} at most, planned {by}"
    yield "memory", f"weights {size(memory.weights_bytes)} · {activations}"
    measured = [
        (memory.arena_bytes, "in ONNX Runtime's arena"),
        (memory.resident_bytes, "in the process"),
        (memory.peak_bytes, "at most, while it loads and runs"),
    ]
    if said := [f"{size(value)} {what}" for value, what in measured if value is not None]:
        yield "memory, measured", " · ".join(said)


def of_models(rows: Sequence[Row]) -> Iterator[Table]:
    """Return what several models take, side by side; nothing where nothing is known."""
    known = [(row, row.trace.memory) for row in rows if row.trace.memory is not None]
    if not known:
        return
    measured = [one for _, one in known if one.resident_bytes is not None]
    arena = ("arena",) if any(one.arena_bytes is not None for one in measured) else ()
    process = ("process", "at most") if measured else ()
    titles = (*arena, *process)
    made = table("model", "weights", "activations", *titles, right=range(1, 3 + len(titles)))
    for row, one in known:
        made.add_row(
            row.label,
            size(one.weights_bytes),
            size(one.activations_bytes),
            *((size(one.arena_bytes),) if arena else ()),
            *((size(one.resident_bytes), size(one.peak_bytes)) if process else ()),
        )
    yield made
