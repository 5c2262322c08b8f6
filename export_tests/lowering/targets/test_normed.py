"""Normalised maps in one kernel and gates as quotients: equal, and where they do not fire."""

import functools

import numpy as np
import onnx_ir as ir
import pytest
from torch import nn

from edgeattn.lowering.pipeline import lower
from export_tests.lowering.kit import as_double, assert_equal64, export, ops, tiny_net
from export_tests.lowering.spellings.table import SPELLINGS

SHAPE = (1, 3, 28, 20)
NORMED = {"simam-var": 1, "sa-by-hand": 1, "ulsam-expanded": 0}


@functools.cache
def net(name):
    return export(tiny_net(SPELLINGS[name], 32), SHAPE, exporter="torchscript")


def lowered(model, **forms):
    class Taken(dict):
        def get(self, _, default=None):
            return forms or default

    made = model.clone()
    lower(made, target="openvino", forms=Taken() if forms else None, must_pay=False)
    return made


@pytest.mark.parametrize("name", NORMED)
def test_default_is_exact_and_leaves_one_norm(name):
    model = net(name)
    double = as_double(model)
    assert_equal64(double, lowered(double), batches=(3,))
    assert ops(lowered(model))["InstanceNormalization"] == NORMED[name]
    assert ops(lowered(model))["Gather"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", NORMED)
@pytest.mark.parametrize(
    "forms", [{"moments": "parts"}, {"map-gate": "product"}, {"repeat": "gather"}]
)
def test_every_form_is_exact(name, forms):
    double = as_double(net(name))
    assert_equal64(double, lowered(double, **forms), batches=(3,))


@pytest.mark.parametrize("name", ["simam-var", "sa-by-hand"])
def test_quotients_agree_in_float32_where_exp_overflows(name):
    import onnxruntime as ort

    model = net(name)
    made = lowered(model)
    assert ops(made)["Exp"] == 1
    assert ops(made)["Sigmoid"] == ops(model)["Sigmoid"] - (2 if name == "sa-by-hand" else 1)
    x = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32) * 1e4
    results = []
    for one in (model, made):
        data = ir.to_proto(one).SerializeToString()
        session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
        results.append(session.run(None, {session.get_inputs()[0].name: x})[0])
    assert np.isfinite(results[1]).all()
    np.testing.assert_allclose(
        results[1], results[0], rtol=1e-4, atol=1e-5 * np.abs(results[0]).max()
    )


class Silu(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        y = self.conv(x)
        z = x + y
        return x * y.sigmoid() + z * z.sigmoid()


def test_what_convolutions_take_in_stays_a_sigmoid():
    made = lowered(export(tiny_net(Silu, 32), SHAPE))
    assert ops(made)["Exp"] == 0
    assert ops(made)["Sigmoid"] == 2
