"""Prediction and measurement side by side on a terminal; they never share a column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from edgeattn.profiling.expectation import Beside, beside
from edgeattn.records.trace import KIND_TITLES
from edgeattn.report.content import Row
from edgeattn.report.grid import table
from edgeattn.report.units import microseconds, milliseconds

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table


def of_models(rows: Sequence[Row]) -> Iterator[RenderableType]:
    """Return a line for each model that was measured and predicted; nothing if none was."""
    pairs = [(row, found) for row in rows if (found := beside(row.trace)) is not None]
    if not pairs:
        return
    several = len(rows) > 1
    names = ("model",) if several else ()
    made = table(
        *names, "measured", "predicted", "interval", "%", "", "for",
        right=range(len(names), len(names) + 4),
    )  # fmt: skip
    for row, found in pairs:
        said = found.expected
        low, high = said.interval_ms
        made.add_row(
            *((row.label,) if several else ()),
            milliseconds(row.trace.latency_ms.p50),
            milliseconds(said.latency_ms),
            f"{milliseconds(low)} … {milliseconds(high)}",
            f"{100 * found.error:+.1f}",
            verdict(found),
            place_of(found),
            style=None if found.holds else "yellow",
        )
    yield made


def of_kinds(row: Row) -> Iterator[Table]:
    """Return what kernels of each kind take, and were predicted to; nothing if nobody knows."""
    found = beside(row.trace)
    if found is None or not found.kinds:
        return
    made = table("kind", "measured", "predicted", "%", right=range(1, 4))
    for one in found.kinds:
        made.add_row(
            KIND_TITLES[one.kind],
            microseconds(one.measured_us),
            microseconds(one.predicted_us),
            off(one.measured_us, one.predicted_us),
        )
    yield made


def verdict(found: Beside) -> str:
    """Say whether what was measured lies in the interval."""
    return "the interval holds" if found.holds else "outside of the interval"


def place_of(found: Beside) -> str:
    """Return what the prediction is for."""
    said = found.expected
    return f"{said.title}, {said.power_mode}" if said.power_mode else said.title


def off(measured_us: float, predicted_us: float) -> str:
    """Write what a prediction misses, in per cent; nothing where nothing was measured."""
    return f"{100 * (predicted_us / measured_us - 1):+.0f}" if measured_us else ""
