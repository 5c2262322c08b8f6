"""Affine grids of a constant size, as matrix products."""

import numpy as np
import onnx_ir as ir
import pytest
import torch
from onnx import TensorProto, checker, helper, numpy_helper
from torch import nn
from torch.nn import functional

from edgeattn.lowering.pipeline import lower
from export_tests.lowering.kit import as_double, assert_equal64, export, ops


class Sampler(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(12, 6)

    def forward(self, x):
        theta = self.fc(x.mean((2, 3))).view(-1, 2, 3)
        return functional.affine_grid(theta, [x.shape[0], 12, 7, 5], align_corners=False)


def test_torch_s_product_and_sum_for_onnx_runtime():
    torch.manual_seed(1)
    model = export(Sampler().eval(), (1, 12, 7, 5))
    before = as_double(model)
    lowered = before.clone()
    record = lower(lowered, target="onnxruntime")
    assert "affine-grid" in {rewrite.rule for rewrite in record.rewrites}
    assert ops(lowered)["MatMul"] == 1
    assert_equal64(before, lowered)


def test_torch_s_product_and_sum_stay_for_tensorrt():
    model = export(Sampler().eval(), (1, 12, 7, 5))
    record = lower(model, target="tensorrt")
    assert "affine-grid" not in {rewrite.rule for rewrite in record.rewrites}


def _operator(size, corners):
    inputs = [helper.make_tensor_value_info("theta", TensorProto.FLOAT, [2, 2, 3])]
    outputs = [helper.make_tensor_value_info("grid", TensorProto.FLOAT, None)]
    node = helper.make_node("AffineGrid", ["theta", "size"], ["grid"], align_corners=corners)
    sizes = numpy_helper.from_array(np.array(size, dtype=np.int64), "size")
    graph = helper.make_graph([node], "g", inputs, outputs, [sizes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    return ir.from_proto(model)


@pytest.mark.parametrize("corners", [0, 1])
@pytest.mark.parametrize("target", ["tensorrt", "onnxruntime"])
def test_the_operator(corners, target):
    from onnx.reference import ReferenceEvaluator

    model = _operator((2, 3, 5, 7), corners)
    theta = np.random.default_rng(0).standard_normal((2, 2, 3)).astype(np.float32)
    want = ReferenceEvaluator(ir.to_proto(model)).run(None, {"theta": theta})[0]
    lower(model, target=target)
    proto = ir.to_proto(model)
    checker.check_model(proto, full_check=True)
    assert "AffineGrid" not in ops(model)
    got = ReferenceEvaluator(proto).run(None, {"theta": theta})[0]
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)


def test_three_dimensions_are_left():
    model = _operator((2, 3, 4, 5, 7), 0)
    record = lower(model)
    assert ops(model)["AffineGrid"] == 1
    assert [miss.reason for miss in record.near_misses] == ["it has three dimensions"]
