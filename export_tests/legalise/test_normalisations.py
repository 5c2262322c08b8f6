"""Normalisations against float64, with weights that differ in every channel."""

import numpy as np
import pytest

from edgeattn.base.errors import InputError


def _wide(x):
    return x.astype(np.float64)


def _layer_norm(x, scale, bias, axis, epsilon):
    x = _wide(x)
    axes = tuple(range(axis % x.ndim, x.ndim))
    d = x - x.mean(axes, keepdims=True)
    root = np.sqrt((d * d).mean(axes, keepdims=True) + epsilon)
    return d / root * scale + bias, x.mean(axes, keepdims=True), 1 / root


@pytest.mark.parametrize("axis", [-1, 1, 2])
@pytest.mark.parametrize("opset", [13, 15, 16])
def test_layer_normalization(axis, opset, rng, build, prove):
    x = rng.normal(3, 2, (2, 4, 6)).astype(np.float32)
    shape = x.shape[axis % 3 :]
    weights = {
        "s": rng.normal(size=shape).astype(np.float32),
        "b": rng.normal(size=shape).astype(np.float32),
    }
    attributes = {"axis": axis, "epsilon": 1e-3}
    model = build(
        "LayerNormalization", {"x": x}, attributes, constants=weights, opset=17, open_batch=True
    )
    want, _, _ = _layer_norm(x, weights["s"], weights["b"], axis, 1e-3)
    operators = prove(model, opset, {"x": x}, want=[want.astype(np.float32)], atol=1e-5)
    assert "LayerNormalization" not in operators
    assert prove(model, 17, {"x": x}) == ["LayerNormalization"]


def test_layer_normalization_gives_mean_and_inverse_deviation(rng, build, prove):
    x = rng.normal(3, 2, (2, 6)).astype(np.float32)
    scale = rng.normal(size=6).astype(np.float32)
    model = build("LayerNormalization", {"x": x}, constants={"s": scale}, opset=17, outputs=3)
    want = [v.astype(np.float32) for v in _layer_norm(x, scale, 0, -1, 1e-5)]
    prove(model, 13, {"x": x}, want=want, atol=1e-5)


def test_layer_normalization_takes_statistics_of_halves_in_float(rng, build, prove):
    """The sum of the squares, 400·64 ·64, overflows a half."""
    x = rng.normal(0, 400, (2, 64)).astype(np.float16)
    scale = rng.normal(size=64).astype(np.float16)
    model = build("LayerNormalization", {"x": x}, constants={"s": scale}, opset=17)
    want, _, _ = _layer_norm(x, scale, 0, -1, 1e-5)
    operators = prove(model, 13, {"x": x}, want=[want.astype(np.float16)], rtol=4e-3, atol=4e-3)
    assert operators.count("Cast") == 2


def _group_norm(x, groups, scale, bias, epsilon):
    flat = _wide(x).reshape(len(x), groups, -1)
    d = flat - flat.mean(2, keepdims=True)
    normal = (d / np.sqrt((d * d).mean(2, keepdims=True) + epsilon)).reshape(x.shape)
    tail = [1] * (x.ndim - 2)
    return (normal * scale.reshape(-1, *tail) + bias.reshape(-1, *tail)).astype(np.float32)


@pytest.mark.parametrize("opset", [13, 17, 18, 20])
@pytest.mark.parametrize("shape", [(3, 6, 4, 5), (3, 6, 7), (3, 6)])
@pytest.mark.parametrize("open_batch", [False, True])
def test_group_normalization_21(opset, shape, open_batch, rng, build, prove):
    x = rng.normal(1, 2, shape).astype(np.float32)
    weights = {k: rng.normal(size=6).astype(np.float32) for k in ("s", "b")}
    model = build(
        "GroupNormalization",
        {"x": x},
        {"num_groups": 2, "epsilon": 1e-3},
        constants=weights,
        opset=21,
        open_batch=open_batch,
    )
    want = [_group_norm(x, 2, weights["s"], weights["b"], 1e-3)]
    assert prove(model, 21, {"x": x}, want=want, atol=1e-5) == ["GroupNormalization"]
    operators = prove(model, opset, {"x": x}, want=want, atol=1e-5)
    assert "InstanceNormalization" in operators
    assert "Shape" not in operators


def test_group_normalization_21_with_weights_of_run_time(rng, build, prove):
    x = rng.normal(1, 2, (3, 6, 4)).astype(np.float32)
    feeds = {"x": x, **{k: rng.normal(size=6).astype(np.float32) for k in ("s", "b")}}
    model = build("GroupNormalization", feeds, {"num_groups": 3}, opset=21)
    prove(model, 13, feeds, want=[_group_norm(x, 3, feeds["s"], feeds["b"], 1e-5)], atol=1e-5)


@pytest.mark.parametrize("opset", [13, 17, 18, 20, 21])
def test_group_normalization_18_has_weights_per_group(opset, rng, build, prove):
    x = rng.normal(1, 2, (3, 6, 4, 5)).astype(np.float32)
    weights = {k: rng.normal(size=2).astype(np.float32) for k in ("s", "b")}
    model = build("GroupNormalization", {"x": x}, {"num_groups": 2}, constants=weights, opset=18)
    want = [_group_norm(x, 2, np.repeat(weights["s"], 3), np.repeat(weights["b"], 3), 1e-5)]
    operators = prove(model, opset, {"x": x}, want=want, atol=1e-5)
    assert ("GroupNormalization" in operators) == (opset >= 21)


@pytest.mark.parametrize("opset", [13, 17, 22])
def test_rms_normalization(opset, rng, build, prove):
    x = rng.normal(1, 2, (2, 3, 6)).astype(np.float32)
    scale = rng.normal(size=6).astype(np.float32)
    model = build("RMSNormalization", {"x": x}, constants={"s": scale}, opset=23)
    wide = _wide(x)
    want = wide / np.sqrt((wide * wide).mean(-1, keepdims=True) + 1e-5) * scale
    prove(model, opset, {"x": x}, want=[want.astype(np.float32)], atol=1e-5)


def _batch_norm_inputs(rng):
    weights = {k: rng.normal(size=3).astype(np.float32) for k in ("s", "b", "m")}
    return {**weights, "v": rng.uniform(0.5, 2, 3).astype(np.float32)}


def test_batch_normalization(rng, build, prove):
    x = rng.normal(size=(2, 3, 4)).astype(np.float32)
    weights = _batch_norm_inputs(rng)
    model = build("BatchNormalization", {"x": x}, {"epsilon": 1e-3}, constants=weights, opset=15)
    for opset in (13, 14, 21):
        assert prove(model, opset, {"x": x}) == ["BatchNormalization"]
    old = build("BatchNormalization", {"x": x}, constants=weights, opset=11)
    assert prove(old, 15, {"x": x}) == ["BatchNormalization"]


def test_training_is_refused(rng, build, legal):
    x = rng.normal(size=(2, 3, 4)).astype(np.float32)
    weights = _batch_norm_inputs(rng)
    training = {"training_mode": 1}
    model = build("BatchNormalization", {"x": x}, training, constants=weights, opset=15, outputs=3)
    with pytest.raises(InputError, match="lowest opset that works is 14"):
        legal(model, 13)
