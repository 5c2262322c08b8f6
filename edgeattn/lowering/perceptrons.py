"""A perceptron over the channels of each position, as 1x1 convolutions.

    Transpose(0, 2, 3, 1), MatMul W, Add b, ..., Transpose(0, 3, 1, 2) = Conv 1x1 of W^T with b, ...

torch has Linear for the last axis, so a layer at each position is written between two transposes of
the map, which are copies of it where the convolutions before and behind run in one layout. The rows
of positions may be one axis between two reshapes. Behind a 1x1 convolution that widens, as at the
end of a bottleneck, the first layer reads what that reads.

Real-number exact. Requires that nothing stands between the transposes but products with constant
matrices, constants for each channel and activations, each read by the next alone: where a norm over
channels is there too, as in ConvNeXt, channels last is the right layout.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx_ir as ir

from edgeattn.graph.nodes import (
    given,
    integer,
    ints,
    is_standard,
    length_of,
    number,
    static,
    weight_and_bias,
)
from edgeattn.lowering.build import Builder, replace
from edgeattn.lowering.raising import sizes
from edgeattn.lowering.targets.squeeze import is_layer
from edgeattn.records.lowering import Rewrite

RULE: Final = "perceptron"
_LAST: Final = [0, 2, 3, 1]
_FIRST: Final = [0, 3, 1, 2]
_LONGEST: Final = 16
_ACTIVATIONS: Final = frozenset(
    {"Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "Elu", "Softplus",
     "Gelu", "Identity"}
)  # fmt: skip
_BY_CHANNEL: Final = frozenset({"Add", "Sub", "Mul", "Div"})


def rewrite_perceptrons(graph: ir.Graph, build: Builder) -> list[Rewrite]:
    """Write perceptrons over channels-last maps as convolutions.

    Args:
        graph: The graph, changed in place.
        build: Makes the nodes.
    """
    chains = (_chain(node) for node in list(graph))
    return [_written(graph, build, chain) for chain in chains if chain is not None]


def _chain(first: ir.Node) -> list[ir.Node] | None:
    """Return the nodes from a transpose to the one that undoes it, if it is a perceptron."""
    if not _is_transpose(first, _LAST) or first.inputs[0] is None:
        return None
    nodes, value0 = [first], first.outputs[0]
    while len(nodes) < _LONGEST:
        (value,) = nodes[-1].outputs
        users = value.consumers()
        if len(users) != 1 or value.is_graph_output() or users[0].inputs[0] is not value:
            return None
        nodes.append(users[0])
        if _is_transpose(nodes[-1], _FIRST):
            is_layer = any(node.op_type in {"MatMul", "Gemm"} for node in nodes)
            return nodes if is_layer and _places(nodes[-1].inputs[0]) == _places(value0) else None
        if not _is_pointwise(nodes[-1]):
            return None
    return None


def _is_transpose(node: ir.Node, perm: list[int]) -> bool:
    return is_standard(node) and node.op_type == "Transpose" and ints(node, "perm") == perm


def _places(value: ir.Value | None) -> list[int | str | None]:
    """Return the batch, rows and columns of a channels-last map."""
    return [] if value is None or value.shape is None else sizes(value)[:-1]


def _is_pointwise(node: ir.Node) -> bool:
    """Return whether a node does the same at each position, with the channels last."""
    x, channels = node.inputs[0], length_of(node.outputs[0], -1)
    if not is_standard(node) or channels is None:
        return False
    if node.op_type in {"MatMul", "Gemm"}:
        return layer_of(node) is not None
    if node.op_type in _BY_CHANNEL:
        array = static(node.inputs[1])
        return array is not None and (array.size == 1 or array.shape == (channels,))
    if node.op_type == "Reshape":  # the places in their order, as more axes or fewer
        return length_of(x, -1) == channels
    return node.op_type in _ACTIVATIONS


def layer_of(node: ir.Node) -> tuple[np.ndarray, np.ndarray | None] | None:
    """Return the weights f[rows, columns] and the bias of a product with a constant matrix."""
    weight, bias = static(given(node, 1)), static(given(node, 2))
    if weight is None or weight.ndim != 2 or (given(node, 2) is not None and bias is None):
        return None
    if node.op_type == "MatMul":
        return weight.T, None
    is_plain = number(node, "alpha", 1.0) == number(node, "beta", 1.0) == 1.0
    weight = weight if integer(node, "transB", 0) else weight.T
    if (
        not is_plain
        or integer(node, "transA", 0)
        or (bias is not None and bias.size != len(weight))
    ):
        return None
    return weight, None if bias is None else bias.reshape(-1)


def _through(
    x: ir.Value, weight: np.ndarray, bias: np.ndarray | None
) -> tuple[ir.Value, np.ndarray, np.ndarray | None]:
    """Return a layer on what the 1x1 convolution that widened a map reads, instead of on the map.

    W (V y + c) + b = (W V) y + (W c + b): fewer channels to read, and smaller weights.
    """
    maker = x.producer()
    constants = weight_and_bias(maker) if maker is not None and is_layer(maker) else None
    if maker is None or constants is None or constants[0].shape[1] >= len(constants[0]):
        return x, weight, bias
    inner, offset = constants[0].reshape(len(constants[0]), -1).astype(np.float64), constants[1]
    total = np.zeros(len(weight)) if bias is None else bias.astype(np.float64)
    if offset is not None:
        total = total + weight @ offset
    value = maker.inputs[0]
    assert value is not None, "a convolution reads a map"
    return value, (weight @ inner).astype(weight.dtype), total.astype(weight.dtype)


def _written(graph: ir.Graph, build: Builder, chain: list[ir.Node]) -> Rewrite:
    value = chain[0].inputs[0]
    assert value is not None, "it was looked at"
    batch, _, *positions = sizes(value)
    nodes = [node for node in chain[1:-1] if node.op_type != "Reshape"]
    taken: set[ir.Node] = set()
    for node, after in zip(nodes, [*nodes[1:], None], strict=True):
        if node in taken:
            continue
        build.origin = node.name or ""
        shape = [batch, length_of(node.outputs[0], -1), *positions]
        layer = layer_of(node) if node.op_type in {"MatMul", "Gemm"} else None
        if layer is not None:
            weight, bias = layer
            added = (
                static(after.inputs[1]) if after is not None and after.op_type == "Add" else None
            )
            if after is not None and bias is None and added is not None and added.ndim == 1:
                taken.add(after)
                bias = np.broadcast_to(added, len(weight))
            if node is nodes[0]:
                value, weight, bias = _through(value, weight, bias)
            inputs = [value, build.constant(weight[:, :, None, None])]
            inputs += [] if bias is None else [build.constant(bias)]
            value = build.node("Conv", inputs, shape, {"kernel_shape": [1, 1]})
            continue
        rest = list(node.inputs[1:])
        constant = static(given(node, 1)) if node.op_type in _BY_CHANNEL else None
        if constant is not None and constant.size > 1:
            rest = [build.constant(constant[:, None, None])]
        attributes = {a.name: a for a in node.attributes.values()}
        value = build.node(node.op_type, [value, *rest], shape, attributes)
    made = build.insert(value, chain[0])
    replace(chain[-1].outputs[0], value, is_made=True)
    for node in reversed(chain):
        graph.remove(node, safe=True)
    return Rewrite(
        rule=RULE,
        site=chain[-1].name or "",
        nodes_before=tuple(node.name or "" for node in chain),
        nodes_after=tuple(node.name or "" for node in made),
    )
