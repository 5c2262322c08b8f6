"""Compares two engines: which of their kernels do the same work, and what was fused.

Kernels are put into groups, each the smallest that both engines share:

1. A kernel from no ONNX node (a layout copy) goes to the kernel that reads what it writes.
2. Kernels that share an ONNX node that both engines have belong together, on one side and across.
3. A kernel whose nodes the other engine does not have goes to kernels of the other side with new
   nodes of the same torch module, or of the nearest one around it: an attention that was lowered
   keeps its module, and few of its nodes.
4. What is left is matched by kind and shapes, then by shapes alone, each in the engines' order.

torch's older exporter writes `/layer1/layer1.0/conv1/Conv` for our `layer1.0.conv1/Conv`: they are
one node here.

Every kernel is in one group, so the groups' sums are the engines'. The time is linear in the number
of kernels and of their nodes, but for a logarithm.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from edgeattn.engine.inspect import Row, traffic_of
from edgeattn.graph.names import module_of, tagged
from edgeattn.records.layers import Kernel

Match = Literal["nodes", "module", "shapes", "nothing"]

_NODES, _MODULE, _SHAPES = range(3)
_MATCHES: Final[tuple[Match, ...]] = ("nodes", "module", "shapes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fusion:
    """ONNX nodes that are one kernel in one engine, and several in the other.

    Attributes:
        nodes: The nodes, in the order of the engine that has them apart.
        kernel: The index of the kernel in the engine that fused them.
        kernels: The number of kernels that they are in the other.
    """

    nodes: tuple[str, ...]
    kernel: int
    kernels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Kernels of both engines that do the same work.

    Attributes:
        place: The torch module of most of its ONNX nodes; or else a node, or a kernel.
        matched_by: What the two sides are matched by, the weakest of its bonds; `nothing` if only
            one engine has it.
        a: The kernels of the first engine.
        b: The kernels of the second.
        fused_in_a: What the first fused, and the second did not.
        fused_in_b: What the second fused, and the first did not.
        nodes_only_in_a: The ONNX nodes that only the first has.
        nodes_only_in_b: The ONNX nodes that only the second has.
    """

    place: str
    matched_by: Match
    a: tuple[Row, ...]
    b: tuple[Row, ...]
    fused_in_a: tuple[Fusion, ...]
    fused_in_b: tuple[Fusion, ...]
    nodes_only_in_a: tuple[str, ...]
    nodes_only_in_b: tuple[str, ...]

    @property
    def delta_bytes(self) -> int | None:
        """How many more bytes the second moves than the first, or None if shapes are open."""
        return delta_of(self.a, self.b)

    @property
    def is_equal(self) -> bool:
        """Whether both are as many kernels, of the same kinds, precisions, bytes and fusions."""
        return (
            not (self.fused_in_a or self.fused_in_b)
            and traffic_of(self.a) == traffic_of(self.b)
            and _looks(self.a) == _looks(self.b)
        )


def delta_of(a: Iterable[Row], b: Iterable[Row]) -> int | None:
    """Return how many more bytes the second kernels move, or None if shapes are open."""
    before, after = traffic_of(a), traffic_of(b)
    return None if before is None or after is None else after - before


def diff(a: Sequence[Row], b: Sequence[Row]) -> tuple[Group, ...]:
    """Compare the kernels of two engines.

    Args:
        a: The kernels of the first, in its order.
        b: The kernels of the second.

    Returns:
        The groups, in the order of the first engine; what only the second has stands behind what
        precedes it there. Every kernel is in exactly one.
    """
    rows = (*a, *b)
    bonds = _Bonds(len(a), len(rows))
    attached = _attached(a) | {len(a) + i: len(a) + j for i, j in _attached(b).items()}
    for copy, owner in attached.items():
        bonds.tie(copy, owner, _NODES)
    # A node of one engine alone ties nothing: TensorRT shares weights, and names their quantisation
    # in kernels that have no more to do with each other.
    first = dict.fromkeys(_nodes(a).keys() & _nodes(b).keys(), -1)
    for index, row in enumerate(rows):
        for node in _nodes([row]):
            if node in first:
                first[node] = index if first[node] < 0 else first[node]
                bonds.tie(first[node], index, _NODES)
    _match_modules(rows, bonds)
    heads = [index for index in range(len(rows)) if index not in attached]
    _match_keys(rows, heads, bonds, lambda kernel: (kernel.kind, *_shapes(kernel)))
    _match_keys(rows, heads, bonds, _shapes)
    return tuple(
        _group(
            tuple(rows[i] for i in members if i < len(a)),
            tuple(rows[i] for i in members if i >= len(a)),
            bonds.bond(members[0]),
        )
        for members in _in_order(bonds.members(), len(a))
    )


