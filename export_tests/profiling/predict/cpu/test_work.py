"""What kernels of ONNX Runtime do, by their nodes."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from edgeattn.profiling.predict.cpu import work as cpu_work
from edgeattn.profiling.predict.cpu.work import work_of

F32 = ir.DataType.FLOAT


def value(name, shape):
    return ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(F32))


def weights(name, shape, dtype=F32):
    import numpy as np

    array = np.zeros(shape, dtype.numpy())
    return ir.Value(name=name, const_value=ir.tensor(array, name=name))


def node(op_type, inputs, out, domain="", **attributes):
    made = [ir.Attr(name, kind_of_attribute(one), one) for name, one in attributes.items()]
    return ir.Node(domain, op_type, inputs, made, outputs=[value("out", out)])


def kind_of_attribute(one):
    kinds = {int: ir.AttributeType.INT, str: ir.AttributeType.STRING}
    return kinds.get(type(one), ir.AttributeType.INTS)


@pytest.fixture(autouse=True)
def _blocks_of_eight(monkeypatch):
    monkeypatch.setattr(cpu_work, "block_channels", lambda: 8)


def conv(c_in, c_out, kernel, size, *, groups=1, domain="com.microsoft.nchwc", step=1, **more):
    return node(
        "Conv",
        [value("x", (1, c_in, size, size)), weights("w", (c_out, c_in // groups, kernel, kernel))],
        (1, c_out, size // step, size // step),
        domain,
        group=groups,
        strides=(step, step),
        **more,
    )


@pytest.mark.parametrize(
    ("of", "layer", "run"),
    [
        ({"c_in": 64, "c_out": 64, "kernel": 3}, "dense", 28),
        ({"c_in": 64, "c_out": 64, "kernel": 1}, "pointwise", 784),
        ({"c_in": 64, "c_out": 64, "kernel": 1, "step": 2}, "pointwise", 14),
        ({"c_in": 3, "c_out": 64, "kernel": 7}, "stem", 28),
        ({"c_in": 64, "c_out": 64, "kernel": 3, "groups": 4}, "grouped", 28),
        ({"c_in": 64, "c_out": 64, "kernel": 3, "groups": 64}, "depthwise", 28),
        ({"c_in": 58, "c_out": 58, "kernel": 3, "domain": ""}, "plain", 784),
        (
            {"c_in": 58, "c_out": 58, "kernel": 3, "groups": 58, "domain": ""},
            "plain-depthwise",
            784,
        ),
    ],
)
def test_classes_of_convolutions(of, layer, run):
    found = work_of(conv(**of, size=28), 100, 0)
    assert (found.layer, found.run, found.moved_bytes) == (layer, run, 100)
    places = (28 // of.get("step", 1)) ** 2
    window = of["kernel"] ** 2 * of["c_in"] // of.get("groups", 1)
    assert found.flops == 2 * places * of["c_out"] * window


@pytest.mark.parametrize(
    ("channels", "computed"), [(8, 16), (16, 24), (24, 24), (40, 48), (64, 64)]
)
def test_a_rest_of_few_blocks_waits(channels, computed):
    found = work_of(conv(64, channels, 1, 7), 0, 0)
    assert found.flops == 2 * 49 * 64 * computed


def test_what_is_fused_behind_a_convolution():
    swish = work_of(conv(64, 64, 1, 7, activation="HardSwish"), 0, 0)
    assert (swish.activation, swish.activation_bytes) == ("HardSwish", 4 * 64 * 49)
    relu = work_of(conv(64, 64, 1, 7, activation="Relu"), 0, 0)
    assert (relu.activation, relu.activation_bytes) == ("", 0)


def test_products():
    x, w = value("x", (196, 384)), weights("w", (384, 96))
    found = work_of(node("Gemm", [x, w], (196, 96)), 7, 0)
    assert (found.layer, found.flops) == ("product", 2 * 196 * 384 * 96)
    assert found.weights_bytes == 4 * 384 * 96
    turned = node("FusedMatMul", [value("a", (6, 64, 49)), value("b", (6, 64, 49))], (6, 49, 49),
                  "com.microsoft", transA=1)  # fmt: skip
    assert work_of(turned, 7, 0).flops == 2 * 6 * 49 * 49 * 64
    # One whose shapes say little: what the model's nodes cost.
    assert work_of(node("Attention", [x], (196, 96)), 7, 1000).flops == 2000


X = (1, 64, 7, 7)
AXES = weights("axes", (2,), ir.DataType.INT64)
AXES.const_value = ir.tensor([2, 3], name="axes")


@pytest.mark.parametrize(
    ("op_type", "others", "attributes", "operator"),
    [
        ("Add", [value("y", X)], {}, "Add"),
        ("Add", [value("y", (1,))], {}, "Add"),
        ("Mul", [value("y", (1, 64, 1, 1))], {}, "Mul-broadcast"),
        ("ReduceMean", [], {"axes": (2, 3)}, "ReduceMean"),
        ("ReduceMean", [], {"axes": (-1, -2)}, "ReduceMean"),
        ("ReduceMean", [], {"axes": (1,)}, "ReduceMean-strided"),
        ("ReduceSum", [AXES], {}, "ReduceSum"),
        ("ReduceSum", [], {}, "ReduceSum"),
        ("Softmax", [], {}, "Softmax"),
        ("Softmax", [], {"axis": 3}, "Softmax"),
        ("Softmax", [], {"axis": 1}, "Softmax-strided"),
        ("ReorderOutput", [], {"channels_last": 0}, "ReorderOutput"),
        ("ReorderOutput", [], {"channels_last": 1}, "ReorderOutput-strided"),
        ("Sigmoid", [], {}, "Sigmoid"),
    ],
)
def test_loops_of_operators(op_type, others, attributes, operator):
    found = work_of(node(op_type, [value("x", X), *others], X, **attributes), 50, 0)
    assert (found.operator, found.layer, found.moved_bytes) == (operator, None, 50)


def test_a_view_moves_nothing():
    assert work_of(node("Reshape", [value("x", X)], (1, 3136)), 50, 0).moved_bytes == 0


def test_a_pool_reads_its_windows():
    pool = node("MaxPool", [value("x", X)], X, kernel_shape=(3, 3), strides=(1, 1))
    assert work_of(pool, 50, 0).moved_bytes == 4 * 10 * 64 * 49
    assert work_of(pool, 50, 0).operator == "MaxPool"
    halved = node("MaxPool", [value("x", X)], X, kernel_shape=(3, 3), strides=(2, 2))
    assert work_of(halved, 50, 0).operator == "MaxPool-strided"
