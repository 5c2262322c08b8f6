"""Opsets 11 and 12: softmax of a matrix, dropout's ratio, and plain bumps."""

import numpy as np
import pytest


def _x(rng, *shape):
    return rng.normal(size=shape).astype(np.float32)


def _coerced(op, x, axis):
    flat = x.astype(np.float64).reshape(int(np.prod(x.shape[: axis % (x.ndim + 1)])), -1)
    if op == "Hardmax":
        y = np.eye(flat.shape[1])[flat.argmax(1)]
    else:
        e = np.exp(flat - flat.max(1, keepdims=True))
        y = e / e.sum(1, keepdims=True)
        y = np.log(y) if op == "LogSoftmax" else y
    return y.reshape(x.shape).astype(np.float32)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize(
    ("shape", "axis", "moved"),
    [((2, 3, 4), 1, True), ((2, 3, 4), None, True), ((2, 3, 4), 2, False), ((2, 5), None, False),
     ((2, 3, 1, 1), 1, False), ((2, 3, 4), 0, True)],
)  # fmt: skip
@pytest.mark.parametrize("opset", [13, 18])
def test_softmax(op, shape, axis, moved, opset, rng, build, prove):
    x = _x(rng, *shape)
    model = build(op, {"x": x}, {} if axis is None else {"axis": axis}, opset=11)
    want = [_coerced(op, x, 1 if axis is None else axis)]
    operators = prove(model, opset, {"x": x}, want=want)
    assert sorted(operators) == (sorted(["Flatten", op, "Shape", "Reshape"]) if moved else [op])


def test_dropout(rng, build, prove):
    x = _x(rng, 2, 3)
    model = build("Dropout", {"x": x}, {"ratio": 0.7}, opset=11)
    for opset in (13, 20):
        assert prove(model, opset, {"x": x}) == ["Dropout"]


@pytest.mark.parametrize("op", ["Clip", "Conv", "Gemm", "Concat"])
def test_what_only_gained_types(op, rng, build, prove):
    attributes = {}
    if op == "Conv":
        x, constants = _x(rng, 2, 3, 8, 8), {"w": _x(rng, 4, 3, 3, 3)}
    elif op == "Clip":
        x = _x(rng, 3, 4)
        constants = {"lo": np.array(-0.5, np.float32), "hi": np.array(0.5, np.float32)}
    else:
        x, constants = _x(rng, 4, 4), {"w": _x(rng, 4, 4)}
        attributes = {"axis": 1} if op == "Concat" else {}
    model = build(op, {"x": x}, attributes, constants=constants, opset=11)
    for opset in (13, 21):
        assert prove(model, opset, {"x": x}) == [op]
