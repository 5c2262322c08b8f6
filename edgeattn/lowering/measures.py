"""What a part of a graph costs a target, as far as its nodes tell: the measure that forms meet.

A target's measure counts the kernels that its runtime would make of some nodes, and the bytes that
they move. It is no prediction of times: it compares a region as it is with its new form, and only
the difference counts, so that what both have in common need not be right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import onnx_ir as ir

from edgeattn.graph.nodes import integer, is_static, static_sizes

#: A launch weighs as much as the bytes that an 8 GB Orin Nano (68 GB/s) moves meanwhile. No floor
#: is published for a Jetson: 2 µs is a guess, low on purpose, so that bytes decide.
BYTES_PER_KERNEL: Final = 136_000
VIEWS: Final = frozenset(
    {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout", "Cast", "CastLike"}
)
"""Operators that move nothing, or next to nothing."""
# 2 threads of a laptop: 60 billion multiply-accumulates and 15 GB a second.
_MACS_PER_BYTE: Final = 4
_WIDTHS: Final = {ir.DataType.FLOAT16: 2, ir.DataType.DOUBLE: 8}
# Constants and statistics that a form has more: thousandths of what the region moves.
_SLACK: Final = 1.002


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What some nodes cost.

    Attributes:
        kernels: How many kernels they are.
        traffic_bytes: What these move, per sample where the batch is open.
    """

    kernels: int
    traffic_bytes: int

    @property
    def cost_bytes(self) -> int:
        """The bytes, and those that launches weigh."""
        return self.traffic_bytes + self.kernels * BYTES_PER_KERNEL

    def pays_against(self, other: Figures) -> bool:
        """Return whether this costs no more than another."""
        return self.cost_bytes <= other.cost_bytes * _SLACK

    def __str__(self) -> str:
        return f"{self.kernels} kernels and {self.traffic_bytes / 1e6:.3g} MB"


Measure: TypeAlias = Callable[[Sequence[ir.Node], Sequence[ir.Node]], Figures]
"""Returns what some nodes cost in the place of others."""


def elements(value: ir.Value | None) -> int:
    """Return how many elements a value has; an open size counts as 1."""
    sizes = None if value is None else static_sizes(value)
    return 0 if sizes is None else math.prod(size for size in sizes if size is not None)


def bytes_of(value: ir.Value | None) -> int:
    """Return the bytes of a value; an open size counts as 1."""
    width = 4 if value is None or value.dtype is None else _WIDTHS.get(value.dtype, 4)
    return elements(value) * width


def freed(
    nodes: Sequence[ir.Node], roots: Collection[ir.Value], new: Sequence[ir.Node] = ()
) -> list[ir.Node]:
    """Return those of some nodes, in the order of the graph, that are gone without the roots.

    Args:
        nodes: The nodes.
        roots: What is computed in another way.
        new: The nodes that compute it, which may read what the others give.
    """
    gone: set[ir.Node] = set()
    standing = set(new)
    for node in reversed(nodes):
        is_needed = any(
            value not in roots
            and (
                value.is_graph_output()
                or any(
                    user in standing or (user.graph is not None and user not in gone)
                    for user in value.consumers()
                )
            )
            for value in node.outputs
        )
        if not is_needed:
            gone.add(node)
    return [node for node in nodes if node in gone]


def with_producers(gone: Sequence[ir.Node], new: Sequence[ir.Node]) -> list[ir.Node]:
    """Return nodes that go with all that only they need, and what stands for them does not."""
    needed = {value for node in new for value in node.inputs}
    order, known, pending = list(gone), set(gone), list(gone)
    while pending:
        for value in pending.pop().inputs:
            node = None if value is None else value.producer()
            if node is None or node in known:
                continue
            users = {user for out in node.outputs for user in out.consumers()}
            is_needed = any(out.is_graph_output() or out in needed for out in node.outputs)
            if is_needed or any(user.graph is not None and user not in known for user in users):
                continue
            known.add(node)
            order.insert(0, node)
            pending.append(node)
    return order


def is_read(value: ir.Value | None) -> bool:
    """Return whether an input is a tensor that something computes, no constant."""
    return value is not None and not is_static(value)


def work_bytes(node: ir.Node, lanes: int = 1) -> int:
    """Return the bytes that a processor could move while a convolution or a product computes.

    Args:
        node: The node.
        lanes: What the channels that a dense convolution writes are filled up to a multiple of.
    """
    if node.op_type not in {"Conv", "Gemm", "MatMul"}:
        return 0
    weight = node.inputs[1]
    sizes = None if weight is None else static_sizes(weight)
    if weight is None or sizes is None:
        return 0
    if node.op_type == "Conv":
        macs = elements(node.outputs[0]) * elements(weight) // (sizes[0] or 1)
        if sizes[0] and integer(node, "group", 1) == 1:
            macs = macs * (-(-sizes[0] // lanes) * lanes) // sizes[0]
    else:
        x = static_sizes(node.inputs[0]) if node.inputs[0] is not None else None
        macs = elements(node.outputs[0]) * ((x or [1])[-1] or 1)
    return macs // _MACS_PER_BYTE + (0 if is_read(weight) else bytes_of(weight))
