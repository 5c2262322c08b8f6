"""Means, sums and maxima over axes, whichever operator gives them.

    ReduceSum = M * mean                 GlobalAveragePool, an AveragePool over the whole map = mean
    ReduceSumSquare = M * mean of squares    ReduceL2 = sqrt of that
    GlobalMaxPool, a MaxPool over the whole map = ReduceMax
    a mean of a mean = the mean over both

Real-number exact. A sum needs the number M of what it adds, so no open size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import onnx_ir as ir

from edgeattn.graph.nodes import given, integer, ints, static_ints, text
from edgeattn.lowering.indices import Axes, Index
from edgeattn.lowering.raising import Operand, Raised, Raising, Recogniser
from edgeattn.lowering.terms import Term, scalar

_UNKNOWN: Final = ""
_POOLED_FROM: Final = 2


def _axes(node: ir.Node, rank: int) -> list[int] | None:
    attribute = node.attributes.get("axes")
    given_axes = static_ints(given(node, 1)) if attribute is None else list(attribute.as_ints())
    if attribute is None and given(node, 1) is not None and given_axes is None:
        return None
    if not given_axes:
        return [] if integer(node, "noop_with_empty_axes", 0) else list(range(rank))
    return [axis % rank for axis in given_axes]


def _reduced(node: ir.Node, raising: Raising) -> Sequence[Operand] | str:
    found = raising.raised(node.inputs[0])
    axes = None if found is None else _axes(node, found.rank)
    if found is None or axes is None:
        return _UNKNOWN
    kept = [() if axis in axes else found.axis(axis) for axis in range(found.rank)]
    if not integer(node, "keepdims", 1):
        kept = [axis for position, axis in enumerate(kept) if position not in axes]
    over = frozenset(index for axis in axes for index in found.axis(axis))
    term = _term(node.op_type, raising, found.term, over)
    return "it sums over an open size" if term is None else [Raised(term, tuple(kept))]


def _term(op_type: str, raising: Raising, term: Term, over: frozenset[Index]) -> Term | None:
    terms = raising.terms
    if op_type == "ReduceMax":
        return terms.max(term, over)
    if op_type == "ReduceMean":
        return terms.mean(term, over)
    if any(not isinstance(index.size, int) for index in over):
        return None
    if op_type in {"ReduceSumSquare", "ReduceL2"}:
        term = terms.pow(term, 2)
    total = math.prod(index.size for index in over if isinstance(index.size, int))
    made = terms.scaled(scalar(total), terms.mean(term, over))
    return terms.pow(made, 0.5) if op_type == "ReduceL2" else made


def _pooled(node: ir.Node, raising: Raising) -> Sequence[Operand] | str:
    found = raising.raised(node.inputs[0])
    if found is None:
        return _UNKNOWN
    over = frozenset(i for axis in range(_POOLED_FROM, found.rank) for i in found.axis(axis))
    kept: Axes = (*found.axes[:_POOLED_FROM], *((),) * (found.rank - _POOLED_FROM))
    reduce = raising.terms.max if "Max" in node.op_type else raising.terms.mean
    return [Raised(reduce(found.term, over), kept)]


def _covers_map(node: ir.Node) -> bool:
    """Return whether a pool's window is the whole map, so that one value a channel comes out."""
    value, kernel = node.inputs[0], ints(node, "kernel_shape")
    if not kernel or value is None or value.shape is None:
        return False
    return (
        kernel == list(value.shape[_POOLED_FROM:])
        and not any(ints(node, "pads"))
        and text(node, "auto_pad", "NOTSET") in {"NOTSET", "VALID"}
        and len(node.outputs) == 1
    )


TABLE: Final[Mapping[str, Recogniser]] = {
    **{
        op_type: Recogniser(rule="global-mean", recognise=_reduced)
        for op_type in ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceSumSquare", "ReduceL2")
    },
    "GlobalAveragePool": Recogniser(rule="global-mean", recognise=_pooled),
    "GlobalMaxPool": Recogniser(rule="global-mean", recognise=_pooled),
    **{
        op_type: Recogniser(rule="global-mean", recognise=_pooled, accepts=_covers_map)
        for op_type in ("AveragePool", "MaxPool")
    },
}
