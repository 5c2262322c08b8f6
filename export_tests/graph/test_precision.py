"""Which precisions a graph is written in."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper

from edgeattn.graph.precision import precision_of, precisions_of
from edgeattn.graph.reading import read
from export_tests.engine.nets import FLOAT, HALF, small


@pytest.mark.parametrize("is_quantised", [False, True])
@pytest.mark.parametrize("dtype", [FLOAT, HALF])
def test_every_precision_of_a_graph_is_told(tmp_path, dtype, is_quantised):
    path = small(tmp_path / "m.onnx", dtype=dtype)
    if is_quantised:
        model = onnx.load(path)
        pair = [
            helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], name="q"),
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["dq"], name="dq"),
        ]
        model.graph.node[0].input[0] = "dq"
        for node in reversed(pair):
            model.graph.node.insert(0, node)
        constants = {"scale": np.float32(0.1), "zero": np.int8(0)}
        model.graph.initializer.extend(
            numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()
        )
        onnx.save(model, path)
    model: ir.Model = read(path).model
    wanted = {"fp16"} if dtype == HALF else set()
    wanted |= {"int8"} if is_quantised else set()
    assert precisions_of(model) == wanted
    assert precision_of(model) == ("int8" if is_quantised else "fp16" if dtype == HALF else "fp32")
