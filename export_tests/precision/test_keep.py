"""Which nodes stay float32, and where they must not."""

import numpy as np
import pytest

from edgeattn.base.errors import InputError
from edgeattn.graph.reading import read
from edgeattn.precision.half import prepare
from edgeattn.precision.keep import nodes_to_keep
from edgeattn.precision.ranges import Range
from export_tests.precision.nets import write

SIMAM = """
c: Conv(x w:4,4,1,1 b:4) -> c
at/mean: ReduceMean(c hw; keepdims=1) -> m
at/sub: Sub(c m) -> d
at/square: Mul(d d) -> q
at/sum: ReduceSum(q hw; keepdims=1) -> s
at/add: Add(s half) -> a
at/div: Div(q a) -> e
at/shift: Add(e half) -> f
at/gate: Sigmoid(f) -> g
at/mul: Mul(c g) -> o
last: Relu(o) -> y
"""


def kept(path, ranges=None, patterns=()):
    model = read(path).model
    prepare(model)
    return {one.node: one for one in nodes_to_keep(model, ranges or {}, patterns=patterns)}


def test_statistics_from_the_mean_to_the_gate(tmp_path):
    found = kept(write(tmp_path / "m.onnx", SIMAM))
    assert list(found) == [
        "at/mean", "at/sub", "at/square", "at/sum", "at/add", "at/div", "at/shift", "at/gate"
    ]  # fmt: skip
    assert "squares" in found["at/square"].reason
    assert found["at/gate"].reason == "what it reads is float32"
    assert found["at/mean"].reason == "what reads it is float32"


NOTHING = {
    "squeeze and excite": """
        m: ReduceMean(x hw; keepdims=1) -> m
        c: Conv(m w:4,4,1,1 b:4) -> c
        g: Sigmoid(c) -> g
        a: Mul(x g) -> y""",
    "a hard gate": "a: Add(x three) -> a\nr: Relu(a) -> r\nd: Mul(r half) -> d\nm: Mul(x d) -> y",
    "a residual": "c: Conv(x w:4,4,3,3; pads=[1,1,1,1]) -> c\na: Add(c x) -> a\nr: Relu(a) -> y",
    "attention": "t: Transpose(x; perm=[0,1,3,2]) -> t\nm: MatMul(x t) -> m\ns: Softmax(m) -> s\n"
    "o: MatMul(s x) -> y",
    "a small softmax": "s: Softmax(x; axis=1) -> s\na: Mul(x s) -> y",
}


@pytest.mark.parametrize("name", NOTHING)
def test_where_nothing_stays(tmp_path, name):
    assert kept(write(tmp_path / "m.onnx", NOTHING[name])) == {}


REASONS = {
    "large mean": ("m: ReduceMean(x hw; keepdims=1) -> y", (1, 4, 32, 32), "over 1024 values"),
    "large pool": ("m: GlobalAveragePool(x) -> y", (1, 4, 32, 32), "over 1024 values"),
    "large softmax": ("m: Softmax(x; axis=-1) -> y", (1, 4, 2, 1024), "over 1024 values"),
    "exponential": ("m: Exp(x) -> y", (1, 4, 8, 8), "exponential"),
    "root": ("m: Sqrt(x) -> y", (1, 4, 8, 8), "Sqrt of a statistic"),
    "norm": ("m: ReduceL2(x hw) -> y", (1, 4, 8, 8), "squares"),
    "instance norm": ("m: InstanceNormalization(x w:4 b:4) -> y", (1, 4, 8, 8), "the statistics"),
    "indices": ("m: CumSum(x axis) -> y", (1, 4, 8, 8), "not had in half everywhere"),
}


@pytest.mark.parametrize("name", REASONS)
def test_why_one_stays(tmp_path, name):
    net, shape, reason = REASONS[name]
    path = write(tmp_path / "m.onnx", net, shape=shape, weights={"axis": np.array(1)})
    assert reason in kept(path)["m"].reason


@pytest.mark.parametrize(
    ("constant", "reason"),
    [(1e-12, "below what half holds"), (1e6, "above half's 65504"), (1e-3, None), (0.0, None),
     (-np.inf, None)],
)  # fmt: skip
def test_constants(tmp_path, constant, reason):
    weights = {"k": np.array(constant, np.float32)}
    found = kept(write(tmp_path / "m.onnx", "a: Add(x k) -> a\nr: Relu(a) -> y", weights=weights))
    assert [one.reason for one in found.values() if reason] == (
        [f"a constant of {constant:.3g} is {reason}"] if reason else []
    ) + (["what it reads is float32"] if reason else [])


@pytest.mark.parametrize(
    ("largest", "stays"), [(100.0, False), (9000.0, True), (np.inf, True), (1e-6, True)]
)
def test_what_was_measured(tmp_path, largest, stays):
    net = "c: Conv(x w:4,4,1,1) -> c\nm: MaxPool(c; kernel_shape=[2,2]) -> m\n"
    path = write(tmp_path / "m.onnx", net + "l: Conv(m w:4,4,1,1) -> y")
    ranges = {"c": Range(max_abs=largest), "m": Range(max_abs=1.0), "y": Range(max_abs=1.0)}
    found = kept(path, ranges)
    assert set(found) == ({"c", "m"} if stays else set())
    if stays:
        assert "|x|" in found["c"].reason
        assert found["c"].max_abs == largest


def test_sums_that_were_measured(tmp_path):
    path = write(tmp_path / "m.onnx", "m: ReduceMean(x hw; keepdims=1) -> y")
    assert kept(path, {"y": Range(max_abs=500.0, max_sum=5000.0)}) == {}
    found = kept(path, {"y": Range(max_abs=500.0, max_sum=32000.0)})
    assert found["m"].reason == "ReduceMean adds up to 3.2e+04"


def test_products_of_activations_have_more_headroom(tmp_path):
    path = write(tmp_path / "m.onnx", NOTHING["attention"])
    assert kept(path, {"m": Range(max_abs=15.0)}) == {}
    assert set(kept(path, {"m": Range(max_abs=17.0)})) == {"m", "s"}


def test_coordinates(tmp_path):
    net = """
        loc/c: Conv(x w:2,4,1,1 b:2) -> c
        loc/t: Transpose(c; perm=[0,2,3,1]) -> t
        loc/s: GridSample(x t) -> s
        last: Conv(s w:4,4,1,1) -> y"""
    found = kept(write(tmp_path / "m.onnx", net))
    assert set(found) == {"loc/c", "loc/t", "loc/s"}


def test_whole_numbers(tmp_path):
    net = """
        s: Shape(x) -> s
        f: Cast(s; to=1) -> f
        h: Mul(f half) -> h
        i: Cast(h; to=7) -> i
        k: Cast(i; to=1) -> k
        r: ReduceProd(k) -> r
        a: Add(x r) -> y"""
    assert {"f", "h", "k"} <= set(kept(write(tmp_path / "m.onnx", net)))


@pytest.mark.parametrize("pattern", ["at/mul", "at", "a*", "at/m?l"])
def test_what_is_asked_for(tmp_path, pattern):
    found = kept(write(tmp_path / "m.onnx", SIMAM), patterns=[pattern])
    assert found["at/mul"].reason == f"asked for: {pattern}"


def test_a_pattern_that_matches_nothing_is_refused(tmp_path):
    with pytest.raises(InputError, match="'at/mull'") as caught:
        kept(write(tmp_path / "m.onnx", SIMAM), patterns=["at/mull"])
    assert "at/mul" in caught.value.mend
