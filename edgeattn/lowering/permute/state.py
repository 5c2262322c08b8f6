"""What the dataflow analysis knows of a graph's channels."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from edgeattn.graph.nodes import needed
from edgeattn.lowering.permutation import Permutation, expand, group_order, identity, inverse
from edgeattn.lowering.permute.orders import Orders
from edgeattn.lowering.permute.tracks import Flow, Track
from edgeattn.lowering.permute.wiring import Channels, Wire, all_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """A wish that a Gather could meet as well: `o_value = p[o_like]`.

    Attributes:
        value: The value.
        like: The key of the value that tells its order, or of the fixed order.
        p: The permutation between them, or None for the identity.
        cost: The elements that the Gather would move.
        read: The node and the input that wish it; None for a permutation or a graph output.
    """

    value: ir.Value
    like: Hashable
    p: Permutation | None
    cost: int
    read: tuple[ir.Node, int] | None


@dataclass(slots=True, kw_only=True)
class Analysis:
    """What is known of a graph's channels.

    Attributes:
        graph: The graph.
        tracks: Per value whose channels are followed, where they stand, in the graph's order.
        flows: Per node that calculates, what it does with their order.
        wires: Per node that only picks channels, which.
        wired: Per output of such a node, what it consists of.
        kept: The outputs of such nodes that are values of their own for whoever picks from them.
        orders: The order of every value.
        demands: What is wished of them.
        known: Per value, the order that it has if nothing before it is free; None for the model's.
    """

    graph: ir.Graph
    tracks: dict[ir.Value, Track] = field(default_factory=dict)
    flows: dict[ir.Node, Flow] = field(default_factory=dict)
    wires: dict[ir.Node, Wire] = field(default_factory=dict)
    wired: dict[ir.Value, Channels] = field(default_factory=dict)
    kept: set[ir.Value] = field(default_factory=set)
    orders: Orders = field(default_factory=Orders)
    demands: list[Demand] = field(default_factory=list)
    known: dict[ir.Value, Permutation | None] = field(default_factory=dict)

    def order(self, value: ir.Value) -> Permutation:
        """Return the order in which a value's channels are stored."""
        return self.orders.order(value, self.tracks[value].channels)

    def picked(self, value: ir.Value) -> Channels:
        """Return a value as whoever picks from it sees it."""
        if value in self.wired and value not in self.kept:
            return self.wired[value]
        return all_of(value, self.tracks[value].channels)

    def required(self, node: ir.Node, index: int) -> Permutation | None:
        """Return the order that a node needs an input in, or None if any will do."""
        value, found = needed(node, index), self.flows.get(node)
        if found is None or (index not in found.tied and index not in found.columns):
            if found is not None and found.groups and index == 0:
                return self._grouped(node, found.groups)
            return identity(self.tracks[value].channels)
        return self.order(node.outputs[0]) if index in found.tied else None

    def _grouped(self, node: ir.Node, groups: int) -> Permutation | None:
        order = self.order(needed(node, 0))
        blocks = group_order(self.order(node.outputs[0]), groups)
        assert blocks is not None, "the outputs of a grouped convolution keep their groups"
        stored = group_order(order, groups)
        if stored is not None and np.array_equal(stored, blocks):
            return None
        return expand(blocks, len(order) // groups)


def elements(value: ir.Value) -> int:
    """Return a value's number of elements; an open dimension counts as 1."""
    return math.prod(size for size in value.shape or () if isinstance(size, int))


def positions(found: Analysis, channels: Channels) -> Permutation:
    """Return where each picked channel lies in the value that it comes from."""
    places = [inverse(found.order(source)) for source in channels.sources]
    if len(places) == 1:
        return places[0][channels.channel]
    starts = np.cumsum([0, *(len(place) for place in places)])[:-1]
    return np.concatenate(places)[starts[channels.which] + channels.channel]


def reads(node: ir.Node, found: Analysis) -> Iterator[int]:
    """Return the inputs of a node whose channels are followed."""
    for index, value in enumerate(node.inputs):
        if value is not None and value in found.tracks:
            yield index
