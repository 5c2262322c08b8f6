"""Find attention in a graph that nobody has tagged: gates, and products of queries and keys.

A gate is y = x ∘ g, a product or a sum, whose g is made of x alone, by way of a reduction: SE, ECA,
CBAM, SimAM and their like, as anyone has written them. An activation of x alone (SiLU) has no
reduction and is none. Self-attention is a softmax of a product that goes into another product.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import onnx_ir as ir

from edgeattn.graph.names import module_of, modules_around, tagged
from edgeattn.graph.nodes import is_weight
from edgeattn.records.kinds import kind_of

_GATING: Final = frozenset({"Mul", "Add"})
# More nodes than the branch of any gate has: ULSAM's with 16 groups has some 200.
_MOST_NODES: Final = 400
_REDUCING: Final = frozenset({"reduction", "normalisation"})
_THROUGH: Final = frozenset(
    {"Mul", "Div", "Add", "Sub", "Where", "Reshape", "Transpose", "Cast", "Concat", "Slice", "Max"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An attention that was found.

    Attributes:
        path: The module of its nodes, where they have one of their own; else its last node.
        attention: `gate` or `self-attention`.
        nodes: Its nodes.
        shape: (C, H, W) of the map that a gate attends; none where that is not known.
    """

    path: str
    attention: str
    nodes: tuple[str, ...]
    shape: tuple[int, ...]


def find(model: ir.Model) -> tuple[Found, ...]:
    """Find attention in a model.

    Args:
        model: The model; its nodes have names, and its shapes are known where they matter.

    Returns:
        What was found, in the model's order; no node is in two.
    """
    graph = _Graph(model)
    regions = [(region, "gate") for node in model.graph if (region := graph.gate(node))]
    regions += [
        (region, "self-attention")
        for node in model.graph
        if node.op_type == "Softmax" and (region := graph.self_attention(node))
    ]
    inside = frozenset[ir.Node]().union(*(nodes for nodes, _ in regions))
    found: dict[str, Found] = {}
    for nodes, attention in _joined(regions):
        common = common_module(graph.modules[node] for node in nodes)
        home = graph.home(common, inside, climbs=attention == "gate")
        if home:
            found.setdefault(home, graph.described(home, graph.inside(home), attention))
            continue
        # A node beside them may be of another module; it is called after that of the gate itself.
        last = graph.last(nodes)
        path = graph.home(graph.modules[last], inside, climbs=False)
        path = tagged(last.name or "") if path in found else path or tagged(last.name or "")
        found[path] = graph.described(path, nodes, attention)
    return tuple(found.values())


