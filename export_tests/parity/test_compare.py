"""Parity finds a fault, and names the first module that has it."""

from __future__ import annotations

import functools

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

from edgeattn.base.errors import InputError
from edgeattn.graph.writing import save
from edgeattn.models import capture
from edgeattn.parity import check_file, compare_files
from edgeattn.parity.bisect import IN_FORWARD
from edgeattn.parity.randomise import randomise


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3)
        self.blocks = nn.Sequential(
            *(nn.Sequential(nn.Conv2d(6, 6, 3), nn.BatchNorm2d(6), nn.ReLU()) for _ in range(3))
        )
        self.fc = nn.Linear(6, 5)

    def forward(self, x):
        return self.fc(self.blocks(self.stem(x)).mean((2, 3))) * 2.0


INPUTS = (torch.linspace(-2, 2, 2 * 3 * 12 * 12).sin().reshape(2, 3, 12, 12),)


@pytest.fixture(scope="module")
def module():
    torch.manual_seed(0)
    net = Net().eval()
    randomise(net, INPUTS, seed=4)
    return net


@functools.cache
def captured(module, dynamic_batch):
    program = capture.trace(module, INPUTS, dynamic_batch=dynamic_batch)
    model = capture.fold(capture.translate(program))
    capture.name_everything(model, input_names=(), output_names=())
    return model


def written(module, path, *, dynamic_batch=False, spoil=None):
    model = captured(module, dynamic_batch).clone()
    if spoil:
        spoil(model)
    save(model, path)
    return path


def scale_initializer(name, factor):
    def spoil(model):
        value = model.graph.initializers[name]
        value.const_value = ir.tensor((value.const_value.numpy() * factor).astype(np.float32))

    return spoil


def test_equal_models_pass(module, tmp_path):
    report = check_file(written(module, tmp_path / "m.onnx"), module, INPUTS)
    assert report.passed
    assert report.first_difference is None
    assert [(case.optimisations, case.batch) for case in report.cases] == [("off", 2), ("on", 2)]
    (output,) = report.outputs
    assert output.name == "output"
    assert output.sqnr_db > 100


def test_an_open_batch_is_checked_at_many_sizes(module, tmp_path):
    report = check_file(written(module, tmp_path / "m.onnx", dynamic_batch=True), module, INPUTS)
    assert report.passed
    assert {case.batch for case in report.cases} == {1, 2, 3, 8}


@pytest.mark.parametrize(
    ("spoiled", "first"),
    [
        ("stem.weight", "stem"),
        ("blocks.1.0.bias", "blocks.1.0"),
        ("blocks.2.1.running_mean", "blocks.2.1"),
        ("fc.weight", "fc"),
    ],
)
def test_the_first_module_that_differs_is_named(module, tmp_path, spoiled, first):
    good = written(module, tmp_path / "good.onnx")
    bad = written(module, tmp_path / "bad.onnx", spoil=scale_initializer(spoiled, 1.01))
    report = check_file(bad, module, INPUTS)
    assert not report.passed
    assert report.first_difference == first
    between = compare_files(bad, good)
    assert not between.passed
    assert between.first_difference == first
    assert compare_files(good, good).passed


def test_a_fault_after_the_last_module_is_named(module, tmp_path):
    def spoil(model):
        mul = next(node for node in model.graph if node.op_type == "Mul")
        mul.inputs[1].const_value = ir.tensor(np.float32(2.1))

    report = check_file(written(module, tmp_path / "m.onnx", spoil=spoil), module, INPUTS)
    assert report.first_difference == IN_FORWARD


def test_a_shape_that_does_not_fit_is_refused(module, tmp_path):
    path = written(module, tmp_path / "m.onnx")
    with pytest.raises(InputError, match=r"takes input of shape \[2, 3, 12, 12\]"):
        check_file(path, module, (torch.randn(2, 3, 16, 16),))


@pytest.mark.parametrize("content", [b"", b"no model", None], ids=["empty", "text", "cut"])
def test_a_broken_file_is_refused(module, tmp_path, content):
    path = written(module, tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes()[:2000] if content is None else content)
    with pytest.raises(InputError, match=r"cannot load|is no ONNX model"):
        check_file(path, module, INPUTS)


def test_real_data(module, tmp_path):
    path = written(module, tmp_path / "m.onnx")
    data = np.random.default_rng(0).uniform(0, 1, (2, 3, 12, 12))
    assert compare_files(path, path, inputs=[data]).passed
    with pytest.raises(InputError, match="cannot run"):
        compare_files(path, path, inputs=[data[:, :2]])
