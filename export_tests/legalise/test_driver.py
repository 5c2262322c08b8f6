"""The walk: whole models, names, subgraphs, functions, other domains, missing shapes."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import checker, helper, numpy_helper, parser

from edgeattn.legalise import legalise

F = np.float32


def _model(text):
    return parser.parse_model(text)


@pytest.mark.parametrize("opset", range(13, 26))
def test_plain_nodes_are_only_relabelled(opset, rng, build, prove):
    x = rng.normal(size=(1, 3, 4)).astype(F)
    assert prove(build("Sigmoid", {"x": x}, opset=18), opset, {"x": x}) == ["Sigmoid"]


def test_the_same_opset_gets_its_ir_version(build, legal):
    model = build("Relu", {"x": np.ones(3, F)}, opset=18)
    model.ir_version = 10
    assert legal(model, 18).ir_version == 8


def test_the_report_names_what_became_what(build):
    model = ir.from_proto(build("HardSwish", {"x": np.ones((2, 3), F)}, opset=18))
    report = legalise(model, 13)
    assert (report.source, report.opset, report.ir_version) == (18, 13, 7)
    (rewrite,) = report.rewrites
    assert rewrite.node == "layer1.0.attention/HardSwish_1"
    assert (rewrite.op_type, rewrite.opset) == ("HardSwish", 14)
    assert rewrite.into == ("layer1.0.attention/HardSigmoid", "layer1.0.attention/Mul")


def test_names_stay_unique_and_metadata_follows():
    model = ir.from_proto(
        _model("""
        <ir_version: 8, opset_import: ["" : 18]>
        g (float[2,3] x) => (float[2,3] y) {
            h = Mul(x, x)
            z = HardSwish(h)
            y = HardSwish(z)
        }""")
    )
    for node, name in zip(model.graph, ["a/Mul", "a/HardSwish_0", "a/HardSwish_1"], strict=True):
        node.name = name
        node.metadata_props["source"] = name
    legalise(model, 13)
    names = [n.name for n in model.graph]
    assert names == ["a/Mul", "a/HardSigmoid", "a/Mul_1", "a/HardSigmoid_1", "a/Mul_2"]
    assert [n.metadata_props["source"] for n in model.graph][1::2] == [
        "a/HardSwish_0",
        "a/HardSwish_1",
    ]


@pytest.mark.parametrize(("name", "prefix"), [("/HardSwish_1", "/"), ("HardSwish_1", ""), ("", "")])
def test_the_root_module_stays_the_root(name, prefix, build):
    model = ir.from_proto(build("HardSwish", {"x": np.ones(3, F)}, opset=18, name=name))
    legalise(model, 13)
    assert [n.name for n in model.graph] == [f"{prefix}HardSigmoid", f"{prefix}Mul"]


def test_missing_shapes_are_inferred(rng, build, prove):
    x = rng.normal(size=(2, 3, 4)).astype(F)
    model = build("LayerNormalization", {"x": x}, {"axis": 1}, constants={
        "s": rng.normal(size=(3, 4)).astype(F)}, opset=17)  # fmt: skip
    hidden = helper.make_node("Relu", ["x"], ["h"], name="layer1.0.attention/Relu")
    model.graph.node[0].input[0] = "h"
    model.graph.node.insert(0, hidden)
    del model.graph.value_info[:]
    assert "LayerNormalization" not in prove(model, 13, {"x": x})


def test_subgraphs_are_taken_along(rng, prove):
    model = _model("""
        <ir_version: 8, opset_import: ["" : 18]>
        g (bool c, float[2,3] x) => (float[2,1] y) {
            y = If (c) <
                then_branch = a () => (float[2,1] t) {
                    axes = Constant <value_ints = [1]> ()
                    s = HardSwish(x)
                    t = ReduceMean(s, axes)
                },
                else_branch = b () => (float[2,1] e) {
                    axes_e = Constant <value_ints = [1]> ()
                    m = Mish(x)
                    e = ReduceMax(m, axes_e)
                }>
        }""")
    x = rng.normal(size=(2, 3)).astype(F)
    for branch in (True, False):
        feeds = {"c": np.array(branch), "x": x}
        assert prove(model, 13, feeds, modules=False) == ["If"]


def test_functions_are_inlined(rng, prove):
    model = _model("""
        <ir_version: 8, opset_import: ["" : 18, "local" : 1]>
        g (float[2,3] x) => (float[2,3] y) { y = local.gate(x) }
        <domain: "local", opset_import: ["" : 18]>
        gate (a) => (b) { s = HardSwish(a) b = Mul(a, s) }""")
    x = rng.normal(size=(2, 3)).astype(F)
    assert prove(model, 13, {"x": x}, modules=False) == ["HardSigmoid", "Mul", "Mul"]


def test_other_domains_are_left_alone():
    model = ir.from_proto(
        _model("""
        <ir_version: 8, opset_import: ["" : 18, "com.microsoft" : 1, "unused" : 3]>
        g (float[2,3] x) => (float[2,3] y) {
            h = com.microsoft.QuickGelu <alpha = 1.7> (x)
            y = HardSwish(h)
        }""")
    )
    legalise(model, 13)
    assert dict(model.opset_imports) == {"": 13, "com.microsoft": 1}
    assert [n.op_type for n in model.graph] == ["QuickGelu", "HardSigmoid", "Mul"]


def test_the_long_name_of_the_domain_is_understood(build, legal):
    model = build("HardSwish", {"x": np.ones(3, F)}, opset=18)
    model.opset_import[0].domain = "ai.onnx"
    assert [n.op_type for n in legal(model, 13).graph.node] == ["HardSigmoid", "Mul"]


def test_a_weight_that_a_caller_may_override_is_no_constant(build):
    """An initializer that is a graph input too is only a default."""
    model = build("ReduceMean", {"x": np.ones((2, 3), F)}, constants={"a": np.array([1])}, opset=18)
    model.graph.input.append(helper.make_tensor_value_info("a", 7, [1]))
    with pytest.raises(Exception, match="computed at run time"):
        legalise(ir.from_proto(model), 13)


def test_axes_that_others_read_stay(rng, prove):
    x = rng.normal(size=(2, 3)).astype(F)
    model = _model("""
        <ir_version: 8, opset_import: ["" : 18]>
        g (float[2,3] x) => (float[2,1] y, float[2,1] z) <int64[1] a = {1}> {
            [first] y = ReduceMean(x, a)
            [second] z = ReduceSum(x, a)
        }""")
    prove(model, 13, {"x": x}, modules=False)


def test_weights_are_never_read(rng, build):
    """A model above 2 GB passes."""

    def read():
        raise AssertionError("a weight was read")

    x, w = rng.normal(size=(1, 40)).astype(F), rng.normal(size=(40, 40)).astype(F)
    model = ir.from_proto(build("MatMul", {"x": x}, constants={"w": w}, opset=18))
    weight = model.graph.initializers["w"]
    weight.const_value = ir.LazyTensor(read, dtype=ir.DataType.FLOAT, shape=ir.Shape([40, 40]))
    model.graph[0].outputs[0].shape = None
    legalise(model, 13)
    assert model.graph.outputs[0].shape == [1, 40]


def test_order_of_weights_is_kept_and_writing_is_deterministic(rng):
    weights = {f"w{k}": rng.normal(size=(3, 3) if k % 2 else (300, 3)).astype(F) for k in range(5)}
    nodes = [helper.make_node("HardSwish", ["x"], ["h"])]
    nodes += [
        helper.make_node("MatMul", ["h", k], [f"y{k}"]) for k in weights if len(weights[k]) == 3
    ]
    nodes += [helper.make_node("Relu", [k], [f"y{k}"]) for k in weights if len(weights[k]) != 3]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", 1, [2, 3])],
        [helper.make_tensor_value_info(f"y{k}", 1, None) for k in weights],
        [numpy_helper.from_array(v, k) for k, v in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    written = []
    for _ in range(2):
        legal = ir.from_proto(model)
        legalise(legal, 13)
        assert list(legal.graph.initializers) == list(weights)
        written.append(ir.to_proto(legal).SerializeToString())
    assert written[0] == written[1]
    checker.check_model(onnx.load_from_string(written[0]), full_check=True)
