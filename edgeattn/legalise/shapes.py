"""Views and cuts: Shape, Split, Squeeze, Unsqueeze, Pad, Trilu."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from edgeattn.graph.edit import Edit
from edgeattn.graph.nodes import given, integer, length_of, needed, static_ints
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

    Requires the rank. Pads or axes computed at run time are scattered into zeros.
    """
    source = given(node, 3)
    if source is None:
        edit.trim()
        return
    dims = rank_of(needed(node, 0))
    axes, pads = static_ints(source), static_ints(given(node, 1))
    zeros = [0] * (2 * dims)
    known = [a % dims for a in axes or ()]
    known += [a + dims for a in known]
    if axes is not None and pads is not None:
        for place, pad in zip(known, pads, strict=True):
            zeros[place] = pad
        edit.set_input(1, edit.integers(zeros, "pads"))
    else:
        if axes is None:
            rank = edit.integers([dims], "rank")
            first = edit.op("Mod", [source, rank])  # of integers: never negative
            places = edit.op("Concat", [first, edit.op("Add", [first, rank])], {"axis": 0})
        else:
            places = edit.integers(known, "places")
        inputs = [edit.integers(zeros, "pads"), places, needed(node, 1)]
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
    """Trilu 14 → 13: Where(column - row ≥ k, x, 0), or ≤ k for the lower triangle. Bit-exact.

    Requires the element type. Constant sizes and diagonals give a constant mask.
    """
    x = needed(node, 0)
    dtype_of(x)
    sizes = [length_of(x, axis) for axis in (-2, -1)]
    k = [0] if given(node, 1) is None else static_ints(given(node, 1))
    is_upper = bool(integer(node, "upper", 1))
    diagonal = edit.integers(k, "k") if k is not None else needed(node, 1)
    height, width = sizes
    if height is not None and width is not None:
        distances = np.arange(width) - np.arange(height)[:, None]
        if k is not None:
            kept = distances >= k[0] if is_upper else distances <= k[0]
            mask = edit.constant(kept, "mask")
            edit.replace(edit.op("Where", [mask, x, edit.scalar(0, x)], like=x))
            return
        distance = edit.constant(distances, "distance")
    else:
        shape = edit.op("Shape", [x])
        start, step = edit.constant(np.array(0), "start"), edit.constant(np.array(1), "step")
        ends = (
            edit.op("Gather", [shape, edit.constant(np.array(axis), "axis")]) for axis in (-2, -1)
        )
        rows, columns = (edit.op("Range", [start, end, step]) for end in ends)
        rows = edit.op("Unsqueeze", [rows, edit.integers([1], "axes")])
        distance = edit.op("Sub", [columns, rows])
    drop = edit.op("Less" if is_upper else "Greater", [distance, diagonal])
    edit.replace(edit.op("Where", [drop, edit.scalar(0, x), x], like=x))
