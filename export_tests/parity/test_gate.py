"""The gate between a file and the one that it was made from."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgeattn.base.errors import CheckError, InputError
from edgeattn.parity.check import must_agree, tolerance_of_rewrites
from export_tests.foreign import net, value


def spoiled(path, target, name, factor):
    """A copy in which one weight is another."""
    model = onnx.load(path)
    (weight,) = [one for one in model.graph.initializer if one.name == name]
    array = numpy_helper.to_array(weight) * np.array(factor, weight_type(weight))
    weight.CopyFrom(numpy_helper.from_array(array, name))
    onnx.save(model, target)
    return target


def weight_type(weight):
    return numpy_helper.to_array(weight).dtype


def test_equal_files_pass(tmp_path):
    path = net(tmp_path / "a.onnx")
    report, notes = must_agree(net(tmp_path / "b.onnx"), path)
    assert report.passed
    assert [(case.optimisations, case.batch) for case in report.cases] == [("off", 1), ("on", 1)]
    assert (report.precision, notes) == ("fp32", [])


def test_an_open_batch_is_run_at_many_sizes(tmp_path):
    path = net(tmp_path / "a.onnx", shape=("n", 3, 12, 12))
    report, _ = must_agree(path, path)
    assert {case.batch for case in report.cases} == {1, 2, 3, 8}


@pytest.mark.parametrize(
    ("name", "first"), [("w1", "c"), ("w2", "s"), ("b3", "e")]
)  # the tensor that each weight makes
def test_a_difference_fails_and_names_the_first_tensor(tmp_path, name, first):
    path = net(tmp_path / "a.onnx")
    with pytest.raises(CheckError, match=f"the first module that differs is {first}") as caught:
        must_agree(spoiled(path, tmp_path / "b.onnx", name, 1.01), path)
    assert caught.value.exit_code == 1
    assert "Nothing was written" in caught.value.mend


def test_half_precision_has_its_tolerance(tmp_path):
    path = net(tmp_path / "a.onnx", dtype=np.float16)
    off = spoiled(path, tmp_path / "b.onnx", "b3", 1.001)
    assert must_agree(off, path)[0].precision == "fp16"
    path = net(tmp_path / "a.onnx")
    with pytest.raises(CheckError):
        must_agree(spoiled(path, tmp_path / "b.onnx", "b3", 1.01), path)


def test_rewrites_of_an_int8_file_are_exact(tmp_path):
    def quantised(name, factor):
        """A file that quantises its input, and scales what it gives."""
        numbers = {
            "s": np.float32(0.1), "z": np.int8(0), "f": np.float32(factor),
        }  # fmt: skip
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], name="q"),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], name="d"),
            helper.make_node("Mul", ["d", "f"], ["y"], name="m"),
        ]
        tensors = [numpy_helper.from_array(np.array(v), n) for n, v in numbers.items()]
        graph = helper.make_graph(nodes, "g", [value("x", [1, 9])], [value("y", [1, 9])], tensors)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, tmp_path / name)
        return tmp_path / name

    reference = quantised("a.onnx", 1)
    assert tolerance_of_rewrites(reference).precision == "fp32"
    assert must_agree(reference, reference)[0].passed
    with pytest.raises(CheckError):
        must_agree(quantised("b.onnx", 1.01), reference)


def test_open_sizes_need_a_shape(tmp_path):
    path = net(tmp_path / "a.onnx", shape=("n", 3, "h", "w"))
    with pytest.raises(InputError, match="open dimensions") as caught:
        must_agree(path, path)
    assert "--shape" in caught.value.mend
    report, _ = must_agree(path, path, shapes=[(1, 3, 9, 10)])
    assert {case.batch for case in report.cases} == {1, 2, 3, 8}
    for shapes, said in (
        ([(1, 4, 9, 9)], "Input x takes"),
        ([(1, 3, 9)], "Input x takes"),
        ([(1, 3, 9, 9)] * 2, "takes 1 inputs, and 2 shapes"),
    ):
        with pytest.raises(InputError, match=said):
            must_agree(path, path, shapes=shapes)


def test_a_shape_closes_what_is_open_and_nothing_else(tmp_path):
    path = net(tmp_path / "a.onnx", shape=(2, 3, "h", "w"))
    report, _ = must_agree(path, path, shapes=[(2, 3, 9, 10)])
    assert {case.batch for case in report.cases} == {2}
    with pytest.raises(InputError, match="Input x takes"):
        must_agree(path, path, shapes=[(1, 3, 9, 10)])


def test_a_batch_that_the_file_itself_cannot_run_is_said(tmp_path):
    # The batch is declared open, and a reshape fixes it.
    extra = [
        helper.make_node("Constant", [], ["fixed"], value_ints=[1, 8, 12, 12], name="k"),
        helper.make_node("Reshape", ["a", "fixed"], ["y"], name="r"),
    ]
    path = net(tmp_path / "a.onnx", shape=("n", 3, 12, 12), extra=extra)
    report, notes = must_agree(path, path)
    assert {case.batch for case in report.cases} == {1}
    assert len(notes) == 3
    assert "at a batch of 2" in notes[0]


def test_what_onnxruntime_cannot_run_is_refused(tmp_path):
    extra = [helper.make_node("Foo", ["a"], ["y"], domain="my", name="foo")]
    path = net(tmp_path / "a.onnx", extra=extra, domains=("my",))
    with pytest.raises(InputError, match="cannot load") as caught:
        must_agree(path, path)
    assert "cannot be proven equal" in caught.value.mend


def test_a_result_that_does_not_run_is_a_failed_check(tmp_path):
    path = net(tmp_path / "a.onnx")
    (tmp_path / "b.onnx").write_bytes(b"broken")
    with pytest.raises(CheckError, match="does not run"):
        must_agree(tmp_path / "b.onnx", path)


def test_outputs_without_numbers_prove_nothing(tmp_path):
    extra = [
        helper.make_node("Sub", ["a", "a"], ["z"], name="s"),
        helper.make_node("Div", ["z", "z"], ["y"], name="d"),
    ]
    path = net(tmp_path / "a.onnx", extra=extra)
    with pytest.raises(InputError, match=r"Output y .* only NaN or infinity"):
        must_agree(path, path)


def test_inputs_of_whole_numbers(tmp_path):
    kind = onnx.TensorProto.INT64
    node = helper.make_node("Add", ["x", "x"], ["y"], name="m/Add")
    graph = helper.make_graph([node], "g", [value("x", ["n", 3], kind)], [value("y", None, kind)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "a.onnx")
    assert must_agree(tmp_path / "a.onnx", tmp_path / "a.onnx")[0].passed
