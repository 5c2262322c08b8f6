"""The optimised graph against the model: every kernel knows the nodes that it stands for."""

from __future__ import annotations

import onnx_ir as ir
import onnxruntime as ort
import pytest

from edgeattn.profiling.measure.onnxruntime.graph import name_all, origins
from export_tests.profiling.nets import residual


def optimised(path, folder):
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 4
    ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    model = ir.load(folder / "optimised.onnx")
    name_all(model)
    return model


@pytest.fixture(params=["none", "se", "simam"])
def found(request, tmp_path):
    path = residual(tmp_path / "a.onnx", request.param)
    model = ir.load(path)
    after = optimised(path, tmp_path)
    return model, after, origins(model, after)


def test_every_node_is_in_exactly_one_kernel(found):
    model, _, known = found
    named = [name for origin in known.values() for name in origin.nodes]
    assert sorted(named) == sorted(node.name for node in model.graph)


def test_kernels_that_kept_their_name_stand_for_their_node(found):
    _, after, known = found
    for node in after.graph:
        if node.domain == "" and "/" in node.name and "_nchwc" not in node.name:
            assert node.name in known[node.name].nodes


def test_a_convolution_takes_the_sum_and_the_activation_along(tmp_path):
    path = residual(tmp_path / "a.onnx", "none")
    known = origins(ir.load(path), optimised(path, tmp_path))
    (last,) = [o for o in known.values() if "layer2.0.conv2/Conv" in o.nodes]
    assert set(last.nodes) == {"layer2.0.conv2/Conv", "layer2.0/Add", "layer2.0.act2/Relu"}
    assert last.weights_bytes == 4 * (32 * 32 * 9 + 32)


def test_a_reorder_names_the_plain_kernels_that_it_serves(tmp_path):
    path = residual(tmp_path / "a.onnx", "simam")
    after = optimised(path, tmp_path)
    known = origins(ir.load(path), after)
    reorders = [node for node in after.graph if node.op_type.startswith("Reorder")]
    assert reorders
    for node in reorders:
        assert known[node.name].nodes == ()
        assert known[node.name].causes
    into = [n for n in reorders if n.op_type == "ReorderInput"]
    # What wrote before it comes first: the activation behind the gate.
    assert all(known[node.name].causes[0].endswith("act2/Relu") for node in into)
    assert all(any("attention" in one for one in known[n.name].causes) for n in into)


def test_what_a_function_was_inlined_to_is_the_functions_node(tmp_path):
    """ONNX Runtime inlines GroupNormalization, into nodes without names."""
    model = ir.from_onnx_text(
        '<ir_version: 10, opset_import: ["" : 21]>\n'
        "g (float[1,8,6,6] x) => (float[1,8,6,6] y)\n"
        "<float[8] s = {1,2,3,4,5,6,7,8}, float[8] b = {1,2,3,4,5,6,7,8}>\n"
        "{ n = GroupNormalization<num_groups=4>(x, s, b)\n y = Relu(n) }"
    )
    for node in model.graph:
        node.name = f"m/{node.op_type}"
    path = tmp_path / "a.onnx"
    ir.save(model, path)
    after = optimised(path, tmp_path)
    known = origins(model, after)
    assert len(known) > 4
    assert all(known[node.name].nodes for node in after.graph)
    assert known["m/Relu"].nodes == ("m/Relu",)
