"""How a graph falls into stretches on a DLA and on the GPU beside it, and what changing costs.

TensorRT gives every largest part of the DLA's share that no way through the GPU leads out of and
back into to the DLA as one loadable. How it picks among several such divisions is not documented:
here a part grows along the graph's order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import chain, combinations
from operator import or_
from typing import Final, TypeAlias

import onnx_ir as ir

from edgeattn.graph.nodes import given, reads_of, static_sizes
from edgeattn.records.check import Verdict
from edgeattn.support.dla_values import is_folded, is_left_out

#: How many loadables TensorRT gives one DLA core; what is left runs on the GPU.
MOST_LOADABLES: Final = 16

# Up to so many nodes that may be on either side, every way to put them is tried.
_MOST_TRIED: Final = 10
_MOST_TRIED_PARTS: Final = 6
# What only says anew what the model reads or gives: with a copy that there is anyway.
_RIM: Final = frozenset(["Reshape", "Flatten", "Squeeze", "Unsqueeze", "Cast", "Identity"])

_Span: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretches:
    """How a graph changes between a DLA and the GPU: each at least and at most.

    Attributes:
        changes: How many values go from one to the other. The model's inputs and outputs are none,
            nor are reshapes and casts between them and the network.
        loadables: Into how many parts the DLA's share falls.
        copied_bytes: What the values that go take; those of open size count nothing.
    """

    changes: _Span
    loadables: _Span
    copied_bytes: _Span


@dataclass(frozen=True, slots=True, eq=False)
class _Crossing:
    """A value that some nodes read, and what it takes."""

    maker: ir.Node
    readers: tuple[ir.Node, ...]
    size_bytes: int

    @property
    def nodes(self) -> tuple[ir.Node, ...]:
        return (self.maker, *self.readers)


def stretches(
    graph: ir.Graph, verdicts: Mapping[ir.Node, Verdict], element_bytes: int = 2
) -> Stretches:
    """Return how a graph changes between a DLA and the GPU.

    Args:
        graph: The graph.
        verdicts: Whether each of its nodes runs on the DLA. Nodes of "unknown" are tried on both
            sides where few of them touch; where many do, the bounds are wider than need be.
        element_bytes: What an element takes where it is copied.
    """
    sided, crossings = _network(graph, element_bytes)
    spans = [_crossed(group, verdicts) for group in _groups(crossings, verdicts)]
    return Stretches(
        changes=_summed(span[0] for span in spans),
        copied_bytes=_summed(span[1] for span in spans),
        loadables=_loadables(sided, crossings, verdicts),
    )


def entries(graph: ir.Graph, verdicts: Mapping[ir.Node, Verdict]) -> dict[ir.Node, tuple[int, int]]:
    """Return where values go from one side to the other: at the first node that takes them there.

    Args:
        graph: The graph.
        verdicts: As for `stretches`.

    Returns:
        Of each such node, how many values surely do, and how many may, as unknown nodes run.
    """
    found: dict[ir.Node, tuple[int, int]] = {}
    for one in _network(graph)[1]:
        sides = {verdicts[one.maker]}
        may = None
        for reader in one.readers:
            sides.add(verdicts[reader])
            if {"yes", "no"} <= sides:
                found[reader] = _summed([found.get(reader, (0, 0)), (1, 0)])
                break
            may = may or (reader if "unknown" in sides else None)
        else:
            if may is not None:
                found[may] = _summed([found.get(may, (0, 0)), (0, 1)])
    return found


def _network(graph: ir.Graph, element_bytes: int = 2) -> tuple[list[ir.Node], list[_Crossing]]:
    """Return the nodes that run on a side, and the values between them."""
    sided = [node for node in graph if not (is_folded(node) or is_left_out(node))]
    rim = _rim(sided)
    sided = [node for node in sided if node not in rim]
    return sided, list(_crossings(sided, element_bytes))


def _summed(spans: Iterable[_Span]) -> _Span:
    found = list(spans)
    return sum(least for least, _ in found), sum(most for _, most in found)


def _source(value: ir.Value) -> ir.Value:
    """Return the value that one is, before nodes that are left out."""
    while (node := value.producer()) is not None and is_left_out(node):
        read = given(node, 0)
        if read is None:
            break
        value = read
    return value


def _rim(sided: Sequence[ir.Node]) -> set[ir.Node]:
    """Return the nodes that only give the model's inputs and outputs another shape or type."""
    rim: set[ir.Node] = set()
    for node in sided:
        value = given(node, 0)
        maker = None if value is None else _source(value).producer()
        if node.op_type in _RIM and (maker is None or maker in rim):
            rim.add(node)
    for node in reversed(sided):
        readers = {use.node for use in node.outputs[0].uses()}
        is_given = bool(readers) or node.outputs[0].is_graph_output()
        if node.op_type in _RIM and readers <= rim and is_given:
            rim.add(node)
    return rim


def _crossings(sided: Sequence[ir.Node], element_bytes: int) -> Iterator[_Crossing]:
    """Yield the values that may go from one side to the other."""
    readers: dict[ir.Value, dict[ir.Node, None]] = {}
    for node in sided:
        for value in reads_of(node):
            readers.setdefault(_source(value), {})[node] = None
    makers = set(sided)
    for value, found in readers.items():
        maker = value.producer()
        if maker in makers and maker is not None:
            sizes = static_sizes(value)
            known = sizes is not None and None not in sizes
            count = math.prod(size or 0 for size in sizes or ()) if known else 0
            yield _Crossing(maker, tuple(found), count * element_bytes)