class _Graph:
    """A model's nodes, their order and their modules."""

    def __init__(self, model: ir.Model) -> None:
        self.order = {node: place for place, node in enumerate(model.graph)}
        self.modules: dict[ir.Node, str] = {
            node: module_of(tagged(node.name or "")) for node in self.order
        }
        inside: dict[str, list[ir.Node]] = {}
        for node, module in self.modules.items():
            for outer in modules_around(module):
                inside.setdefault(outer, []).append(node)
        self._inside = {outer: frozenset(nodes) for outer, nodes in inside.items()}

    def gate(self, node: ir.Node) -> frozenset[ir.Node]:
        """Return the nodes of a gate that ends with this node; none where it ends none."""
        if node.op_type not in _GATING or len(node.inputs) != 2:
            return frozenset()
        for x, g in (node.inputs, node.inputs[::-1]):
            if x is None or g is None or not _may_gate(node, x, g):
                continue
            branch = self._branch(g, x)
            if any(kind_of(one.op_type) in _REDUCING for one in branch):
                return branch | {node}
        return frozenset()

    def _branch(self, g: ir.Value, x: ir.Value) -> frozenset[ir.Node]:
        """Return the nodes between x and g, where g is made of x and constants alone."""
        producer = x.producer()
        first = -1 if producer is None else self.order.get(producer, -1)
        waiting, reaches = [g], False
        found: set[ir.Node] = set()
        while waiting:
            value = waiting.pop()
            if value is x:
                reaches = True
                continue
            maker = value.producer()
            if maker is None:
                if value.is_graph_input() and not value.is_initializer():
                    return frozenset()
                continue
            if maker in found:
                continue
            is_constant = not any(one is not None and not is_weight(one) for one in maker.inputs)
            if self.order.get(maker, -1) <= first and not is_constant:
                return frozenset()
            found.add(maker)
            if len(found) > _MOST_NODES:
                return frozenset()
            waiting += [one for one in maker.inputs if one is not None]
        return frozenset(found) if reaches else frozenset()

    def self_attention(self, softmax: ir.Node) -> frozenset[ir.Node]:
        """Return the nodes of the module that a softmax between two products belongs to."""
        before = _leads(softmax.inputs[0], backwards=True)
        after = any(_leads(value, backwards=False) for value in softmax.outputs)
        if not (before and after):
            return frozenset()
        module = self.modules[softmax]
        parent = module.rpartition(".")[0]
        # A softmax may be a module of its own, inside of the attention's.
        inside = self.inside(module) if module else frozenset[ir.Node]()
        if not any(one.op_type in ("MatMul", "Einsum") for one in inside) and parent:
            inside = self.inside(parent)
        return inside

    def home(self, module: str, inside: frozenset[ir.Node], *, climbs: bool) -> str:
        """Return a module, if it has no layers but those of attention; else nothing.

        With `climbs`, it is the outermost one around it: CBAM's channel and spatial gates, or
        ULSAM's subspaces, are one attention in it.
        """
        home = ""
        while module and not any(
            kind_of(node.op_type) == "matmul" and node not in inside for node in self.inside(module)
        ):
            home, module = module, module.rpartition(".")[0] if climbs else ""
        return home

    def inside(self, module: str) -> frozenset[ir.Node]:
        """Return the nodes of a module."""
        return self._inside.get(module, frozenset())

    def last(self, nodes: frozenset[ir.Node]) -> ir.Node:
        """Return the last of some nodes."""
        return max(nodes, key=self.order.__getitem__)

    def described(self, path: str, nodes: frozenset[ir.Node], attention: str) -> Found:
        """Return what was found."""
        shape = self.last(nodes).outputs[0].shape
        sizes = [size for size in shape or () if isinstance(size, int)]
        return Found(
            path=path,
            attention=attention,
            nodes=tuple(node.name or "" for node in sorted(nodes, key=self.order.__getitem__)),
            shape=tuple(sizes[1:]) if len(sizes) == 4 else (),
        )


def common_module(modules: Iterable[str]) -> str:
    """Return the innermost module that all of these lie in; "" is the root."""
    common: list[str] | None = None
    for module in dict.fromkeys(modules):
        parts = module.split(".")
        if common is None:
            common = parts
        while common and parts[: len(common)] != common:
            common.pop()
    return ".".join(common or ())


def _joined(
    regions: Sequence[tuple[frozenset[ir.Node], str]],
) -> list[tuple[frozenset[ir.Node], str]]:
    """Join regions that share nodes."""
    joined: dict[int, tuple[frozenset[ir.Node], str]] = {}
    owners: dict[ir.Node, int] = {}
    for place, (nodes, attention) in enumerate(regions):
        touched = [joined.pop(one) for one in sorted({owners[n] for n in nodes if n in owners})]
        whole = nodes.union(*(one for one, _ in touched))
        joined[place] = (whole, touched[0][1] if touched else attention)
        owners |= dict.fromkeys(whole, place)
    return list(joined.values())


def _leads(value: ir.Value | None, *, backwards: bool) -> bool:
    """Return whether a value meets a matrix product through elementwise nodes alone."""
    waiting = [value]
    for _ in range(12):
        following: list[ir.Value | None] = []
        for one in waiting:
            if one is None:
                continue
            nodes = [one.producer()] if backwards else [node for node, _ in one.uses()]
            for node in nodes:
                if node is None:
                    continue
                if node.op_type in ("MatMul", "Einsum", "FusedMatMul"):
                    return True
                if node.op_type in _THROUGH:
                    following += node.inputs if backwards else node.outputs
        waiting = following
    return False


def _may_gate(node: ir.Node, x: ir.Value, g: ir.Value) -> bool:
    """Return whether x may be a map and g a gate: a sum with a smaller one is no residual."""
    if x.shape is None or len(x.shape) < 3:
        return False
    if node.op_type == "Mul":
        return True
    return g.shape is not None and any(
        one == 1 != other for one, other in zip(g.shape, x.shape, strict=False)
    )
