"""Each trap is found where a model falls into it, at its versions, and not beside."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx import numpy_helper, parser

from edgeattn.graph import shapes
from edgeattn.support.traps import traps


def found(
    body, version="8.6", *, x="float[1,8,16,16] x", y="float y", opset=17, weights=None, **asked
):
    """The words of the traps of a graph, given as ONNX's text, with their nodes."""
    text = f'<ir_version: 8, opset_import: ["": {opset}]> g ({x}) => ({y}) {{ {body} }}'
    proto = parser.parse_model(text)
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    for name, array in (weights or {}).items():
        proto.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    model = ir.from_proto(proto)
    shapes.find(model)
    facts = traps(model, tensorrt=version, **asked)
    assert all(one.about == "trap" and one.verdict == "yes" and one.mend for one in facts)
    assert all(one.source for one in facts)
    return {one.fact: one.nodes for one in facts}


def nodes(facts, word):
    """The nodes of the one trap that says a word; none where no trap does."""
    said = [names for fact, names in facts.items() if word in fact]
    assert len(said) < 2
    return said[0] if said else ()


AXES = {"hw": np.array([2, 3])}
ONE = np.ones((1, 8, 1, 1), np.float32)
W = np.ones((8, 8, 3, 3), np.float32)
SAMPLE = '[s] y = GridSample <mode: string = "{}"> (x, g)'
IMAGE = "float[1,8,16,16] x, float[1,4,4,2] g"
NORM = """[m] m = ReduceMean <axes: ints = [1]> (x) [d] d = Sub(x, m) [q] q = {square}
    [v] v = ReduceMean <axes: ints = [1]> (q) [a] a = Add(v, eps) [r] r = Sqrt(a)
    [y] y = Div(d, r)"""
SHUFFLE = """[c] c = Conv <group: int = {group}> (x, w) [a] a = Reshape(c, to5)
    [t] t = Transpose <perm: ints = {perm}> (a) [b] b = Reshape(t, to4)
    [e] y = Conv <group: int = {group}> (b, w)"""
C2F = """[s] p, q = Split <axis: int = 1> (x) [c] c = Conv <pads: ints = [1,1,1,1]> (q, w)
    [g] g = Sigmoid(c) [m] m = Mul(c, g) [a] a = Add({left})
    [k] y = Concat <axis: int = 1> ({parts})"""


def test_gridsample_of_opset_20_is_read_as_nearest_up_to_11_1():
    for mode, version, is_found in (
        ("linear", "8.6.2", True),
        ("cubic", "11.1", True),
        ("linear", "11.2", False),
        ("nearest", "10.3", False),
    ):
        facts = found(SAMPLE.format(mode), version, x=IMAGE, opset=20)
        assert bool(nodes(facts, "computed as nearest")) is is_found
        assert nodes(facts, "GridSample is slow") == ("s",)
    for version, is_found in (("1.5", True), ("1.7.1", False)):
        facts = found(SAMPLE.format("linear"), version, x=IMAGE, opset=20, rtx=True)
        assert bool(nodes(facts, "computed as nearest")) is is_found
    older = found(SAMPLE.format("bilinear"), "10.13", x=IMAGE)
    assert not nodes(older, "computed as nearest")
    assert nodes(older, "GridSample is slow") == ("s",)


@pytest.mark.parametrize("square", ["Mul(d, d)", "Pow(d, two)"])
def test_squares_in_half(square):
    weights = {"eps": np.float32(1e-5), "two": np.float32(2)}
    norm = NORM.format(square=square)
    assert nodes(found(norm, weights=weights), "squared") == ("v",)
    assert not nodes(found(norm, weights=weights, precision="fp32"), "squared")
    # Strongly typed: the file's float32 is what is computed.
    assert not nodes(found(norm, "11.1", weights=weights), "squared")
    half = {name: np.float16(value) for name, value in weights.items()}
    types = {"x": "float16[1,8,16,16] x", "y": "float16 y"}
    assert nodes(found(norm, "11.1", weights=half, **types), "squared") == ("v",)
    factors = NORM.format(square="Mul(dd, dd) [p] q = Mul(q2, two)")
    factors = factors.replace("[q] q = Mul(dd, dd)", "[i] dd = Mul(d, x) [q] q2 = Mul(dd, dd)")
    assert nodes(found(factors, weights=weights), "squared") == ("v",)
    other = NORM.format(square="Mul(d, x)")
    assert not nodes(found(other, weights={"eps": weights["eps"]}), "squared")


def test_a_mean_is_no_trap_and_a_long_sum_is():
    body = "[r] y = {}(x, hw)"
    large, small = "float[1,8,56,56] x", "float[1,8,7,7] x"
    assert nodes(found(body.format("ReduceSum"), x=large, weights=AXES), "summed up") == ("r",)
    assert not found(body.format("ReduceSum"), x=small, weights=AXES)
    assert not found(body.format("ReduceMean"), x=large, opset=18, weights=AXES)
    gate = "[s] s = Sigmoid(x) [r] y = ReduceSum(s, hw)"
    assert not found(gate, x=large, weights=AXES)


