"""Networks trained on digits, of benchmarks/digits.py: what they answer, lowered and cast."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from edgeattn.base.importing import import_file
from edgeattn.models.build import build
from edgeattn.options.cast import CastOptions
from edgeattn.parity.emulate import as_stored
from edgeattn.precision.cast import cast_file
from edgeattn.runtimes.onnxruntime import Session
from export_tests.lowering.graphs import lowered
from export_tests.lowering.kit import as_double, evaluate64, export

pytest.importorskip("sklearn", reason="the digits are scikit-learn's")
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def digits():
    sys.path.insert(0, str(BENCHMARKS))
    yield import_file(BENCHMARKS / "digits.py")
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def images(digits):
    return digits.split()


def exported(digits, attention):
    asked = digits.request(attention, digits.WEIGHTS / f"{attention}.safetensors", batch=2)
    how = {"exporter": "torchscript", "opset": 17, "dynamic_batch": True, "simplify": False}
    return export(build(asked).module, (2, 3, digits.SIZE, digits.SIZE), **how)


def answers(path, x):
    """Gives the class that a file tells of each image, half values rounded as a device does."""
    with as_stored(path) as stored:
        (logits,) = Session(stored).run([x])
    return logits.argmax(1)


@pytest.mark.parametrize("attention", ["se", "eca", "simam", "cbam", "sa", "ulsam"])
def test_lowering_changes_no_answer(digits, images, attention, tmp_path):
    *_, x, classes = images
    model, path = exported(digits, attention), tmp_path / "net.onnx"
    ir.save(model, path)
    told = answers(path, x)
    assert (told == classes).mean() > 0.94
    for target in ("tensorrt", "onnxruntime"):
        after, record = lowered(model, target)
        assert record.rewrites
        ir.save(after, path)
        np.testing.assert_array_equal(answers(path, x), told)
    double = as_double(model)
    (want,), (got,) = (evaluate64(one, [x[:2]]) for one in (double, lowered(double, "portable")[0]))
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-12 * np.abs(want).max())


def test_casts_keep_accuracy(digits, images, tmp_path):
    learnt, _, x, classes = images
    path, cast, data = (tmp_path / name for name in ("net.onnx", "cast.onnx", "train.npy"))
    ir.save(exported(digits, "cbam"), path)
    np.save(data, learnt[:64])
    right = [int((answers(path, x) == classes).sum())]
    for precision in ("fp16", "int8"):
        cast_file(path, cast, CastOptions(precision=precision, calibration=str(data)))
        right.append(int((answers(cast, x) == classes).sum()))
    assert right[0] - right[1] <= 0.002 * len(x)
    assert right[0] - right[2] <= 0.01 * len(x)


@pytest.mark.slow
def test_all_casts_keep_accuracy(digits, tmp_path):
    assert digits.table(tmp_path).is_met
