"""What stands around parts of a graph: parts with the same around them cost the same."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import onnx_ir as ir

# So many nodes away, what is fused with a part has ended: a convolution, its norm and activation,
# the addition of a shortcut.
_HOPS: Final = 5


def surroundings(model: ir.Model, nodes: Iterable[str]) -> Hashable:
    """Return what a part of a model and the nodes around it do: how far away, and on what shapes.

    Args:
        model: The model, with shapes.
        nodes: The names of the part's nodes.
    """
    names = set(nodes)
    distance: dict[ir.Node, int] = {one: 0 for one in model.graph if one.name in names}
    edge = list(distance)
    for hop in range(1, _HOPS + 1):
        edge = [one for node in edge for one in _beside(node) if one not in distance]
        distance |= dict.fromkeys(edge, hop)
    return tuple(sorted((hop, *_work(node)) for node, hop in distance.items()))


def _beside(node: ir.Node) -> Iterator[ir.Node]:
    for value in node.inputs:
        if value is not None and (maker := value.producer()) is not None:
            yield maker
    for value in node.outputs:
        yield from (user for user, _ in value.uses())


def _work(node: ir.Node) -> tuple[str, ...]:
    values = [value for value in (*node.inputs, *node.outputs) if value is not None]
    attributes = (
        f"{name}={one.value}"
        for name, one in sorted(node.attributes.items())
        if one.type.name != "TENSOR"
    )
    return (node.op_type, *(str(value.shape) for value in values), *attributes)
