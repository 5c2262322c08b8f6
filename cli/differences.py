"""How two engines look side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from edgeattn.engine.shapes import written
from edgeattn.report.grid import table

from .kernels import (
    is_tuned,
    kernel_document,
    megabytes,
    nodes_in_words,
    shape_of,
)
from .tables import print_notes

if TYPE_CHECKING:
    from rich.console import Console

    from edgeattn.engine.diff import Fusion, Group
    from edgeattn.engine.inspect import Inspection, Row


def diff_document(a: Inspection, b: Inspection, groups: Sequence[Group]) -> dict[str, Any]:
    """Return a comparison as `--json` says it: every group, equal or not."""
    from edgeattn.engine.diff import delta_of

    return {
        **{
            name: {
                "path": one.path,
                "not_for": one.manifest.not_for if one.manifest is not None else None,
                "faults": one.faults,
                "kernels": len(one.rows),
                "traffic_bytes": one.traffic_bytes,
                "precision": _precisions(one.rows),
            }
            for name, one in (("a", a), ("b", b))
        },
        "notes": _notes(a, b),
        "delta_bytes": delta_of(a.rows, b.rows),
        "equal_groups": sum(group.is_equal for group in groups),
        "groups": [_group_document(group, shapes=_have_shapes(a, b)) for group in groups],
    }


def _group_document(group: Group, *, shapes: bool) -> dict[str, Any]:
    from edgeattn.engine.inspect import traffic_of

    sides = (("a", group.a), ("b", group.b))
    return {
        "place": group.place,
        "matched_by": group.matched_by,
        "is_equal": group.is_equal,
        **{
            name: {
                "kernels": len(rows),
                "traffic_bytes": traffic_of(rows),
                "precision": _precisions(rows),
                "table": [kernel_document(row) for row in rows],
            }
            for name, rows in sides
        },
        "delta_bytes": group.delta_bytes,
        "fused_in_a": [_fusion_document(one) for one in group.fused_in_a],
        "fused_in_b": [_fusion_document(one) for one in group.fused_in_b],
        "nodes_only_in_a": group.nodes_only_in_a,
        "nodes_only_in_b": group.nodes_only_in_b,
        "differences": differences(group, shapes=shapes),
    }


def _fusion_document(fusion: Fusion) -> dict[str, Any]:
    return {
        "nodes": fusion.nodes,
        "kernel": fusion.kernel,
        "kernels_in_the_other": fusion.kernels,
    }


def print_diff(
    console: Console,
    a: Inspection,
    b: Inspection,
    groups: Sequence[Group],
    *,
    top: int | None,
    whole: bool,
) -> None:
    """Print two engines side by side, by groups of kernels that do the same work.

    Args:
        console: Where to.
        a: The first engine.
        b: The second.
        groups: Their kernels, in the order that is wanted.
        top: How many groups to show; None for all. The others are summed up.
        whole: Show the groups that are equal, and the names of all kernels.
    """
    for one in (a, b):
        for fault in one.faults:
            console.print(fault, style="red", soft_wrap=True)
    for name, one in (("A", a), ("B", b)):
        console.print(f"{name}: {_engine_in_words(one)}", soft_wrap=True)
    console.print()
    shown = [group for group in groups if whole or not group.is_equal]
    rest, shown = shown[len(shown) if top is None else top :], shown[:top]
    equal = [] if whole else [group for group in groups if group.is_equal]
    headers = ("where", "kernels", "precision", "MB in A", "MB in B", "B - A", "what differs")
    grid = table(*headers, right=[3, 4, 5])
    for column in grid.columns[:6]:
        column.no_wrap = True
    grid.columns[0].max_width = None if whole else console.width // 4
    shapes = _have_shapes(a, b)
    for group in shown:
        said = differences(group, shapes=shapes)
        said += _kernels_in_words(group) if whole else ()
        grid.add_row(group.place, *_figures(group.a, group.b), "\n".join(said))
    for name, others in ((f"{len(rest)} more", rest), (f"{len(equal)} equal", equal)):
        if others:
            grid.add_row(name, *_figures(*_both(others)), "")
    grid.add_row("total", *_figures(a.rows, b.rows), _percentage(a, b), style="bold")
    console.print(grid)
    print_notes(console, _notes(a, b))


def differences(group: Group, *, shapes: bool) -> list[str]:
    """Return how the two sides of a group differ, a sentence for each thing.

    Args:
        group: The group.
        shapes: Whether the shapes of the two sides may be compared.
    """
    if not group.a or not group.b:
        return [f"only in {'A' if group.a else 'B'}: {_work(group.a or group.b)}"]
    said = [
        f"{nodes_in_words(one.nodes)} are one kernel in {ours}, {one.kernels} in {theirs}"
        for ours, theirs, fusions in (("A", "B", group.fused_in_a), ("B", "A", group.fused_in_b))
        for one in fusions
    ]
    if group.matched_by == "shapes":
        said.append(f"matched by shapes: {_work(group.a)} in A, {_work(group.b)} in B")
    elif group.matched_by == "module":
        only = (group.nodes_only_in_a, group.nodes_only_in_b)
        said.append(f"other ONNX nodes: {len(only[0])} only in A, {len(only[1])} only in B")
    copies = [sum(not row.kernel.nodes for row in rows) for rows in (group.a, group.b)]
    if copies[0] != copies[1] and group.matched_by != "shapes":
        said.append(f"layout copies: {copies[0]} in A, {copies[1]} in B")
    if not said:
        said += _unlike(group, lambda row: [row.kernel.kind])
    if not said and shapes:
        said += _unlike(group, lambda row: [written(one.shape) for one in row.kernel.tensors])
    return said


def _unlike(group: Group, what: Callable[[Row], Iterable[str]]) -> list[str]:
    """Return what kernels of one side have more of than the other's."""
    a, b = (Counter(one for row in rows for one in what(row)) for rows in (group.a, group.b))
    sides = (("A", a - b), ("B", b - a))
    more = [f"{' + '.join(here.elements())} in {side}" for side, here in sides if here]
    if len(more) == 1:
        return [f"{more[0]} only"]
    return [", ".join(more)] if more else []


