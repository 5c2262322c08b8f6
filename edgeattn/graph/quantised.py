"""Constants that a file keeps as integers with a scale: what they stand for."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeattn.graph.edit import initializer, sweep
from edgeattn.graph.nodes import given, integer, is_standard, needed, static


def dequantised(node: ir.Node) -> npt.NDArray[np.float32] | None:
    """Compute a DequantizeLinear of constants as ONNX Runtime does: (x - zero)·scale in float32.

    Returns:
        What it gives, or None where it is computed at run time, in blocks, or not in float32.
    """
    x, scale, zero = (static(given(node, index)) for index in range(3))
    is_lacking = x is None or scale is None or (zero is None and given(node, 2) is not None)
    if x is None or scale is None or is_lacking:
        return None
    if scale.dtype != np.float32 or scale.ndim > 1 or integer(node, "block_size", 0):
        return None
    sizes = [1] * x.ndim
    if scale.size > 1:
        sizes[integer(node, "axis", 1)] = scale.size
    wide = x.astype(np.int64)
    if zero is not None:
        wide -= zero.astype(np.int64).reshape(sizes if zero.size > 1 else ())
    factors: npt.NDArray[np.float32] = scale.reshape(sizes if scale.size > 1 else ())
    return wide.astype(np.float32) * factors


def fold(node: ir.Node, array: npt.NDArray[np.float32]) -> None:
    """Put what a node gives in its place, under the name of its output."""
    graph, output = node.graph, node.outputs[0]
    assert isinstance(graph, ir.Graph)
    name, inputs = str(output.name), list(node.inputs)
    constant = initializer(ir.tensor(array), name)
    ir.convenience.replace_all_uses_with(output, constant)
    graph.remove(node, safe=True)
    graph.register_initializer(constant)
    sweep(inputs)


def fold_biases(model: ir.Model) -> int:
    """Compute the int32 biases of quantised layers in float32, which TensorRT asks for. Bit-exact.

    Returns:
        How many there were.
    """
    count = 0
    for node in list(model.graph.all_nodes()):
        if node.op_type != "DequantizeLinear" or not is_standard(node):
            continue
        if needed(node, 0).dtype != ir.DataType.INT32 or node.outputs[0].is_graph_output():
            continue
        array = dequantised(node)
        if array is not None:
            fold(node, array)
            count += 1
    return count
