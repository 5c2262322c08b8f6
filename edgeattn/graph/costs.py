"""What a model costs to run: multiply-accumulates, and the element operations beside them.

What is counted, and how, is in `cost_rules`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import onnx_ir as ir

from edgeattn.graph import shapes
from edgeattn.graph.cost_rules import RULES, Sizes, UncountableError, free
from edgeattn.graph.nodes import is_standard


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NodeCost:
    """What one node costs.

    Attributes:
        name: The node's name.
        op_type: Its operator.
        macs: Multiply-accumulates of a convolution or a linear layer.
        matmul_macs: Multiply-accumulates of a product of two activations.
        element_ops: Element operations.
        known: Whether it could be counted; the counts are 0 where not.
    """

    name: str
    op_type: str
    macs: int = 0
    matmul_macs: int = 0
    element_ops: int = 0
    known: bool = True


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a model costs.

    Attributes:
        macs: Multiply-accumulates of convolutions and linear layers.
        matmul_macs: Multiply-accumulates of products of two activations.
        element_ops: Element operations of everything else.
        unknown: The names of the nodes that could not be counted.
    """

    macs: int
    matmul_macs: int
    element_ops: int
    unknown: tuple[str, ...] = ()


def _cost(node: ir.Node, graph: Sizes) -> NodeCost:
    name = node.name or ""
    rule = RULES.get(node.op_type) if is_standard(node) else None
    try:
        if rule is None:
            raise UncountableError  # noqa: TRY301 -- one place says what unknown means
        constant = bool(node.inputs) and all(v is None or graph.is_constant(v) for v in node.inputs)
        if rule is free or constant or graph.is_shape_arithmetic(node):
            return NodeCost(name=name, op_type=node.op_type)
        macs, matmul_macs, element_ops = rule(node, graph)
    except UncountableError:
        return NodeCost(name=name, op_type=node.op_type, known=False)
    return NodeCost(
        name=name,
        op_type=node.op_type,
        macs=macs,
        matmul_macs=matmul_macs,
        element_ops=element_ops,
    )


def per_node(model: ir.Model, batch: int | None = None) -> Iterator[NodeCost]:
    """Return the cost of each node of the main graph, in order.

    Args:
        model: The model; it is not changed. Shapes that are missing are inferred on a copy.
        batch: What an open first dimension of the inputs stands for; 1 where not given.
    """
    if shapes.is_open(model) or shapes.is_incomplete(model):
        model = model.clone()
        shapes.bind_batch(model, 1 if batch is None else batch)
        shapes.infer(model)
        if not shapes.is_static(model):
            shapes.resolve(model)
    graph = Sizes()
    for node in model.graph:
        yield _cost(node, graph)


def count(model: ir.Model, batch: int | None = None) -> Costs:
    """Count a model's multiply-accumulates and element operations.

    Args:
        model: The model; it is not changed.
        batch: What an open first dimension of the inputs stands for; 1 where not given.

    Returns:
        The sums, and the names of the nodes that could not be counted: those of other domains,
        with a branch or a loop, or with shapes that are not known before run time.
    """
    nodes = list(per_node(model, batch))
    return Costs(
        macs=sum(n.macs for n in nodes),
        matmul_macs=sum(n.matmul_macs for n in nodes),
        element_ops=sum(n.element_ops for n in nodes),
        unknown=tuple(n.name or n.op_type for n in nodes if not n.known),
    )
