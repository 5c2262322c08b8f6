"""Which ONNX nodes each kernel of ONNX Runtime stands for: its optimised graph against the model's.

ONNX Runtime fuses nodes, blocks layouts and renames as it does so, and says nothing of where a node
came from. But a value that survives keeps its name, and a node in the blocked layout is called
after the value that it gives (`layer1.0.act1_nchwc`). So a kernel stands for whatever computes its
outputs in the model, back to what the kernel reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from edgeattn.graph.nodes import weights_bytes

if TYPE_CHECKING:
    import onnx_ir as ir

_BLOCKED: Final = "_nchwc"
_REORDERS: Final = frozenset({"ReorderInput", "ReorderOutput"})
_BLOCKED_DOMAIN: Final = "com.microsoft.nchwc"
#: What the names begin with that `name_all` gives.
NAMELESS: Final = "#"
_MADE_INTO: Final = re.compile(r"_[a-z]+$")
# What ONNX Runtime puts in to bring a value into another layout, besides reorders.
_INSERTED: Final = re.compile(r"(?:Reshape|Transpose)(?:_token_\d+)?")
# The place of what is added to a blocked convolution's result.
_SUM: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a kernel came from.

    Attributes:
        nodes: The model's nodes that it stands for, in the model's order; none for a reorder.
        inputs: The values that it reads, by the optimised graph's names, weights left out.
        outputs: Those that it writes.
        weights_bytes: Bytes of the weights that it reads.
        causes: Of a reorder, the kernels between it and other reorders in the plain layout: it is
            there for one of them. The nearest come first.
    """

    nodes: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weights_bytes: int = 0
    causes: tuple[str, ...] = ()


def origins(model: ir.Model, optimised: ir.Model) -> dict[str, Origin]:
    """Find where the kernels of an optimised graph came from.

    Args:
        model: The model that was given to ONNX Runtime; its nodes have names.
        optimised: What ONNX Runtime made of it; its nodes have names.

    Returns:
        The origin of each node of the optimised graph, by its name.
    """
    known = _Values(model)
    same = _resolved(known, optimised)
    made = {same[value] for node in optimised.graph for value in node.outputs if value in same}
    found: dict[str, Origin] = {}
    for node in optimised.graph:
        read = [value for value in node.inputs if value is not None and _is_activation(value)]
        own = {same[value] for value in node.outputs if value in same}
        # Nothing goes back beyond what a kernel gives; a copy gives what it reads.
        stops = (made - own) | {same[value] for value in read if value in same}
        found[node.name or ""] = Origin(
            nodes=known.between(own, stops),
            inputs=tuple(value.name or "" for value in read),
            outputs=tuple(value.name or "" for value in node.outputs if value.name),
            weights_bytes=weights_bytes(node),
        )
    own_names = {node.name for node in model.graph.all_nodes()}
    for node in optimised.graph.all_nodes():  # those of branches and bodies keep their names
        if node.name and node.name not in found:
            own_name = {node.name} & own_names
            found[node.name] = Origin(nodes=tuple(own_name), inputs=(), outputs=())
    for name, nodes in _borrowed(known, optimised, found).items():
        found[name] = replace(found[name], nodes=nodes)
    islands = _plain_islands(optimised)
    return {name: replace(origin, causes=islands.get(name, ())) for name, origin in found.items()}


def give_known_shapes(model: ir.Model, optimised: ir.Model) -> None:
    """Give the values of an optimised graph that have no shape that of the model's, in place."""
    shapes = {value.name: value.shape for node in model.graph for value in node.outputs}
    for value, name in _resolved(_Values(model), optimised).items():
        value.shape = value.shape or shapes.get(name)


def name_all(optimised: ir.Model) -> None:
    """Name the nodes that have no name, in place: those of functions that were inlined."""
    for place, node in enumerate(optimised.graph.all_nodes()):
        node.name = node.name or f"{NAMELESS}{place}"


def _borrowed(
    known: _Values, optimised: ir.Model, found: Mapping[str, Origin]
) -> dict[str, tuple[str, ...]]:
    """Return kernels whose values are no values of the model the nodes that they are a part of.

    Either their name begins with that of a node, or they are inside of a function that was inlined:
    then it is the node whose value they compute together.
    """
    borrowed: dict[str, tuple[str, ...]] = {}
    for node in reversed(list(optimised.graph)):
        name = node.name or ""
        if found[name].nodes or node.op_type in _REORDERS or _INSERTED.fullmatch(name):
            continue
        stems = (name[:end] for end in range(len(name), 0, -1))
        own = next((stem for stem in stems if stem in known.nodes), None)
        readers = [
            nodes
            for value in node.outputs
            for reader, _ in value.uses()
            if (nodes := found[reader.name or ""].nodes or borrowed.get(reader.name or ""))
        ]
        borrowed[name] = (own,) if own is not None else readers[0] if readers else ()
    return borrowed


