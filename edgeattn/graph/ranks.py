"""The rank of an input that says none, by what reads it: a layer's weights, or an order of axes."""

from __future__ import annotations

import onnx_ir as ir

from edgeattn.graph.nodes import given, integer, ints

# What gives a value of the rank of the one that it reads first.
_ALIKE = frozenset(
    [
        "BatchNormalization", "Cast", "Clip", "Identity", "InstanceNormalization", "LeakyRelu",
        "Neg", "QuantizeLinear", "DequantizeLinear", "Relu", "Sigmoid", "Sqrt", "Abs",
    ]
)  # fmt: skip
# The same, where the other is a constant of no higher rank.
_BINARY = frozenset(["Add", "Div", "Mul", "Pow", "Sub"])


def find_ranks(model: ir.Model) -> bool:
    """Give inputs that say no shape one of open sizes, where what reads them tells its rank.

    Returns:
        Whether there was one.
    """
    is_changed = False
    for value in model.graph.inputs:
        if value.shape is None and isinstance(value.type, ir.TensorType):
            sizes = _sizes(value)
            if sizes is not None:
                value.shape = ir.Shape(sizes)
                is_changed = True
    return is_changed


def _sizes(value: ir.Value) -> list[int | None] | None:
    """Return the sizes of a value as far as its readers tell; None if not even how many."""
    waiting, seen = [value], {value}
    while waiting:
        for node, place in waiting.pop().uses():
            found = _read_by(node) if place == 0 else None
            if found is not None:
                return found
            other = given(node, 1 - place) if node.op_type in _BINARY else None
            is_scaled = other is not None and other.is_initializer() and not other.shape
            if is_scaled or (place == 0 and node.op_type in _ALIKE):
                waiting += [one for one in node.outputs[:1] if one not in seen]
                seen.update(node.outputs[:1])
    return None


def _read_by(node: ir.Node) -> list[int | None] | None:
    """Return the sizes of what a node reads first, as far as it tells them."""
    if node.op_type in ("Conv", "ConvTranspose"):
        weight = given(node, 1)
        if weight is None or weight.shape is None or len(weight.shape) < 3:
            return None
        sizes = list(weight.shape)
        channels = sizes[0] if node.op_type == "ConvTranspose" else sizes[1]
        if not isinstance(channels, int):
            return None
        if node.op_type == "Conv":
            channels *= integer(node, "group", 1)
        return [None, channels, *([None] * (len(sizes) - 2))]
    perm = ints(node, "perm") if node.op_type == "Transpose" else None
    if perm:
        return [None] * len(perm)
    return [None, None] if node.op_type == "Gemm" else None
