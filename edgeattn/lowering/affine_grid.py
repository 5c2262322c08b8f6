"""affine_grid with a constant size: one product with a constant matrix.

    grid[n] = B theta[n]^T,  B f[H W, 3] with a row (x, y, 1) for each position

torch's exporter writes the product as a multiplication of B, [H W, 3, 1], with theta^T,
[N, 1, 3, 2], and a sum over the axis of 3: a tensor three times the grid. TensorRT makes one kernel
of that, and two of the product (a ResNet-18 with an STN: 35 kernels against 36), so it is exchanged
for ONNX Runtime only. From opset 20 on there is AffineGrid, which few runtimes have: it is always
exchanged.

Real-number exact. Requires two dimensions, and a B or a size that is constant.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx_ir as ir

from edgeattn.graph.nodes import given, integer, static, static_ints
from edgeattn.lowering.build import Builder, replace
from edgeattn.records.lowering import NearMiss, Rewrite

RULE: Final = "affine-grid"
_FLAT_RANK: Final = 4


def rewrite_grids(graph: ir.Graph, build: Builder, *, sums: bool) -> list[Rewrite | NearMiss]:
    """Write affine grids of a constant size as matrix products.

    Args:
        graph: The graph, changed in place.
        build: Makes the nodes.
        sums: Those that are written as products and sums, too.
    """
    done: list[Rewrite | NearMiss] = []
    for node in list(graph):
        build.origin = node.name or ""
        made: ir.Value | str | None = None
        if node.domain == "" and node.op_type == "ReduceSum" and sums:
            made = _summed(node, build)
        elif node.domain == "" and node.op_type == "AffineGrid":
            made = _grid(node, build)
        if isinstance(made, str):
            done.append(NearMiss(rule=RULE, site=node.name or "", reason=made))
        elif made is not None:
            done.append(_exchanged(node, made, build))
    return done


def _exchanged(node: ir.Node, made: ir.Value, build: Builder) -> Rewrite:
    new = build.insert(made, node)
    (old,) = node.outputs
    replace(old, made, is_made=True)
    gone = [node.name or ""]
    product = node.inputs[0]
    assert node.graph is not None
    node.graph.remove(node, safe=True)
    producer = None if product is None else product.producer()
    is_unread = product is not None and not product.uses()
    if is_unread and producer is not None and producer.graph is not None:
        gone.append(producer.name or "")
        producer.graph.remove(producer, safe=True)
    after = tuple(one.name or "" for one in new)
    return Rewrite(rule=RULE, site=node.name or "", nodes_before=tuple(gone), nodes_after=after)


def _summed(node: ir.Node, build: Builder) -> ir.Value | None:
    """Take the sum over k of B[p, k, 1] * theta[n, 1, k, j] as a product of matrices."""
    product, output = node.inputs[0], node.outputs[0]
    multiply = None if product is None else product.producer()
    if multiply is None or multiply.op_type != "Mul" or multiply.domain:
        return None
    if static_ints(given(node, 1)) not in ([-2], [2]) or integer(node, "keepdims", 1):
        return None
    for base, theta in (multiply.inputs, multiply.inputs[::-1]):
        matrix = static(base)
        if matrix is None or theta is None or theta.shape is None or static(theta) is not None:
            continue
        shape = [size if isinstance(size, int) else size.value for size in theta.shape]
        if matrix.ndim == 4 and matrix.shape[0] == 1:
            matrix = matrix[0]
        fits = matrix.ndim == 3 and matrix.shape[2] == 1 and len(shape) == _FLAT_RANK
        if not fits or shape[1] != 1 or shape[2] != matrix.shape[1]:
            continue
        flat = build.node("Squeeze", [theta, build.integers([1])], [shape[0], *shape[2:]])
        constant = build.constant(matrix[:, :, 0])
        size = [shape[0], matrix.shape[0], shape[3]]
        return build.node("MatMul", [constant, flat], size, dtype=output.dtype)
    return None


def _grid(node: ir.Node, build: Builder) -> ir.Value | str:
    """Take AffineGrid as a product of matrices."""
    theta, size = node.inputs[0], static_ints(given(node, 1))
    if size is None:
        return "its size is computed"
    if len(size) != _FLAT_RANK or theta is None or theta.dtype is None:
        return "it has three dimensions"
    count, _, height, width = size
    corners = bool(integer(node, "align_corners", 0))
    x, y = (_line(length, corners=corners) for length in (width, height))
    rows = np.stack([np.tile(x, height), np.repeat(y, width), np.ones(height * width)], axis=1)
    turned = build.node("Transpose", [theta], [count, 3, 2], {"perm": [0, 2, 1]})
    constant = build.constant(rows.astype(theta.dtype.numpy()))
    product = build.node("MatMul", [constant, turned], [count, height * width, 2])
    shape = [count, height, width, 2]
    return build.node("Reshape", [product, build.integers(shape)], shape)


def _line(length: int, *, corners: bool) -> np.ndarray:
    if corners:
        return np.linspace(-1, 1, length)
    return (2 * np.arange(length) + 1) / length - 1
