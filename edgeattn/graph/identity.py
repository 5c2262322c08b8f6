"""Replace parts of a graph by identity: what a model would be without its attention.

A part can be replaced if it has one output, and an input of the same shape and type: that one
then takes its place. Where it reads several, it is the one that is computed last: a gate's
statistic may have been moved before the layer whose result the gate attends. What the function is
afterwards is another matter: this is for costs.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir


def replace(model: ir.Model, parts: Mapping[str, AbstractSet[str]]) -> dict[str, str]:
    """Replace parts of a model by identity, in place, and remove what nothing uses then.

    Args:
        model: The model; the shapes of its values are known.
        parts: The names of each part's nodes.

    Returns:
        Why a part was not replaced, by its name; nothing of those that were.
    """
    from onnx_ir.passes import common

    refused: dict[str, str] = {}
    order = {node: place for place, node in enumerate(model.graph)}
    named: dict[str, list[ir.Node]] = {}
    for node in order:
        named.setdefault(node.name or "", []).append(node)
    for name, nodes in parts.items():
        own = [node for one in nodes for node in named.get(one, ())]
        refusal = _bypass(sorted(own, key=order.__getitem__), order)
        if refusal:
            refused[name] = refusal
    common.RemoveUnusedNodesPass()(model)
    return refused


def _bypass(nodes: list[ir.Node], order: Mapping[ir.Node, int]) -> str:
    inside = set(nodes)
    given = [
        value
        for node in nodes
        for value in node.outputs
        if value.is_graph_output() or any(user not in inside for user, _ in value.uses())
    ]
    if not given:
        return "none of its nodes is left in the graph"
    read = {
        value: None
        for node in nodes
        for value in node.inputs
        if value is not None
        and value.producer() not in inside
        and (value.producer() is not None or value.is_graph_input())
        and not value.is_initializer()
    }
    pairs: list[tuple[ir.Value, ir.Value]] = []
    for value in given:
        alike = [one for one in read if one.shape == value.shape and one.dtype == value.dtype]
        alike = [one for one in alike if value.shape is not None and value.shape.is_static()]
        if not alike:
            return "it gives a value of another shape than any that it reads"
        pairs.append((value, max(alike, key=lambda one: order.get(one.producer(), -1))))  # type: ignore[arg-type]  # None, a graph input, is no key
    if len(pairs) > 1:
        return "it gives several values"
    ((value, source),) = pairs
    if value.is_graph_output():
        return "it gives the model's output"
    value.replace_all_uses_with(source)
    return ""
