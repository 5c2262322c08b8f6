"""What modules compute in groups that they keep in the batch, (N*G, C/G, H, W).

    a k x k convolution of a group, with the same weights for all    y_o = sum_ij w_oij x_i(p + j)
    a row vector times a matrix, over the channels of a group        y_p = sum_c v_c x_cp

A convolution that does not see groups ends terms, as products of two matrices do.

Real-number exact. Requires that the convolution keeps the map's size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import onnx_ir as ir

from edgeattn.graph.nodes import integer, is_static, keeps_size, static_sizes, weight_and_bias
from edgeattn.lowering.indices import Index, resolve, unify
from edgeattn.lowering.raising import Operand, Raised, Raising, Recogniser, UnrecognisedError
from edgeattn.lowering.terms import Filter

_CHANNELS: Final = 1
_MAP: Final = 4


def _is_of_groups(node: ir.Node) -> bool:
    """Return whether a convolution reads what a reshape put into the batch, and keeps its size."""
    x, weight = node.inputs[0], node.inputs[1]
    reshape = None if x is None else x.producer()
    if reshape is None or reshape.op_type != "Reshape" or weight is None or not is_static(weight):
        return False
    source = reshape.inputs[0]
    before, after, sizes = (
        None if value is None else static_sizes(value) for value in (source, x, weight)
    )
    if not (before and after and sizes and len(before) == len(after) == len(sizes) == _MAP):
        return False
    kernel = [size or 0 for size in sizes[2:]]
    return (
        before[2:] == after[2:]
        and before[1] != after[1]
        and any(size != 1 for size in kernel)
        and keeps_size(node, kernel)
        and integer(node, "group", 1) == 1
    )


def _convolved(node: ir.Node, raising: Raising) -> Sequence[Operand]:
    x, constants = raising.needed(node.inputs[0]), weight_and_bias(node)
    columns, space = x.axis(1), (x.axis(2), x.axis(3))
    if constants is None or not any(index.home == _CHANNELS for index in x.axis(0)):
        raise UnrecognisedError
    own = {index for index in x.term.indices() if index.home in {2, 3}}
    is_map = all(len(axis) == 1 and axis[0].home == 2 + k for k, axis in enumerate(space))
    if not is_map or {index for axis in space for index in axis} != own:
        raise UnrecognisedError("it slides over what are no rows and columns")
    if any(i.home != _CHANNELS for i in columns) or set(columns) - x.term.indices():
        raise UnrecognisedError("it sums over an axis that is not the channels")
    weight, bias = constants
    count = len(weight)
    rows = () if count == 1 else (Index(count, _CHANNELS),)
    offset = np.zeros(count) if bias is None else bias
    made = Filter(weight=weight, bias=offset, rows=rows, columns=columns, space=space)
    axes = (x.axes[0], rows, *space)
    return [Raised(raising.terms.convolved(x.term, made), axes)]


def _is_vector(node: ir.Node) -> bool:
    """Return whether a product is of one row with a matrix that is computed."""
    if len(node.inputs) != 2 or node.inputs[1] is None or is_static(node.inputs[1]):
        return False
    sizes = [[] if value is None else static_sizes(value) or [] for value in node.inputs]
    return len(sizes[0]) == len(sizes[1]) > 2 and sizes[0][-2] == 1


def _multiplied(node: ir.Node, raising: Raising) -> Sequence[Operand]:
    vector, matrix = raising.operand(node.inputs[0]), raising.needed(node.inputs[1])
    over = matrix.axis(-2)
    if vector is None or any(index.home != _CHANNELS for index in over):
        raise UnrecognisedError
    column: Operand
    if isinstance(vector, Raised):
        if vector.axis(-2) or not unify(vector.axis(-1), over):
            raise UnrecognisedError("its operands arrange the same indices differently")
        column = Raised(vector.term, (*vector.axes[:-2], vector.axis(-1), ()))
    else:
        column = vector.swapaxes(-1, -2)
    aligned = raising.align([column, matrix])
    if aligned is None:
        raise UnrecognisedError("its operands arrange the same indices differently")
    terms, axes = aligned
    gone = frozenset(resolve(axes)[-2])
    if gone - matrix.term.indices():
        raise UnrecognisedError("what it sums over is the same for all channels")
    term = raising.terms.sum(raising.terms.mul(*terms), gone)
    return [Raised(term, (*axes[:-2], (), axes[-1]))]


TABLE: Final[Mapping[str, Recogniser]] = {
    "Conv": Recogniser(rule="linear", recognise=_convolved, accepts=_is_of_groups),
    "MatMul": Recogniser(rule="global-mean", recognise=_multiplied, accepts=_is_vector),
}
