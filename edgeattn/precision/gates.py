"""Finds the nodes that only compute gates and statistics, from the flow of data alone.

A map reaches the outputs; a gate only scales it on the way, and a statistic only shifts it. So some
edges are marked, and what reaches the outputs through marked edges alone is a gate's or a
statistic's part:

1. Where values are combined element by element, an operand that is broadcast (1xCx1x1, 1x1xHxW)
   beside one of full size.
2. Where values are multiplied or divided, a bounded operand (a Sigmoid, a Softmax and so on, with
   views and element-wise operators behind it) beside one that is not.
3. The grid of a GridSample.

So the convolution in front of a SiLU is none, for it feeds both operands, and neither is the
classifier behind a global mean, which meets no map again. It does not matter whether lowering moved
a squeeze, folded constants into a gate or wrote its layers as products and sums; nor do names.
"""

from __future__ import annotations

from typing import Final

import onnx_ir as ir

from edgeattn.graph.nodes import static
from edgeattn.precision.degrees import LAYERS

_BOUNDED: Final = frozenset(
    {"Sigmoid", "HardSigmoid", "Softmax", "LogSoftmax", "Hardmax", "Tanh", "Softsign"}
)
_ELEMENTWISE: Final = frozenset(
    {"Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Mean", "Sum", "Where", "PRelu"}
)
_REPEATING: Final = frozenset({"Expand", "Tile", "Resize"})
_SCALING: Final = frozenset({"Mul", "Div", "Pow", "MatMul", "Einsum"})


def gate_nodes(graph: ir.Graph) -> frozenset[ir.Node]:
    """Return the nodes that reach the graph's outputs through gates and statistics only.

    Args:
        graph: A graph without branches and loops that is sorted and has types and shapes. An
            operand whose shape is unknown counts as one of full size.
    """
    marked = _marked(graph)
    reached: set[ir.Node] = set()
    pending = [value.producer() for value in graph.outputs]
    while pending:
        node = pending.pop()
        if node is None or node in reached:
            continue
        reached.add(node)
        pending += [
            value.producer()
            for index, value in enumerate(node.inputs)
            if value is not None and (node, index) not in marked
        ]
    return frozenset(node for node in graph if node not in reached)


def _marked(graph: ir.Graph) -> set[tuple[ir.Node, int]]:
    """Return the edges, as node and index of its input, by which a gate or a statistic enters."""
    marked: set[tuple[ir.Node, int]] = set()
    bounded: set[ir.Value] = set()
    for node in graph:
        if node.op_type == "GridSample":
            marked.add((node, 1))
            continue
        operands = _operands(node)
        broadcast = {index for index, value in operands.items() if _is_broadcast(node, value)}
        gates = {index for index, value in operands.items() if value in bounded}
        only_gates = len(operands) == len(broadcast | gates) > 0
        # Layers make new maps: a gate that goes through one is no longer a gate.
        if node.op_type in _BOUNDED or (only_gates and node.op_type not in LAYERS):
            bounded.update(node.outputs)
            continue
        entering = broadcast | gates if node.op_type in _SCALING else broadcast
        if len(entering) < len(operands):
            marked.update((node, index) for index in entering)
    return marked


def _operands(node: ir.Node) -> dict[int, ir.Value]:
    """Return the inputs that are computed numbers: no constants, sizes or conditions."""
    return {
        index: value
        for index, value in enumerate(node.inputs)
        if value is not None
        and (value.dtype is None or value.dtype.is_floating_point())
        and static(value) is None
    }


def _is_broadcast(node: ir.Node, value: ir.Value) -> bool:
    """Return whether an operand is repeated along some dimension to the size of the result."""
    result = node.outputs[0].shape
    if node.op_type not in _ELEMENTWISE | _REPEATING or value.shape is None or result is None:
        return False
    sizes = [1] * (len(result) - len(value.shape)) + list(value.shape)
    return any(size == 1 != full for size, full in zip(sizes, result, strict=True))
