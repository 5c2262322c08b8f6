"""Element types: casts, quantisation, tests of infinity, the remainder."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeattn.graph.edit import HALF, Edit
from edgeattn.graph.nodes import given, integer, needed

_CASTS = ("saturate", "round_mode")


def cast_like(node: ir.Node, edit: Edit) -> str | None:
    """CastLike 15 → 13: Cast to the second input's type. Bit-exact. Requires that type."""
    wanted = needed(node, 1).dtype
    if wanted is None:
        return "the type it casts to is unknown"
    edit.replace(edit.op("Cast", [needed(node, 0)], {"to": int(wanted)}))
    return None


def cast_extras(node: ir.Node, edit: Edit) -> str | None:
    """Cast, CastLike 24 → 19 → 13: `saturate` and `round_mode` concern eight-bit floats only.

    Bit-exact: to any other type they say nothing. The types themselves are checked by the schema.
    """
    del edit
    for name in _CASTS:
        node.attributes.pop(name, None)
    return None


def float8_cast_extras(node: ir.Node, edit: Edit) -> str | None:
    """Cast, CastLike 24 → 23: `round_mode` concerns float8e8m0 only, which is as new. Bit-exact."""
    del edit
    node.attributes.pop("round_mode", None)
    return None


def quantize_saturate(node: ir.Node, edit: Edit) -> str | None:
    """QuantizeLinear 19 → 13: `saturate` concerns eight-bit floats only. Bit-exact."""
    del edit
    node.attributes.pop("saturate", None)
    return None


def quantize_21(node: ir.Node, edit: Edit) -> str | None:
    """QuantizeLinear 21 → 19: no blocks; `output_dtype` is said by a zero point of zero. Bit-exact.

    Requires the scale's shape where the output's type is not that of a zero point.
    """
    if integer(node, "block_size", 0):
        return "`block_size` exists from opset 21"
    asked = ir.DataType(integer(node, "output_dtype", 0))
    if given(node, 2) is None and asked not in (ir.DataType.UNDEFINED, ir.DataType.UINT8):
        shape = needed(node, 1).shape
        if shape is None or not all(isinstance(d, int) for d in shape):
            return "`output_dtype` exists from opset 21"
        zeros = np.zeros(shape.numpy(), dtype=asked.numpy())
        edit.set_input(2, edit.constant(zeros, "zero_point"))
    node.attributes.pop("output_dtype", None)
    node.attributes.pop("block_size", None)
    return None


def dequantize_21(node: ir.Node, edit: Edit) -> str | None:
    """DequantizeLinear 21 → 19: no blocks. Bit-exact."""
    del edit
    if integer(node, "block_size", 0):
        return "`block_size` exists from opset 21"
    node.attributes.pop("block_size", None)
    return None


def quantize_23(node: ir.Node, edit: Edit) -> str | None:
    """QuantizeLinear 23 → 21: the division is in the scale's type. Bit-exact."""
    del edit
    precision = integer(node, "precision", 0)
    if precision not in (0, int(needed(node, 1).dtype or 0)):
        return "`precision` exists from opset 23"
    node.attributes.pop("precision", None)
    return None


def dequantize_23(node: ir.Node, edit: Edit) -> str | None:
    """DequantizeLinear 23 → 21: the output is of the scale's type. Bit-exact."""
    del edit
    if integer(node, "output_dtype", 0) not in (0, int(needed(node, 1).dtype or 0)):
        return "`output_dtype` exists from opset 23"
    node.attributes.pop("output_dtype", None)
    return None


def half_is_inf(node: ir.Node, edit: Edit) -> str | None:
    """IsInf 20 → 10 of half floats: of the same number as a float. Bit-exact."""
    x = needed(node, 0)
    if x.dtype in HALF:
        edit.set_input(0, edit.cast(x, ir.DataType.FLOAT))
    return None


def range_stash(node: ir.Node, edit: Edit) -> str | None:
    """Range 27 → 11: `stash_type` concerns half floats only, which are as new. Bit-exact."""
    del edit
    node.attributes.pop("stash_type", None)
    return None


def float_mod(node: ir.Node, edit: Edit) -> str | None:
    """Mod 28 → 13: floats with `fmod=0` are new: a - floor(a/b)·b. Real-number-exact."""
    a, b = needed(node, 0), needed(node, 1)
    if integer(node, "fmod", 0) or a.dtype is None or not a.dtype.is_floating_point():
        return None
    quotient = edit.op("Floor", [edit.op("Div", [a, b])])
    edit.replace(edit.op("Sub", [a, edit.op("Mul", [quotient, b])]))
    return None
