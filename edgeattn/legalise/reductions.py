"""Reductions: where the axes are written, and boolean extrema."""

from __future__ import annotations

import onnx_ir as ir

from edgeattn.graph.edit import Edit
from edgeattn.graph.nodes import given, integer, needed, static_ints
from edgeattn.legalise.refusals import RefusedError

# What a reduction over no axes leaves: the elementwise part of the operator.
_ELEMENTWISE = {"ReduceL1": "Abs", "ReduceL2": "Abs", "ReduceLogSum": "Log"}


def axes_to_attribute(node: ir.Node, edit: Edit) -> None:
    """Reduce* 18 → 13: the axes become an attribute. Bit-exact.

    Requires constant axes. With no axes and `noop_with_empty_axes` nothing is reduced: what is left
    is |x| (L1, L2), log x (LogSum), x² (SumSquare), x (the rest).
    """
    source = given(node, 1)
    axes = static_ints(source)
    if source is not None and axes is None:
        raise RefusedError("its axes are computed at run time")
    x = needed(node, 0)
    if not axes and integer(node, "noop_with_empty_axes", 0):
        if node.op_type == "ReduceSumSquare":
            edit.replace(edit.op("Mul", [x, x], like=x))
        else:
            edit.replace(edit.op(_ELEMENTWISE.get(node.op_type, "Identity"), [x], like=x))
        return
    node.resize_inputs(1)
    node.attributes.pop("noop_with_empty_axes", None)
    if axes:
        node.attributes["axes"] = ir.AttrInt64s("axes", axes)


def axes_to_input(node: ir.Node, edit: Edit) -> None:
    """ReduceSum 11 → 13, the other Reduce* 13 → 18: the axes become an input. Bit-exact."""
    axes = node.attributes.pop("axes", None)
    if axes is not None and axes.as_ints():
        edit.set_input(1, edit.integers(axes.as_ints(), "axes"))


def bool_extremum(node: ir.Node, edit: Edit) -> None:
    """ReduceMax, ReduceMin 20 → 18 of booleans: in int32, as False < True. Bit-exact."""
    x = needed(node, 0)
    if x.dtype != ir.DataType.BOOL:
        return
    inputs = [edit.cast(x, ir.DataType.INT32), *node.inputs[1:]]
    reduced = edit.op(node.op_type, inputs, dict(node.attributes))
    edit.replace(edit.cast(reduced, ir.DataType.BOOL))
