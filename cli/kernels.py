"""How the kernels of an engine look: in a table, and in sums."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from edgeattn.engine.shapes import written
from edgeattn.report.grid import table

if TYPE_CHECKING:
    from rich.console import Console

    from edgeattn.engine.inspect import Inspection, Row
    from edgeattn.records.engine import Point
    from edgeattn.records.layers import Binding


def shape_of(found: Inspection, binding: Binding) -> tuple[int, ...]:
    """Return the shape of an input or output at the point that is shown, where it is known.

    A manifest has those of outputs at the tuned shapes of the first profile only.
    """
    point = found.point
    if point is None or is_tuned(point):
        return binding.shape
    return point.shapes.get(binding.name, ())


def bindings_in_words(found: Inspection) -> list[tuple[str, str]]:
    """Return what the engine takes and gives: `input`, `x: fp32 1x3x224x224`."""
    return [
        (
            "input" if one.is_input else "output",
            f"{one.name}: {one.dtype} {written(shape_of(found, one))}".rstrip(),
        )
        for one in found.bindings
    ]


def kernel_document(row: Row) -> dict[str, Any]:
    """Return a kernel as `--json` says it."""
    from edgeattn.graph.names import module_of

    return {
        "index": row.index,
        "name": row.kernel.name,
        "kind": row.kernel.kind,
        "precision": row.precision,
        "traffic_bytes": row.traffic_bytes,
        "nodes": row.kernel.nodes,
        "modules": [*dict.fromkeys(filter(None, map(module_of, row.kernel.nodes)))],
    }


def print_kernels(
    console: Console, found: Inspection, rows: Sequence[Row], *, top: int | None, whole: bool
) -> None:
    """Print kernels, one in a line; those that the precision audit refuses are red.

    Args:
        console: Where to.
        found: The engine.
        rows: Its kernels, in the order that is wanted.
        top: How many to show; None for all.
        whole: Wrap long names, instead of cutting them.
    """
    manifest, point = found.manifest, found.point
    at = f" at {point.point} of profile {point.profile}" if point is not None else ""
    console.print(f"kernels{at}", style="bold")
    wrong = {one.kernel for one in manifest.precision.mismatches} if manifest is not None else set()
    grid = table("#", "kernel", "kind", "precision", "MB", "ONNX nodes", right=[4])
    grid.expand = True  # so that the two columns of names, and no other, give way
    for number, ratio in ((1, 2), (5, 3)):
        column = grid.columns[number]
        column.ratio, column.no_wrap = ratio, not whole
        column.overflow = "fold" if whole else "ellipsis"
    for row in rows[:top]:
        grid.add_row(
            str(row.index),
            row.kernel.name,
            row.kernel.kind,
            row.precision,
            megabytes(row.traffic_bytes),
            nodes_in_words(row.kernel.nodes),
            style="red" if row.kernel.name in wrong else None,
        )
    console.print(grid)
    if top is not None and top < len(rows):
        console.print(f"and {len(rows) - top} more")


def print_sums(
    console: Console, rows: Sequence[Row], heading: str, key: Callable[[Row], str]
) -> None:
    """Print how many kernels, and bytes, have something in common."""
    from edgeattn.engine.inspect import sums, traffic_of

    total = traffic_of(rows)
    grid = table(heading, "kernels", "MB", "%", right=[1, 2, 3])
    for one in sums(rows, key):
        share = f"{100 * one.traffic_bytes / total:.1f}" if total and one.traffic_bytes else ""
        grid.add_row(one.name, str(one.kernels), megabytes(one.traffic_bytes), share)
    console.print(grid)


def nodes_in_words(nodes: Iterable[str]) -> str:
    """Name nodes, the module before the first of each run: `layer1.0.attention/Sigmoid + Mul`."""
    from edgeattn.graph.names import module_of

    return " + ".join(
        node if place == 0 or not module else node.removeprefix(f"{module}/")
        for module, run in groupby(nodes, module_of)
        for place, node in enumerate(run)
    )


def is_tuned(point: Point | None) -> bool:
    """Return whether a point is the one that a manifest has all shapes at."""
    return point is None or (point.profile, point.point) == (0, "opt")


def megabytes(count_bytes: int | None) -> str:
    """Write bytes in MB, ? where they are not known."""
    return "?" if count_bytes is None else f"{count_bytes / 1e6:.3f}"
