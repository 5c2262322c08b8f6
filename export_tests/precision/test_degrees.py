"""How values grow with activations, on nets as attention writes them."""

import math

import pytest

from edgeattn.graph.reading import read
from edgeattn.precision.degrees import degrees, is_safe
from edgeattn.precision.half import prepare
from export_tests.precision.nets import write

CENTRED = "m: ReduceMean(x hw; keepdims=1) -> m\nd: Sub(x m) -> d\n"
SQUARED = CENTRED + "q: Mul(d d) -> q\n"
VARIANCE = SQUARED + "v: ReduceMean(q hw; keepdims=1) -> v\n"

CASES = {
    "activation": ("r: Relu(x) -> y", 1),
    "layer": ("c: Conv(x w:4,4,3,3 b:4; pads=[1,1,1,1]) -> y", 1),
    "square": (SQUARED + "r: ReduceMean(q hw; keepdims=1) -> y", 2),
    "deviation": (VARIANCE + "s: Sqrt(v) -> y", 1),
    "one over a variance": (VARIANCE + "o: Reciprocal(v) -> y", -2),
    "normalised": (VARIANCE + "s: Sqrt(v) -> s\nn: Div(d s) -> y", 0),
    "simam": (VARIANCE + "n: Div(q v) -> y", 0),
    "gate": ("g: Sigmoid(x) -> g\na: Mul(x g) -> y", 1),
    "square of a gate": ("g: Sigmoid(x) -> g\nq: Mul(g g) -> q\nr: ReduceMean(q hw) -> y", 2),
    "product that is no statistic": (
        "c: Conv(x w:4,4,1,1) -> c\na: Mul(x c) -> a\nl: Conv(a w:4,4,1,1) -> y",
        1,
    ),
    "product that is reduced": (
        "m: ReduceMean(x hw; keepdims=1) -> m\np: Mul(x m) -> p\nr: ReduceMean(p ch) -> y",
        2,
    ),
    "exponential": ("e: Exp(x) -> y", math.inf),
    "softmax by hand": (
        "e: Exp(x) -> e\ns: ReduceSum(e hw; keepdims=1) -> s\nd: Div(e s) -> y",
        0,
    ),
    "sum": ("g: Sigmoid(x) -> g\na: Add(x g) -> y", 1),
    "cube": ("p: Pow(x three) -> p\nr: ReduceMean(p hw) -> y", 3),
}


@pytest.mark.parametrize("name", CASES)
def test_degree(tmp_path, name):
    net, want = CASES[name]
    model = read(write(tmp_path / "m.onnx", net)).model
    prepare(model)
    assert degrees(model.graph)[model.graph.outputs[0]] == want


@pytest.mark.parametrize(
    ("degree", "safe"), [(0, True), (0.5, True), (1, True), (2, False), (-1, False)]
)
def test_what_is_safe(degree, safe):
    assert is_safe(degree) is safe
    assert not is_safe(math.inf)
    assert not is_safe(-math.inf)
