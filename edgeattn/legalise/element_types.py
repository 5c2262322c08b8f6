"""Element types: casts, quantisation, tests of infinity, the remainder."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeattn.graph.edit import Edit
from edgeattn.graph.nodes import given, integer, needed
from edgeattn.legalise.refusals import HALF, RefusedError


def cast_like(node: ir.Node, edit: Edit) -> None:
    """CastLike 15 → 13: Cast to the second input's type. Bit-exact. Requires that type."""
    wanted = needed(node, 1).dtype
    if wanted is None:
        raise RefusedError("the type it casts to is unknown")
    edit.replace(edit.op("Cast", [needed(node, 0)], {"to": int(wanted)}))


def quantize_21(node: ir.Node, edit: Edit) -> None:
    """QuantizeLinear 21 → 19: no blocks; `output_dtype` is said by a zero point of zero. Bit-exact.

    Requires the scale's shape where the output's type is not that of a zero point.
    """
    if integer(node, "block_size", 0):
        raise RefusedError("`block_size` exists from opset 21")
    asked = ir.DataType(integer(node, "output_dtype", 0))
    if given(node, 2) is None and asked not in (ir.DataType.UNDEFINED, ir.DataType.UINT8):
        shape = needed(node, 1).shape
        if shape is None or not all(isinstance(d, int) for d in shape):
            raise RefusedError("`output_dtype` exists from opset 21")
        zeros = np.zeros(shape.numpy(), dtype=asked.numpy())
        edit.set_input(2, edit.constant(zeros, "zero_point"))
    node.attributes.pop("output_dtype", None)
    node.attributes.pop("block_size", None)


def as_scale_says(node: ir.Node, _edit: Edit, *, name: str) -> None:
    """QuantizeLinear, DequantizeLinear 23 → 21: `name` is the scale's type. Bit-exact."""
    if integer(node, name, 0) not in (0, int(needed(node, 1).dtype or 0)):
        raise RefusedError(f"`{name}` exists from opset 23")
    node.attributes.pop(name, None)


def half_is_inf(node: ir.Node, edit: Edit) -> None:
    """IsInf 20 → 10 of half floats: of the same number as a float. Bit-exact."""
    x = needed(node, 0)
    if x.dtype in HALF:
        edit.set_input(0, edit.cast(x, ir.DataType.FLOAT))


def float_mod(node: ir.Node, edit: Edit) -> None:
    """Mod 28 → 13: floats with `fmod=0` are new. Bit-exact but for the sign of 0.

    With r the remainder of `fmod=1`, which has the sign of a: r + b where r is not 0 and of another
    sign than b, else r; so too at infinities.
    """
    a, b = needed(node, 0), needed(node, 1)
    if integer(node, "fmod", 0) or a.dtype is None or not a.dtype.is_floating_point():
        return
    zero = edit.scalar(0, a)
    rest = edit.op("Mod", [a, b], {"fmod": 1})
    signs = [edit.op("Less", [value, zero]) for value in (rest, b)]
    moved = edit.op("Where", [edit.op("Xor", signs), edit.op("Add", [rest, b]), rest])
    edit.replace(edit.op("Where", [edit.op("Equal", [rest, zero]), rest, moved]))
