"""Layers and shortcuts get pairs; sums that are computed on the way do not."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from edgeattn.graph import shapes
from edgeattn.precision.placement import place
from export_tests.precision import nets
from export_tests.precision.test_gates import SE

BLOCK = """
    stem: Conv(x w:4,4,1,1) -> a
    relu: Relu(a) -> r
    conv1: Conv(r w4:4,4,3,3; pads=[1] * 4) -> b
    conv2: Conv(b w5:4,4,3,3; pads=[1] * 4) -> m
"""


def placed(path, lines, *, gates=False, **options):
    model = ir.load(nets.write(path / "net.onnx", lines, **options))
    shapes.infer(model)
    return place(model.graph, gates=gates)


def shortcuts(found):
    return [(node.name, index) for node, index in found.shortcuts]


@pytest.mark.parametrize(
    ("tail", "wanted"),
    [
        ("add: Add(m r) -> y", [("add", 1)]),
        ("add: Add(r m) -> y", [("add", 0)]),
        # A convolution in the shortcut: the second of two can be summed as it is computed.
        ("down: Conv(r w6:4,4,1,1) -> d\nadd: Add(m d) -> y", [("add", 1)]),
        # A sum of maps that no quantised layer reads or makes stays as it is.
        ("neg: Neg(m) -> n\nabs: Abs(m) -> o\nadd: Add(n o) -> y", []),
        ("bias: Add(m three) -> y", []),
        ("mean: ReduceMean(m hw) -> s\nadd: Add(m s) -> y", []),
        (
            """
            add: Add(m r) -> s
            act: Relu(s) -> t
            conv3: Conv(t w6:4,4,1,1) -> u
            add2: Add(u t) -> y
            """,
            [("add", 1), ("add2", 1)],
        ),
    ],
)
def test_shortcuts(tmp_path, tail, wanted):
    assert shortcuts(placed(tmp_path, BLOCK + tail)) == wanted


def test_a_sum_of_vectors_is_none_of_maps(tmp_path):
    lines = "fc1: MatMul(x w:6,6) -> a\nfc2: MatMul(a w4:6,6) -> b\nadd: Add(a b) -> y"
    assert shortcuts(placed(tmp_path, lines, shape=(2, 6))) == []


def test_gates_stay_unless_they_are_asked_for(tmp_path):
    found = placed(tmp_path, SE)
    assert [node.name for node in found.layers] == ["conv"]
    assert found.left == (
        ("fc1", "it computes a gate or a statistic"),
        ("fc2", "it computes a gate or a statistic"),
    )
    found = placed(tmp_path, SE, gates=True)
    assert [node.name for node in found.layers] == ["conv", "fc1", "fc2"]
    assert not found.left


@pytest.mark.parametrize(
    ("lines", "axis"),
    [
        ("layer: Conv(x w:6,4,3,3) -> y", 0),
        ("layer: Conv(x w:8,1,3,3; group=4) -> y", 0),
        ("layer: ConvTranspose(x w:4,6,2,2) -> y", 1),
        ("layer: ConvTranspose(x w:4,3,2,2; group=2) -> y", None),
        ("flat: Flatten(x) -> f\nlayer: Gemm(f w:256,5) -> y", 1),
        ("flat: Flatten(x) -> f\nlayer: Gemm(f w:5,256; transB=1) -> y", 0),
        ("layer: MatMul(x w:8,5) -> y", 1),
        ("layer: MatMul(x w:4,8,5) -> y", None),
    ],
)
def test_each_output_channel_has_its_scale(tmp_path, lines, axis):
    found = placed(tmp_path, lines)
    assert {node.name: axis for node, axis in found.layers.items()} == {"layer": axis}


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("layer: MatMul(x x) -> y", "its weights are computed"),
        ("layer: MatMul(w:8,8 x) -> y", "it multiplies a constant"),
        ("layer: MatMul(x w:8) -> y", "its weights are a vector"),
        ("flat: Flatten(x) -> f\nlayer: Gemm(f w:1,5; transA=1) -> y", "it transposes its input"),
        (
            """
            d: Cast(x; to=11) -> d
            w: Cast(w:8,8; to=11) -> e
            layer: MatMul(d e) -> z
            f: Cast(z; to=1) -> y
            """,
            "its input is double, and not float32",
        ),
        ("neg: Neg(w:4,4,1,1) -> n\nlayer: Conv(x n) -> y", "its weights are computed"),
    ],
)  # fmt: skip
def test_what_int8_cannot_take_is_left_with_the_reason(tmp_path, lines, reason):
    found = placed(tmp_path, lines)
    assert not found.layers
    assert found.left == (("layer", reason),)
