"""Thresholds against NumPy on the values themselves."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from edgeattn.base.errors import InputError
from edgeattn.graph import shapes
from edgeattn.precision import thresholds
from edgeattn.precision.calibration import read_samples
from edgeattn.precision.thresholds import find_thresholds
from edgeattn.records.manifest import Tensor
from export_tests.precision import nets

LINES = """
    conv: Conv(x w:4,4,3,3) -> a
    act: Relu(a) -> b
    zero: Mul(b nothing) -> z
    last: Add(b z) -> y
"""
INPUT = Tensor(name="x", shape=(1, 4, 8, 8), dtype="float32")


@pytest.fixture
def model(tmp_path):
    path = nets.write(tmp_path / "net.onnx", LINES, weights={"nothing": np.zeros((), np.float32)})
    model = ir.load(path)
    shapes.infer(model)
    return model


def found(model, names, data, **options):
    values = ir.convenience.create_value_mapping(model.graph)
    return find_thresholds(model, [values[name] for name in names], data, **options)


def data(limit=6):
    return read_samples("random", [INPUT], limit=limit, seed=0)


def test_the_largest_absolute_value(model):
    largest = found(model, ["x", "a", "b", "z"], data(), method="minmax")
    images = np.concatenate([feed["x"] for feed in data()])
    assert largest["x"] == np.abs(images).max()
    assert 0 < largest["b"] <= largest["a"]
    assert largest["z"] == 0


def test_inputs_alone(model):
    images = np.concatenate([feed["x"] for feed in data()])
    assert found(model, ["x"], data(), method="minmax") == {"x": np.abs(images).max()}


def test_memory_decides_how_many_values_are_measured_at_once(model, monkeypatch):
    names = ["x", "a", "b"]
    wanted = found(model, names, data(), method="minmax")
    monkeypatch.setattr(thresholds, "_LARGEST_RUN_BYTES", 1)
    seen = []
    again = found(
        model, names, data(), method="minmax", on_progress=lambda *step: seen.append(step)
    )
    assert again == wanted
    assert seen == [(done, 18) for done in range(1, 19)]


def test_a_percentile_leaves_out_what_is_rare(model):
    rare = np.random.default_rng(0).standard_normal((200, 4, 8, 8)).astype(np.float32)
    rare[7, 2, 3, 4] = 1000
    path = model_data(rare)
    limits = found(model, ["x"], path, method="percentile")
    assert np.quantile(np.abs(rare), 0.999) < limits["x"] < 10
    assert found(model, ["x"], path, method="minmax")["x"] == 1000


def test_a_black_image_in_front_costs_nothing(model):
    images = np.random.default_rng(0).standard_normal((8, 4, 8, 8)).astype(np.float32)
    images[0] *= 1e-9
    limits = found(model, ["x", "a"], model_data(images), method="percentile")
    assert limits == found(model, ["x", "a"], model_data(images[::-1]), method="percentile")


def test_the_larger_side_decides(tmp_path):
    path = nets.write(tmp_path / "net.onnx", "act: Relu(x) -> a\nlast: Neg(a) -> y")
    model = ir.load(path)
    limits = found(model, ["a", "y"], data(), method="percentile")
    assert limits["y"] == pytest.approx(limits["a"], rel=1e-2)


def model_data(array):
    """Samples of an array that is in memory."""
    from edgeattn.precision.calibration import Samples

    return Samples(
        description="noise", sha256="", count=len(array),
        read=lambda: iter([{"x": row[None]} for row in array]),
    )  # fmt: skip


@pytest.mark.parametrize("method", ["percentile", "entropy"])
def test_histograms_print_nothing_and_stay_below_the_largest(model, method, capfd):
    names = ["x", "a", "b"]
    limits = found(model, names, data(), method=method)
    largest = found(model, names, data(), method="minmax")
    assert all(0 < limits[name] <= largest[name] * 1.001 for name in names)
    assert capfd.readouterr().out == ""


def test_a_value_that_is_always_zero(model):
    assert found(model, ["z"], data(), method="percentile")["z"] == 0


@pytest.mark.parametrize("scale", [1e-42, 1e-36, 1e38])
@pytest.mark.parametrize("method", ["percentile", "entropy"])
def test_what_float32_hardly_holds(model, method, scale):
    images = np.random.default_rng(0).uniform(0.5, 3, (2, 4, 8, 8)) * scale
    limits = found(model, ["x"], model_data(images.astype(np.float32)), method=method)
    assert 0 < limits["x"] <= images.max() * 1.001


@pytest.mark.parametrize("method", ["minmax", "percentile"])
def test_what_is_not_finite_is_refused(tmp_path, method):
    path = nets.write(tmp_path / "net.onnx", "log: Log(x) -> a\nlast: Neg(a) -> y")
    model = ir.load(path)
    with pytest.raises(InputError, match="a is NaN or infinite on random, seed 0"):
        found(model, ["a"], data(), method=method)


def test_the_model_stays_as_it_is(model):
    before = ir.to_proto(model).SerializeToString()
    found(model, ["a"], data(), method="minmax")
    assert ir.to_proto(model).SerializeToString() == before
