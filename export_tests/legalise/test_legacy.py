"""Opsets 7 to 12: softmax of a matrix, dropout, sampling, attributes, and plain bumps."""

import numpy as np
import onnx_ir as ir
import pytest
from onnx import helper, parser

from edgeattn.base.errors import InputError
from edgeattn.legalise import legalise
from export_tests.legalise.conftest import legal, run

F = np.float32


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


SPECIAL = np.array([[np.inf, -np.inf, np.nan, 0.5, -3e38, 3e38]], F)
PADS = [0, 0, 1, 2, 0, 0, 3, -1]
# op, x or its shape, attributes, constants, opset, the operators that it becomes
OLD = {
    "clip": ("Clip", SPECIAL, {"min": -1.5, "max": 2.5}, {}, 7, ["Clip"]),
    "clip from below": ("Clip", SPECIAL, {"min": 0.0}, {}, 9, ["Clip"]),
    "clip by default": ("Clip", SPECIAL, {}, {}, 10, ["Clip"]),
    "pad": ("Pad", (2, 3, 6, 7), {"pads": PADS, "value": 1.5}, {}, 7, ["Pad"]),
    "reflect": (
        "Pad", (2, 3, 6, 7), {"pads": [abs(p) for p in PADS], "mode": "reflect", "value": 2.0},
        {}, 10, ["Pad"],
    ),
    "slice": (
        "Slice", (2, 3, 6, 7), {"starts": [1, -3], "ends": [2**31 - 1, -1], "axes": [2, 3]},
        {}, 7, ["Slice"],
    ),
    "slice without axes": ("Slice", (2, 3, 6), {"starts": [0, 1], "ends": [1, 99]}, {}, 9,
                           ["Slice"]),
    "slice of 10": (
        "Slice", (2, 9), {},
        {"s": np.array([-1]), "e": np.array([-99]), "a": np.array([1]), "t": np.array([-2])},
        10, ["Slice"],
    ),
    "per element": (
        "BatchNormalization", (2, 3, 4, 5), {"spatial": 0},
        {k: np.random.default_rng(n).uniform(0.5, 2, (3, 4, 5)).astype(F)
         for n, k in enumerate("sbmv")},
        8, ["Add", "Sqrt", "Sub", "Div", "Mul", "Add"],
    ),
    "per channel": (
        "BatchNormalization", (2, 3, 4, 5), {"spatial": 1},
        {k: np.random.default_rng(n).uniform(0.5, 2, 3).astype(F) for n, k in enumerate("sbmv")},
        7, ["BatchNormalization"],
    ),
    "scatter": (
        "Scatter", (2, 5), {"axis": 1},
        {"i": np.array([[4, 1]]), "u": np.array([[7.0, -7.0]], F)}, 9, ["ScatterElements"],
    ),
    "max of windows": (
        "MaxPool", (1, 2, 7, 7), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4},
        {}, 7, ["MaxPool"],
    ),
    "dropout": ("Dropout", (2, 3), {"ratio": 0.4}, {}, 7, ["Dropout"]),
    "gemm": (
        "Gemm", (3, 4), {"alpha": 0.5, "beta": 0.25, "transB": 1},
        {"b": np.arange(20, dtype=F).reshape(5, 4), "c": np.arange(3, dtype=F).reshape(3, 1)},
        7, ["Gemm"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OLD)
@pytest.mark.parametrize("opset", [13, 21])
def test_what_7_to_10_said(case, opset, rng, build, prove):
    op, x, attributes, constants, source, wanted = OLD[case]
    x = x if isinstance(x, np.ndarray) else _x(rng, *x)
    model = build(op, {"x": x}, attributes, constants=constants, opset=source)
    assert prove(model, opset, {"x": x}, rtol=0 if wanted == [op] else 1e-5) == wanted


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize(
    ("scales", "count"),
    [([1, 1, 2, 2], 1), ([1, 1, 1.5, 2.7], 1), ([1, 1, 0.6, 0.37], 1), ([1, 1, 0.5, 2.3], 2),
     ([1, 1, 1, 0.9], 1)],
)  # fmt: skip
def test_sampling(mode, scales, count, rng, build, prove):
    """Positions are o/scale; the nearest is below where an axis grows, above where it shrinks."""
    x, scales = _x(rng, 2, 3, 6, 7), np.array(scales, F)
    wanted = ["Resize"] * (count if mode == "nearest" else 1)
    model = build("Resize", {"x": x}, {"mode": mode}, constants={"s": scales}, opset=10)
    assert prove(model, 17, {"x": x}, rtol=0, atol=0) == wanted
    if min(scales) < 1:
        return
    attributes = {"mode": mode, "scales": scales.tolist()}
    for model in (
        build("Upsample", {"x": x}, attributes, opset=7),
        build("Upsample", {"x": x}, {"mode": mode}, constants={"s": scales}, opset=9),
    ):
        assert prove(model, 13, {"x": x}, rtol=0, atol=0) == wanted


def test_scales_of_run_time(rng, build, prove, legal):
    x, scales = _x(rng, 1, 2, 3, 4), np.array([1, 1, 2, 2.5], F)
    model = build("Upsample", {"x": x, "s": scales}, {"mode": "nearest"}, opset=9)
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    model.graph.output[0].type.tensor_type.shape.dim.extend(
        model.graph.input[0].type.tensor_type.shape.dim
    )
    for dim in model.graph.output[0].type.tensor_type.shape.dim:
        dim.Clear()
    assert prove(model, 13, {"x": x, "s": scales}) == ["Resize"]
    model = build("Resize", {"x": x, "s": scales}, {"mode": "nearest"}, opset=10)
    with pytest.raises(InputError, match="grow or shrink is computed"):
        legal(model, 13)


def test_positions_of_tensorflow(rng, build, prove):
    x = _x(rng, 1, 2, 5, 6)
    for scales in ([1, 1, 2, 3], [1, 1, 0.5, 1.7]):
        constants = {"r": np.zeros(0, F), "s": np.array(scales, F)}
        attributes = {
            "coordinate_transformation_mode": "tf_half_pixel_for_nn", "nearest_mode": "floor"
        }  # fmt: skip
        model = build("Resize", {"x": x}, attributes, constants=constants, opset=11)
        assert prove(model, 17, {"x": x}, rtol=0, atol=0) == ["Resize"]


def test_top_k(rng, build, prove):
    x = _x(rng, 3, 7)
    model = build("TopK", {"x": x}, {"k": 3, "axis": 1}, outputs=2, opset=7)
    assert prove(model, 13, {"x": x}, rtol=0) == ["TopK"]


@pytest.mark.parametrize(
    ("op", "attributes", "outputs", "opset", "reason"),
    [("Dropout", {}, 2, 7, "its mask is read"), ("Dropout", {}, 2, 10, "its mask is read"),
     ("ThresholdedRelu", {}, 1, 7, "ThresholdedRelu exists from opset 10"),
     ("ImageScaler", {"bias": [0.0]}, 1, 8, "no opset up to 13 has ImageScaler")],
)  # fmt: skip
def test_what_7_to_10_said_and_no_other_opset_can(op, attributes, outputs, opset, reason):
    infos = [helper.make_tensor_value_info(name, 1, [2, 3]) for name in ("x", "y0", "y1")]
    names = ["y0", "y1"][:outputs]
    node = helper.make_node(op, ["x"], names, name="stem/old", **attributes)
    graph = helper.make_graph([node], "g", infos[:1], infos[1 : 1 + outputs])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    with pytest.raises(InputError, match="at opset 13 or higher") as caught:
        legalise(ir.from_proto(model), 13)
    assert f"stem/old ({op}, module stem): {reason}" in str(caught.value)


def test_a_scan_of_a_batch(rng):
    model = parser.parse_model("""
        <ir_version: 3, opset_import: ["" : 8]>
        g (float[2,3] start, float[2,4,3] x) => (float[2,3] last, float[2,4,3] all) {
            last, all = Scan <num_scan_inputs = 1, directions = [1], body = step
                (float[3] before, float[3] next) => (float[3] after, float[3] seen) {
                    after = Add(before, next)
                    seen = Identity(after)
                }> ("", start, x)
        }""")
    start, x = _x(rng, 2, 3), _x(rng, 2, 4, 3)
    sums = np.cumsum(x[:, ::-1], axis=1) + start[:, None]
    model.graph.node[0].name = "scan"
    for opset in (13, 17):
        got = run(legal(model, opset), {"start": start, "x": x})
        np.testing.assert_allclose(got[0], sums[:, -1], rtol=1e-5)
        np.testing.assert_allclose(got[1], sums, rtol=1e-5)
