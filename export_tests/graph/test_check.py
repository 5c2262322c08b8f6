"""What is wrong with an ONNX file is said, with the node that it is wrong with."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeattn.base.errors import InputError
from edgeattn.graph.check import faults, tensor_fault
from edgeattn.graph.reading import read
from export_tests.foreign import net, value


def node(proto, index):
    return proto.graph.node[index]


def an_input_that_nothing_makes(proto):
    node(proto, 3).input[0] = "nowhere"


def an_output_that_nothing_makes(proto):
    proto.graph.output[0].name = "nowhere"


def a_circle(proto):
    node(proto, 0).input[0] = "e"


def a_name_given_twice(proto):
    node(proto, 3).output[0] = "c"


def a_weight_that_a_node_gives(proto):
    node(proto, 3).output[0] = "w1"


def an_attribute_that_does_not_exist(proto):
    node(proto, 3).attribute.append(helper.make_attribute("slope", 0.1))


def an_attribute_of_another_type(proto):
    node(proto, 0).attribute[0].CopyFrom(helper.make_attribute("pads", "1111"))


def an_attribute_that_holds_something_else(proto):
    node(proto, 0).attribute[0].f = 1.0


def an_attribute_that_is_missing(proto):
    node(proto, 5).op_type = "Cast"


def an_attribute_given_twice(proto):
    node(proto, 0).attribute.append(node(proto, 0).attribute[0])


def an_input_too_many(proto):
    node(proto, 3).input.append("x")


def an_input_too_few(proto):
    del node(proto, 6).input[1]


def an_input_left_out(proto):
    node(proto, 6).input[1] = ""


def no_outputs(proto):
    del node(proto, 7).output[:]


def an_unknown_operator(proto):
    node(proto, 3).op_type = "ReluX"


def no_operator(proto):
    node(proto, 3).op_type = ""


def a_constant_of_nothing(proto):
    proto.graph.node.insert(0, helper.make_node("Constant", [], ["k"], name="Constant_9"))


def a_graph_inside_that_reads_nothing(proto):
    inner = helper.make_graph(
        [helper.make_node("Neg", ["nowhere"], ["n"], name="Neg_9")], "g", [], [value("n", None)]
    )
    proto.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    branches = {"then_branch": inner, "else_branch": inner}
    proto.graph.node.append(helper.make_node("If", ["yes"], ["i"], name="If_9", **branches))


def a_name_of_the_graph_around(proto):
    a_graph_inside_that_reads_nothing(proto)
    for one in proto.graph.node[-1].attribute:
        one.g.node[0].input[0], one.g.node[0].output[0], one.g.output[0].name = "c", "a", "a"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (an_input_that_nothing_makes, r"node Relu_3 reads nowhere"),
        (an_output_that_nothing_makes, r"output 'nowhere'"),
        (a_circle, r"node \w+ needs what it gives itself"),
        (a_name_given_twice, r"node Relu_3 gives c"),
        (a_weight_that_a_node_gives, r"node Relu_3 gives w1"),
        (an_attribute_that_does_not_exist, r"node Relu_3: Relu has no attribute slope"),
        (an_attribute_of_another_type, r"node Conv_0: attribute pads is STRING where INTS"),
        (an_attribute_that_holds_something_else, r"attribute pads of node Conv_0 is INTS, and"),
        (an_attribute_that_is_missing, r"node Sigmoid_5: attribute to is missing"),
        (an_attribute_given_twice, r"node Conv_0: attribute pads is given twice"),
        (an_input_too_many, r"node Relu_3: it has 2 inputs where 1 are allowed"),
        (an_input_too_few, r"node Mul_6: it has 1 inputs where 2"),
        (an_input_left_out, r"node Mul_6: its input 1 is missing"),
        (no_outputs, r"node Relu_7: it has 0 outputs"),
        (an_unknown_operator, r"node Relu_3: opset 17 has no operator ReluX"),
        (no_operator, r"node Relu_3: it names no operator"),
        (a_constant_of_nothing, r"node Constant_9: it holds 0 constants"),
        (a_graph_inside_that_reads_nothing, r"node Neg_9 reads nowhere"),
        (a_name_of_the_graph_around, r"node Neg_9 gives a, a name of the graph around"),
    ],
)  # fmt: skip
def test_a_broken_node_is_named(tmp_path, change, said):
    path = net(tmp_path / "m.onnx")
    proto = onnx.load(path)
    change(proto)
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(InputError, match=rf"m\.onnx is no valid model: .*{said}") as caught:
        read(path)
    assert caught.value.mend


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda proto: setattr(proto, "ir_version", 99), "IR version 99"),
        (lambda proto: setattr(proto.opset_import[0], "version", 99), "opset 99"),
        (lambda proto: proto.opset_import.append(proto.opset_import[0]), "two opsets"),
        (lambda proto: proto.graph.input.append(proto.graph.input[0]), "two inputs named 'x'"),
        (lambda proto: proto.graph.input[0].ClearField("type"), "input x has no type"),
        (lambda proto: setattr(proto.graph.input[0].type.tensor_type, "elem_type", 0), "type 0"),
        (lambda proto: setattr(proto.graph.output[0].type.tensor_type, "elem_type", 77), "77"),
        (lambda proto: proto.graph.initializer[0].dims.append(2), "weight w1 holds 864 bytes"),
        (lambda proto: proto.graph.ClearField("output"), "gives no outputs"),
        (lambda proto: proto.ClearField("graph"), "holds no graph"),
    ],
)
def test_a_broken_model_is_told(tmp_path, change, said):
    proto = onnx.load(net(tmp_path / "m.onnx"))
    change(proto)
    assert said in next(faults(proto))


@pytest.mark.parametrize("kind", ["sequence", "optional"])
def test_outputs_that_are_no_tensors_are_refused(tmp_path, kind):
    type_ = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    proto = onnx.load(net(tmp_path / "m.onnx"))
    proto.graph.output[0].type.CopyFrom(getattr(helper, f"make_{kind}_type_proto")(type_))
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(InputError, match=rf"the output y, which is a {kind}; only tensors"):
        read(tmp_path / "m.onnx")


@pytest.mark.parametrize("values", ["input", "output"])
def test_strings_are_refused(tmp_path, values):
    proto = onnx.load(net(tmp_path / "m.onnx"))
    getattr(proto.graph, values)[0].type.tensor_type.elem_type = TensorProto.STRING
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(InputError, match=rf"the {values} \w, which holds strings"):
        read(tmp_path / "m.onnx")


def test_text_that_is_not_utf_8(tmp_path):
    path = net(tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes().replace(b"Relu_3", b"Rel\xff_3"))
    with pytest.raises(InputError, match=r"Rel\\xff_3.* is no text in UTF-8"):
        read(path)


def function(name, calls):
    nodes = [
        helper.make_node(one, [f"v{k}"], [f"v{k + 1}"], domain="mine" if one != "Relu" else "")
        for k, one in enumerate(calls)
    ]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    return helper.make_function("mine", name, ["v0"], [f"v{len(calls)}"], nodes, opsets)


def of_functions(tmp_path, *functions):
    call = [helper.make_node("F0", ["a"], ["y"], domain="mine")]
    return net(tmp_path / "m.onnx", extra=call, functions=functions, domains=["mine"])


def test_functions_that_call_each_other(tmp_path):
    found = of_functions(tmp_path, function("F0", ["F1", "Relu"]), function("F1", ["F0"]))
    with pytest.raises(InputError, match=r"its function F\d calls itself"):
        read(found)


def test_functions_that_grow_without_end(tmp_path):
    steps = [function(f"F{k}", [f"F{k + 1}"] * 2) for k in range(40)]
    with pytest.raises(InputError, match="describes 10995116277"):
        read(of_functions(tmp_path, *steps, function("F40", ["Relu"])))


@pytest.mark.parametrize("dtype", [name for name, number in TensorProto.DataType.items() if number])
def test_tensors_of_every_type_as_onnx_writes_them(dtype):
    kind = TensorProto.DataType.Value(dtype)
    values = [b"a", b"b", b"c"] if dtype == "STRING" else [1, 0, 1]
    assert tensor_fault(helper.make_tensor("t", kind, [3], values)) is None
    assert tensor_fault(helper.make_tensor("t", kind, [0], [])) is None
    if dtype != "STRING":
        raw = numpy_helper.from_array(
            numpy_helper.to_array(helper.make_tensor("t", kind, [3], values))
        )
        assert tensor_fault(raw) is None
        raw.raw_data += b"\0"
        assert "bytes, and its shape 3 asks for" in tensor_fault(raw)
    typed = helper.make_tensor("t", kind, [3], values)
    typed.dims[0] = 30
    assert "asks for" in tensor_fault(typed)
