"""Makes nodes and constants that are put into the graph only if they are taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from edgeattn.graph.edit import AttributeValue, Editor
from edgeattn.graph.names import module_of
from edgeattn.graph.reading import opset_of

DOMAIN = "edgeattn"
"""The domain of what is no operator of ONNX; nothing of it leaves lowering."""

_AXES_BECAME_AN_INPUT = 18


class Builder(Editor):
    """Makes nodes outside the graph, until they are inserted or released.

    Attributes:
        opset: The model's opset.
        origin: The name of the node on whose behalf nodes are made: they get its module path.
    """

    def __init__(self, model: ir.Model) -> None:
        super().__init__(model)
        self.opset = opset_of(model)
        self.origin = ""

    def node(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        shape: Sequence[int | str | None] | None,
        attributes: Mapping[str, AttributeValue] | None = None,
        *,
        domain: str = "",
        dtype: ir.DataType | None = None,
    ) -> ir.Value:
        """Make a node with one output, outside any graph.

        Args:
            op_type: Its operator.
            inputs: What it reads.
            shape: The shape of its output.
            attributes: Its attributes.
            domain: Its operator's domain.
            dtype: The type of its output; its first input's by default.
        """
        node = self.make(op_type, inputs, attributes, domain=domain)
        self.name(node, f"{module_of(self.origin)}/{op_type}")
        (output,) = node.outputs
        first = inputs[0]
        kind = dtype if dtype is not None or first is None else first.dtype
        if kind is not None:
            output.dtype = kind
        output.shape = None if shape is None else ir.Shape(shape)
        return output

    def reduce(
        self, op_type: str, x: ir.Value, axes: Sequence[int], shape: Sequence[int | str | None]
    ) -> ir.Value:
        """Make a reduction that keeps its axes, in the way of the opset."""
        if op_type == "ReduceSum" or self.opset >= _AXES_BECAME_AN_INPUT:
            return self.node(op_type, [x, self.integers(axes)], shape, {"keepdims": 1})
        return self.node(op_type, [x], shape, {"axes": list(axes), "keepdims": 1})

    def constant(self, array: np.ndarray) -> ir.Value:
        """Return an initializer with these elements; equal ones are one."""
        return self.shared(array, f"{module_of(self.origin)}/constant")

    def integers(self, values: Sequence[int]) -> ir.Value:
        """Return an initializer i64[len(values)]."""
        return self.constant(np.array(values, dtype=np.int64))

    def is_simpler(self, roots: Sequence[ir.Value], nodes: Sequence[ir.Node]) -> bool:
        """Return whether what values need is less than some nodes, or only an order of channels."""
        made = self.loose(roots)
        return len(made) < len(nodes) or all(node.domain == DOMAIN for node in made)

    @staticmethod
    def loose(roots: Sequence[ir.Value]) -> list[ir.Node]:
        """Return the nodes that values need and that are in no graph, in an order that runs."""
        order: list[ir.Node] = []
        seen: set[ir.Node] = set()
        for root in roots:
            pending: list[tuple[ir.Node | None, bool]] = [(root.producer(), False)]
            while pending:
                node, is_done = pending.pop()
                if node is None or node.graph is not None or (node in seen and not is_done):
                    continue
                if is_done:
                    order.append(node)
                    continue
                seen.add(node)
                pending.append((node, True))
                pending += [(v.producer(), False) for v in node.inputs if v is not None]
        return order

    def insert(self, root: ir.Value, before: ir.Node) -> list[ir.Node]:
        """Put what a value needs, and is in no graph yet, in front of a node.

        Returns:
            The nodes that were put in, in order.
        """
        order = self.loose([root])
        for node in order:
            for value in node.inputs:
                if value is not None and value.const_value is not None and value.graph is None:
                    self._graph.register_initializer(value)
        self._graph.insert_before(before, order)
        return order

    def release(self) -> None:
        """Let go of the nodes that were not taken, so that they use nothing of the graph."""
        for node in self.made:
            if node.graph is None:
                for place in range(len(node.inputs)):
                    node.replace_input_with(place, None)
        self.made.clear()


def replace(old: ir.Value, new: ir.Value, *, is_made: bool) -> None:
    """Put a value in the place of another; a new one, or an output's, under its name."""
    is_output = old.is_graph_output()
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    if is_made or is_output:
        name, old.name = old.name, None
        new.name = name