def _work(rows: Sequence[Row]) -> str:
    """Return what kernels do: their nodes, or their names where there are none."""
    nodes = [node for row in rows for node in row.kernel.nodes]
    return nodes_in_words(nodes) or ", ".join(row.kernel.name for row in rows)


def _kernels_in_words(group: Group) -> Iterator[str]:
    for name, rows in (("A", group.a), ("B", group.b)):
        for row in rows:
            yield f"{name} {row.index}: {row.kernel.name}, {megabytes(row.traffic_bytes)} MB"


def _figures(a: Sequence[Row], b: Sequence[Row]) -> tuple[str, str, str, str, str]:
    """Return the kernels, precisions, MB of both sides and their difference, for a table."""
    from edgeattn.engine.diff import delta_of
    from edgeattn.engine.inspect import traffic_of

    precisions = [" ".join(_precisions(rows)) for rows in (a, b)]
    delta = delta_of(a, b)
    return (
        _change(str(len(a)), str(len(b))),
        _change(*precisions),
        megabytes(traffic_of(a)) if a else "",
        megabytes(traffic_of(b)) if b else "",
        "?" if delta is None else "" if delta == 0 else f"{delta / 1e6:+.3f}",
    )


def _change(before: str, after: str) -> str:
    return before if before == after else f"{before or '-'} → {after or '-'}"


def _both(groups: Iterable[Group]) -> tuple[list[Row], list[Row]]:
    groups = list(groups)
    return [row for one in groups for row in one.a], [row for one in groups for row in one.b]


def _precisions(rows: Iterable[Row]) -> dict[str, int]:
    """Count kernels by precision, the most first; those that handle no numbers count nowhere."""
    return dict(Counter(row.precision for row in rows if row.precision).most_common())


def _engine_in_words(found: Inspection) -> str:
    said = [found.path, f"{len(found.rows)} kernels", f"{megabytes(found.traffic_bytes)} MB"]
    manifest, point = found.manifest, found.point
    if manifest is not None:
        said.append(f"{manifest.runtime} {manifest.runtime_version}")
        said.append(f"compute capability {manifest.compute_capability}")
        said.append(manifest.precision.asked)
        said += [f"NOT FOR {manifest.not_for}"] if manifest.not_for else []
    said += [f"{point.point} of profile {point.profile}"] if point is not None else []
    return ", ".join(said)


def _notes(a: Inspection, b: Inspection) -> list[str]:
    """Return what makes figures of two engines hard to compare."""
    notes = []
    if _inputs(a) != _inputs(b):
        said = [", ".join(map(written, _inputs(one))) for one in (a, b)]
        notes.append(f"The inputs have other shapes: {said[0]} in A, {said[1]} in B.")
    if a.traffic_bytes is None or b.traffic_bytes is None:
        notes.append("Shapes are open, so the bytes of some kernels are not known.")
    return notes


def _inputs(found: Inspection) -> list[tuple[int, ...]]:
    return [shape_of(found, one) for one in found.bindings if one.is_input]


def _have_shapes(a: Inspection, b: Inspection) -> bool:
    """Return whether kernels' shapes are those that are shown, and are of the same inputs."""
    return all(is_tuned(one.point) for one in (a, b)) and _inputs(a) == _inputs(b)


def _percentage(a: Inspection, b: Inspection) -> str:
    if not a.traffic_bytes or b.traffic_bytes in (None, a.traffic_bytes):
        return ""
    return f"{100 * (b.traffic_bytes / a.traffic_bytes - 1):+.1f} % bytes"
