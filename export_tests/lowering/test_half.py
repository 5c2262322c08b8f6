"""Graphs in half precision: what is lowered is no less accurate than what was read."""

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch
from onnxruntime.transformers.float16 import convert_float_to_float16
from torch import nn

from edgeattn.attention.simam import SimAM
from edgeattn.lowering.pipeline import lower
from export_tests.lowering.graphs import TARGETS
from export_tests.lowering.kit import evaluate64, export, ops, tiny_net
from export_tests.lowering.spellings.table import SPELLINGS

# The layers around the attention round as well, and one draw is no law.
SLACK = 1.1


def _halved(model):
    return convert_float_to_float16(ir.to_proto(model), keep_io_types=True)


def _lowered(proto, target):
    model = ir.from_proto(proto)
    assert lower(model, target=target, must_pay=False).rewrites
    return model


def _run(proto, x):
    options = ort.SessionOptions()
    # Unfused and uncast, each value between two operators is stored as the graph says.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(proto.SerializeToString(), options)
    return session.run(None, {"x": x.astype(np.float32)})[0].astype(np.float64)


def cases():
    names = ("se-linear-view", "eca-views", "simam-var", "sa-group-norm", "cbam-loop",
             "ulsam-expanded")  # fmt: skip
    for index, name in enumerate(names):
        for place, target in enumerate(TARGETS):
            is_slow = index % len(TARGETS) != place or index < 2
            yield pytest.param(name, target, marks=[pytest.mark.slow] * is_slow)


@pytest.mark.parametrize(("name", "target"), cases())
def test_no_less_accurate(name, target):
    model = export(tiny_net(SPELLINGS[name], 24), (1, 3, 33, 27), exporter="torchscript")
    stock = _halved(model)
    lowered = ir.to_proto(_lowered(stock, target))
    errors = []
    for seed in range(6):
        x = np.random.default_rng(seed).normal(0, 4, (1, 3, 33, 27))
        (want,) = evaluate64(model, [x])
        errors.append([np.abs(_run(p, x) - want).max() for p in (stock, lowered)])
    before, after = np.mean(errors, axis=0)
    assert after <= before * SLACK


class Alone(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.attention = nn.Conv2d(8, 8, 1), SimAM(8)
        self.last = nn.Conv2d(8, 8, 1)
        nn.init.dirac_(self.first.weight)
        nn.init.zeros_(self.first.bias)

    def forward(self, x):
        return self.last(self.attention(self.first(x)))


@pytest.mark.parametrize("target", TARGETS)
def test_squares_of_a_large_map_are_summed_in_single_precision(target):
    """112 x 112 values of deviation 4 have squares that sum to 200,000: more than half holds."""
    torch.manual_seed(0)
    model = export(Alone().eval(), (1, 8, 112, 112))
    x = np.random.default_rng(0).normal(0, 4, (1, 8, 112, 112))
    (want,) = evaluate64(model, [x])
    stock = _halved(model)
    lowered = _lowered(stock, target)
    if target == "tensorrt":
        assert ops(lowered)["Cast"] > 2  # the two of the interface, and those around the squares
        means = [node.inputs[0] for node in lowered.graph if node.op_type == "ReduceMean"]
        squares = [one for one in means if (made := one.producer()) and made.op_type == "Mul"]
        assert [one.dtype for one in squares] == [ir.DataType.FLOAT]
    # ONNX Runtime may keep the sum between two operators in float32, so nothing is asked of stock.
    error = np.abs(_run(ir.to_proto(lowered), x) - want).max()
    assert error < 0.003 * np.abs(want).max()
