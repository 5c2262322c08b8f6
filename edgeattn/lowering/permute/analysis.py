"""The dataflow analysis: which order each value's channels are stored in.

1. Every operator says what it does with the order of its channels (`flows`), every node that only
   picks channels what it picks (`wiring`).
2. Each demand that two values share an order, or that one keeps the order that the model means,
   could be met by a Gather, which costs a pass over a tensor. Demands are met in the order of what
   they would cost, the dearest first, as Kruskal's algorithm builds a spanning tree; one that
   contradicts those before it is left to a Gather. Of equal ones a permutation's own comes last.
3. What is free still takes the order that keeps its readers' channels together: those that one
   reader takes stand side by side, and what is picked from several values lies as it was stored.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from edgeattn.graph.nodes import needed
from edgeattn.lowering.permutation import (
    Permutation,
    expand,
    group_order,
    identity,
    inverse,
    runs,
)
from edgeattn.lowering.permute.flows import flow
from edgeattn.lowering.permute.orders import Orders
from edgeattn.lowering.permute.tracks import Flow, Track
from edgeattn.lowering.permute.wiring import Channels, Wire, all_of, is_permutation, join, wire


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """A wish that a Gather could meet as well: `o_value = p[o_like]`.

    Attributes:
        value: The value.
        like: The key of the value that tells its order, or of the fixed order.
        p: The permutation between them; None for none.
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
        """Gives the order in which a value's channels are stored."""
        return self.orders.order(value, self.tracks[value].channels)

    def picked(self, value: ir.Value) -> Channels:
        """Gives a value as whoever picks from it sees it."""
        if value in self.wired and value not in self.kept:
            return self.wired[value]
        return all_of(value, self.tracks[value].channels)

    def required(self, node: ir.Node, index: int) -> Permutation | None:
        """Gives the order that a node needs an input in; None where any will do."""
        value, found = node.inputs[index], self.flows.get(node)
        assert value is not None, "only inputs that are there are followed"
        if found is None or (index not in found.tied and index not in found.columns):
            if found is not None and found.groups and index == 0:
                return self._grouped(node, found.groups)
            return identity(self.tracks[value].channels)
        return self.order(node.outputs[0]) if index in found.tied else None

    def _grouped(self, node: ir.Node, groups: int) -> Permutation | None:
        value = node.inputs[0]
        assert value is not None, "a convolution reads something"
        order = self.order(value)
        blocks = group_order(self.order(node.outputs[0]), groups)
        assert blocks is not None, "the outputs of a grouped convolution keep their groups"
        stored = group_order(order, groups)
        if stored is not None and np.array_equal(stored, blocks):
            return None
        return expand(blocks, len(order) // groups)


def elements(value: ir.Value) -> int:
    """Gives a value's number of elements; an open dimension counts as 1."""
    total = 1
    for dimension in value.shape or ():
        total *= dimension if isinstance(dimension, int) else 1
    return total


def analyse(graph: ir.Graph, *, dissolve: bool) -> Analysis:
    """Finds the order of every value's channels.

    Args:
        graph: The graph; it is not changed.
        dissolve: Whether Concat and Split beside a permutation are taken apart with it, so that
            each channel goes from the node that makes it straight to the one that reads it.
    """
    found = Analysis(graph=graph)
    for node in graph:
        _follow(found, node)
    _pin_captured(found)
    for value in graph.outputs:
        if value in found.tracks:
            _demand(found, value, Orders.fixed(found.tracks[value].channels), None, None)
    _connect(found, dissolve=dissolve)
    _settle(found)
    _choose(found)
    return found


def _register(found: Analysis, value: ir.Value, track: Track) -> None:
    """Follows a value whose order is the one that the model means."""
    if value not in found.tracks:
        found.tracks[value] = track
        found.orders.join(value, Orders.fixed(track.channels), None)
        found.known[value] = None


def _demand(
    found: Analysis,
    value: ir.Value,
    like: Hashable,
    p: Permutation | None,
    read: tuple[ir.Node, int] | None,
) -> None:
    found.demands.append(Demand(value=value, like=like, p=p, cost=elements(value), read=read))


def _follow(found: Analysis, node: ir.Node) -> None:
    wires = wire(node, found.tracks)
    if wires is not None:
        _follow_wire(found, wires)
        return
    said = flow(node, found.tracks)
    found.flows[node] = said
    known = []
    for index, track in said.tied.items():
        value = needed(node, index)
        _register(found, value, track)
        _demand(found, value, node.outputs[0], None, (node, index))
        known.append(found.known.get(value, _UNKNOWN))
    if said.out is not None:
        for output in node.outputs:
            found.tracks[output] = said.out
            found.orders.join(output, node.outputs[0], None)
        if known and known[0] is not _UNKNOWN and all(order is known[0] for order in known):
            found.known[node.outputs[0]] = known[0]
    if said.groups:
        _pin_groups(found, node, said)
    for index in reads(node, found):
        if index not in said.tied and index not in said.columns:
            value = needed(node, index)
            fixed = Orders.fixed(found.tracks[value].channels)
            _demand(found, value, fixed, _block_order(found, node, said, index), (node, index))


def _follow_wire(found: Analysis, wires: Wire) -> None:
    node = wires.node
    found.wires[node] = wires
    for index, channels in wires.reads:
        _register(found, needed(node, index), Track(axis=wires.axis, channels=channels))
    found.tracks.update(zip(node.outputs, wires.tracks(), strict=True))
    if is_permutation(node):
        before = found.known.get(needed(node, 0), _UNKNOWN)
        if before is not _UNKNOWN:
            undone = inverse(wires.picks[0])
            found.known[node.outputs[0]] = undone if before is None else undone[before]


_UNKNOWN = np.zeros(0, dtype=np.int64)


def _block_order(found: Analysis, node: ir.Node, said: Flow, index: int) -> Permutation | None:
    """Gives the order that a grouped convolution's input comes in, if groups are whole in it."""
    value = node.inputs[0]
    if not said.groups or index or value is None:
        return None
    before = found.known.get(value)
    if before is None:
        return None
    blocks = group_order(before, said.groups)
    return None if blocks is None else before


def _pin_groups(found: Analysis, node: ir.Node, said: Flow) -> None:
    """Fixes the order of a grouped convolution's outputs: whole groups as they come in."""
    out, track = node.outputs[0], said.out
    assert track is not None, "a grouped convolution gives channels"
    blocks = _block_order(found, node, said, 0)
    order = None
    if blocks is not None:
        groups = group_order(blocks, said.groups)
        assert groups is not None, "blocks are whole groups"
        order = expand(groups, track.channels // said.groups)
    found.orders.join(out, Orders.fixed(track.channels), order)
    found.known[out] = order


def _pin_captured(found: Analysis) -> None:
    """Keeps the order of what a branch or a loop body reads from outside."""
    for node in ir.traversal.RecursiveGraphIterator(found.graph):
        if node.graph is found.graph:
            continue
        for value in node.inputs:
            if value is not None and value in found.tracks:
                found.orders.join(value, Orders.fixed(found.tracks[value].channels), None)


def _connect(found: Analysis, *, dissolve: bool) -> None:
    """Says of every picked value what it consists of, and demands the orders that make it free."""
    loose = _beside_permutations(found) if dissolve else set()
    for node, wires in found.wires.items():
        parts = []
        for index, _ in wires.reads:
            value = node.inputs[index]
            assert value is not None, "a wire reads what is there"
            parts.append(found.picked(value))
        read = join(parts)
        for output, pick in zip(node.outputs, wires.picks, strict=True):
            channels = read.pick(pick)
            found.wired[output] = channels
            if not is_permutation(node) and node not in loose:
                found.kept.add(output)
            if len(channels.sources) == 1:
                (source,) = channels.sources
                whole = found.tracks[source].channels
                if len(channels.channel) == whole and len(np.unique(channels.channel)) == whole:
                    cost = elements(output)
                    found.demands.append(
                        Demand(value=source, like=output, p=channels.channel, cost=cost, read=None)
                    )


def _beside_permutations(found: Analysis) -> set[ir.Node]:
    """Finds the wires that hang together with a permutation through wires alone."""
    reached: set[ir.Node] = set()
    pending = [node for node in found.wires if is_permutation(node)]
    while pending:
        node = pending.pop()
        if node in reached:
            continue
        reached.add(node)
        pending += [p for v in node.inputs if v is not None and (p := v.producer()) in found.wires]
        pending += [user for v in node.outputs for user, _ in v.uses() if user in found.wires]
    return reached


def _settle(found: Analysis) -> None:
    numbered = sorted(
        enumerate(found.demands),
        key=lambda item: (-item[1].cost, item[1].read is None and item[1].p is not None, item[0]),
    )
    for _, demand in numbered:
        found.orders.join(demand.value, demand.like, demand.p)


def _choose(found: Analysis) -> None:
    picks = _readers(found)
    for value, track in found.tracks.items():
        if found.orders.is_chosen(value, track.channels):
            continue
        if value in found.wired:
            order = _as_stored(found, value)
        else:
            order = _for_readers(found, value, picks)
        found.orders.choose(value, order)


def _as_stored(found: Analysis, value: ir.Value) -> Permutation:
    """Gives the order in which picked channels lie in the values that they come from.

    The parts of a Concat that stays follow each other, and so do several copies of a channel.
    """
    channels, node = found.wired[value], value.producer()
    assert node is not None, "a wire gives it"
    places = positions(found, channels)
    lengths = [length for _, length in found.wires[node].reads]
    if value in found.kept and len(lengths) > 1:
        block = np.repeat(np.arange(len(lengths)), lengths)
    else:
        block = _copies(channels)
    order = np.lexsort((places, channels.which, block)).astype(np.int64)
    if value in found.kept and len(channels.sources) == 1 and len(runs(places[order])) > 1:
        # A Gather all the same: as the model has it, TensorRT fused it with more of its neighbours.
        return identity(len(order))
    return order


def _copies(channels: Channels) -> Permutation:
    """Numbers the copies of each channel in a list."""
    order = np.lexsort((channels.channel, channels.which))
    which, channel = channels.which[order], channels.channel[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = (np.diff(which) != 0) | (np.diff(channel) != 0)
    numbers = np.arange(len(order))
    copies = np.empty_like(numbers)
    copies[order] = numbers - np.maximum.accumulate(np.where(first, numbers, 0))
    return copies


def positions(found: Analysis, channels: Channels) -> Permutation:
    """Gives where each picked channel lies in the value that it comes from."""
    places = [inverse(found.order(source)) for source in channels.sources]
    if len(places) == 1:
        return places[0][channels.channel]
    starts = np.cumsum([0, *(len(place) for place in places)])[:-1]
    return np.concatenate(places)[starts[channels.which] + channels.channel]


def _readers(found: Analysis) -> dict[object, list[tuple[ir.Value, ir.Value, int]]]:
    """Lists, per class, what is picked from its values: the result, the source and its number."""
    readers: dict[object, list[tuple[ir.Value, ir.Value, int]]] = {}
    for output, channels in found.wired.items():
        if not _is_read(found, output):
            continue
        for number, source in enumerate(channels.sources):
            readers.setdefault(found.orders.root(source), []).append((output, source, number))
    return readers


def _is_read(found: Analysis, value: ir.Value) -> bool:
    """Says whether anything but a wire that is taken apart reads a value."""
    return (
        value in found.kept
        or value.is_graph_output()
        or any(user not in found.wires for user, _ in value.uses())
        or any(out in found.kept for user, _ in value.uses() for out in user.outputs)
    )


def _for_readers(
    found: Analysis,
    value: ir.Value,
    readers: dict[object, list[tuple[ir.Value, ir.Value, int]]],
) -> Permutation:
    """Gives the order of a free class that lets its readers take runs of channels."""
    length = found.tracks[value].channels
    keys: list[Permutation] = []
    for output, source, number in readers.get(found.orders.root(value), ()):
        between = found.orders.between(value, source, length)
        channels = found.wired[output]
        mine = channels.which == number
        taken = between[channels.channel[mine]]
        if found.orders.is_chosen(output, found.tracks[output].channels):
            place = inverse(found.order(output))[mine]
        elif len(np.unique(taken)) == length:
            continue
        else:
            place = np.zeros(len(taken), dtype=np.int64)
        key = np.full(length, np.iinfo(np.int64).max)
        key[taken] = place
        keys.append(key)
    return np.lexsort((identity(length), *reversed(keys))).astype(np.int64)


def reads(node: ir.Node, found: Analysis) -> Iterator[int]:
    """Gives the inputs of a node whose channels are followed."""
    for index, value in enumerate(node.inputs):
        if value is not None and value in found.tracks:
            yield index
