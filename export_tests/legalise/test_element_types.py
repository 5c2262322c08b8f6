"""Casts, quantisation, infinities and remainders."""

import numpy as np
import pytest


def _x(rng, dtype=np.float32):
    return rng.normal(0, 40, (3, 4)).astype(dtype)


def test_cast_like(rng, build, prove):
    feeds = {"x": _x(rng), "t": np.zeros(2, np.int32)}
    model = build("CastLike", feeds, {"saturate": 1}, opset=19)
    assert prove(model, 15, feeds) == ["CastLike"]
    assert prove(model, 13, feeds) == ["Cast"]


def test_cast_saturation_says_nothing_of_other_types(rng, build, prove):
    x = _x(rng)
    model = build("Cast", {"x": x}, {"to": 6, "saturate": 0, "round_mode": "down"}, opset=24)
    assert prove(model, 13, {"x": x}, want=[x.astype(np.int32)]) == ["Cast"]


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("opset", [13, 18, 19])
def test_quantize(dtype, opset, rng, build, prove):
    x = _x(rng)
    constants = {
        "s": np.array([0.5, 0.25, 0.3, 0.7], np.float32),
        "z": np.array([1, 2, 3, 4], dtype),
    }
    model = build("QuantizeLinear", {"x": x}, {"axis": 1}, constants=constants, opset=21)
    assert prove(model, opset, {"x": x}) == ["QuantizeLinear"]


@pytest.mark.parametrize("asked", [2, 3])
def test_quantized_type_is_said_by_a_zero_point(asked, rng, build, prove):
    x = _x(rng)
    constants = {"s": np.array(0.5, np.float32)}
    model = build(
        "QuantizeLinear", {"x": x}, {"output_dtype": asked}, constants=constants, opset=21
    )
    assert prove(model, 13, {"x": x}) == ["QuantizeLinear"]


def test_dequantize(rng, build, prove):
    x = rng.integers(-99, 99, (3, 4)).astype(np.int8)
    constants = {"s": np.array([0.5, 0.2, 0.9], np.float32), "z": np.array([1, -3, 5], np.int8)}
    attributes = {"axis": 0, "output_dtype": 1, "block_size": 0}
    model = build("DequantizeLinear", {"x": x}, attributes, constants=constants, opset=23)
    for opset in (13, 19, 21):
        assert prove(model, opset, {"x": x}) == ["DequantizeLinear"]


def test_old_scalar_quantization(rng, build, prove):
    x = _x(rng)
    constants = {"s": np.array(0.5, np.float32), "z": np.array(7, np.uint8)}
    model = build("QuantizeLinear", {"x": x}, constants=constants, opset=11)
    for opset in (13, 21):
        assert prove(model, opset, {"x": x}) == ["QuantizeLinear"]


def test_infinite_halves(build, prove):
    x = np.array([1, np.inf, -np.inf, np.nan, 65504], np.float16)
    model = build("IsInf", {"x": x}, {"detect_negative": 0}, opset=20)
    assert prove(model, 17, {"x": x}, want=[np.isposinf(x)]) == ["Cast", "IsInf"]


def test_range(build, prove):
    constants = {k: np.array(v, np.float32) for k, v in (("a", 1), ("b", 6), ("c", 1.5))}
    model = build("Range", {}, {"stash_type": 1}, constants=constants, opset=27)
    want = [np.arange(1, 6, 1.5, dtype=np.float32)]
    assert prove(model, 13, {}, want=want) == ["Range"]


def test_float_remainder(rng, build, prove):
    feeds = {"x": _x(rng), "d": np.array([3, -3, 2.5, -7], np.float32)}
    model = build("Mod", feeds, opset=28)
    want = [np.mod(feeds["x"], feeds["d"])]
    assert prove(model, 13, feeds, want=want, rtol=0, atol=0)[0] == "Mod"


def test_float_remainder_at_the_ends(build, prove):
    ends = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, 3.5, -3.5], np.float32)
    feeds = {"x": np.repeat(ends, 7), "d": np.tile(ends, 7)}
    with np.errstate(invalid="ignore"):
        want = np.mod(feeds["x"], feeds["d"])
    model = build("Mod", feeds, opset=28)
    prove(model, 17, feeds, want=[want], rtol=0, atol=0)
