"""Means, sums and maxima over axes, whichever operator computes them.

    ReduceSum = M * mean                 GlobalAveragePool, an AveragePool over whole axes = mean
    ReduceSumSquare = M * mean of squares    ReduceL2 = sqrt of that
    GlobalMaxPool, a MaxPool over whole axes = ReduceMax
    a mean of a mean = the mean over both
    a depthwise convolution over all positions = M * mean of the weights times what it reads

Real-number exact. A sum needs the number M of what it adds, so no open size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import onnx_ir as ir

from edgeattn.graph.nodes import (
    integer,
    ints,
    is_unpadded,
    reduced_axes,
    static_sizes,
    weight_and_bias,
)
from edgeattn.lowering.indices import Index
from edgeattn.lowering.raising import (
    Operand,
    Raised,
    Raising,
    Recogniser,
    UnrecognisedError,
    spread,
)
from edgeattn.lowering.recognise.pointwise import per_channel
from edgeattn.lowering.terms import Term

_POOLED_FROM: Final = 2


def _reduced(node: ir.Node, raising: Raising) -> Sequence[Operand]:
    found = raising.needed(node.inputs[0])
    axes = reduced_axes(node, found.rank)
    if axes is None:
        raise UnrecognisedError
    kept = [() if axis in axes else found.axis(axis) for axis in range(found.rank)]
    if not integer(node, "keepdims", 1):
        kept = [axis for position, axis in enumerate(kept) if position not in axes]
    over = frozenset(index for axis in axes for index in found.axis(axis))
    return [Raised(_term(node.op_type, raising, found.term, over), tuple(kept))]


def _term(op_type: str, raising: Raising, term: Term, over: frozenset[Index]) -> Term:
    terms = raising.terms
    if op_type == "ReduceMax":
        return terms.max(term, over)
    if op_type == "ReduceMean":
        return terms.mean(term, over)
    if any(not isinstance(index.size, int) for index in over):
        raise UnrecognisedError("it sums over an open size")
    if op_type in {"ReduceSumSquare", "ReduceL2"}:
        term = terms.pow(term, 2)
    made = terms.sum(term, over)
    return terms.pow(made, 0.5) if op_type == "ReduceL2" else made


def _pooled(node: ir.Node, raising: Raising) -> Sequence[Operand]:
    found, gone = raising.needed(node.inputs[0]), pooled_axes(node)
    over = frozenset(index for axis in gone for index in found.axis(axis))
    kept = tuple(() if axis in gone else found.axis(axis) for axis in range(found.rank))
    reduce = raising.terms.max if "Max" in node.op_type else raising.terms.mean
    return [Raised(reduce(found.term, over), kept)]


def pooled_axes(node: ir.Node) -> list[int]:
    """Return the axes of which a pool leaves one value, if it leaves the others as they are."""
    value, kernel = node.inputs[0], ints(node, "kernel_shape")
    if value is None or value.shape is None:
        return []
    space = list(range(_POOLED_FROM, len(value.shape)))
    if node.op_type.startswith("Global"):
        return space
    sizes = [value.shape[axis] for axis in space]
    whole = [axis for axis, size, side in zip(space, sizes, kernel, strict=False) if side == size]
    steps = ints(node, "strides", [1] * len(space))
    if (
        len(kernel) != len(space)
        or not is_unpadded(node)
        or len(node.outputs) != 1
        or any(
            side != 1 or step != 1
            for axis, side, step in zip(space, kernel, steps, strict=True)
            if axis not in whole
        )
    ):
        return []
    return whole


def is_whole_depthwise(node: ir.Node) -> bool:
    """Return whether a depthwise convolution has one place, which is all that it reads."""
    read = [None if value is None else static_sizes(value) for value in node.inputs[:2]]
    x, weight = (sizes or [] for sizes in read)
    return (
        node.op_type == "Conv"
        and len(x) == len(weight) > _POOLED_FROM
        and x[1] == weight[0] == integer(node, "group", 1)
        and weight[1] == 1
        and x[2:] == weight[2:]
        and any(size != 1 for size in x[2:])
        and is_unpadded(node)
        and set(ints(node, "dilations")) <= {1}
    )


def _weighed(node: ir.Node, raising: Raising) -> Sequence[Operand]:
    """Return sum_p weight[c, p] x[.., c, p] + offset[c] over all positions p."""
    x, constants = raising.needed(node.inputs[0]), weight_and_bias(node)
    constant = None if constants is None else spread(constants[0][:, 0], x.axes)
    over = frozenset(
        index for position in range(_POOLED_FROM, x.rank) for index in x.axis(position)
    )
    if constants is None or constant is None or over - x.term.indices():
        raise UnrecognisedError
    total = raising.terms.sum(raising.terms.scaled(constant, x.term), over)
    summed = Raised(total, (*x.axes[:_POOLED_FROM], *((),) * (x.rank - _POOLED_FROM)))
    weight, bias = constants
    offset = np.zeros(len(weight)) if bias is None else bias
    return [per_channel(raising, summed, np.ones_like(offset), offset)]


TABLE: Final[Mapping[str, Recogniser]] = {
    **{
        op_type: Recogniser(rule="global-mean", recognise=_reduced)
        for op_type in ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceSumSquare", "ReduceL2")
    },
    "GlobalAveragePool": Recogniser(rule="global-mean", recognise=_pooled),
    "GlobalMaxPool": Recogniser(rule="global-mean", recognise=_pooled),
    **{
        op_type: Recogniser(
            rule="global-mean", recognise=_pooled, accepts=lambda node: bool(pooled_axes(node))
        )
        for op_type in ("AveragePool", "MaxPool")
    },
    "Conv": Recogniser(rule="global-mean", recognise=_weighed, accepts=is_whole_depthwise),
}
