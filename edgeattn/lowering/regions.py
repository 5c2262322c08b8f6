"""Which parts of the graph are written anew, and the exchange itself.

A root is a value that something outside the terms reads. What it is computed from, back to the
leaves, is its part of the graph; parts that share a node are one region, which is exchanged as a
whole or left. Elementwise nodes at the end of a part (a residual sum, its activation) stay as they
are: the root moves up to what they read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

import onnx_ir as ir

from edgeattn.graph.gates import common_module
from edgeattn.graph.names import module_of
from edgeattn.graph.nodes import is_used, producer_of
from edgeattn.lowering.build import Builder, replace
from edgeattn.lowering.indices import Axes, leaves
from edgeattn.lowering.measures import freed, with_producers
from edgeattn.lowering.raising import ACTIVATIONS, Raised, Raising, sizes
from edgeattn.lowering.record import FAULTS, LEFT_OUT, fault
from edgeattn.lowering.target import RULES
from edgeattn.lowering.targets.layout import CHANNELS, UnwritableError
from edgeattn.lowering.targets.writer import Refused, Writer
from edgeattn.lowering.terms import Term, subterms
from edgeattn.records.lowering import NearMiss, Rewrite

# What makes a region worth writing anew, the telling ones first.
TELLING: Final = (
    "permuted-branch",
    "grouped-branches",
    "spatial-softmax",
    "moments",
    "global-mean",
    "channel-shuffle",
    "hard-activation",
)
# What is rewritten only into fewer nodes: the others change what is moved.
_MUST_SHRINK: Final = frozenset({"channel-shuffle", "hard-activation"})
#: What is said of a kind of region beside its forms: whether it is lowered, as something measured.
REGION: Final = "region"
LOWERED: Final = "lowered"
STOCK: Final = "stock"
_ENDS: Final = ACTIVATIONS | {"Add", "Identity", "Cast"}


@dataclass(slots=True)
class Region:
    """Roots whose parts of the graph share nodes.

    Attributes:
        roots: The values to write, in the order of the graph.
        nodes: What they are computed by, in the order of the graph.
        telling: Those of the nodes that make it worth writing anew.
        is_refused: Whether the target does not run these.
    """

    roots: list[ir.Value] = field(default_factory=list)
    nodes: list[ir.Node] = field(default_factory=list)
    telling: list[ir.Node] = field(default_factory=list)
    is_refused: bool = False


def regions(graph: ir.Graph, raising: Raising, refused: Refused | None = None) -> list[Region]:
    """Return the regions of a graph that hold something worth lowering.

    Args:
        graph: The graph.
        raising: What is known of it.
        refused: Returns why the target does not run a node; None for one that runs them all.
    """
    if refused is None:
        found = {node for node, rule in raising.rules.items() if rule in TELLING}
        firm = frozenset[ir.Node]()
    else:
        firm = frozenset(node for node in raising.rules if refused(node))
        found = set(firm)
    parts: list[tuple[ir.Value, list[ir.Node]]] = []
    for value in raising.roots:
        nodes = _nodes(value, raising)
        if found.isdisjoint(nodes):
            continue
        root = _peeled(value, raising, found, firm)
        parts.append((root, nodes if root is value else _nodes(root, raising)))
    place = {node: k for k, node in enumerate(graph)}
    made: list[Region] = []
    owner: dict[ir.Node, Region] = {}
    for root, nodes in parts:
        region = Region([root], list(nodes))
        for node in nodes:
            other = owner.get(node)
            if other is not None and other is not region:
                other.roots += [r for r in region.roots if r not in other.roots]
                other.nodes += region.nodes
                made = [r for r in made if r is not region]
                region = other
        for node in region.nodes:
            owner[node] = region
        if region not in made:
            made.append(region)
    for region in made:
        region.nodes = sorted(set(region.nodes), key=place.__getitem__)
        region.roots.sort(key=lambda value: place[producer_of(value)])
        region.telling = [node for node in region.nodes if node in found]
        region.is_refused = bool(firm)
    return made


def _is_leaf(value: ir.Value, raising: Raising) -> bool:
    what = raising.values.get(value)
    return not isinstance(what, Raised) or (what.term.op == "leaf" and what.term.attrs is value)


def _nodes(root: ir.Value, raising: Raising) -> list[ir.Node]:
    """Return the nodes that a value is computed by, back to the leaves."""
    first = producer_of(root)
    found, pending = {first: None}, [first]
    while pending:
        for value in pending.pop().inputs:
            if value is None or _is_leaf(value, raising):
                continue
            node = value.producer()
            if node is not None and node not in found:
                found[node] = None
                pending.append(node)
    return list(found)


def _peeled(
    root: ir.Value, raising: Raising, telling: set[ir.Node], firm: AbstractSet[ir.Node]
) -> ir.Value:
    """Move a root up past the elementwise nodes that only end its part, unless they are firm."""
    while True:
        node = producer_of(root)
        if node in firm:
            return root
        inner = [v for v in node.inputs if v is not None and not _is_leaf(v, raising)]
        inner = [
            v for v in inner if v.producer() is not None and isinstance(raising.values[v], Raised)
        ]
        is_end = node.op_type in _ENDS or (not firm and _is_thin(root, raising))
        if len(inner) != 1 or not is_end:
            return root
        if telling.isdisjoint(_nodes(inner[0], raising)):
            return root
        if len(node.inputs) == 2 and node.op_type == "Add":
            other = next(v for v in node.inputs if v is not inner[0])
            if other is None or other in _leaf_values(raising.values[inner[0]]):
                return root
        root = inner[0]


def _is_thin(value: ir.Value, raising: Raising) -> bool:
    """Return whether a root has no positions: what only reduces a map is no attention."""
    what = raising.roots.get(value) or raising.values[value]
    return isinstance(what, Raised) and what.term.is_thin()


def _leaf_values(what: object) -> set[object]:
    assert isinstance(what, Raised)
    return {term.attrs for term in subterms(what.term) if term.op == "leaf"}


def exchange(
    region: Region,
    raising: Raising,
    write: Callable[[str], Writer],
    build: Builder,
    *,
    must_pay: bool,
) -> Rewrite | NearMiss | None:
    """Write a region anew, if there are forms for all of it and they cost no more than it does.

    Args:
        region: The region.
        raising: What is known of it.
        write: Returns the writer for a kind of region.
        build: Makes the nodes.
        must_pay: Leave it where the target's measure says that its form costs more.

    Returns:
        The rewrite; or why there is none; or None if there is nothing to gain.
    """
    rule, site = _rule(region, raising), _site(region)
    raising.terms.origin = region.telling[-1].name or ""
    if not _is_worthwhile(region, raising):
        return None
    kind = f"{rule} {_largest(region, raising)}"
    writer = write(kind)
    writer.taken = {}
    if writer.chosen.get(REGION) == STOCK:
        return NearMiss(rule=rule, site=site, reason="no form was measured to be faster than it is")
    try:
        written = [
            writer.finish(writer.write(*_root(root, raising)), root) for root in region.roots
        ]
    except UnwritableError as error:
        if rule == "channel-shuffle" and not _is_of_channels(region, raising):
            return None  # rows and columns are parted or moved: no shuffle, and nothing missed
        return NearMiss(rule=rule, site=site, reason=str(error))
    except FAULTS as error:
        return fault(rule, site, error)
    if all(new is old for new, old in zip(written, region.roots, strict=True)):
        return None
    written = _apart(region.roots, written, build)
    must_shrink = rule in _MUST_SHRINK and not region.is_refused
    if must_shrink and not build.is_simpler(written, region.nodes):
        return None
    new = build.loose(written)
    gone = with_producers(freed(region.nodes, region.roots, new), new)
    before, after = writer.measure(gone, new), writer.measure(new, gone)
    must_pay = must_pay and REGION not in writer.chosen
    if must_pay and not after.pays_against(before):
        reason = f"its form would take {after}, and as it is it takes {before}"
        if left := writer.left_out(writer.taken.items()):
            reason += f"; {LEFT_OUT.format(', '.join(left))}"
        return NearMiss(rule=rule, site=site, reason=reason)
    names = {node: node.name or "" for node in region.nodes}
    made: list[ir.Node] = []
    for root, value in zip(region.roots, written, strict=True):
        inserted = build.insert(value, producer_of(root))
        made += inserted
        replace(root, value, is_made=bool(inserted))
        raising.exchanged[root] = value
    swept = _sweep(region)
    return Rewrite(
        rule=rule,
        site=site,
        nodes_before=tuple(name for node, name in names.items() if node in swept),
        nodes_after=tuple(node.name or "" for node in made),
        kind=kind,
        forms=tuple(sorted(writer.taken.items())),
    )


def _apart(
    roots: Sequence[ir.Value], written: Sequence[ir.Value], build: Builder
) -> list[ir.Value]:
    """Return what stands for roots, of which no two outputs of the graph, with names, are one."""
    made: list[ir.Value] = []
    for root, value in zip(roots, written, strict=True):
        is_taken = value is not root and (
            value.producer() is None or value.is_graph_output() or value in made
        )
        if root.is_graph_output() and is_taken:
            shape = None if value.shape is None else sizes(value)
            made.append(build.node("Identity", [value], shape))
        else:
            made.append(value)
    return made


def _is_of_channels(region: Region, raising: Raising) -> bool:
    """Return whether a region arranges channels, or takes a part of them."""
    roots = [_root(root, raising) for root in region.roots]
    return any(
        sum(i.home == CHANNELS for i in leaves(axis)) > 1 for _, a in roots for axis in a
    ) or any(
        part.op == "select" and part.attrs[0].home == CHANNELS
        for term, _ in roots
        for part in subterms(term)
    )


def _largest(region: Region, raising: Raising) -> str:
    """Return the channels, rows and columns of the largest map that a region reads."""
    terms = [_root(root, raising)[0] for root in region.roots]
    maps = [t.attrs.shape for term in terms for t in subterms(term) if t.op == "leaf"]
    shapes = [[s for s in list(m)[1:] if isinstance(s, int)] for m in maps if m is not None]
    return "x".join(map(str, max(shapes, key=math.prod, default=[])))


def _root(value: ir.Value, raising: Raising) -> tuple[Term, Axes]:
    what = raising.roots.get(value) or raising.values[value]
    assert isinstance(what, Raised)
    return what.term, what.axes


def _is_worthwhile(region: Region, raising: Raising) -> bool:
    """Return whether a region does more than reduce a map as it is, or must not stay as it is."""
    if region.is_refused:
        return True
    terms = [_root(root, raising)[0] for root in region.roots]
    parts = (part for term in terms for part in subterms(term) if part.op == "softmax")
    return not all(term.is_thin() for term in (*terms, *parts))


def _rule(region: Region, raising: Raising) -> str:
    own = {raising.rules[node] for node in region.telling}
    return next(rule for rule in (*TELLING, *RULES) if rule in own)


def _site(region: Region) -> str:
    names = [node.name or "" for node in region.telling]
    return common_module(map(module_of, names)) or names[-1]


def _sweep(region: Region) -> set[ir.Node]:
    """Remove the nodes of a region that nothing reads any more."""
    gone: set[ir.Node] = set()
    for node in reversed(region.nodes):
        if node.graph is not None and not any(is_used(value) for value in node.outputs):
            node.graph.remove(node, safe=True)
            gone.add(node)
    return gone
