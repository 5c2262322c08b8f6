"""Operators whose body ONNX gives, and the Fourier transform's axis."""

import numpy as np
import pytest


def _x(rng, *shape):
    return rng.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("op", ["HannWindow", "HammingWindow", "BlackmanWindow"])
def test_windows(op, build, prove):
    model = build(op, {}, {"periodic": 0}, constants={"n": np.array(9)}, opset=17)
    for info in model.graph.output:
        info.type.tensor_type.elem_type = 1
    assert op not in prove(model, 13, {}, atol=1e-5)


@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("opset", [13, 17, 22])
def test_attention(causal, opset, rng, build, prove):
    feeds = {"q": _x(rng, 2, 3, 5, 4), "k": _x(rng, 2, 3, 6, 4), "v": _x(rng, 2, 3, 6, 4)}
    model = build("Attention", feeds, {"is_causal": causal}, opset=23)
    operators = prove(model, opset, feeds, by="reference", rtol=1e-4, atol=1e-5)
    assert "Softmax" in operators


def test_rotary_embedding(rng, build, prove):
    feeds = {"x": _x(rng, 2, 3, 4, 8), "c": _x(rng, 2, 4, 4), "s": _x(rng, 2, 4, 4)}
    model = build("RotaryEmbedding", feeds, opset=23)
    assert "RotaryEmbedding" not in prove(model, 13, feeds, by="reference")


def test_center_crop_pad(rng, build, prove):
    x = _x(rng, 6, 5, 3)
    constants = {"s": np.array([4, 8, 3])}
    model = build("CenterCropPad", {"x": x}, constants=constants, opset=18)
    assert "CenterCropPad" not in prove(model, 17, {"x": x}, by="reference")


def test_fourier_axis(rng, build, prove):
    x = _x(rng, 2, 6, 5, 1)
    want = [np.fft.fft(x[..., 0], axis=1)]
    want = [np.stack([want[0].real, want[0].imag], -1).astype(np.float32)]
    then = build("DFT", {"x": x}, opset=17)
    now = build("DFT", {"x": x}, constants={"_n": None, "a": np.array(1)}, opset=20)
    for model, opset in ((then, 20), (now, 17), (now, 19), (then, 21)):
        assert prove(model, opset, {"x": x}, want=want, atol=1e-4) == ["DFT"]


def test_what_a_later_version_says_is_its_body(rng, build, prove):
    """A window of opset 25 becomes the sums and products that ONNX defines it by."""
    feeds = {name: rng.normal(size=(1, 2, 4, 3)).astype(np.float32) for name in "qkv"}
    model = build("Attention", feeds, {"left_window_size": 1}, opset=25)
    assert "Softmax" in prove(model, 17, feeds, by="reference", modules=False)
