"""The audit of ranges against NumPy."""

import math

import numpy as np
import onnx_ir as ir
import pytest

from edgeattn.base.errors import InputError
from edgeattn.graph.reading import read
from edgeattn.precision.half import prepare
from edgeattn.precision.ranges import measure_ranges
from export_tests.precision.nets import write


def samples(count=3, shape=(1, 4, 8, 8), seed=0):
    generator = np.random.default_rng(seed)
    return [{"x": generator.normal(0, 3, shape).astype(np.float32)} for _ in range(count)]


def loaded(path):
    model = read(path).model
    prepare(model)
    return model


NET = """
a: Abs(x) -> a
s: Sqrt(a) -> s
m: ReduceMean(x hw; keepdims=1) -> m
d: Sub(x m) -> y
"""


def test_the_largest_of_all_samples(tmp_path):
    feeds = samples()
    ranges, count = measure_ranges(loaded(write(tmp_path / "m.onnx", NET)), feeds)
    xs = np.concatenate([feed["x"] for feed in feeds])
    assert count == 3
    assert ranges["a"].max_abs == pytest.approx(np.abs(xs).max())
    assert ranges["s"].max_abs == pytest.approx(np.sqrt(np.abs(xs)).max(), rel=1e-5)
    centred = xs - xs.mean((2, 3), keepdims=True)
    assert ranges["y"].max_abs == pytest.approx(np.abs(centred).max(), rel=1e-5)
    assert ranges["y"].max_sum is None
    assert ranges["m"].max_sum == pytest.approx(np.abs(xs).sum((2, 3)).max(), rel=1e-5)


@pytest.mark.parametrize(
    ("op", "power"),
    [("ReduceMean", 1), ("ReduceL1", 1), ("ReduceSumSquare", 2), ("ReduceL2", 2)],
)
@pytest.mark.parametrize("opset", [13, 18])
def test_what_reductions_add_up(tmp_path, op, power, opset):
    axes = "x hw; keepdims=1" if opset >= 18 else "x; axes=[2,3], keepdims=1"
    path = write(tmp_path / "m.onnx", f"r: {op}({axes}) -> y", opset=opset)
    (feed,) = samples(1)
    ranges, _ = measure_ranges(loaded(path), [feed])
    want = (np.abs(feed["x"]) ** power).sum((2, 3)).max()
    assert ranges["y"].max_sum == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("opset", [13, 18])
def test_sums_and_pools(tmp_path, opset):
    net = "r: ReduceSum(x hw; keepdims=1) -> r\ng: GlobalAveragePool(x) -> g\na: Add(r g) -> y"
    (feed,) = samples(1)
    ranges, _ = measure_ranges(loaded(write(tmp_path / "m.onnx", net, opset=opset)), [feed])
    want = np.abs(feed["x"]).sum((2, 3)).max()
    assert ranges["r"].max_sum == pytest.approx(want, rel=1e-5)
    assert ranges["g"].max_sum == pytest.approx(want, rel=1e-5)


def test_an_open_batch_is_one_sample(tmp_path):
    path = write(tmp_path / "m.onnx", "g: GlobalAveragePool(x) -> y", shape=("n", 4, 8, 8))
    (feed,) = samples(1)
    ranges, _ = measure_ranges(loaded(path), [feed])
    assert ranges["y"].max_sum == pytest.approx(np.abs(feed["x"]).sum((2, 3)).max(), rel=1e-5)


def test_what_is_infinite_is_told(tmp_path):
    path = write(tmp_path / "m.onnx", "e: Exp(x) -> e\nr: Relu(x) -> y")
    ranges, _ = measure_ranges(loaded(path), [{"x": np.full((1, 4, 8, 8), 100, np.float32)}])
    assert ranges["e"].max_abs == math.inf
    assert ranges["y"].max_abs == 100


def test_the_model_is_left_as_it_is(tmp_path):
    model = loaded(write(tmp_path / "m.onnx", NET))
    before = ir.to_proto(model).SerializeToString()
    measure_ranges(model, samples(1))
    assert ir.to_proto(model).SerializeToString() == before


def test_nothing_to_measure_on_is_refused(tmp_path):
    with pytest.raises(InputError, match="no samples"):
        measure_ranges(loaded(write(tmp_path / "m.onnx", NET)), [])
