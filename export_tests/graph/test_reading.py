"""Reading a stranger's ONNX file: whole, or refused with what is wrong."""

from __future__ import annotations

import time

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper

from edgeattn.base.errors import InputError
from edgeattn.graph.reading import name_nodes, opset_of, read
from export_tests.foreign import net, value, weights


def test_a_file(tmp_path):
    found = read(net(tmp_path / "m.onnx", opset=12))
    assert (found.opset, found.data) == (12, ())
    assert [node.name for node in found.model.graph][:2] == ["Conv_0", "ReduceMean_1"]


def test_weights_beside_the_file(tmp_path):
    path = net(tmp_path / "m.onnx", external="m.weights")
    found = read(path)
    assert found.data == (tmp_path / "m.weights",)
    kept = found.model.graph.initializers["w1"].const_value.numpy()
    np.testing.assert_array_equal(kept, weights()["w1"])


def test_weights_that_are_missing_or_cut_are_told(tmp_path):
    path = net(tmp_path / "m.onnx", external="m.weights")
    whole = (tmp_path / "m.weights").read_bytes()
    (tmp_path / "m.weights").write_bytes(whole[:-1])
    with pytest.raises(InputError, match=r"m\.weights holds") as caught:
        read(path)
    assert str(len(whole)) in caught.value.fact
    (tmp_path / "m.weights").unlink()
    with pytest.raises(InputError, match=r"m\.weights, which is not there") as caught:
        read(path)
    assert caught.value.mend


@pytest.mark.parametrize("content", [b"", b"this is no model", b"\x08\x08"])
def test_what_is_no_model_is_refused(tmp_path, content):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"m\.onnx is no ONNX model"):
        read(path)


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="There is no file"):
        read(tmp_path / "m.onnx")
    with pytest.raises(InputError, match="is a folder") as caught:
        read(tmp_path)
    assert caught.value.mend


def test_functions_are_inlined(tmp_path):
    body = helper.make_function(
        "mine", "Twice", ["p"], ["q"], [helper.make_node("Add", ["p", "p"], ["q"])],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    extra = [
        helper.make_node("Twice", ["a"], ["t"], domain="mine"),
        helper.make_node("Relu", ["t"], ["y"]),
    ]
    path = net(tmp_path / "m.onnx", extra=extra, functions=[body], domains=("mine",))
    model = read(path).model
    assert not model.functions
    assert [node.op_type for node in model.graph][-2:] == ["Add", "Relu"]


@pytest.mark.parametrize("opset", [17, 13])
def test_functions_out_of_order_and_of_another_opset(tmp_path, opset):
    nodes = [helper.make_node("Neg", ["u"], ["q"]), helper.make_node("Abs", ["p"], ["u"])]
    opsets = [helper.make_opsetid("", opset)]
    body = helper.make_function("mine", "Twice", ["p"], ["q"], nodes, opsets)
    extra = [helper.make_node("Twice", ["a"], ["y"], domain="mine")]
    path = net(tmp_path / "m.onnx", extra=extra, functions=[body], domains=("mine",))
    if opset == 17:
        assert [node.op_type for node in read(path).model.graph][-2:] == ["Abs", "Neg"]
    else:
        with pytest.raises(InputError, match="has functions that cannot be inlined") as caught:
            read(path)
        assert caught.value.mend


def test_every_node_gets_a_name_of_its_own(tmp_path):
    names = ["", "Relu_0", "Relu_0", "", "a/b", "a/b", "Relu"]
    nodes = [
        helper.make_node("Relu", [f"v{k}"], [f"v{k + 1}"], name=name)
        for k, name in enumerate(names)
    ]
    graph = helper.make_graph(nodes, "g", [value("v0", [1])], [value(f"v{len(names)}", [1])])
    onnx.save(helper.make_model(graph), tmp_path / "m.onnx")
    found = [node.name for node in read(tmp_path / "m.onnx").model.graph]
    assert len(set(found)) == len(found)
    assert all(found)
    assert (found[1], found[4], found[6]) == ("Relu_0", "a/b", "Relu")


def test_naming_takes_linear_time():
    nodes = [ir.node("Relu", [None]) for _ in range(20_000)]
    model = ir.Model(ir.Graph([], [], nodes=nodes, opset_imports={"": 17}), ir_version=8)
    began = time.perf_counter()
    name_nodes(model)
    assert time.perf_counter() - began < 2
    assert len({node.name for node in model.graph}) == 20_000


def test_the_standard_domain_has_two_spellings():
    for imports, opset in (({"": 17}, 17), ({"ai.onnx": 13}, 13), ({"com.microsoft": 1}, 0)):
        model = ir.Model(ir.Graph([], [], nodes=[], opset_imports=imports), ir_version=8)
        assert opset_of(model) == opset