class _Values:
    """The model's values and nodes by name."""

    def __init__(self, model: ir.Model) -> None:
        self._order = {node: place for place, node in enumerate(model.graph)}
        self.nodes = {node.name: node for node in model.graph}
        self._values = {value.name: value for node in model.graph for value in node.outputs}
        self._values |= {value.name: value for value in model.graph.inputs}

    def __contains__(self, name: str | None) -> bool:
        return name in self._values

    def between(self, outputs: Iterable[str], stops: set[str]) -> tuple[str, ...]:
        """Return the nodes that compute some values, back to others, in the model's order."""
        waiting = [name for name in outputs if name not in stops]
        found: set[ir.Node] = set()
        while waiting:
            maker = self._values[waiting.pop()].producer()
            if maker is None or maker in found:
                continue
            found.add(maker)
            waiting += [
                value.name or ""
                for value in maker.inputs
                if value is not None and value.name in self and value.name not in stops
            ]
        return tuple(node.name or "" for node in sorted(found, key=self._order.__getitem__))

    def after(self, name: str, op_types: Iterable[str], other: str | None = None) -> str | None:
        """Return what the reader of a value makes of it, if one is of these operators.

        Args:
            name: The value.
            op_types: The operators.
            other: The other value that it reads.
        """
        for reader, _ in self._values[name].uses():
            reads = {value.name for value in reader.inputs if value is not None}
            if reader.op_type in op_types and (other is None or other in reads):
                return reader.outputs[0].name
        return None


def _resolved(known: _Values, optimised: ir.Model) -> dict[ir.Value, str]:
    """Return the value of the model that each value of the optimised graph is, in either layout."""
    same: dict[ir.Value, str] = {
        value: value.name or "" for value in optimised.graph.inputs if value.name in known
    }
    for node in optimised.graph:
        for value in node.outputs:
            name = value.name if value.name in known else None
            if name is None and value is node.outputs[0]:
                name = _blocked_name(known, node, same)
            if name is not None:
                same[value] = name
    # A copy back gives a value its name, and what the copy reads is the same value.
    for node in reversed(list(optimised.graph)):
        if _is_copy(known, node) and node.outputs[0].name in known:
            read = node.inputs[0]
            assert read is not None
            same[read] = node.outputs[0].name or ""
    return same


def _blocked_name(known: _Values, node: ir.Node, same: Mapping[ir.Value, str]) -> str | None:
    """Find the value that a node gives under another name."""
    if _is_copy(known, node):
        read = node.inputs[0]
        return None if read is None else same.get(read)
    name = node.name or ""
    stem = name.removesuffix(_BLOCKED)
    if stem not in known:
        # `_mul` and its like: a scale by constants, which became a convolution.
        stem = _MADE_INTO.sub("", stem)
    if stem not in known:
        twin = known.nodes.get(stem)
        stem = "" if twin is None else twin.outputs[0].name or ""
    if stem not in known:
        return None
    # What was fused behind it in the blocked layout: a sum, then an activation.
    if node.domain == _BLOCKED_DOMAIN and node.op_type == "Conv":
        added = node.inputs[_SUM] if len(node.inputs) > _SUM else None
        if added is not None:
            stem = known.after(stem, ("Add", "Sum"), same.get(added)) or stem
        activation = node.attributes.get("activation")
        if activation is not None:
            stem = known.after(stem, (activation.as_string(),)) or stem
    return stem


def _is_copy(known: _Values, node: ir.Node) -> bool:
    """Return whether ONNX Runtime put it in, to bring a value into another layout."""
    return node.op_type in _REORDERS or (
        node.op_type in ("Transpose", "Reshape") and node.name not in known.nodes
    )


def _is_activation(value: ir.Value) -> bool:
    return value.producer() is not None or (value.is_graph_input() and not value.is_initializer())


def _plain_islands(optimised: ir.Model) -> dict[str, tuple[str, ...]]:
    """Return, for each reorder, the kernels of the plain layout that it borders on.

    Those that it serves come first, the nearest before others: what reads a ReorderOutput, and what
    wrote before a ReorderInput. Then come those around them.
    """
    blocked = _blocked_values(optimised)
    found: dict[str, tuple[str, ...]] = {}
    for node in optimised.graph:
        if node.op_type in _REORDERS:
            is_out = node.op_type == "ReorderOutput"
            value = node.outputs[0] if is_out else node.inputs[0]
            assert value is not None
            served = _island(value, blocked, readers=is_out, writers=not is_out)
            around = _island(value, blocked, readers=True, writers=True)
            found[node.name or ""] = tuple(dict.fromkeys([*served, *around]))
    return found


def _island(
    start: ir.Value, blocked: set[ir.Value], *, readers: bool, writers: bool
) -> tuple[str, ...]:
    """Walk over kernels of the plain layout, from a value on, as far as reorders."""
    names: dict[str, None] = {}
    seen = {start}
    layer: Sequence[ir.Value] = [start]
    while layer:
        following: list[ir.Value] = []
        for value in layer:
            producer = value.producer() if writers else None
            nodes = [node for node, _ in value.uses()] if readers else []
            for node in (*([] if producer is None else [producer]), *nodes):
                values = [v for v in (*node.inputs, *node.outputs) if v is not None]
                if node.op_type in _REORDERS or any(v in blocked for v in values):
                    continue
                names.setdefault(node.name or "")
                ends = (*(node.outputs if readers else ()), *(node.inputs if writers else ()))
                new = [v for v in ends if v is not None and v not in seen and _is_activation(v)]
                following += new
                seen.update(new)
        layer = following
    return tuple(names)


def _blocked_values(optimised: ir.Model) -> set[ir.Value]:
    """Return the values in the blocked layout: its operators' outputs, and views of those."""
    blocked: set[ir.Value] = set()
    for node in optimised.graph:
        gives_plain = node.op_type == "ReorderOutput"
        reads_blocked = any(value in blocked for value in node.inputs)
        if not gives_plain and (node.domain == _BLOCKED_DOMAIN or reads_blocked):
            blocked.update(node.outputs)
    return blocked