def _attached(rows: Sequence[Row]) -> dict[int, int]:
    """Find, for each kernel without nodes, the kernel that reads what it writes.

    If none with nodes does, even indirectly, it is the one that wrote what it reads.
    """
    kernels = [row.kernel for row in rows]
    readers, writers = defaultdict[str, list[int]](list), defaultdict[str, list[int]](list)
    for index, kernel in enumerate(kernels):
        for name in {one.name for one in kernel.inputs}:
            readers[name].append(index)
        for name in {one.name for one in kernel.outputs}:
            writers[name].append(index)
    found: dict[int, int] = {}
    nameless = [index for index, kernel in enumerate(kernels) if not kernel.nodes]
    for index in reversed(nameless):
        later = [
            readers[one.name][at]
            for one in kernels[index].outputs
            if (at := bisect_right(readers[one.name], index)) < len(readers[one.name])
        ]
        known = [reader for reader in later if kernels[reader].nodes or reader in found]
        if known:
            found[index] = min(known)
    for index in nameless:
        earlier = [
            writers[one.name][at - 1]
            for one in kernels[index].inputs
            if (at := bisect_left(writers[one.name], index))
        ]
        if index not in found and earlier:
            found[index] = max(earlier)
    return found


def _match_modules(rows: Sequence[Row], bonds: _Bonds) -> None:
    """Tie kernels of new nodes to those of the other side that are of the same module."""
    nodes = (_nodes(rows[: bonds.size_a]), _nodes(rows[bonds.size_a :]))
    new: tuple[dict[str, list[int]], dict[str, list[int]]] = ({}, {})
    for index, row in enumerate(rows):
        side = bonds.side(index)
        fresh = (node for node in _nodes([row]) if node not in nodes[1 - side])
        for module in dict.fromkeys(map(module_of, fresh)):
            new[side].setdefault(module, []).append(index)
    alone = [index for index in range(len(rows)) if bonds.is_alone(index)]
    for index in alone:
        others = new[1 - bonds.side(index)]
        for module in dict.fromkeys(map(module_of, _nodes([rows[index]]))):
            around = module
            while around and around not in others:
                around = around[: max(around.rfind("."), around.rfind("/"), 0)]
            if around:
                for other in others[around]:
                    bonds.tie(index, other, _MODULE)
                # They are tied to each other now: the next needs one of them only.
                del others[around][1:]


def _match_keys(
    rows: Sequence[Row],
    heads: Iterable[int],
    bonds: _Bonds,
    key: Callable[[Kernel], Hashable],
) -> None:
    """Tie what is still alone, the n-th of a key on one side to the n-th on the other."""
    waiting: dict[Hashable, tuple[list[int], list[int]]] = {}
    for index in heads:
        if bonds.is_alone(index):
            sides = waiting.setdefault(key(rows[index].kernel), ([], []))
            sides[bonds.side(index)].append(index)
    for ours, theirs in waiting.values():
        for one, other in zip(ours, theirs, strict=False):
            bonds.tie(one, other, _SHAPES)


def _shapes(kernel: Kernel) -> tuple[Hashable, ...]:
    return (
        tuple(one.shape for one in kernel.inputs),
        tuple(one.shape for one in kernel.outputs),
    )


