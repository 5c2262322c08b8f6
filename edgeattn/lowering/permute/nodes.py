"""New nodes and constants, named after the module of what they stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from edgeattn.graph.names import module_of


class NewNodes:
    """Adds nodes to a graph; they get their names at the end, when those of others are free.

    Args:
        model: The model.
    """

    def __init__(self, model: ir.Model) -> None:
        self._model = model
        self._graph = model.graph
        self._before: ir.Node | None = None
        self._made: list[tuple[ir.Node, str]] = []
        self._nodes: set[ir.Node | None] = set()
        self._initializers: list[tuple[ir.Value, str]] = []
        self._constants: dict[tuple[str, bytes], ir.Value] = {}

    def is_new(self, value: ir.Value) -> bool:
        """Return whether a value was made here."""
        return value.producer() in self._nodes

    def before(self, node: ir.Node | None) -> None:
        """Say where new nodes are to stand; None for the end."""
        self._before = node

    def add(
        self,
        op_type: str,
        inputs: Sequence[ir.Value],
        attributes: Mapping[str, int | Sequence[int]],
        *,
        origin: ir.Node,
        shapes: Sequence[ir.Shape | None],
    ) -> Sequence[ir.Value]:
        """Add a node whose outputs have the element type of its first input.

        Args:
            op_type: A standard operator.
            inputs: Its inputs.
            attributes: Its attributes.
            origin: The node that it stands for.
            shapes: The shape of each output.
        """
        node = ir.node(op_type, inputs, dict(attributes), num_outputs=len(shapes))
        for output, shape in zip(node.outputs, shapes, strict=True):
            output.type, output.shape = inputs[0].type, shape
        node.metadata_props.update(origin.metadata_props)
        if self._before is None:
            self._graph.append(node)
        else:
            graph = self._before.graph
            assert graph is not None, "nodes are added beside one of the graph"
            graph.insert_before(self._before, node)
        name = origin.name or ""
        self._nodes.add(node)
        self._made.append((node, module_of(name) + "/" if "/" in name else ""))
        return node.outputs

    def integers(self, values: Sequence[int], hint: str) -> ir.Value:
        """Return an i64 initializer with these elements, one for all who ask for the same."""
        array = np.asarray(values, dtype=np.int64)
        key = (hint, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self.initializer(ir.tensor(array), hint)
        return self._constants[key]

    def initializer(self, tensor: ir.TensorProtocol, hint: str) -> ir.Value:
        """Return a new initializer; its name is like the hint."""
        value = ir.Value(
            name=f"{hint} of {len(self._initializers)}",
            type=ir.TensorType(tensor.dtype),
            shape=ir.Shape(tensor.shape.numpy()),
            const_value=tensor,
        )
        self._initializers.append((value, hint))
        return value

    def sweep(self) -> None:
        """Remove what nothing reads of all that was made."""
        for node, _ in reversed(self._made):
            if not any(v.uses() or v.is_graph_output() for v in node.outputs):
                self._graph.remove(node, safe=True)

    def finish(self, names: Mapping[ir.Value, str]) -> None:
        """Name everything that was made.

        Args:
            names: The names of values that new values stand for, where those are gone.
        """
        taken = {v.name for graph in self._model.graphs() for v in graph.inputs}
        for graph in self._model.graphs():
            taken.update(graph.initializers)
            for node in graph:
                taken.add(node.name)
                taken.update(output.name for output in node.outputs)
        for value, name in names.items():
            if name not in taken:
                value.name = name
                taken.add(name)
        for node, module in self._made:
            node.name = _free(f"{module}{node.op_type}", taken)
            for index, output in enumerate(node.outputs):
                if output not in names:
                    output.name = _free(f"{node.name}:{index}", taken)
        for value, hint in self._initializers:
            if value.uses():
                value.name = _free(hint, taken)
                self._graph.register_initializer(value)


def _free(stem: str, taken: set[str | None]) -> str:
    name, count = stem, 0
    while name in taken:
        count += 1
        name = f"{stem}_{count}"
    taken.add(name)
    return name
