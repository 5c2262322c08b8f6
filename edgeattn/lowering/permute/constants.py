"""Constants in another order: a copy where others read them too, else in their own place."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from edgeattn.graph.edit import sweep
from edgeattn.graph.nodes import is_static, static
from edgeattn.lowering.permutation import Permutation, group_order, is_identity
from edgeattn.lowering.permute.nodes import NewNodes


class Constants:
    """Permutes what a graph's nodes read of constants.

    Args:
        new: Where new initializers come from.
    """

    def __init__(self, new: NewNodes) -> None:
        self._new = new
        self._left: list[ir.Value | None] = []

    def take(self, node: ir.Node, index: int, orders: Mapping[int, Permutation]) -> bool:
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
        old = node.inputs[index]
        assert old is not None, "only constants are permuted"
        tensor = ir.convenience.get_const_tensor(old)
        assert tensor is not None, "only constants are permuted"
        made = ir.Tensor(np.ascontiguousarray(array), dtype=tensor.dtype)
        value = self._new.initializer(made, old.name or "constant")
        node.replace_input_with(index, value)
        self._left.append(old)

    def forget(self, node: ir.Node) -> None:
        """Mark the inputs of a node that is removed: they may not be needed any more."""
        self._left += node.inputs

    def sweep(self) -> None:
        """Remove the constants that nothing reads any more."""
        sweep([value for value in self._left if is_static(value)])