def _in_order(groups: Iterable[list[int]], size_a: int) -> list[list[int]]:
    """Sort groups by their first kernel in the first engine, or else by what precedes it."""
    owner = {index: members for members in groups for index in members}
    places: dict[int, tuple[int, int]] = {}
    before = -1
    for index in sorted(owner):
        members = owner[index]
        if members[0] < size_a:
            places[members[0]] = (members[0], -1)
            before = members[0] if index >= size_a else before
        else:
            places.setdefault(members[0], (before, index))
    return sorted({m[0]: m for m in owner.values()}.values(), key=lambda m: places[m[0]])


def _group(a: tuple[Row, ...], b: tuple[Row, ...], bond: int) -> Group:
    in_a, in_b = _nodes(a), _nodes(b)
    return Group(
        place=_place((*a, *b)),
        matched_by=_MATCHES[bond] if a and b else "nothing",
        a=a,
        b=b,
        fused_in_a=_fusions(a, b),
        fused_in_b=_fusions(b, a),
        nodes_only_in_a=tuple(node for node in in_a if node not in in_b),
        nodes_only_in_b=tuple(node for node in in_b if node not in in_a),
    )


def _nodes(rows: Iterable[Row]) -> dict[str, None]:
    return dict.fromkeys(tagged(node) for row in rows for node in row.kernel.nodes)


def _place(rows: Sequence[Row]) -> str:
    nodes = _nodes(rows)
    modules = Counter(filter(None, map(module_of, nodes)))
    if modules:
        return modules.most_common(1)[0][0]
    return next(iter(nodes), rows[0].kernel.name)


def _fusions(ours: Sequence[Row], theirs: Sequence[Row]) -> tuple[Fusion, ...]:
    # Dictionaries for sets that keep their order: the first kernel that names a node stands for it.
    holders: dict[str, dict[int, None]] = {}
    for index, row in enumerate(theirs):
        for node in _nodes([row]):
            holders.setdefault(node, {})[index] = None
    found = []
    for row in ours:
        shared = [node for node in _nodes([row]) if node in holders]
        if not shared:
            continue
        fewest = min((holders[node] for node in shared), key=len)
        if not any(all(index in holders[node] for node in shared) for index in fewest):
            first = {node: next(iter(holders[node])) for node in shared}
            found.append(
                Fusion(
                    nodes=tuple(sorted(shared, key=first.__getitem__)),
                    kernel=row.index,
                    kernels=len(set(first.values())),
                )
            )
    return tuple(found)


def _looks(rows: Iterable[Row]) -> Counter[tuple[str, str]]:
    return Counter((row.kernel.kind, row.precision) for row in rows)


class _Bonds:
    """A disjoint-set forest over the kernels of both engines.

    Args:
        size_a: How many kernels the first engine has; they come first.
        size: How many there are in all.
    """

    def __init__(self, size_a: int, size: int) -> None:
        self.size_a = size_a
        self._parents = list(range(size))
        # Per root: the weakest bond of its set, and which sides are in it.
        self._bonds = [_NODES] * size
        self._sides = [{index >= size_a} for index in range(size)]

    def side(self, index: int) -> int:
        return int(index >= self.size_a)

    def tie(self, one: int, other: int, bond: int) -> None:
        one, other = self._root(one), self._root(other)
        if one == other:
            return
        one, other = min(one, other), max(one, other)
        self._parents[other] = one
        self._bonds[one] = max(self._bonds[one], self._bonds[other], bond)
        self._sides[one] |= self._sides[other]

    def is_alone(self, index: int) -> bool:
        """Return whether its set has kernels of one engine only."""
        return len(self._sides[self._root(index)]) == 1

    def bond(self, index: int) -> int:
        return self._bonds[self._root(index)]

    def members(self) -> list[list[int]]:
        found: dict[int, list[int]] = {}
        for index in range(len(self._parents)):
            found.setdefault(self._root(index), []).append(index)
        return list(found.values())

    def _root(self, index: int) -> int:
        while self._parents[index] != index:
            self._parents[index] = self._parents[self._parents[index]]
            index = self._parents[index]
        return index
