"""Jobs on files that ONNX Runtime does not take either fail over the file, others over us."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeattn.base.errors import InputError, MissingError
from edgeattn.options.profile import Item
from edgeattn.runtimes.blame import blames_the_file
from edgeattn.runtimes.onnxruntime import Session, random_inputs
from export_tests.foreign import net, value


def stumble(error):
    @blames_the_file
    def job(given):
        raise error

    return job


def product(path, *, rank):
    weight = numpy_helper.from_array(np.ones((1,) * rank, np.float32), "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    graph = helper.make_graph(nodes, "g", [value("x", [2, 4])], [value("y", None)], [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def out_of_range(path):
    nodes = [
        helper.make_node("Add", ["i", "i"], ["j"]),
        helper.make_node("Gather", ["x", "j"], ["y"]),
    ]
    inputs = [value("x", [1, 4]), value("i", [8], TensorProto.INT64)]  # 0 and 1, and 2 is no place
    graph = helper.make_graph(nodes, "g", inputs, [value("y", None)])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


@pytest.mark.parametrize("as_item", [False, True])
def test_what_onnx_runtime_does_not_load(tmp_path, as_item):
    path = product(tmp_path / "m.onnx", rank=0)
    given = [Item(path=path, name="m")] if as_item else path
    with pytest.raises(InputError, match=r"cannot load .*m\.onnx"):
        stumble(IndexError("tuple index out of range"))(given)


def test_what_it_does_not_run(tmp_path):
    with pytest.raises(InputError, match="cannot run"):
        stumble(ValueError("no"))(out_of_range(tmp_path / "m.onnx"))


@pytest.mark.parametrize("error", [IndexError("ours"), InputError("theirs"), OSError("disk")])
def test_what_it_takes_is_our_fault(tmp_path, error):
    with pytest.raises(type(error), match=str(error)):
        stumble(error)(net(tmp_path / "m.onnx"))


def test_memory_that_is_not_there():
    with pytest.raises(MissingError, match=r"a\.onnx asks for more memory .*268 GiB") as caught:
        stumble(MemoryError("Unable to allocate 268 GiB"))(Path("a.onnx"))
    assert caught.value.mend


def test_an_absurd_input_is_not_drawn(tmp_path):
    session = Session(net(tmp_path / "m.onnx", shape=("n", 3, "h", "w")))
    with pytest.raises(InputError, match=r"Input x of shape .* takes 96\.0 GiB"):
        random_inputs(session, batch=1, seed=0, shapes=[[1, 3, 2**16, 2**16]])


def test_a_loop_that_does_not_end(tmp_path, monkeypatch):
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Neg", ["v"], ["w"])],
        "body",
        [value("trip", [], TensorProto.INT64), value("go", [], TensorProto.BOOL), value("v", [1])],
        [value("on", [], TensorProto.BOOL), value("w", [1])],
    )
    count = numpy_helper.from_array(np.array(2**62), "count")
    loop = helper.make_node("Loop", ["count", "", "x"], ["y"], body=body)
    graph = helper.make_graph([loop], "g", [value("x", [1])], [value("y", [1])], [count])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "m")
    monkeypatch.setattr("edgeattn.runtimes.onnxruntime._LOOPS_S", 0.2)
    with pytest.raises(InputError, match="its loops do not end within"):
        Session(tmp_path / "m").run([np.ones(1)])
