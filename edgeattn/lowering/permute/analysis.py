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

from collections.abc import Hashable

import numpy as np
import onnx_ir as ir

from edgeattn.graph.nodes import needed
from edgeattn.lowering.permutation import Permutation, expand, group_order, inverse
from edgeattn.lowering.permute.choice import choose
from edgeattn.lowering.permute.flows import flow
from edgeattn.lowering.permute.orders import Orders
from edgeattn.lowering.permute.state import Analysis, Demand, elements, reads
from edgeattn.lowering.permute.tracks import Flow, Track
from edgeattn.lowering.permute.wiring import Wire, is_permutation, join, wire


def analyse(graph: ir.Graph, *, dissolve: bool) -> Analysis:
    """Find the order of every value's channels.

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
    choose(found)
    return found


def _register(found: Analysis, value: ir.Value, track: Track) -> None:
    """Follow a value whose order is the one that the model means."""
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
    """Return the order that a grouped convolution's input comes in, if groups are whole in it."""
    value = node.inputs[0]
    if not said.groups or index or value is None:
        return None
    before = found.known.get(value)
    if before is None:
        return None
    blocks = group_order(before, said.groups)
    return None if blocks is None else before


def _pin_groups(found: Analysis, node: ir.Node, said: Flow) -> None:
    """Fix the order of a grouped convolution's outputs: whole groups as they come in."""
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
    """Keep the order of what a branch or a loop body reads from outside."""
    for node in ir.traversal.RecursiveGraphIterator(found.graph):
        if node.graph is found.graph:
            continue
        for value in node.inputs:
            if value is not None and value in found.tracks:
                found.orders.join(value, Orders.fixed(found.tracks[value].channels), None)


def _connect(found: Analysis, *, dissolve: bool) -> None:
    """Record what every picked value consists of, and demand the orders that make it free."""
    loose = _beside_permutations(found) if dissolve else set()
    for node, wires in found.wires.items():
        read = join([found.picked(needed(node, index)) for index, _ in wires.reads])
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
    """Find the wires that hang together with a permutation through wires alone."""
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