def test_guards_that_half_loses():
    body = "[m] m = {}(x, c) [d] y = Div(x, m)"
    root = "[m] m = Add(x, c) [r] r = Sqrt(m) [d] y = Div(x, r)"
    for guard, plain, under_a_root in (
        (1e-12, True, True),
        (1e-5, True, False),
        (1e-4, False, False),
    ):
        weights = {"c": np.float32(guard)}
        for op in ("Add", "Max"):
            assert bool(nodes(found(body.format(op), weights=weights), "a divisor")) is plain
        assert bool(nodes(found(root, weights=weights), "a divisor")) is under_a_root


def test_constants_above_half():
    mask = "[a] a = Add(x, c) [y] y = Softmax(a)"
    assert nodes(found(mask, weights={"c": np.float32(-1e9)}), "65504") == ("a",)
    assert not found(mask, weights={"c": np.float32(-1e4)})
    assert not found(mask, weights={"c": np.float32(-np.inf)})


def test_a_shuffle_beside_grouped_convolutions():
    weights = {"w": W[:, :4, :1, :1], "to5": [1, 2, 4, 16, 16], "to4": [1, 8, 16, 16]}
    swap = [0, 2, 1, 3, 4]
    grouped = found(SHUFFLE.format(group=2, perm=swap), weights=weights)
    assert nodes(grouped, "shuffle") == ("t",)
    plain = {**weights, "w": W[:, :, :1, :1]}
    assert not found(SHUFFLE.format(group=1, perm=swap), weights=plain)
    still = found(SHUFFLE.format(group=2, perm=[0, 1, 2, 4, 3]), weights=weights)
    assert not nodes(still, "shuffle")


def test_a_scale_of_a_part_before_8_2_5():
    part = "[s] p, q = Split <axis: int = 1> (x) [m] y = Mul(q, c)"
    weights = {"c": ONE[:, :4]}
    assert nodes(found(part, "8.2.1", weights=weights), "scale or shift") == ("m",)
    assert not found(part, "8.2.5", weights=weights)
    whole = "[r] r = Relu(x) [m] y = Mul(r, c)"
    assert not found(whole, "8.2.1", weights={"c": ONE})
    number = {"c": np.float32(2)}
    assert not found(part, "8.2.1", weights=number)


def test_a_shortcut_that_is_concatenated_later_on_11():
    half = {"x": "float16[1,16,8,8] x", "y": "float16 y", "weights": {"w": np.float16(W)}}
    block = C2F.format(left="q, m", parts="p, q, a")
    assert nodes(found(block, "11.1", **half), "later concatenation") == ("a",)
    assert not nodes(found(block, "10.3", **half), "later concatenation")
    full = {"x": "float[1,16,8,8] x", "weights": {"w": W}}
    assert not nodes(found(block, "11.1", **full), "later concatenation")
    alone = "[c] c = Conv <pads: ints = [1,1,1,1]> (x, w) [r] r = Relu(c) [a] y = Add(x, r)"
    half["x"] = "float16[1,8,8,8] x"
    assert not nodes(found(alone, "11.1", **half), "later concatenation")


def test_instance_norm_is_a_plugin_before_10():
    body = "[i] y = InstanceNormalization(x, s, s)"
    weights = {"s": np.ones(8, np.float32)}
    assert nodes(found(body, "8.6", weights=weights), "plugin") == ("i",)
    assert not found(body, "10.3", weights=weights)


def test_int8():
    deconvolution = "[d] y = ConvTranspose(x, w, b)"
    weights = {"w": W, "b": np.ones(8, np.float32)}
    assert nodes(found(deconvolution, "8.2.1", weights=weights, precision="int8"), "bias") == ("d",)
    assert not found(deconvolution, "8.2.1", weights=weights)
    assert not found(deconvolution, "8.5", weights=weights, precision="int8")
    quantised = """[t] t = Transpose <perm: ints = [0,2,3,1]> (x) [q] q = QuantizeLinear(t, s, z)
        [d] y = DequantizeLinear(q, s, z)"""
    scale = {"s": np.float32(0.1), "z": np.int8(0)}
    orin = found(quantised, "10.16.2", weights=scale, precision="int8")
    assert nodes(orin, "transposed just before") == ("q",)
    assert not found(quantised, "10.3", weights=scale, precision="int8")
    on_dla = found(quantised, "8.5.2", weights=scale, precision="int8", on_dla=True)
    assert nodes(on_dla, "calibration cache") == ("q",)
    assert not found(quantised, "8.5.2", weights=scale, precision="int8")


def test_what_is_known_only_while_it_runs():
    body = "[n] y = NonZero(x)"
    assert nodes(found(body, "10.3", y="int64 y"), "CUDA graph") == ("n",)
    assert not found("[t] y = Relu(x)", "10.3")


def test_types_of_a_file_are_no_orders_before_11():
    mixed = """[h] h = Cast <to: int = 10> (x) [r] r = Relu(h) [f] f = Cast <to: int = 1> (r)
        [s] y = Softmax(f)"""
    assert nodes(found(mixed, "8.5.2"), "no orders") == ("s",)
    assert nodes(found(mixed, "10.3"), "--stronglyTyped alone") == ("s",)
    assert not found(mixed, "11.1")


def test_int64_at_the_border_is_int32_before_10():
    body = "[a] y = ArgMax <axis: int = 1> (x)"
    assert nodes(found(body, "8.5.2", y="int64 y"), "int32") == ("a",)
    assert not found(body, "10.3", y="int64 y")
