"""A perceptron over the channels of each position, as 1x1 convolutions.

    Transpose(0, 2, 3, 1), MatMul W, Add b, ..., Transpose(0, 3, 1, 2) = Conv 1x1 of W^T with b, ...

torch has Linear for the last axis, so a layer at each position is written between two transposes of
the map, which are copies of it where the convolutions before and behind run in one layout. The rows
of positions may be one axis between two reshapes.

Real-number exact. Requires that nothing stands between the transposes but products with constant
matrices, constants for each channel and activations, each read by the next alone: where a norm over
channels is there too, as in ConvNeXt, channels last is the right layout.
"""

from __future__ import annotations

from typing import Final

import onnx_ir as ir

from edgeattn.graph.nodes import given, ints, is_standard, length_of, static
from edgeattn.lowering.build import Builder, replace
from edgeattn.lowering.raising import sizes
from edgeattn.records.lowering import Rewrite

RULE: Final = "perceptron"
_LAST: Final = [0, 2, 3, 1]
_FIRST: Final = [0, 3, 1, 2]
_MAP: Final = 4
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
    nodes = [first]
    while len(nodes) < _LONGEST:
        (value,) = nodes[-1].outputs
        users = value.consumers()
        if len(users) != 1 or value.is_graph_output() or users[0].inputs[0] is not value:
            return None
        nodes.append(users[0])
        if _is_transpose(nodes[-1], _FIRST):
            is_whole = any(node.op_type == "MatMul" for node in nodes)
            return nodes if is_whole and _positions(nodes[-1].inputs[0]) else None
        if not _is_pointwise(nodes[-1], _positions(first.outputs[0])):
            return None
    return None


def _is_transpose(node: ir.Node, perm: list[int]) -> bool:
    return is_standard(node) and node.op_type == "Transpose" and ints(node, "perm") == perm


def _positions(value: ir.Value | None) -> list[int | str | None]:
    """Return the rows and columns of a channels-last map; nothing where it is none."""
    known = [] if value is None or value.shape is None else sizes(value)
    return known[1:3] if len(known) == _MAP else []


def _is_pointwise(node: ir.Node, positions: list[int | str | None]) -> bool:
    """Return whether a node does the same at each position of a channels-last map."""
    if not is_standard(node) or node.outputs[0].shape is None:
        return False
    if node.op_type == "MatMul":
        weight = static(node.inputs[1])
        return weight is not None and weight.ndim == 2
    if node.op_type in _BY_CHANNEL:
        array, channels = static(node.inputs[1]), length_of(node.outputs[0], -1)
        return array is not None and (array.size == 1 or array.shape == (channels,))
    if node.op_type == "Reshape":
        before, after = (sizes(v) if v and v.shape else [] for v in (node.inputs[0], *node.outputs))
        flat = sorted((before, after), key=len)
        if [len(one) for one in flat] != [_MAP - 1, _MAP] or before[-1] != after[-1]:
            return False
        # Rows become columns where a reshape gives other positions than it took.
        return before[0] == after[0] and flat[1][1:3] == positions
    return node.op_type in _ACTIVATIONS


def _written(graph: ir.Graph, build: Builder, chain: list[ir.Node]) -> Rewrite:
    value = chain[0].inputs[0]
    assert value is not None, "it was looked at"
    batch, _, *positions = sizes(value)
    nodes = [node for node in chain[1:-1] if node.op_type != "Reshape"]
    taken: set[ir.Node] = set()
    for node, after in zip(nodes, [*nodes[1:], None], strict=True):
        build.origin = node.name or ""
        shape = [batch, length_of(node.outputs[0], -1), *positions]
        constant = static(given(node, 1))
        if node in taken:
            continue
        if node.op_type == "MatMul" and constant is not None:
            inputs = [value, build.constant(constant.T[:, :, None, None])]
            bias = static(after.inputs[1]) if after is not None and after.op_type == "Add" else None
            if after is not None and bias is not None and bias.shape == constant.shape[1:]:
                inputs.append(build.constant(bias))
                taken.add(after)
            value = build.node("Conv", inputs, shape, {"kernel_shape": [1, 1]})
            continue
        rest = list(node.inputs[1:])
        if constant is not None and constant.shape == (shape[1],) and node.op_type in _BY_CHANNEL:
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
