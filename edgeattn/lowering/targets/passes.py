"""What ONNX Runtime makes of some nodes on a CPU: a kernel each, and passes over what it reads.

    an operator                   reads its inputs and writes its outputs; views only alias
    an activation or a constant affine behind a convolution    is part of it
    a map in blocks that an operator outside the blocked layout reads    is copied out of it, once
    a map outside the blocked layout that a convolution reads    is copied into it, once
    multiply-accumulates          as the bytes that are moved meanwhile

Nothing else is fused: see `blocked` for what stays in the blocked layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import onnx_ir as ir

from edgeattn.graph.nodes import reduced_axes, static_sizes
from edgeattn.lowering.build import DOMAIN
from edgeattn.lowering.measures import VIEWS, Figures, bytes_of, is_read, work_bytes
from edgeattn.lowering.targets.blocked import KEEPS_BLOCKS, POOLS, is_blocked

_MAP: Final = 4
# A copy between layouts takes 1.5 times as long as its two passes.
_COPY_PASSES: Final = 3
# Channels that are reduced where they are apart: 256x56x56 takes 1035 us, 250 by rows.
_STRIDED_PASSES: Final = 4
_BLOCKED: Final = KEEPS_BLOCKS | POOLS | {"Conv"}
# What goes over its map for statistics first.
_TWICE: Final = frozenset({"InstanceNormalization", "GroupNormalization"})
_IN_THE_CONVOLUTION: Final = frozenset(
    {"Relu", "Sigmoid", "Tanh", "HardSigmoid", "LeakyRelu", "Clip"}
)


def measure(nodes: Sequence[ir.Node], instead_of: Sequence[ir.Node]) -> Figures:
    """Return the kernels that ONNX Runtime runs for some nodes, and what they move.

    Args:
        nodes: The nodes, in an order that runs.
        instead_of: Those that are not there if they are.
    """
    inside, absent = set(nodes), set(instead_of)
    kernels = moved = 0
    copies: set[tuple[ir.Value, bool]] = set()
    for node in nodes:
        read = {value: None for value in node.inputs if value is not None and is_read(value)}
        if not read or node.domain == DOMAIN:
            continue
        stays = _stays_in_blocks(node)
        copies |= {(value, False) for value in read if is_blocked(value) and not stays}
        copies |= {(value, True) for value in read if node.op_type == "Conv" and _is_outside(value)}
        if node.op_type in VIEWS or _is_fused(node, inside, absent):
            continue
        kernels += 1
        if node.op_type in _TWICE:
            moved += bytes_of(node.inputs[0])
        if _is_strided(node):
            moved += (_STRIDED_PASSES - 1) * bytes_of(node.inputs[0])
        moved += sum(map(bytes_of, read)) + sum(map(bytes_of, node.outputs)) + work_bytes(node)
    for node in nodes:
        for value in node.outputs:
            users = [u for u in value.consumers() if u not in inside and u not in absent]
            readers = {user.op_type for user in users if user.graph is not None}
            if readers & _BLOCKED and _is_outside(value):
                copies.add((value, True))
    moved += sum(_COPY_PASSES * bytes_of(value) for value, _ in copies)
    return Figures(kernels=kernels + len(copies), traffic_bytes=moved)


def _is_strided(node: ir.Node) -> bool:
    """Return whether a node reduces a map over its channels, one by one."""
    shape = None if node.inputs[0] is None else node.inputs[0].shape
    if not node.op_type.startswith("Reduce") or shape is None or len(shape) != _MAP:
        return False
    return reduced_axes(node, _MAP) == [1] and list(shape[2:]) != [1, 1]


def _stays_in_blocks(node: ir.Node) -> bool:
    if node.op_type == "Conv" or node.op_type in POOLS:
        return True
    if node.op_type not in KEEPS_BLOCKS:
        return False
    shapes = {str(v.shape) for v in node.inputs if v is not None and is_read(v)}
    return len(shapes) == 1


def _is_outside(value: ir.Value) -> bool:
    """Return whether a map lies outside the blocked layout, and would have to be copied into it."""
    sizes = static_sizes(value)
    return (
        sizes is not None and len(sizes) == _MAP and sizes[2:] != [1, 1] and not is_blocked(value)
    )


def _is_fused(node: ir.Node, inside: set[ir.Node], absent: set[ir.Node]) -> bool:
    """Return whether an activation is part of the convolution before it."""
    value = node.inputs[0]
    producer = None if value is None else value.producer()
    if node.op_type not in _IN_THE_CONVOLUTION or value is None or producer is None:
        return False
    if producer.op_type != "Conv":
        return False
    users = [user for user in value.consumers() if user not in absent]
    return [u for u in users if u.graph is not None or u in inside] == [node]
