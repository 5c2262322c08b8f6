"""Forms of a float32 product or 3D convolution that TensorRT-RTX takes for Turing.

Each returns the value that stands for a node's output, or None if the node's shapes do not allow
it, and then adds nothing. A product X·W becomes, by the first of these that its shapes allow:

1. W has rank 2. Each row of X is a map of one position, and each column of W a filter of a 1x1
   convolution.
2. All leading dimensions of X are static, and W's end with the same. W is a map of N positions and
   each row of X a filter; each pair of matrices is a group of a 1x1 convolution.
3. Otherwise, an open batch of two activations say: the sum over k of X[..., k, 1] * W[k, ...].

A 3D convolution whose kernel has extent 1 in the last dimension D becomes a 2D one over rows of
W * D, whose dilation and padding along them are D times as large: W's neighbours lie D apart.

All are exact in real numbers: the same products are summed, maybe in another order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import onnx_ir as ir

from edgeattn.graph.edit import AttributeValue, Edit
from edgeattn.graph.nodes import (
    given,
    integer,
    ints,
    needed,
    number,
    rank,
    static,
    static_sizes,
    text,
)

# From this opset on, the axes of Unsqueeze and ReduceSum are inputs.
_AXES_ARE_INPUTS: Final = 13

# A value's sizes, None for open ones; or None for an unknown rank.
_Sizes = list[int | None] | None


def gemm(edit: Edit, node: ir.Node) -> ir.Value | None:
    """Return a Gemm by form 1; its bias stays the convolution's where it is one per column.

    Args:
        edit: The graph around the node.
        node: The node.
    """
    left, right, bias = needed(node, 0), needed(node, 1), given(node, 2)
    target = _target(static_sizes(node.outputs[0]))
    if target is None or not _is_static(static_sizes(right)):
        return None
    if integer(node, "transA", 0):
        left = _transposed(edit, left)
    filters = right if integer(node, "transB", 0) else _transposed(edit, right)
    filters = _scaled(edit, filters, number(node, "alpha", 1.0))
    if bias is None:
        return _rows_convolved(edit, left, filters, None, target)
    bias = _scaled(edit, bias, number(node, "beta", 1.0))
    if static(bias) is not None and static_sizes(bias) == target[-1:]:
        return _rows_convolved(edit, left, filters, bias, target)
    return edit.op("Add", [_rows_convolved(edit, left, filters, None, target), bias])


def matmul(edit: Edit, node: ir.Node, opset: int) -> ir.Value | None:
    """Return a MatMul by form 1, 2 or 3.

    Args:
        edit: The graph around the node.
        node: The node.
        opset: The model's opset.
    """
    left, right = needed(node, 0), needed(node, 1)
    target = _target(static_sizes(node.outputs[0]))
    if target is not None:
        if rank(right) == 2 and _is_static(static_sizes(right)):
            return _rows_convolved(edit, left, _transposed(edit, right), None, target)
        if _fit_groups(static_sizes(left), static_sizes(right)):
            return _in_groups(edit, left, right, target)
    return None if None in (rank(left), rank(right)) else _summed(edit, left, right, opset)


def convolution(edit: Edit, node: ir.Node) -> ir.Value | None:
    """Return a 3D convolution as a 2D one.

    Args:
        edit: The graph around the node.
        node: The node.
    """
    maps, filters, bias = needed(node, 0), needed(node, 1), given(node, 2)
    target, sizes, kernel = (
        _target(static_sizes(node.outputs[0])),
        _target(static_sizes(maps)),
        static_sizes(filters),
    )
    if target is None or sizes is None or -1 in sizes[3:] or kernel is None:
        return None
    strides = ints(node, "strides", (1, 1, 1))
    dilations = ints(node, "dilations", (1, 1, 1))
    top, left, front, bottom, right, back = ints(node, "pads", (0,) * 6)
    is_padded_so = text(node, "auto_pad", "NOTSET") == "NOTSET" and front == back == 0
    if not _is_static(kernel) or kernel[-1] != 1 or strides[1:] != [1, 1] or not is_padded_so:
        return None
    depth = sizes[-1]
    inputs = [
        _reshaped(edit, maps, [*sizes[:3], sizes[3] * depth]),
        _reshaped(edit, filters, _extents(filters)[:-1]),
        *([] if bias is None else [bias]),
    ]
    attributes: dict[str, AttributeValue] = {
        "kernel_shape": _extents(filters)[2:-1],
        "strides": strides[:-1],
        "dilations": [dilations[0], dilations[1] * depth],
        "pads": [top, left * depth, bottom, right * depth],
        "group": integer(node, "group", 1),
    }
    return _reshaped(edit, edit.op("Conv", inputs, attributes), target)


def _rows_convolved(
    edit: Edit, left: ir.Value, filters: ir.Value, bias: ir.Value | None, target: list[int]
) -> ir.Value:
    """Convolve the rows of f32[..., K] with filters of f32[N, K]."""
    count, depth = _extents(filters)
    inputs = [
        _reshaped(edit, left, [-1, depth, 1, 1]),
        _reshaped(edit, filters, [count, depth, 1, 1]),
    ]
    value = edit.op("Conv", inputs if bias is None else [*inputs, bias], {"kernel_shape": [1, 1]})
    return _reshaped(edit, value, target)


def _fit_groups(left: _Sizes, right: _Sizes) -> bool:
    """Return whether each matrix of f32[..., K, N] meets one of f32[groups, M, K], in rounds."""
    if left is None or right is None or not _is_static([*left, *right[-2:]]):
        return False
    leading = len(left) - 2
    return 0 <= leading <= len(right) - 2 and left[:-2] == right[-2 - leading : -2]


def _in_groups(edit: Edit, left: ir.Value, right: ir.Value, target: list[int]) -> ir.Value:
    """Convolve the maps of f32[..., K, N] with filters of f32[groups, M, K], a group with each."""
    *leading, rows, depth = _extents(left)
    groups = math.prod(leading)
    inputs = [
        _reshaped(edit, right, [-1, groups * depth, target[-1], 1]),
        _reshaped(edit, left, [groups * rows, depth, 1, 1]),
    ]
    value = edit.op("Conv", inputs, {"kernel_shape": [1, 1], "group": groups})
    return _reshaped(edit, value, target)


def _summed(edit: Edit, left: ir.Value, right: ir.Value, opset: int) -> ir.Value:
    """Multiply f32[..., M, K, 1] by f32[..., 1, K, N] and sums over K; either may be a vector."""

    def over(op_type: str, value: ir.Value, axis: int, **attributes: int) -> ir.Value:
        if opset < _AXES_ARE_INPUTS:
            return edit.op(op_type, [value], {"axes": [axis], **attributes})
        return edit.op(op_type, [value, edit.integers([axis], "axes")], attributes)

    has_rows, has_columns = rank(left) != 1, rank(right) != 1
    if has_columns:
        left = over("Unsqueeze", left, -1)
    if has_rows and has_columns:
        right = over("Unsqueeze", right, -3)
    products = edit.op("Mul", [left, right])
    return over("ReduceSum", products, -2 if has_columns else -1, keepdims=0)


def _transposed(edit: Edit, matrix: ir.Value) -> ir.Value:
    value = edit.op("Transpose", [matrix], {"perm": [1, 0]})
    value.shape = None if matrix.shape is None else ir.Shape(list(matrix.shape)[::-1])
    return value


def _scaled(edit: Edit, value: ir.Value, factor: float) -> ir.Value:
    if factor == 1.0:
        return value
    constant = edit.constant(np.array(factor, np.float32), "factor")
    return edit.op("Mul", [value, constant], like=value)


def _reshaped(edit: Edit, value: ir.Value, sizes: Sequence[int]) -> ir.Value:
    return edit.op("Reshape", [value, edit.integers(sizes, "shape")])


def _is_static(sizes: _Sizes) -> bool:
    return sizes is not None and None not in sizes


def _extents(value: ir.Value) -> list[int]:
    """Return the sizes of a value that is static."""
    return [size for size in static_sizes(value) or [] if size is not None]


def _target(sizes: _Sizes) -> list[int] | None:
    """Return what to reshape to, -1 for an open size; or None if that is ambiguous."""
    if sizes is None or sizes.count(None) > 1 or 0 in sizes:
        return None
    return [-1 if size is None else size for size in sizes]
