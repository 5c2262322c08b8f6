"""Layers over lines that are put side by side, taken to each line.

    Split(f(Concat(a, b))) = f(a), f(b)

A line is what is left of a map where its rows or its columns were reduced, [N, C, L, 1]. Coordinate
attention joins the means over rows and over columns, runs one layer over all H + W positions and
takes them apart: nothing passes from one line to the other, so each goes its own way.

Bit-exact. Requires that f works position by position (1x1 convolutions, BatchNormalization,
elementwise operators, with constants that are the same at each position), that all of it is taken
apart where it was joined, and that nothing else reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import onnx_ir as ir

from edgeattn.graph.nodes import (
    given,
    integer,
    ints,
    is_standard,
    is_static,
    is_unpadded,
    length_of,
    static,
    static_sizes,
)
from edgeattn.lowering.build import Builder, replace
from edgeattn.lowering.raising import sizes
from edgeattn.records.lowering import Rewrite

RULE: Final = "joined-lines"
_LINE: Final = 4
_ELEMENTWISE: Final = frozenset(
    {"Add", "Sub", "Mul", "Div", "Relu", "Clip", "HardSwish", "HardSigmoid", "Sigmoid", "Tanh",
     "LeakyRelu", "Elu", "Softplus", "Min", "Max", "Identity", "Cast", "Pow", "Sqrt", "Erf", "Neg"}
)  # fmt: skip
_MOST_NODES: Final = 16


@dataclass(frozen=True, slots=True)
class _Joined:
    """What stands between a Concat and where it is taken apart again.

    Attributes:
        nodes: The nodes, in order.
        parts: The values that are taken apart, with what they are of and which line that is.
    """

    nodes: tuple[ir.Node, ...]
    parts: tuple[tuple[ir.Value, ir.Value, int], ...]


def part_lines(graph: ir.Graph, build: Builder) -> list[Rewrite]:
    """Take the layers between a Concat of lines and the Split of them to each line.

    Args:
        graph: The graph, changed in place.
        build: Makes the nodes.
    """
    done = []
    place = {node: k for k, node in enumerate(graph)}
    for node in list(graph):
        lengths = _lengths(node)
        found = None if lengths is None else _joined(node, lengths)
        if found is not None:
            nodes = tuple(sorted(found.nodes, key=place.__getitem__))
            done.append(_part(graph, build, node, _Joined(nodes, found.parts)))
    return done


def _lengths(node: ir.Node) -> list[int] | None:
    """Return the lengths of the lines that a Concat joins, if it does."""
    shape = (
        static_sizes(node.outputs[0]) if is_standard(node) and node.op_type == "Concat" else None
    )
    if shape is None or len(shape) != _LINE:
        return None
    axis = integer(node, "axis", 0) % _LINE
    lengths = [length_of(value, axis) for value in node.inputs]
    known = [length for length in lengths if length is not None]
    is_line = axis in {2, 3} and shape[5 - axis] == 1
    return known if is_line and len(known) == len(lengths) > 1 else None


def _joined(concat: ir.Node, lengths: Sequence[int]) -> _Joined | None:
    """Return what stands between a Concat and where it is taken apart, if nothing else is there."""
    axis = integer(concat, "axis", 0) % _LINE
    nodes: dict[ir.Node, None] = {}
    parts: list[tuple[ir.Value, ir.Value, int]] = []
    inside, pending = {concat.outputs[0]}, [concat.outputs[0]]
    while pending:
        value = pending.pop()
        if value.is_graph_output():
            return None
        for user in value.consumers():
            taken = _taken(user, value, axis, lengths)
            if taken is not None:
                parts += taken
            elif user not in nodes:
                if len(nodes) == _MOST_NODES or not _is_pointwise(user, axis):
                    return None
                nodes[user] = None
                inside.add(user.outputs[0])
                pending.append(user.outputs[0])
    read = {v for node in nodes for v in node.inputs if v is not None and not is_static(v)}
    return _Joined(tuple(nodes), tuple(parts)) if parts and nodes and read <= inside else None


def _taken(
    node: ir.Node, value: ir.Value, axis: int, lengths: Sequence[int]
) -> list[tuple[ir.Value, ir.Value, int]] | None:
    """Return the lines that a node takes out of a value, or None if it does not do that."""
    starts = [sum(lengths[:k]) for k in range(len(lengths))]
    if node.op_type == "Split" and integer(node, "axis", 0) % _LINE == axis:
        is_apart = [length_of(output, axis) for output in node.outputs] == list(lengths)
        return [(v, value, k) for k, v in enumerate(node.outputs)] if is_apart else None
    if node.op_type == "Slice" and node.inputs[0] is value:
        bounds = [static(given(node, k)) for k in (1, 2, 3, 4)]
        start, end, axes, step = (None if b is None or b.size != 1 else int(b[0]) for b in bounds)
        if axes is None or start is None or end is None or axes % _LINE != axis:
            return None
        total = sum(lengths)
        start, end = (max(0, min(total, b + total if b < 0 else b)) for b in (start, end))
        if step in {None, 1} and start in starts and end - start == lengths[starts.index(start)]:
            return [(node.outputs[0], value, starts.index(start))]
    return None


def _is_pointwise(node: ir.Node, axis: int) -> bool:
    """Return whether a node does the same at each position of a line."""
    if not is_standard(node) or len(node.outputs) != 1:
        return False
    constants = [v for v in node.inputs[1:] if v is not None and is_static(v)]
    if node.op_type == "BatchNormalization":
        return len(constants) == len(node.inputs) - 1 and not integer(node, "training_mode", 0)
    if node.op_type == "Conv":
        weight = static_sizes(node.inputs[1]) if constants and node.inputs[1] is not None else None
        return (
            weight is not None
            and set(weight[2:]) == {1}
            and is_unpadded(node)
            and set(ints(node, "strides")) <= {1}
        )
    if node.op_type not in _ELEMENTWISE:
        return False
    shapes = [static_sizes(v) for v in node.inputs if v is not None and is_static(v)]
    back = axis - _LINE
    return all(shape is not None and (len(shape) < -back or shape[back] == 1) for shape in shapes)


def _part(graph: ir.Graph, build: Builder, concat: ir.Node, joined: _Joined) -> Rewrite:
    """Take the nodes to each line."""
    axis = integer(concat, "axis", 0) % _LINE
    made: list[ir.Node] = []
    lines: list[dict[ir.Value, ir.Value]] = []
    for line in concat.inputs:
        assert line is not None, "its length is known"
        own = {concat.outputs[0]: line}
        for node in joined.nodes:
            build.origin = node.name or ""
            inputs = [own.get(v, v) if v is not None else None for v in node.inputs]
            old = node.outputs[0]
            shape = None if old.shape is None else sizes(old)
            if shape is not None and line.shape is not None:
                shape[axis] = sizes(line)[axis]
            attributes = {a.name: a for a in node.attributes.values()}
            own[old] = build.node(node.op_type, inputs, shape, attributes, dtype=old.dtype)
        lines.append(own)
    takers = {value.producer(): None for value, _, _ in joined.parts}
    before = next(iter(joined.nodes))
    for value, of, place in joined.parts:
        new = lines[place][of]
        made += build.insert(new, before)
        replace(value, new, is_made=False)
    gone = [concat, *joined.nodes, *(node for node in takers if node is not None)]
    for node in reversed(gone):
        graph.remove(node, safe=True)
    return Rewrite(
        rule=RULE,
        site=concat.name or "",
        nodes_before=tuple(node.name or "" for node in gone),
        nodes_after=tuple(node.name or "" for node in made),
    )
