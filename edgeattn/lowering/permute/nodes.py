"""New nodes and constants, named after the module of what they stand for.

Where a constant is permuted, its old value stays if other nodes read it, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from edgeattn.graph.edit import Editor, initializer, sweep
from edgeattn.graph.names import Names, module_of
from edgeattn.graph.nodes import is_static, is_used, needed, static
from edgeattn.lowering.permutation import Permutation, group_order, is_identity


class NewNodes(Editor):
    """Adds nodes to a graph; they get their names at the end, when those of others are free.

    Args:
        model: The model.
    """

    def __init__(self, model: ir.Model) -> None:
        super().__init__(model)
        self._model = model
        self._before: ir.Node | None = None
        self._modules: dict[ir.Node, str] = {}
        self._initializers: list[tuple[ir.Value, str]] = []
        self._left: list[ir.Value | None] = []

    def is_new(self, value: ir.Value) -> bool:
        """Return whether a value was made here."""
        return value.producer() in self._modules

    def before(self, node: ir.Node | None) -> None:
        """Set the node before which new ones are put; None for the end."""
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
        node = self.make(op_type, inputs, attributes, count=len(shapes))
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
        self._modules[node] = module_of(name) + "/" if "/" in name else ""
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
        value = initializer(tensor, f"{hint} of {len(self._initializers)}")
        self._initializers.append((value, hint))
        return value

    def permute(self, node: ir.Node, index: int, orders: Mapping[int, Permutation]) -> bool:
        """Put an input of a node in another order along some axes.

        Returns:
            Whether that changed anything.
        """
        orders = {axis: order for axis, order in orders.items() if not is_identity(order)}
        if not orders:
            return False
        array = static(node.inputs[index])
        assert array is not None, "only constants are permuted"
        for axis, order in orders.items():
            array = np.take(array, order, axis=axis)
        self._put(node, index, array)
        return True

    def regroup(self, node: ir.Node, groups: int, rows: Permutation, columns: Permutation) -> bool:
        """Permute a grouped convolution's weight; group i of what it reads lies in `columns` i.

        Returns:
            Whether that changed anything.
        """
        if is_identity(rows) and is_identity(columns):
            return False
        array = static(node.inputs[1])
        assert array is not None, "only constants are permuted"
        blocks = group_order(columns, groups)
        assert blocks is not None, "whole groups take the place of whole groups"
        inside = columns.reshape(groups, -1) - blocks[:, None] * (len(columns) // groups)
        place = np.repeat(inside, len(rows) // groups, axis=0)
        place = place.reshape(place.shape + (1,) * (array.ndim - 2))
        self._put(node, 1, np.take_along_axis(array[rows], place, axis=1))
        return True

    def _put(self, node: ir.Node, index: int, array: np.ndarray) -> None:
        old = needed(node, index)
        tensor = ir.convenience.get_const_tensor(old)
        assert tensor is not None, "only constants are permuted"
        made = ir.Tensor(np.ascontiguousarray(array), dtype=tensor.dtype)
        node.replace_input_with(index, self.initializer(made, old.name or "constant"))
        self._left.append(old)

    def forget(self, node: ir.Node) -> None:
        """Mark the inputs of a node that is removed: they may not be needed any more."""
        self._left += node.inputs

    def sweep(self) -> None:
        """Remove the old constants, and the new nodes, that nothing reads any more."""
        sweep([value for value in self._left if is_static(value)])
        for node in reversed(self.made):
            if not any(map(is_used, node.outputs)):
                self._graph.remove(node, safe=True)

    def finish(self, names: Mapping[ir.Value, str]) -> None:
        """Name everything that was made.

        Args:
            names: The names of values that new values stand for, where those are gone.
        """
        self._names = Names.of(self._model)
        for value, name in names.items():
            if name not in self._names:
                value.name = name
                self._names.take(name)
        for node, module in self._modules.items():
            node.name = self._names.new(f"{module}{node.op_type}")
            for index, output in enumerate(node.outputs):
                if output not in names:
                    output.name = self._names.new(f"{node.name}:{index}")
        for value, hint in self._initializers:
            if value.uses():
                value.name = self._names.new(hint)
                self._graph.register_initializer(value)
