"""Models of one node, and the proof that a legalised model computes what the first one did."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import checker, defs, helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

from edgeattn.legalise import legalise

MODULE = "layer1.0.attention"
IR_VERSIONS = {
    13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11, 24: 12, 25: 13,
}  # fmt: skip


def _need(opset):
    if opset > defs.onnx_opset_version():
        pytest.skip(f"this onnx ends at opset {defs.onnx_opset_version()}")


def build(
    op, inputs, attributes=None, *, opset, constants=None, outputs=1, open_batch=False, name=None
):
    """Gives a model of one node.

    Inputs are arrays by name, in order, then constants; one whose name starts with _ is absent.
    """
    _need(opset)
    constants = constants or {}
    node_name = f"{MODULE}/{op}_1" if name is None else name
    names = [f"y{k}" for k in range(outputs)]
    order = [k if not k.startswith("_") else "" for k in (*inputs, *constants)]
    node = helper.make_node(op, order, names, name=node_name, **(attributes or {}))
    infos = []
    for key, array in inputs.items():
        if key.startswith("_"):
            continue
        shape = list(array.shape)
        if open_batch:
            shape[0] = "batch"
        infos.append(
            helper.make_tensor_value_info(key, helper.np_dtype_to_tensor_dtype(array.dtype), shape)
        )
    weights = [numpy_helper.from_array(v, k) for k, v in constants.items() if not k.startswith("_")]
    blanks = [onnx.ValueInfoProto(name=n) for n in names]
    graph = helper.make_graph([node], "g", infos, blanks, weights)
    imports = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=imports)
    model.ir_version = helper.find_min_ir_version_for(imports)
    model = shape_inference.infer_shapes(model, strict_mode=True)
    for info in model.graph.output:
        if not info.type.WhichOneof("value"):  # GroupNormalization has no inference of its own
            info.type.CopyFrom(model.graph.input[0].type)
    return model


def run(model, feeds, *, optimise=True):
    """Runs a model in ONNX Runtime."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options)
    return session.run(None, feeds)


def legal(model, opset):
    """Legalises a copy and asserts what must hold of every legal model."""
    _need(opset)
    result = ir.from_proto(model)
    report = legalise(result, opset)
    proto = ir.to_proto(result)
    checker.check_model(proto, full_check=True)
    assert {i.domain: i.version for i in proto.opset_import} == {"": opset}
    assert proto.ir_version == report.ir_version == IR_VERSIONS[opset]
    names = [n.name for n in result.graph]
    assert len(set(names)) == len(names)
    assert [v.name for v in result.graph.outputs] == [v.name for v in model.graph.output]
    assert all(v.uses() or v.is_graph_output() for v in result.graph.initializers.values())
    return proto


def prove(model, opset, feeds, *, want=None, by="ort", rtol=1e-5, atol=1e-6, modules=True):
    """Asserts that a legalised model computes what the model did; gives its operators in order.

    `by` says who computes what is wanted: ONNX Runtime, or ONNX's own reference.
    """
    if want is None:
        want = run(model, feeds) if by == "ort" else ReferenceEvaluator(model).run(None, feeds)
    proto = legal(model, opset)
    for optimise in (True, False):
        got = run(proto, feeds, optimise=optimise)
        for a, b in zip(got, want, strict=True):
            assert a.dtype == b.dtype
            assert a.shape == b.shape
            if a.dtype.kind in "fc":
                np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)
            else:
                np.testing.assert_array_equal(a, b)
    if modules:
        assert all(n.name.rpartition("/")[0] == MODULE for n in proto.graph.node)
    return [n.op_type for n in proto.graph.node]


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture(name="build")
def build_fixture():
    return build


@pytest.fixture(name="prove")
def prove_fixture():
    return prove


@pytest.fixture(name="legal")
def legal_fixture():
    return legal
