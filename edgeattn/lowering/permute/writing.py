"""Write what the analysis found: permuted constants, and a Gather or slices where one stays."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np
import onnx_ir as ir

from edgeattn.graph.names import module_of
from edgeattn.graph.nodes import is_used, length_of, needed, producer_of
from edgeattn.lowering.permutation import Permutation, expand, identity, inverse
from edgeattn.lowering.permute.nodes import NewNodes
from edgeattn.lowering.permute.pieces import Pieces
from edgeattn.lowering.permute.state import Analysis, positions, reads
from edgeattn.lowering.permute.wiring import is_permutation, permutation_of, permutations_of
from edgeattn.records.lowering import NearMiss, Rewrite

RULE: Final = "channel-permutation"


class Writing:
    """One pass over a graph that has been analysed.

    Args:
        model: The model, changed by `run`.
        found: The orders of its values.
    """

    def __init__(self, model: ir.Model, found: Analysis) -> None:
        self._graph = model.graph
        self._found = found
        self._new = NewNodes(model)
        self._pieces = Pieces(model, found, self._new)
        self._stored: dict[tuple[ir.Value, bytes], ir.Value] = {}
        self._stays: set[ir.Node] = set()
        self._names: dict[ir.Value, str] = {}
        self._permutations = permutations_of(model)
        self._culprits = self._find_culprits()
        self._made: dict[ir.Node, list[ir.Node]] = {}
        self._permuted: dict[ir.Node, list[ir.Node]] = {}
        self._near: list[NearMiss] = []

    def run(self) -> tuple[list[Rewrite], list[NearMiss]]:
        """Write everything, and say what became of each permutation."""
        nodes = list(self._graph)
        for node in self._found.wires:
            if not is_permutation(node) and all(out in self._found.kept for out in node.outputs):
                self._stay(node)
        self._plan()
        for node in nodes:
            self._new.before(node)
            if node not in self._found.wires:
                self._read(node)
            elif node in self._stays:
                self._read_wire(node)
            self._read_inside(node)
        for node in self._permutations:
            if node not in self._found.wires:
                self._left_alone(node)
        self._give()
        gone = self._sweep(nodes)
        self._new.sweep()
        self._new.finish(self._names)
        return self._record(gone), self._near

    def _left_alone(self, node: ir.Node) -> None:
        """Turn a permutation of what is not followed into a Gather."""
        value, p = needed(node, 0), permutation_of(node)
        node.op_type, node.domain = "Gather", ""
        node.attributes.clear()
        node.attributes["axis"] = ir.AttrInt64("axis", 1)
        node.resize_inputs(2)
        node.replace_input_with(1, self._new.integers(p.tolist(), f"{node.name}.indices"))
        reason = f"{value.name} holds its channels in a way that is not followed"
        self._blame(node, node.outputs[0], reason)

    def _stay(self, node: ir.Node) -> None:
        """Leave a wire in its place where it can pick what it picked from what is stored."""
        wires = self._found.wires[node]
        if node.op_type == "Concat":
            order = self._found.order(node.outputs[0])
            bounds = np.cumsum([0, *(length for _, length in wires.reads)])
            parts = list(pairwise(bounds.tolist()))
            if all(a <= order[a:b].min() and order[a:b].max() < b for a, b in parts):
                self._stays.add(node)
            return
        ((index, length),) = wires.reads
        value = needed(node, index)
        read = self._found.picked(value)
        if len(read.sources) > 1 or self._found.tracks[read.sources[0]].channels != length:
            return
        for output, pick in zip(node.outputs, wires.picks, strict=True):
            channels = read.pick(pick[self._found.order(output)])
            if not np.array_equal(positions(self._found, channels), pick):
                return
        self._stays.add(node)

    def _plan(self) -> None:
        for value, channels in self._found.wired.items():
            if not self._is_plain(value) and (
                value in self._found.kept
                or any(user not in self._found.wires for user, _ in value.uses())
            ):
                self._pieces.plan(channels.pick(self._found.order(value)))

    def _is_plain(self, value: ir.Value) -> bool:
        """Return whether a value stays the output of its node."""
        return value not in self._found.wired or value.producer() in self._stays

    def _value(self, value: ir.Value, order: Permutation, reader: str) -> ir.Value:
        """Return a value stored in some order, adding what makes it where it is not there yet."""
        key = (value, order.tobytes())
        if key in self._stored:
            return self._stored[key]
        plain = self._is_plain(value)
        made = self._plain(value, order) if plain else self._collect(value, order, reader)
        self._stored[key] = made
        if self._new.is_new(made):
            track, node = self._found.tracks[value], producer_of(made)
            whole = (
                node.op_type == "Gather" and length_of(node.inputs[0], track.axis) == track.channels
            )
            reason = f"{reader} needs {value.name} in an order that nothing before it can give"
            self._blame(self._culprit(value), made, reason if whole else "")
        if value in self._found.kept and not plain:
            self._siblings(value)
        return made

    def _siblings(self, value: ir.Value) -> None:
        """Make the other outputs of the same node: side by side, one kernel makes them all."""
        for output in producer_of(value).outputs:
            users = [str(user.name) for user, _ in output.uses()]
            if users:
                self._value(output, self._found.order(output), users[0])

    def _plain(self, value: ir.Value, order: Permutation) -> ir.Value:
        own = self._found.order(value)
        if np.array_equal(own, order):
            return value
        origin = self._culprit(value)
        return self._pieces.gather(value, inverse(own)[order], origin, value)

    def _collect(self, value: ir.Value, order: Permutation, reader: str) -> ir.Value:
        channels = self._found.wired[value].pick(order)
        sources = [
            self._value(source, self._found.order(source), reader) for source in channels.sources
        ]
        made = self._pieces.collect(channels, sources, producer_of(value), value)
        if self._new.is_new(made) and np.array_equal(order, self._found.order(value)):
            self._names.setdefault(made, str(value.name))
        return made

    def _blame(self, origin: ir.Node, made: ir.Value, reason: str) -> None:
        """Note a new node, and why it had to be where it moves what it need not have moved."""
        self._made.setdefault(origin, []).append(producer_of(made))
        if reason:
            self._near.append(NearMiss(rule=RULE, site=_site(origin), reason=reason))

    def _find_culprits(self) -> dict[object, ir.Node]:
        """Return a permutation per class of values that holds one."""
        culprits: dict[object, ir.Node] = {}
        for node in self._permutations:
            for value in (*node.outputs, *node.inputs):
                if value in self._found.tracks:
                    culprits.setdefault(self._found.orders.root(value), node)
        return culprits

    def _culprit(self, value: ir.Value) -> ir.Node:
        """Return the permutation that a node for this value stands for: the nearest before it."""
        node = value.producer()
        while node is not None and node in self._found.wires:
            if is_permutation(node):
                return node
            above = [v.producer() for v in node.inputs if v is not None]
            node = next((n for n in above if n in self._found.wires), None)
        root = self._found.orders.root(value)
        return self._culprits.get(root, self._permutations[0])

    def _set(self, node: ir.Node, index: int, order: Permutation) -> None:
        value = needed(node, index)
        made = self._value(value, order, str(node.name))
        if made is not value:
            node.replace_input_with(index, made)

    def _read(self, node: ir.Node) -> None:
        # All orders first: what is read decides on the order, and is replaced.
        wanted = [(index, self._found.required(node, index)) for index in reads(node, self._found)]
        self._columns(node)
        for index, order in wanted:
            value = needed(node, index)
            self._set(node, index, self._found.order(value) if order is None else order)

    def _read_wire(self, node: ir.Node) -> None:
        wires = self._found.wires[node]
        if node.op_type == "Concat":
            order, start = self._found.order(node.outputs[0]), 0
            for index, length in wires.reads:
                self._set(node, index, order[start : start + length] - start)
                start += length
            return
        ((index, _),) = wires.reads
        value = needed(node, index)
        (source,) = self._found.picked(value).sources
        stored = self._value(source, self._found.order(source), str(node.name))
        if stored is not value:
            node.replace_input_with(index, stored)

    def _read_inside(self, node: ir.Node) -> None:
        """Replace what the branches and bodies of a node read from outside."""
        for attribute in node.attributes.values():
            graphs: list[ir.Graph] = []
            if attribute.type == ir.AttributeType.GRAPHS:
                graphs += attribute.as_graphs()
            elif attribute.type == ir.AttributeType.GRAPH:
                graphs.append(attribute.as_graph())
            for graph in graphs:
                for inner in ir.traversal.RecursiveGraphIterator(graph):
                    for index in reads(inner, self._found):
                        value = needed(inner, index)
                        self._set(inner, index, identity(self._found.tracks[value].channels))

    def _give(self) -> None:
        """Keep the order and the names of the graph's outputs."""
        self._new.before(None)
        outputs = self._graph.outputs
        for place, value in enumerate(list(outputs)):
            if value not in self._found.tracks:
                continue
            order = identity(self._found.tracks[value].channels)
            made = self._value(value, order, f"the output {value.name}")
            if made is value:
                continue
            if made.producer() is None or made.is_graph_output():
                origin = self._culprit(value)
                (made,) = self._new.add("Identity", [made], {}, origin=origin, shapes=[value.shape])
            outputs[place] = made
            self._names[made] = str(value.name)
            value.name = f"{value.name}:stored"
            self._names = {
                v: n for v, n in self._names.items() if v is made or n != self._names[made]
            }

    def _columns(self, node: ir.Node) -> None:
        """Permute the constants that are stored in the order of a node's inputs and outputs."""
        said = self._found.flows[node]
        orders: dict[int, dict[int, Permutation]] = {}
        for index, weights in said.columns.items():
            value = needed(node, index)
            for weight in weights:
                order = expand(self._found.order(value), weight.repeat)
                orders.setdefault(weight.index, {})[weight.axis] = order
        for weight in said.rows:
            order = expand(self._found.order(node.outputs[0]), weight.repeat)
            orders.setdefault(weight.index, {})[weight.axis] = order
        changed = False
        if said.groups:
            stored = self._found.required(node, 0)
            if stored is None:
                stored = self._found.order(needed(node, 0))
            changed = self._new.regroup(node, said.groups, orders.pop(1)[0], stored)
        for index, axes in orders.items():
            changed |= self._new.permute(node, index, axes)
        if changed:
            seen = (*node.outputs, *node.inputs)
            value = next(v for v in seen if v is not None and v in self._found.tracks)
            self._permuted.setdefault(self._culprit(value), []).append(node)

    def _sweep(self, nodes: list[ir.Node]) -> list[tuple[ir.Node, ir.Node]]:
        """Remove the wires that nothing reads any more; return each with its permutation."""
        gone = []
        for node in reversed(nodes):
            if node in self._found.wires and node not in self._stays and node.graph is not None:
                assert not any(map(is_used, node.outputs)), node.name
                gone.append((node, self._culprit(node.outputs[0])))
                self._new.forget(node)
                self._graph.remove(node, safe=True)
        return gone[::-1]

    def _record(self, gone: list[tuple[ir.Node, ir.Node]]) -> list[Rewrite]:
        """Name a rewrite per permutation: what stands for it, or whose constants took it in."""
        taken: dict[ir.Node, list[str]] = {node: [str(node.name)] for node in self._permutations}
        for node, origin in gone:
            if node is not origin:
                taken[origin].append(str(node.name))
        rewrites = []
        for node, before in taken.items():
            after = [*self._permuted.get(node, ()), *self._made.get(node, ())]
            names = dict.fromkeys(str(made.name) for made in after if made.graph is not None)
            rewrites.append(
                Rewrite(
                    rule=RULE,
                    site=_site(node),
                    nodes_before=tuple(before),
                    nodes_after=tuple(names),
                )
            )
        return rewrites


def _site(node: ir.Node) -> str:
    return module_of(str(node.name)) or str(node.name)
