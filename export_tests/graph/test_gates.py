"""Attention that nobody tagged: gates and self-attention are found by what they compute."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from edgeattn.graph import gates, shapes
from edgeattn.graph.names import is_inside, modules_around
from export_tests.profiling.nets import CHANNELS, SIZE, residual


def read(path):
    model = ir.load(path)
    shapes.find(model)
    return model


def untagged(model):
    for place, node in enumerate(model.graph):
        node.name = f"{node.op_type}_{place}"
    return model


@pytest.mark.parametrize("attention", ["se", "simam"])
def test_gates_are_found_by_their_modules(tmp_path, attention):
    found = gates.find(read(residual(tmp_path / "a.onnx", attention, blocks=3)))
    assert [one.path for one in found] == [f"layer{i}.0.attention" for i in (1, 2, 3)]
    assert {one.attention for one in found} == {"gate"}
    assert {one.shape for one in found} == {(CHANNELS, SIZE, SIZE)}
    assert all(name.startswith(one.path) for one in found for name in one.nodes)


@pytest.mark.parametrize(("attention", "nodes"), [("se", 6), ("simam", 10)])
def test_gates_without_tags_are_their_nodes(tmp_path, attention, nodes):
    found = gates.find(untagged(read(residual(tmp_path / "a.onnx", attention))))
    assert [len(one.nodes) for one in found] == [nodes, nodes]
    assert len({name for one in found for name in one.nodes}) == 2 * nodes
    assert all(one.path.startswith("Mul_") for one in found)


def test_a_residual_network_has_none(tmp_path):
    assert gates.find(read(residual(tmp_path / "a.onnx", "none"))) == ()
    assert gates.find(untagged(read(residual(tmp_path / "a.onnx", "none")))) == ()


def text(body, **more):
    model = ir.from_onnx_text(
        '<ir_version: 8, opset_import: ["" : 17]>\n'
        f"g (float[1,8,6,6] x) => (float[1,8,6,6] y) {{ {body} }}"
    )
    for node in model.graph:
        node.name = more.get(node.outputs[0].name, f"m/{node.outputs[0].name}")
    shapes.find(model)
    return model


@pytest.mark.parametrize(
    "body",
    [
        "s = Sigmoid(x)\n y = Mul(x, s)",
        "s = HardSigmoid(x)\n y = Mul(s, x)",
        "r = Relu(x)\n y = Add(x, r)",
        "m = ReduceMean<axes=[2,3]>(x)\n w = Sub(x, m)\n y = Add(x, w)",
    ],
)
def test_activations_and_residuals_are_none(body):
    assert gates.find(text(body)) == ()


@pytest.mark.parametrize(
    "body",
    [
        "m = ReduceMean<axes=[2,3]>(x)\n s = Sigmoid(m)\n y = Mul(x, s)",
        "m = ReduceMax<axes=[1]>(x)\n s = Sigmoid(m)\n y = Mul(s, x)",
        "m = ReduceMean<axes=[2,3]>(x)\n y = Add(x, m)",
        "r = Relu(x)\n m = GlobalAveragePool(r)\n s = Sigmoid(m)\n y = Mul(r, s)",
    ],
)
def test_gates_of_all_spellings(body):
    (found,) = gates.find(text(body))
    assert "m/y" in found.nodes
    assert "m/r" not in found.nodes or found.path == "m"


def test_a_gate_made_of_something_else_is_none():
    body = "r = Relu(x)\n m = ReduceMean<axes=[2,3]>(x)\n s = Sigmoid(m)\n y = Mul(r, s)"
    assert gates.find(text(body)) == ()


def test_self_attention_is_its_module():
    body = """
        q = Reshape(x, s3)
        t = Transpose<perm=[0,2,1]>(q)
        k = MatMul(t, q)
        p = Softmax(k)
        v = MatMul(q, p)
        y = Reshape(v, s4)
    """
    model = ir.from_onnx_text(
        '<ir_version: 8, opset_import: ["" : 17]>\n'
        "g (float[1,8,6,6] x) => (float[1,8,6,6] y)\n"
        "<int64[3] s3 = {1,8,36}, int64[4] s4 = {1,8,6,6}>\n"
        f"{{ {body} }}"
    )
    for node in model.graph:
        inner = ".softmax" if node.op_type == "Softmax" else ""
        node.name = f"blocks.1.attn{inner}/{node.outputs[0].name}"
    shapes.find(model)
    (found,) = gates.find(model)
    assert (found.path, found.attention) == ("blocks.1.attn", "self-attention")
    assert len(found.nodes) == 6


@pytest.mark.parametrize(
    ("modules", "common"),
    [
        (["a.b.c", "a.b.d"], "a.b"),
        (["a.b", "a.b.c"], "a.b"),
        (["ab.c", "a.c"], ""),
        (["a"], "a"),
        ([], ""),
    ],
)
def test_common_module(modules, common):
    assert gates.common_module(modules) == common


def test_what_lies_around_a_module():
    modules = ["", "a", "a.b", "a/b.c", "ab", "a.b.c", "b"]
    for module in modules:
        assert set(modules_around(module)) >= {o for o in modules if is_inside(module, o)}
        assert all(is_inside(module, outer) for outer in modules_around(module))
