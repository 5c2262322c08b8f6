"""What opsets 7 to 12 said differently: softmax of a matrix, dropout, sampling, and attributes.

What ONNX left open then is taken as ONNX Runtime computes it.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeattn.graph.edit import AttributeValue, Edit
from edgeattn.graph.nodes import integer, needed, number, static, text
from edgeattn.legalise.refusals import RefusedError, dtype_of

_FLOAT32 = np.finfo(np.float32)


def softmax_up(node: ir.Node, edit: Edit) -> None:
    """Softmax, LogSoftmax, Hardmax 11 → 13. Bit-exact.

    Version 11 flattens x to a matrix at `axis` (1 where not given) and works on its rows; version
    13 works along one axis. They agree where all dimensions behind `axis` are 1; else the matrix
    is made and unmade: Flatten, Softmax(-1), Reshape to the shape of x.
    """
    x, axis = needed(node, 0), integer(node, "axis", 1)
    behind = [] if x.shape is None else list(x.shape)[axis if axis < 0 else axis - len(x.shape) :]
    if x.shape is not None and axis == len(x.shape):
        behind = []
    if behind and all(d == 1 for d in behind[1:]):
        node.attributes["axis"] = ir.AttrInt64("axis", axis)
        return
    matrix = edit.op("Flatten", [x], {"axis": axis})
    rows = edit.op(node.op_type, [matrix], {"axis": -1})
    edit.replace(edit.op("Reshape", [rows, edit.op("Shape", [x])], like=x))


def dropout_up(node: ir.Node, edit: Edit) -> None:
    """Dropout 7 → 12: at inference the ratio says nothing. Bit-exact.

    The mask is zeros before opset 12 in ONNX Runtime, and ones from it on: it must not be read.
    """
    node.attributes.pop("ratio", None)
    edit.trim()
    if len(node.outputs) > 1:
        raise RefusedError("its mask is read, which opset 12 fills with ones and none before it")


def clip_up(node: ir.Node, edit: Edit) -> None:
    """Clip 6 → 11: the bounds become inputs; one not given is float32's largest. Bit-exact.

    Requires the element type.
    """
    x = needed(node, 0)
    dtype_of(x)
    for index, (name, bound) in enumerate((("min", _FLOAT32.min), ("max", _FLOAT32.max)), start=1):
        edit.set_input(index, edit.scalar(number(node, name, float(bound)), x))
        node.attributes.pop(name, None)


def pad_up(node: ir.Node, edit: Edit) -> None:
    """Pad 2 → 11: the pads and the value become inputs. Bit-exact.

    Requires the element type where the value is not zero.
    """
    x, pads, value = needed(node, 0), node.attributes.pop("pads"), number(node, "value", 0.0)
    node.attributes.pop("value", None)
    edit.set_input(1, edit.integers(pads.as_ints(), "pads"))
    if value and text(node, "mode", "constant") == "constant":
        dtype_of(x)
        edit.set_input(2, edit.scalar(value, x))


def slice_up(node: ir.Node, edit: Edit) -> None:
    """Slice 1 → 10: starts, ends and axes become inputs. Bit-exact."""
    for index, name in enumerate(("starts", "ends", "axes"), start=1):
        values = node.attributes.pop(name, None)
        if values is not None:
            edit.set_input(index, edit.integers(values.as_ints(), name))


def top_k_up(node: ir.Node, edit: Edit) -> None:
    """TopK 1 → 10: k becomes an input. Bit-exact."""
    edit.set_input(1, edit.integers([node.attributes.pop("k").as_int()], "k"))


def scatter_up(node: ir.Node, edit: Edit) -> None:
    """Scatter 9 → 11: its name is ScatterElements now. Bit-exact."""
    edit.replace(edit.op("ScatterElements", node.inputs, dict(node.attributes)))


def scan_up(node: ir.Node, edit: Edit) -> None:
    """Scan 8 → 9: it went over a batch of sequences, which is a Scan of its own now. Bit-exact.

    States and sequences alike are cut along the batch, and what the inner Scan gives is put
    together along it. Requires that all sequences are of one length.
    """
    lengths, *values = node.inputs
    if lengths is not None:
        raise RefusedError("before opset 9 its sequences have lengths of their own")
    attributes = dict(node.attributes)
    directions = attributes.pop("directions", None)
    if directions is not None:
        attributes["scan_input_directions"] = ir.AttrInt64s(
            "scan_input_directions", directions.as_ints()
        )
    singles = [edit.value_like(value) for value in values]
    inner = edit.make("Scan", singles, attributes, count=len(node.outputs))
    edit.name(inner, f"{node.name}_of_batch", "_output_")
    body = ir.Graph(singles, inner.outputs, nodes=[inner], name=f"{inner.name}_body")
    said: dict[str, AttributeValue] = {
        "body": ir.AttrGraph("body", body),
        "num_scan_inputs": len(values),
    }
    edit.replace(*edit.nodes("Scan", values, said, count=len(node.outputs)))


def batch_normalization_spatial(node: ir.Node, edit: Edit) -> None:
    """BatchNormalization 7 → 9: with `spatial=0` each element had statistics. Real-number-exact.

    (x - mean)/√(var + ε)·scale + bias, elementwise over f[C, …]. Requires the element type then.
    """
    spatial = node.attributes.pop("spatial", None)
    if spatial is None or spatial.as_int():
        return
    edit.trim()
    if len(node.outputs) > 1:
        raise RefusedError("it gives running statistics, so it is in training mode")
    x, scale, bias, mean, variance = (needed(node, index) for index in range(5))
    dtype_of(x)
    epsilon = edit.scalar(number(node, "epsilon", 1e-5), x)
    deviation = edit.op("Sqrt", [edit.op("Add", [variance, epsilon])])
    y = edit.op("Div", [edit.op("Sub", [x, mean], like=x), deviation], like=x)
    edit.replace(edit.op("Add", [edit.op("Mul", [y, scale], like=x), bias], like=x))


def upsample_scales(node: ir.Node, edit: Edit) -> None:
    """Upsample 7 → 9: the scales become an input. Bit-exact."""
    scales = np.array(node.attributes.pop("scales").as_floats(), dtype=np.float32)
    edit.set_input(1, edit.constant(scales, "scales"))


def resize_of_scales(node: ir.Node, edit: Edit) -> None:
    """Upsample 9 → 10, Resize 10 → 11: positions are o/scale, and no more is said. Bit-exact.

    The nearest position was that below where an axis grows, and that above where it shrinks; a node
    that does both becomes two. Requires then to know which axes shrink.
    """
    x, scales = needed(node, 0), needed(node, 1)
    mode = text(node, "mode", "nearest")
    edit.written_at = 11
    if mode != "nearest":
        edit.replace(_resized(edit, x, scales, {"mode": mode}))
        return
    factors = _factors(x, scales, node)
    if (factors >= 1).all() or (factors <= 1).all():
        edit.replace(_resized(edit, x, scales, _NEAREST[bool((factors < 1).any())]))
        return
    for is_shrinking in (False, True):
        some = np.where((factors < 1) == is_shrinking, factors, 1).astype(np.float32)
        x = _resized(edit, x, edit.constant(some, "scales"), _NEAREST[is_shrinking])
    edit.replace(x)


_NEAREST = {
    False: {"mode": "nearest", "nearest_mode": "floor"},
    True: {"mode": "nearest", "nearest_mode": "ceil"},
}


def _resized(edit: Edit, x: ir.Value, scales: ir.Value, attributes: dict[str, str]) -> ir.Value:
    said: dict[str, AttributeValue] = {"coordinate_transformation_mode": "asymmetric", **attributes}
    roi = edit.constant(np.zeros(0, dtype=np.float32), "roi")
    return edit.op("Resize", [x, roi, scales], said)


def _factors(x: ir.Value, scales: ir.Value, node: ir.Node) -> np.ndarray:
    """Return by how much each axis grows, from the scales; or whether, from the shapes."""
    known = static(scales)
    if known is not None:
        return known
    if node.op_type == "Upsample":  # it must not shrink
        return np.ones(1)
    before, after = x.shape, node.outputs[0].shape
    if before is not None and after is not None and before.is_static() and after.is_static():
        grown = np.array(after.numpy()) / np.maximum(before.numpy(), 1)
        if (grown >= 1).all() or (grown <= 1).all():
            return grown
    raise RefusedError("whether its axes grow or shrink is computed at run time")
