"""Activations against ONNX Runtime's own and float64."""

import math

import numpy as np
import pytest

HALF = {"rtol": 2e-3, "atol": 2e-3}


def _x(rng, dtype=np.float32):
    return rng.normal(0, 3, (2, 5, 7)).astype(dtype)


@pytest.mark.parametrize("opset", [13, 14, 17, 21])
def test_hard_swish(opset, rng, build, prove):
    x = _x(rng)
    operators = prove(build("HardSwish", {"x": x}, opset=18), opset, {"x": x})
    assert operators == (["HardSwish"] if opset >= 14 else ["HardSigmoid", "Mul"])


@pytest.mark.parametrize("opset", [13, 15, 17])
def test_mish(opset, rng, build, prove):
    x = _x(rng)
    wide = x.astype(np.float64)
    want = [(wide * np.tanh(np.logaddexp(0, wide))).astype(np.float32)]
    operators = prove(build("Mish", {"x": x}, opset=18), opset, {"x": x}, want=want)
    assert operators == ["Softplus", "Tanh", "Mul"]


@pytest.mark.parametrize("opset", [13, 18, 19])
def test_gelu(opset, rng, build, prove):
    x = _x(rng)
    erf = np.vectorize(math.erf)(x.astype(np.float64) / math.sqrt(2))
    want = [(x * 0.5 * (1 + erf)).astype(np.float32)]
    assert "Erf" in prove(build("Gelu", {"x": x}, opset=20), opset, {"x": x}, want=want)


@pytest.mark.parametrize("opset", [13, 19])
def test_gelu_by_tanh(opset, rng, build, prove):
    x = _x(rng)
    wide = x.astype(np.float64)
    inner = math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3)
    want = [(0.5 * wide * (1 + np.tanh(inner))).astype(np.float32)]
    model = build("Gelu", {"x": x}, {"approximate": "tanh"}, opset=20)
    assert "Tanh" in prove(model, opset, {"x": x}, want=want)


def test_gelu_of_halves(rng, build, prove):
    x = _x(rng, np.float16)
    prove(build("Gelu", {"x": x}, opset=20), 17, {"x": x}, **HALF)


@pytest.mark.parametrize("alpha", [1.0, 1.7])
def test_swish(alpha, rng, build, prove):
    x = _x(rng)
    wide = x.astype(np.float64)
    want = [(wide / (1 + np.exp(-alpha * wide))).astype(np.float32)]
    prove(build("Swish", {"x": x}, {"alpha": alpha}, opset=24), 13, {"x": x}, want=want)


def test_relu_of_integers(rng, build, prove):
    x = rng.integers(-9, 9, (4, 5)).astype(np.int32)
    model = build("Relu", {"x": x}, opset=14)
    want = [np.maximum(x, 0)]
    assert prove(model, 13, {"x": x}, want=want) == ["Max"]


def test_relu_of_floats_stays(rng, build, prove):
    x = _x(rng)
    assert prove(build("Relu", {"x": x}, opset=18), 13, {"x": x}) == ["Relu"]


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint32])
def test_bitwise_not(dtype, rng, build, prove):
    x = rng.integers(0, 1000, (4, 5)).astype(dtype)
    assert prove(build("BitwiseNot", {"x": x}, opset=18), 14, {"x": x}) == ["Sub"]
