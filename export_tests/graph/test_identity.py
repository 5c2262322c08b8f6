"""A site replaced by identity: what is left computes what a model without it computes."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

from edgeattn.graph import identity, shapes
from edgeattn.graph.names import is_inside, module_of
from export_tests.profiling.nets import SIZE, residual


def parts(model, *paths):
    names = [node.name for node in model.graph]
    return {path: {n for n in names if is_inside(module_of(n), path)} for path in paths}


def read(path):
    model = ir.load(path)
    shapes.find(model)
    return model


def run(model):
    x = np.random.default_rng(0).standard_normal((1, 3, SIZE, SIZE)).astype(np.float32)
    session = ort.InferenceSession(
        ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"input": x})[0]


@pytest.mark.parametrize("attention", ["se", "simam"])
def test_without_its_sites_it_is_the_plain_model(tmp_path, attention):
    model = read(residual(tmp_path / "a.onnx", attention))
    sites = ("layer1.0.attention", "layer2.0.attention")
    assert identity.replace(model, parts(model, *sites)) == {}
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert not [node for node in model.graph if "attention" in node.name]
    plain = read(residual(tmp_path / "b.onnx", "none"))
    assert [n.op_type for n in model.graph] == [n.op_type for n in plain.graph]
    assert np.isfinite(run(model)).all()


def test_one_site_alone(tmp_path):
    model = read(residual(tmp_path / "a.onnx"))
    before = run(model)
    identity.replace(model, parts(model, "layer2.0.attention"))
    left = {module_of(node.name) for node in model.graph}
    assert "layer1.0.attention" in left
    assert "layer2.0.attention" not in left
    assert not np.allclose(run(model), before)


def test_what_changes_the_shape_is_refused_and_stays(tmp_path):
    model = read(residual(tmp_path / "a.onnx"))
    count = len(model.graph)
    refused = identity.replace(model, parts(model, "pool", "stem", "no.such"))
    assert refused["pool"] == "it gives a value of another shape than any that it reads"
    assert "another shape" in refused["stem"]
    assert "none of its nodes" in refused["no.such"]
    assert len(model.graph) == count


def test_the_models_output_is_refused(tmp_path):
    model = read(residual(tmp_path / "a.onnx"))
    last = {"end": {"fc/Gemm", "pool/Flatten", "pool/GlobalAveragePool"}}
    assert identity.replace(model, last)["end"]


def test_a_statistic_that_was_moved_before_a_layer_does_not_take_the_gates_place(tmp_path):
    """The mean of what conv2 reads gates what conv2 gives: both have one shape here."""
    model = read(residual(tmp_path / "a.onnx", "se"))
    nodes = {node.name: node for node in model.graph}
    pool = nodes["layer1.0.attention/GlobalAveragePool"]
    pool.replace_input_with(0, nodes["layer1.0.conv2/Conv"].inputs[0])
    identity.replace(model, parts(model, "layer1.0.attention"))
    (add,) = [node for node in model.graph if node.name == "layer1.0/Add"]
    assert add.inputs[0].producer().name == "layer1.0.conv2/Conv"
