"""Resize, GridSample and RoiAlign across their renamings."""

import numpy as np
import pytest
import torch


def _x(rng, *shape):
    return rng.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("opset", [13, 17])
def test_resize_by_scales(mode, opset, rng, build, prove):
    x = _x(rng, 2, 3, 4, 5)
    neutral = {"mode": mode, "antialias": 0, "keep_aspect_ratio_policy": "stretch"}
    constants = {"_roi": None, "s": np.array([1, 1, 2, 1.5], np.float32)}
    model = build("Resize", {"x": x}, neutral, constants=constants, opset=19)
    assert prove(model, opset, {"x": x}) == ["Resize"]


@pytest.mark.parametrize("open_batch", [False, True])
@pytest.mark.parametrize("opset", [13, 17])
def test_resize_of_some_axes_to_sizes(open_batch, opset, rng, build, prove):
    x = _x(rng, 2, 3, 4, 5)
    constants = {"_roi": None, "_scales": None, "z": np.array([7, 9])}
    attributes = {"mode": "linear", "axes": [-2, 3]}
    model = build(
        "Resize", {"x": x}, attributes, constants=constants, opset=18, open_batch=open_batch
    )
    operators = prove(model, opset, {"x": x})
    assert operators == (["Shape", "ScatterElements"] if open_batch else []) + ["Resize"]


def test_resize_of_some_axes_by_scales(rng, build, prove):
    x = _x(rng, 2, 3, 4, 5)
    constants = {"_roi": None, "s": np.array([3, 2], np.float32)}
    attributes = {"mode": "nearest", "axes": [3, 2]}
    model = build("Resize", {"x": x}, attributes, constants=constants, opset=18, open_batch=True)
    assert prove(model, 13, {"x": x}) == ["Resize"]


def test_old_resize_leaves_out_by_empty_tensors(rng, build, prove):
    x = _x(rng, 1, 2, 4, 4)
    empty = np.zeros(0, np.float32)
    constants = {"r": empty, "s": empty, "z": np.array([1, 2, 8, 6])}
    model = build("Resize", {"x": x}, {"mode": "linear"}, constants=constants, opset=11)
    for opset in (13, 18, 20):
        assert prove(model, opset, {"x": x}) == ["Resize"]


@pytest.mark.parametrize(
    ("old", "new"), [("bilinear", "linear"), ("nearest", "nearest"), ("bicubic", "cubic")]
)
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_grid_sample(old, new, padding, rng, build, prove):
    feeds = {"x": _x(rng, 2, 3, 4, 5), "g": rng.uniform(-1.3, 1.3, (2, 6, 7, 2)).astype(np.float32)}
    attributes = {"padding_mode": padding, "align_corners": 0}
    now = build("GridSample", feeds, {**attributes, "mode": new}, opset=20)
    then = build("GridSample", feeds, {**attributes, "mode": old}, opset=16)
    for model, opset in ((now, 16), (now, 17), (then, 20), (then, 18), (then, 21)):
        assert prove(model, opset, feeds) == ["GridSample"]


def test_grid_sample_without_a_mode(rng, build, prove):
    feeds = {"x": _x(rng, 1, 2, 4, 4), "g": rng.uniform(-1, 1, (1, 3, 3, 2)).astype(np.float32)}
    assert prove(build("GridSample", feeds, opset=20), 16, feeds) == ["GridSample"]


@pytest.mark.filterwarnings("ignore:Since version 1.3.0, affine_grid behavior")
@pytest.mark.parametrize("size", [(2, 3, 5, 6), (2, 3, 1, 4), (2, 3, 4, 5, 6)])
@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("opset", [13, 17])
def test_affine_grid(size, corners, opset, rng, build, prove):
    dims = len(size) - 2
    theta = _x(rng, 2, dims, dims + 1)
    attributes = {"align_corners": int(corners)}
    model = build("AffineGrid", {"x": theta}, attributes, constants={"s": np.array(size)}, opset=20)
    want = torch.nn.functional.affine_grid(torch.from_numpy(theta), size, align_corners=corners)
    operators = prove(model, opset, {"x": theta}, want=[want.numpy()])
    assert operators == ["Transpose", "MatMul", "Reshape"]


def _rois(rng):
    return {
        "x": _x(rng, 1, 2, 8, 8),
        "r": np.array([[0.5, 1, 6, 5], [1, 2, 4, 7]], np.float32),
        "i": np.array([0, 0]),
    }


def test_roi_align(rng, build, prove):
    feeds = _rois(rng)
    size = {"output_height": 3, "output_width": 3, "sampling_ratio": 2}
    then = build("RoiAlign", feeds, size, opset=11)
    for opset in (13, 16, 21):
        assert prove(then, opset, feeds) == ["RoiAlign"]
    shifted = {**size, "coordinate_transformation_mode": "output_half_pixel"}
    assert prove(build("RoiAlign", feeds, shifted, opset=16), 13, feeds) == ["RoiAlign"]
