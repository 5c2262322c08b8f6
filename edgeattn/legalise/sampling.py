"""Sampling of images: Resize, GridSample, RoiAlign."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from edgeattn.graph.edit import Edit
from edgeattn.graph.nodes import given, integer, needed, rank, static, static_ints, text
from edgeattn.legalise.refusals import RefusedError, dtype_of, rank_of

_GRID_DOWN = {"linear": "bilinear", "cubic": "bicubic"}
_GRID_UP = {new: old for old, new in _GRID_DOWN.items()}


def _rename_mode(node: ir.Node, names: Mapping[str, str]) -> None:
    mode = text(node, "mode", "")
    if mode in names:
        node.attributes["mode"] = ir.AttrString("mode", names[mode])


def grid_sample_down(node: ir.Node, _edit: Edit) -> None:
    """GridSample 20 → 16: `linear` is `bilinear`, `cubic` is `bicubic`. Bit-exact.

    Requires x: f[N, C, H, W]; version 16 has no volumes.
    """
    dims = rank(needed(node, 0))
    if dims != 4:
        raise RefusedError(
            f"its input has {'unknown' if dims is None else dims} dimensions, 4 before opset 20"
        )
    _rename_mode(node, _GRID_DOWN)


def grid_sample_up(node: ir.Node, _edit: Edit) -> None:
    """GridSample 16 → 20: `bilinear` is `linear`, `bicubic` is `cubic`. Bit-exact."""
    _rename_mode(node, _GRID_UP)


def _full_axes(node: ir.Node, edit: Edit, axes: list[int], dims: int) -> None:
    """Write `scales` and `sizes` for all axes: 1 and the input's own size elsewhere."""
    x = needed(node, 0)
    places = [a % dims for a in axes]
    lengths = [] if x.shape is None else [d for d in x.shape if isinstance(d, int)]
    for index, hint in ((2, "scales"), (3, "sizes")):
        source = given(node, index)
        if source is None:
            continue
        array = static(source)
        if array is not None and (hint == "scales" or len(lengths) == dims):
            full = np.ones(dims) if hint == "scales" else np.array(lengths)
            full[places] = array.reshape(-1)
            edit.set_input(index, edit.constant(full.astype(array.dtype), hint))
            continue
        if hint == "scales":
            base = edit.constant(np.ones(dims, dtype=np.float32), "scales")
        else:
            base = edit.op("Shape", [x])
        inputs = [base, edit.integers(places, "places"), source]
        edit.set_input(index, edit.op("ScatterElements", inputs, {"axis": 0}))


def resize_18(node: ir.Node, edit: Edit) -> None:
    """Resize 18 → 13: `axes` become all axes; what else is new must be neutral. Bit-exact.

    Requires constant axes and the rank, and no region of interest where there are axes.
    """
    if integer(node, "antialias", 0):
        raise RefusedError("`antialias` exists from opset 18")
    if (
        text(node, "keep_aspect_ratio_policy", "stretch") != "stretch"
        and given(node, 3) is not None
    ):
        raise RefusedError("`keep_aspect_ratio_policy` exists from opset 18")
    axes = node.attributes.get("axes")
    if axes is not None:
        dims = rank_of(needed(node, 0))
        if text(node, "coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
            raise RefusedError("`axes` with a region of interest exist from opset 18")
        _full_axes(node, edit, list(axes.as_ints()), dims)
        edit.set_input(1, None)
    for name in ("antialias", "keep_aspect_ratio_policy", "axes"):
        node.attributes.pop(name, None)


def resize_up(node: ir.Node, edit: Edit) -> None:
    """Resize 11 → 13: an empty `roi`, `scales` or `sizes` was how it was left out. Bit-exact.

    `tf_half_pixel_for_nn` was withdrawn: the floor of its (o + ½)/scale is `half_pixel`'s
    (o + ½)/scale - ½, rounded with halves going up.
    """
    if text(node, "coordinate_transformation_mode", "") == "tf_half_pixel_for_nn":
        is_nearest = text(node, "mode", "nearest") == "nearest"
        if not is_nearest or text(node, "nearest_mode", "round_prefer_floor") != "floor":
            raise RefusedError(
                '`coordinate_transformation_mode="tf_half_pixel_for_nn"` was withdrawn in opset 13'
            )
        for name, value in (
            ("coordinate_transformation_mode", "half_pixel"),
            ("nearest_mode", "round_prefer_ceil"),
        ):
            node.attributes[name] = ir.AttrString(name, value)
    for index in range(1, len(node.inputs)):
        if static_ints(given(node, index)) == []:
            edit.set_input(index, None)
    edit.trim()


def _base_grid(lengths: list[int], *, corners: bool) -> np.ndarray:
    """Return the homogeneous coordinates of all positions, x first: f64[D·H·W, dims + 1]."""
    axes = []
    for length in lengths:
        ends = 1.0 if corners else 1.0 - 1.0 / length
        axes.append(np.linspace(-ends, ends, length) if length > 1 else np.zeros(1))
    grids = np.meshgrid(*axes, indexing="ij")
    return np.stack([g.reshape(-1) for g in (*reversed(grids), np.ones(lengths))], axis=1)


def affine_grid(node: ir.Node, edit: Edit) -> None:
    """AffineGrid 20 → 19: (base grid f[H·W, 3])·thetaᵀ, the grid being constant. Real-number-exact.

    Source of the grid: `torch.nn.functional.affine_grid`. Requires the element type and constant
    spatial sizes; the batch is theta's.
    """
    theta, size = needed(node, 0), static_ints(given(node, 1))
    dtype = dtype_of(theta)
    if size is None:
        raise RefusedError("its size is computed at run time")
    lengths = size[2:]
    base = _base_grid(lengths, corners=bool(integer(node, "align_corners", 0)))
    grid = edit.constant(base.astype(dtype.numpy()), "grid")
    flat = edit.op("MatMul", [grid, edit.op("Transpose", [theta], {"perm": [0, 2, 1]})])
    edit.replace(edit.op("Reshape", [flat, edit.integers([0, *lengths, len(lengths)], "shape")]))


def roi_align_down(node: ir.Node, _edit: Edit) -> None:
    """RoiAlign 16 → 10: version 10 knows `output_half_pixel` only. Bit-exact."""
    if text(node, "coordinate_transformation_mode", "half_pixel") != "output_half_pixel":
        raise RefusedError('`coordinate_transformation_mode="half_pixel"` exists from opset 16')
    node.attributes.pop("coordinate_transformation_mode", None)


def roi_align_up(node: ir.Node, _edit: Edit) -> None:
    """RoiAlign 10 → 16: what version 10 did is `output_half_pixel`. Bit-exact."""
    mode = ir.AttrString("coordinate_transformation_mode", "output_half_pixel")
    node.attributes["coordinate_transformation_mode"] = mode
