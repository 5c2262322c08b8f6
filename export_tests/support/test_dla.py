"""What a DLA takes: NVIDIA's rules, one node at a time, and what logs of devices show."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from edgeattn.support.dla import DLA, dla_of, generation_of
from export_tests.support.graphs import graph

ORIN = DLA("orin", "10.3", "fp16")
XAVIER = DLA("xavier", "8.5.2", "fp16")


def answer(body, unit=ORIN, x="float[1,16,28,28]", opset=17, **weights):
    """Return the answer for the node that gives y."""
    return unit.takes(graph(body, x, opset, **weights).outputs[0].producer())


@pytest.mark.parametrize(
    ("attributes", "weight", "verdict"),
    [
        ("", [16, 16, 3, 3], "yes"),
        ("<pads=[1,1,1,1]>", [16, 16, 3, 3], "yes"),
        ("<strides=[8,8]>", [16, 16, 3, 3], "yes"),
        ("<strides=[9,8]>", [16, 16, 3, 3], "no"),
        ("<pads=[3,3,3,3]>", [16, 16, 3, 3], "no"),
        ("<group=16>", [16, 1, 28, 28], "yes"),
        ("<pads=[8,8,8,8]>", [16, 16, 33, 33], "no"),
        ("<dilations=[13,13]>", [16, 16, 3, 3], "yes"),
    ],
)
def test_convolutions(attributes, weight, verdict):
    assert answer(f"y = Conv {attributes} (x, w)", w=weight).verdict == verdict


def test_a_convolution_needs_weights_that_are_constant():
    found = answer("w = Relu(x) y = Conv(x, w)", x="float[16,16,3,3]")
    assert (found.verdict, found.reason) == ("no", "its weights are no constant")
    computed = "v = Add(w, w) y = Conv(x, v)"
    assert answer(computed, w=[16, 16, 3, 3]).verdict == "unknown"


def test_a_kernel_and_its_rows_fit_the_buffer():
    # 8192 channels of 1 x 1: half a bank for a kernel, 8192 * 2 / 32 * 56 / 4 entries for a row.
    wide = answer("y = Conv(x, w)", x="float[1,8192,1,56]", w=[16, 8192, 1, 1])
    assert (wide.verdict, "29 banks" in wide.reason) == ("no", True)
    assert answer("y = Conv(x, w)", x="float[1,8192,1,8]", w=[16, 8192, 1, 1]).verdict == "yes"
    # Which channels count is not said where there are groups.
    depth = "y = Conv <group=1024> (x, w)"
    assert answer(depth, x="float[1,1024,14,14]", w=[1024, 1, 14, 14]).verdict == "unknown"
    # An int8 element is half as large.
    narrow = DLA("orin", "10.3", "int8")
    found = answer("y = Conv(x, w)", narrow, "float[1,8192,1,28]", w=[16, 8192, 1, 1])
    assert found.verdict == "yes"
    # One that takes all 16 banks was refused, NVIDIA/TensorRT#3499.
    refused = ("y = Conv <pads=[1,1,1,1]> (x, w)", "float[1,512,80,160]", [256, 512, 3, 3])
    assert answer(refused[0], x=refused[1], w=refused[2]).verdict == "unknown"
    assert answer(refused[0], narrow, refused[1], w=refused[2]).verdict == "yes"


@pytest.mark.parametrize(
    ("body", "unit", "verdict"),
    [
        ("y = AveragePool <kernel_shape=[7,7], strides=[7,7]> (x)", ORIN, "yes"),
        ("y = AveragePool <kernel_shape=[14,1], strides=[14,1]> (x)", ORIN, "no"),
        ("y = MaxPool <kernel_shape=[8,8], strides=[16,16]> (x)", ORIN, "yes"),
        ("y = MaxPool <kernel_shape=[9,9], pads=[4,4,4,4]> (x)", ORIN, "no"),
        ("y = MaxPool <kernel_shape=[2,2], strides=[17,17]> (x)", ORIN, "no"),
        ("y = GlobalAveragePool(x)", ORIN, "no"),
        ("y = ReduceMean <axes=[2,3]> (x)", XAVIER, "no"),
        ("y = GlobalMaxPool(x)", XAVIER, "no"),
        ("y = GlobalMaxPool(x)", ORIN, "yes"),
        ("y = ReduceMax <axes=[1]> (x)", ORIN, "yes"),
        ("y = ReduceMax <axes=[0]> (x)", ORIN, "no"),
    ],
)
def test_pools_and_reductions(body, unit, verdict):
    assert answer(body, unit).verdict == verdict


def test_on_xavier_an_average_counts_its_padding():
    average = "y = AveragePool <kernel_shape=[3,3], pads=[{0},{0},{0},{0}]{1}> (x)"
    assert answer(average.format(1, ""), XAVIER).verdict == "no"
    assert answer(average.format(1, ", count_include_pad=1"), XAVIER).verdict == "yes"
    assert answer(average.format(0, ""), XAVIER).verdict == "unknown"
    assert answer(average.format(1, "")).verdict == "yes"


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        ("l = Constant <value_float=0.0>() h = Constant <value_float=6.0>()", "yes"),
        ("l = Constant <value_float=0.0>() h = Constant <value_float=1.0>()", "yes"),
        ("l = Constant <value_float=0.0>() h = Constant <value_float=0.5>()", "unknown"),
        ("l = Constant <value_float=0.0>() h = Constant <value_float=200.0>()", "no"),
        ("l = Constant <value_float=-1.0>() h = Constant <value_float=1.0>()", "no"),
        ("l = Constant <value_float=0.0>() h = Constant <value_float=inf>()", "unknown"),
        ("s = ReduceMax <keepdims=0> (x) l = Constant <value_float=0.0>() h = Identity(s)", "no"),
    ],
)
def test_a_dla_clips_from_0_to_127_at_most(body, verdict):
    assert answer(f"{body} y = Clip(x, l, h)").verdict == verdict


@pytest.mark.parametrize(
    ("x", "axis", "unit", "verdict"),
    [
        ("float[1,1024,28,28]", 1, ORIN, "yes"),
        ("float[1,1025,28,28]", 1, ORIN, "no"),
        ("float[1,8192,1,1]", 1, ORIN, "yes"),
        ("float[1,8192,1,1]", 0, ORIN, "no"),
        ("float[1,64,1,1]", 1, XAVIER, "no"),
        ("float[1,64,2,1]", 1, DLA("orin", "8.5.2", "fp16"), "yes"),
        ("float[1,64,2,1]", 1, DLA("orin", "8.4.1", "fp16"), "no"),
        ("float[1,64,1,1]", 1, DLA("orin", "8.4.1", "fp16"), "yes"),
    ],
)
def test_softmax(x, axis, unit, verdict):
    assert answer(f"y = Softmax <axis={axis}> (x)", unit, x).verdict == verdict


@pytest.mark.parametrize(
    ("body", "weight", "verdict"),
    [
        ("y = Mul(x, w)", [], "yes"),
        ("y = Mul(w, x)", [16, 1, 1], "yes"),
        ("y = Add(x, w)", [1, 16, 28, 28], "yes"),
        ("y = Sub(x, w)", [1], "yes"),
        ("y = Sub(w, x)", [1], "unknown"),
        ("y = Mul(x, w)", [28, 1], "unknown"),
        ("y = Div(x, w)", [1], "no"),
        ("y = Max(x, w)", [1], "unknown"),
        ("y = PRelu(x, w)", [16, 1, 1], "yes"),
    ],
)
def test_a_constant_operand_becomes_a_scale_layer(body, weight, verdict):
    assert answer(body, w=weight).verdict == verdict


def test_before_8_5_a_constant_operand_stays_on_the_gpu():
    unit = DLA("orin", "8.4.1", "fp16")
    assert answer("y = Mul(x, w)", unit, w=[16, 1, 1]).verdict == "no"


@pytest.mark.parametrize(
    ("gate", "unit", "verdict"),
    [
        ("g = MaxPool <kernel_shape=[28,28]> (x)", ORIN, "yes"),
        ("g = MaxPool <kernel_shape=[28,28]> (x)", DLA("xavier", "8.2.1", "fp16"), "unknown"),
        ("g = ReduceMax <axes=[1]> (x)", ORIN, "unknown"),
        ("g = ReduceMax <axes=[3]> (x)", ORIN, "unknown"),
        ("g = Sigmoid(x)", ORIN, "yes"),
    ],
)
def test_what_may_be_spread_over_a_map(gate, unit, verdict):
    assert answer(f"{gate} y = Mul(x, g)", unit).verdict == verdict


def test_a_map_is_not_sure_to_be_spread_over_a_constant():
    body = "g = MaxPool <kernel_shape=[28,28]> (x) y = Mul(g, w)"
    assert answer(body, w=[1, 16, 28, 28]).verdict == "unknown"
    assert answer(body, w=[16, 1, 1]).verdict == "yes"


@pytest.mark.parametrize(
    ("body", "unit", "verdict"),
    [
        ("y = Flatten(x)", ORIN, "no"),
        ("y = Transpose <perm=[0,1,3,2]> (x)", ORIN, "yes"),
        ("y = Transpose <perm=[1,0,2,3]> (x)", ORIN, "no"),
        ("y = Transpose <perm=[0,1,3,2]> (x)", DLA("orin", "8.4", "fp16"), "no"),
        ("s = Constant <value_ints=[1,16,784,1]>() y = Reshape(x, s)", ORIN, "yes"),
        ("s = Constant <value_ints=[2,8,28,28]>() y = Reshape(x, s)", ORIN, "no"),
        ("s = Constant <value_ints=[1,16,784]>() y = Reshape(x, s)", ORIN, "no"),
        ("z = Transpose <perm=[0,1,3,2]> (x) y = Concat <axis=1> (x, z)", ORIN, "yes"),
        ("z = Concat <axis=1> (x, x) y = Transpose <perm=[0,1,3,2]> (z)", ORIN, "yes"),
        (
            "s = Constant <value_ints=[0,4,-1,28]>() z = Concat <axis=1> (x, x) y = Reshape(z, s)",
            ORIN,
            "no",
        ),
        ("y = Concat <axis=2> (x, x)", ORIN, "no"),
        ("y = Concat <axis=1> (x)", ORIN, "no"),
        ("y, z = Split <axis=1> (x)", ORIN, "yes"),
        ("y, z = Split <axis=1> (x)", DLA("orin", "10.3", "int8"), "unknown"),
        ("s = Constant <value_ints=[1,16,28,28]>() y = Expand(x, s)", ORIN, "no"),
    ],
)
def test_shapes(body, unit, verdict):
    assert answer(body, unit, opset=13).verdict == verdict


@pytest.mark.parametrize(
    ("attributes", "scales", "unit", "verdict"),
    [
        ('<mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor">',
         "1.0,1.0,2.0,2.0", ORIN, "yes"),
        ('<mode="nearest">', "1.0,1.0,32.0,2.0", ORIN, "yes"),
        ('<mode="nearest">', "1.0,1.0,2.5,2.0", ORIN, "no"),
        ('<mode="linear">', "1.0,1.0,4.0,4.0", ORIN, "yes"),
        ('<mode="linear">', "1.0,1.0,5.0,4.0", ORIN, "no"),
        ('<mode="linear">', "1.0,1.0,4.0,4.0", DLA("xavier", "8.2.1", "fp16"), "no"),
        ('<mode="linear", coordinate_transformation_mode="align_corners">',
         "1.0,1.0,4.0,4.0", ORIN, "no"),
        ('<mode="cubic">', "1.0,1.0,2.0,2.0", ORIN, "no"),
    ],
)  # fmt: skip
def test_resize(attributes, scales, unit, verdict):
    body = f"s = Constant <value_floats=[{scales}]>() y = Resize {attributes} (x, , s)"
    assert answer(body, unit).verdict == verdict


def test_what_was_there_before_8_4():
    old = DLA("xavier", "8.2.1", "fp16")
    assert answer("y = Mul(x, x)", old).verdict == "yes"
    assert answer("y = Sub(x, x)", old).verdict == "unknown"
    assert answer("y = LeakyRelu(x)", old).verdict == "unknown"
    assert answer("y = Sub(x, x)", XAVIER).verdict == "yes"


def test_a_resize_of_opset_10_is_asymmetric():
    body = "s = Constant <value = float[4] {1.0, 1.0, 2.0, 2.0}>() y = Resize"
    assert answer(f"{body} (x, s)", opset=10).verdict == "yes"
    assert answer(f'{body} <mode="linear"> (x, s)', opset=10).verdict == "no"


def test_products_with_constants():
    assert answer("y = Gemm <transB=1> (x, w)", x="float[1,64]", w=[10, 64]).verdict == "yes"
    assert answer("y = MatMul(x, x)", x="float[1,8,16,16]").verdict == "no"
    assert answer("y = MatMul(x, w)", x="float[1,8,16]", w=[16, 4]).verdict == "unknown"


def test_sizes_types_and_domains_that_no_layer_has():
    assert answer("y = Relu(x)", x="float[4097,1,1,1]").verdict == "no"
    assert answer("y = Relu(x)", x="float[1,8193,1,1]").verdict == "no"
    assert answer("a = Relu(x) y = Relu(a)", x="float[4,8192,128,128]").verdict == "no"
    assert answer("y = Relu(x)", x="float[4,8192,128,128]").verdict == "yes"
    assert answer("y = Relu(x)", x="float[N,3,4,4]").verdict == "unknown"
    assert answer("y = Add(x, x)", x="int64[1,3,4,4]").verdict == "no"
    assert answer("y = Relu(x)", x="float[1,3,4]").verdict == "unknown"
    assert answer('y = Einsum <equation="bchw->bcwh"> (x)').verdict == "no"
    plugin = ir.Node("acme", "Relu", [ir.val("x")])
    assert "plugin" in ORIN.takes(plugin).reason


def test_what_is_computed_at_build_is_on_no_device():
    assert answer("s = Shape(x) c = Cast <to=1> (s) y = Sqrt(c)").verdict == "yes"
    assert answer("y = Transpose <perm=[1,0]> (w)", w=[3, 4]).verdict == "yes"
    assert answer("s = Shape(x) y = Cast <to=1> (s)", x="float[N,3,4,4]").verdict == "no"


@pytest.mark.parametrize(
    ("capability", "cores", "tensorrt", "verdict"),
    [
        ("7.2", 2, "8.0.1", "yes"),
        ("7.2", 2, "8.5.2", "yes"),
        ("7.2", 2, "8.6.2", "no"),
        ("8.7", 2, "8.6.2", "yes"),
        ("8.7", 2, "10.3", "yes"),
        ("8.7", 2, "10.16", "unknown"),
        ("8.7", 2, "11.1", "no"),
        ("8.7", 2, "11.4.0", "no"),
        ("8.7", 2, "11.4.1", "unknown"),
        ("8.7", 0, "10.3", "no"),
        ("11.0", 0, "10.13", "no"),
        ("5.3", 1, "8.2.1", "unknown"),
    ],
)
def test_which_tensorrt_reaches_a_dla(capability, cores, tensorrt, verdict):
    assert dla_of(capability, cores, tensorrt).verdict == verdict


def test_tensorrt_11_has_the_dla_of_an_agx_orin_and_keeps_types():
    assert dla_of("8.7", 2, "11.4.1", "jetson-agx-orin-64gb").verdict == "yes"
    assert dla_of("8.7", 2, "11.4", "jetson-agx-orin-64gb").verdict == "yes"
    assert dla_of("8.7", 2, "11.5", "jetson-orin-nx-16gb").verdict == "unknown"
    typed = DLA("orin", "11.4.1", "fp16")
    assert answer("y = Relu(x)", typed, "float[1,8,4,4]").verdict == "no"
    assert answer("y = Relu(x)", typed, "float16[1,8,4,4]").verdict == "yes"


def test_generations():
    assert [generation_of(one) for one in ("7.2", "8.7", "8.6")] == ["xavier", "orin", None]
