"""Views and cuts: Shape, Split, Squeeze, Unsqueeze, Pad, Trilu."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from edgeattn.graph.edit import Edit
from edgeattn.graph.nodes import given, integer, needed, static_ints
from edgeattn.legalise.refusals import RefusedError, dtype_of, rank_of


def shape_cut(node: ir.Node, edit: Edit) -> None:
    """Shape 15 → 13: the whole shape, then Slice(start, end). Bit-exact.

    Slice clamps as Shape does; an `end` that is absent is the largest integer.
    """
    start = integer(node, "start", 0)
    end = node.attributes.get("end")
    if start == 0 and end is None:
        node.attributes.pop("start", None)
        return
    last = np.iinfo(np.int64).max if end is None else end.as_int()
    whole = edit.op("Shape", [needed(node, 0)])
    bounds = [edit.integers([start], "start"), edit.integers([int(last)], "end")]
    edit.replace(edit.op("Slice", [whole, *bounds]))


def split_sizes(node: ir.Node, edit: Edit) -> None:
    """Split 18 → 13: `num_outputs` becomes sizes: ceil(d/n) each, and what is left. Bit-exact.

    Where d is not known before run time the sizes are computed from the shape.
    """
    count = node.attributes.pop("num_outputs", None)
    if count is None or given(node, 1) is not None:
        return
    x, n, axis = needed(node, 0), count.as_int(), integer(node, "axis", 0)
    size = x.shape[axis] if x.shape is not None else None
    if isinstance(size, int):
        chunk = math.ceil(size / n)
        edit.set_input(1, edit.integers([*[chunk] * (n - 1), size - chunk * (n - 1)], "split"))
        return
    shape = edit.op("Shape", [x])
    whole = edit.op("Gather", [shape, edit.integers([axis], "axis")])
    ahead = edit.op("Add", [whole, edit.integers([n - 1], "parts")])
    each = edit.op("Div", [ahead, edit.integers([n], "parts")])
    taken = edit.op("Mul", [each, edit.integers([n - 1], "parts")])
    left = edit.op("Sub", [whole, taken])
    sizes = edit.op("Concat", [*[each] * (n - 1), left], {"axis": 0})
    edit.set_input(1, sizes)


def split_count(node: ir.Node, _edit: Edit) -> None:
    """Split 13 → 18: equal parts are asked for by `num_outputs`. Bit-exact."""
    if given(node, 1) is None:
        node.attributes["num_outputs"] = ir.AttrInt64("num_outputs", len(node.outputs))


def to_input(node: ir.Node, edit: Edit, *, name: str) -> None:
    """Split, Squeeze, Unsqueeze 11 → 13: the sizes or axes become an input. Bit-exact."""
    values = node.attributes.pop(name, None)
    if values is not None:
        edit.set_input(1, edit.integers(values.as_ints(), name))


def pad_all_axes(node: ir.Node, edit: Edit) -> None:
    """Pad 18 → 13: pads of some axes become pads of all, zero elsewhere. Bit-exact.

    Requires constant axes and the rank. Pads computed at run time are scattered into zeros.
    """
    if given(node, 3) is None:
        edit.trim()
        return
    axes = static_ints(given(node, 3))
    if axes is None:
        raise RefusedError("its axes are computed at run time")
    dims = rank_of(needed(node, 0))
    places = [a % dims for a in axes] + [a % dims + dims for a in axes]
    pads = static_ints(given(node, 1))
    if pads is not None:
        full = [0] * (2 * dims)
        for place, pad in zip(places, pads, strict=True):
            full[place] = pad
        edit.set_input(1, edit.integers(full, "pads"))
    else:
        zeros = edit.integers([0] * (2 * dims), "pads")
        inputs = [zeros, edit.integers(places, "places"), needed(node, 1)]
        edit.set_input(1, edit.op("ScatterElements", inputs, {"axis": 0}))
    edit.set_input(3, None)
    edit.trim()


def reshape_zero(node: ir.Node, _edit: Edit) -> None:
    """Reshape 14 → 13: `allowzero` matters only where the new shape holds a 0. Bit-exact.

    A size that is known at run time only (`x.view(x.shape[0], -1)` at an open batch) is 0 for empty
    inputs alone, and those are not what a model is exported for: it is enough that no static
    dimension is 0.
    """
    if integer(node, "allowzero", 0):
        shape = static_ints(given(node, 1))
        known = node.outputs[0].shape
        sizes = shape if shape is not None else None if known is None else list(known)
        if sizes is None or 0 in sizes:
            raise RefusedError("`allowzero` exists from opset 14")
    node.attributes.pop("allowzero", None)


def trilu(node: ir.Node, edit: Edit) -> None:
    """Trilu 14 → 13: Where(mask, x, 0), the mask bool[H, W] being constant. Bit-exact.

    Requires the element type, constant H and W, and a constant diagonal.
    """
    x = needed(node, 0)
    dtype_of(x)
    sizes = [] if x.shape is None else [d for d in list(x.shape)[-2:] if isinstance(d, int)]
    k = [0] if given(node, 1) is None else static_ints(given(node, 1))
    if len(sizes) != 2 or k is None:
        raise RefusedError("its last two dimensions or its diagonal are not known before run time")
    upper = integer(node, "upper", 1)
    ones = np.ones(sizes, dtype=np.bool_)
    mask = edit.constant(np.triu(ones, k[0]) if upper else np.tril(ones, k[0]), "mask")
    edit.replace(edit.op("Where", [mask, x, edit.scalar(0, x)], like=x))
