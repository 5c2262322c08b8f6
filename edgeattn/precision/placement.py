"""Decides which inputs of nodes get a pair of QuantizeLinear and DequantizeLinear.

Layers (Conv, ConvTranspose, Gemm, MatMul with constant weights) get one on their data and one on
their weights. A sum of two maps, which a residual block ends with, gets one on the operand that
lies in memory anyway: the shortcut. Without it the shortcut is written a second time, in float32,
and read so. The other operand is computed in the same kernel, and stays exact.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

import onnx_ir as ir

from edgeattn.graph.nodes import given, integer, needed, static
from edgeattn.precision.gates import gate_nodes

_RELUS: Final = frozenset({"Relu", "Clip"})
_POSITIVE: Final = frozenset({"Relu", "Sigmoid", "HardSigmoid", "Softmax"})
# They give no value that they do not read, or a mean of such.
_PASSING: Final = frozenset(
    {"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Reshape", "Flatten"}
)
_LAYERS: Final = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """What is to be quantised.

    Attributes:
        layers: The layers, and the dimension of their weights that gets a scale for each channel,
            or None for a single scale.
        shortcuts: The other inputs that get a pair, as node and index.
        left: The layers that stay as they are, by name, each with the reason.
    """

    layers: dict[ir.Node, int | None]
    shortcuts: tuple[tuple[ir.Node, int], ...]
    left: tuple[tuple[str, str], ...]


def place(graph: ir.Graph, *, gates: bool, apart: Collection[str] = ()) -> Placement:
    """Decide what is quantised.

    Args:
        graph: A graph without branches and loops that is sorted and has types and shapes.
        gates: Whether layers that compute gates and statistics are.
        apart: Operators that the runtime has no int8 kernel of.
    """
    of_gates = frozenset[ir.Node]() if gates else gate_nodes(graph)
    layers: dict[ir.Node, int | None] = {}
    left: list[tuple[str, str]] = []
    for node in graph:
        if node.op_type not in _LAYERS or node.domain:
            continue
        reason = "it computes a gate or a statistic" if node in of_gates else _obstacle(node)
        if node.op_type in apart:
            reason = "the runtime has no int8 kernel of it"
        if reason:
            left.append((str(node.name), reason))
        else:
            layers[node] = _channels(node)
    shortcuts = [
        (node, index)
        for node in graph
        if node.op_type == "Add" and node not in of_gates
        for index in _shortcuts(node, layers)
    ]
    return Placement(layers=layers, shortcuts=tuple(shortcuts), left=tuple(left))


def results(layers: Iterable[ir.Node]) -> list[ir.Value]:
    """Return what layers give, behind the ReLU that is all that reads it; no outputs of a model."""
    found = []
    for node in layers:
        value = node.outputs[0]
        users = [user for user, _ in value.uses()]
        if len(users) == 1 and not value.is_graph_output() and is_positive(users[0].outputs[0]):
            value = users[0].outputs[0] if users[0].op_type in _RELUS else value
        if not value.is_graph_output() and value.uses():
            found.append(value)
    return found


def is_positive(value: ir.Value) -> bool:
    """Return whether a value has nothing below 0, by the operator that gives it."""
    node = value.producer()
    if node is None:
        return False
    if node.op_type in _PASSING:
        return is_positive(needed(node, 0))
    if node.op_type == "Clip":
        low = static(given(node, 1))
        return low is not None and bool((low >= 0).all())
    return node.op_type in _POSITIVE


def _obstacle(node: ir.Node) -> str:
    """Return why int8 cannot take a layer; or '' if it can."""
    data, weight = needed(node, 0), needed(node, 1)
    constant = static(weight)
    if data.dtype != ir.DataType.FLOAT:
        kind = "unknown" if data.dtype is None else data.dtype.name.lower()
        return f"its input is {kind}, and not float32"
    if static(data) is not None:
        return "it multiplies a constant"
    if constant is None:
        return "its weights are computed"
    if constant.ndim < 2:
        return "its weights are a vector"
    if node.op_type == "Gemm" and integer(node, "transA", 0):
        return "it transposes its input"
    return ""


def _channels(node: ir.Node) -> int | None:
    """Return the dimension of a layer's weights that its output channels lie along."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "Gemm":
        return 0 if integer(node, "transB", 0) else 1
    rank = len(needed(node, 1).shape or ())
    if node.op_type == "MatMul":
        return 1 if rank == 2 else None
    # A transposed convolution has the output channels of one group there, not of all.
    return 1 if integer(node, "group", 1) == 1 else None


def _shortcuts(node: ir.Node, layers: dict[ir.Node, int | None]) -> list[int]:
    """Return the operands of a sum of maps that lie in memory when it is computed.

    They are what a quantised layer reads too, or, after a block that changes the size, what the
    convolution of the shortcut gives: of two layers the second one, so that the first can be summed
    as it is computed.
    """
    operands = [given(node, index) for index in range(2)]
    sizes = [None if v is None or static(v) is not None else v.shape for v in operands]
    if None in sizes or sizes[0] != sizes[1] or len(sizes[0] or ()) < 3:
        return []
    shared = [i for i, v in enumerate(operands) if v is not None and _feeds(v, layers)]
    if shared:
        return shared
    made = [i for i, v in enumerate(operands) if v is not None and v.producer() in layers]
    return made[-1:]


def _feeds(value: ir.Value, layers: dict[ir.Node, int | None]) -> bool:
    return any(user in layers and index == 0 for user, index in value.uses())
