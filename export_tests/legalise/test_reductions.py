"""Reductions: axes between attribute and input, and booleans."""

import numpy as np
import pytest

from edgeattn.base.errors import InputError

OPS = [
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax",
    "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSumSquare",
]  # fmt: skip


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("keepdims", [0, 1])
def test_axes_become_an_attribute(op, keepdims, rng, build, prove):
    x = rng.uniform(0.5, 2, (2, 3, 4, 5)).astype(np.float32)
    axes = {"axes": np.array([1, -1])}
    model = build(op, {"x": x}, {"keepdims": keepdims}, constants=axes, opset=18)
    for opset in (13, 15, 17):
        assert prove(model, opset, {"x": x}) == [op]
    assert prove(model, 20, {"x": x}) == [op]


@pytest.mark.parametrize("op", [*OPS, "ReduceSum"])
def test_no_axes_reduce_all(op, rng, build, prove):
    x = rng.uniform(0.5, 1.5, (2, 3)).astype(np.float32)
    assert prove(build(op, {"x": x}, {"keepdims": 0}, opset=18), 13, {"x": x}) == [op]


@pytest.mark.parametrize("op", OPS)
def test_no_axes_and_noop(op, rng, build, prove):
    x = rng.uniform(-2, 2, (2, 3)).astype(np.float32)
    if op == "ReduceLogSum":
        x = np.abs(x)
    model = build(op, {"x": x}, {"noop_with_empty_axes": 1}, opset=18)
    want = {
        "ReduceL1": np.abs,
        "ReduceL2": np.abs,
        "ReduceLogSum": np.log,
        "ReduceSumSquare": np.square,
    }.get(op, np.array)(x)
    (only,) = prove(model, 13, {"x": x}, want=[want])
    assert not only.startswith("Reduce")


@pytest.mark.parametrize("op", OPS)
def test_axes_become_an_input(op, rng, build, prove):
    x = rng.uniform(0.5, 2, (2, 3, 4)).astype(np.float32)
    model = build(op, {"x": x}, {"axes": [0, 2]}, opset=13)
    for opset in (17, 18, 21):
        assert prove(model, opset, {"x": x}) == [op]


def test_sum_axes_become_an_input(rng, build, prove):
    x = rng.normal(size=(2, 3, 4)).astype(np.float32)
    model = build("ReduceSum", {"x": x}, {"axes": [1]}, opset=11)
    assert prove(model, 13, {"x": x}) == ["ReduceSum"]


@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMin"])
def test_booleans(op, rng, build, prove):
    x = rng.integers(0, 2, (4, 3)).astype(bool)
    model = build(op, {"x": x}, constants={"axes": np.array([1])}, opset=20)
    want = [(np.max if op == "ReduceMax" else np.min)(x, axis=1, keepdims=True)]
    assert prove(model, 20, {"x": x}, want=want) == [op]
    assert prove(model, 13, {"x": x}, want=want) == ["Cast", op, "Cast"]


def test_axes_of_run_time_are_refused(rng, build, legal):
    x, axes = rng.normal(size=(2, 3)).astype(np.float32), np.array([1])
    model = build("ReduceMean", {"x": x, "axes": axes}, opset=18)
    with pytest.raises(InputError, match="lowest opset that works is 18") as caught:
        legal(model, 17)
    assert "layer1.0.attention/ReduceMean_1 (ReduceMean, module layer1.0.attention)" in str(
        caught.value
    )