def _groups(
    crossings: Sequence[_Crossing], verdicts: Mapping[ir.Node, Verdict]
) -> Iterator[list[_Crossing]]:
    """Yield values together that unknown nodes tie together."""
    group_of: dict[ir.Node, list[_Crossing]] = {}
    groups: dict[int, list[_Crossing]] = {}
    for crossing in crossings:
        group = [crossing]
        for node in crossing.nodes:
            if verdicts[node] != "unknown":
                continue
            other = group_of.get(node, group)
            if other is not group:
                less, group = sorted((group, other), key=len)
                group += less
                groups.pop(id(less), None)
                for tied in chain.from_iterable(one.nodes for one in less):
                    if verdicts[tied] == "unknown":
                        group_of[tied] = group
            group_of[node] = group
        groups[id(group)] = group
    yield from groups.values()


def _crossed(
    group: Sequence[_Crossing], verdicts: Mapping[ir.Node, Verdict]
) -> tuple[_Span, _Span]:
    """Return how many values of a group go from one side to the other, and what they take."""
    unknown = list(
        dict.fromkeys(node for one in group for node in one.nodes if verdicts[node] == "unknown")
    )
    if len(unknown) > _MOST_TRIED:
        met = [({verdicts[node] for node in one.nodes}, one.size_bytes) for one in group]
        sure = [size for sides, size in met if {"yes", "no"} <= sides]
        open_ = [size for sides, size in met if sides not in ({"yes"}, {"no"})]
        return (len(sure), len(open_)), (sum(sure), sum(open_))
    counts, taken = [], []
    for there in _subsets(unknown):
        crossed = [
            one
            for one in group
            if len({node in there or verdicts[node] == "yes" for node in one.nodes}) > 1
        ]
        counts.append(len(crossed))
        taken.append(sum(one.size_bytes for one in crossed))
    return (min(counts), max(counts)), (min(taken), max(taken))


def _subsets(nodes: Sequence[ir.Node]) -> Iterator[frozenset[ir.Node]]:
    for size in range(len(nodes) + 1):
        yield from map(frozenset, combinations(nodes, size))


def _loadables(
    sided: Sequence[ir.Node],
    crossings: Sequence[_Crossing],
    verdicts: Mapping[ir.Node, Verdict],
) -> _Span:
    """Return into how many parts the DLA's share falls."""
    ways = _Ways(sided, crossings)
    sure = [node for node in sided if verdicts[node] == "yes"]
    unknown = [node for node in sided if verdicts[node] == "unknown"]
    if len(unknown) <= _MOST_TRIED_PARTS:
        counts = [len(ways.parts([*sure, *there])) for there in _subsets(unknown)]
        return min(counts), max(counts)
    alone, together = ways.parts(sure), ways.parts([*sure, *unknown])
    known = set(sure)
    held = sum(1 for part in together if not known.isdisjoint(part.nodes))
    more = sum(1 for node in unknown if not ways.joins(node, alone))
    return min(held, len(alone)), max(len(alone) + more, len(together))


@dataclass(slots=True, eq=False)
class _Part:
    """Nodes together; as bits of a number, they, what leads to one, and what one leads to."""

    nodes: list[ir.Node]
    own: int
    into: int
    out: int

    def is_whole_with(self, other: _Part) -> bool:
        """Return whether no way between two parts' nodes leads through others."""
        through = (self.into | other.into) & (self.out | other.out)
        return not through & ~(self.own | other.own)

    def take(self, other: _Part) -> None:
        """Add what another part holds."""
        self.nodes += other.nodes
        self.own, self.into = self.own | other.own, self.into | other.into
        self.out |= other.out


class _Ways:
    """Which nodes lead to which."""

    def __init__(self, sided: Sequence[ir.Node], crossings: Sequence[_Crossing]) -> None:
        self._order = {node: place for place, node in enumerate(sided)}
        self._before: dict[ir.Node, dict[ir.Node, None]] = {node: {} for node in sided}
        self._after: dict[ir.Node, dict[ir.Node, None]] = {node: {} for node in sided}
        for one in crossings:
            for reader in one.readers:
                self._before[reader][one.maker] = None
                self._after[one.maker][reader] = None
        self._into = self._reached(sided, self._before)
        self._out = self._reached(sided[::-1], self._after)

    def _reached(
        self, order: Sequence[ir.Node], beside: Mapping[ir.Node, Iterable[ir.Node]]
    ) -> dict[ir.Node, int]:
        found: dict[ir.Node, int] = {}
        for node in order:
            found[node] = reduce(
                or_, (found[one] | 1 << self._order[one] for one in beside[node]), 0
            )
        return found

    def parts(self, nodes: Iterable[ir.Node]) -> list[_Part]:
        """Return the largest parts of nodes that touch and that no way leads out of and into."""
        ordered = sorted(nodes, key=self._order.__getitem__)
        part_of = {node: self._single(node) for node in ordered}
        is_growing = True
        while is_growing:
            is_growing = False
            for node in ordered:
                for maker in self._before[node]:
                    one, other = part_of.get(maker), part_of[node]
                    if one is None or one is other or not one.is_whole_with(other):
                        continue
                    one.take(other)
                    part_of.update(dict.fromkeys(other.nodes, one))
                    is_growing = True
        return list(dict.fromkeys(part_of.values()))

    def joins(self, node: ir.Node, parts: Iterable[_Part]) -> bool:
        """Return whether a node would be of one of some parts."""
        single = self._single(node)
        beside = {*self._before[node], *self._after[node]}
        return any(
            not beside.isdisjoint(part.nodes) and part.is_whole_with(single) for part in parts
        )

    def _single(self, node: ir.Node) -> _Part:
        return _Part([node], 1 << self._order[node], self._into[node], self._out[node])
