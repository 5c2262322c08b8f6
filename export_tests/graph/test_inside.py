"""Weights inside a file are read where they are, and written as the library would write them."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeattn.base.errors import InputError
from edgeattn.graph import inside
from edgeattn.graph.reading import facts_of, read

LONG, SHORT = 1 << 15, 4
TYPES = (np.float32, np.float64, np.float16, np.int64, np.uint8, np.bool_)


def values(kind, count, seed):
    return np.random.default_rng(seed).normal(size=(2, count // 2)).astype(kind)


def floats(name, count):
    data = values(np.float32, count, 7)
    return helper.make_tensor(name, TensorProto.FLOAT, data.shape, data.reshape(-1))


def model(weights):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"], name="r")], "g", [x], [y])
    graph.initializer.extend(weights)
    graph.doc_string = "said after the weights"
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    helper.set_model_props(made, {"also": "after"})
    return made


@pytest.fixture
def path(tmp_path):
    weights = [
        numpy_helper.from_array(values(kind, count, place), f"{kind.__name__}.{count}")
        for place, kind in enumerate(TYPES)
        for count in (SHORT, 3 * LONG)
    ]
    weights += [floats("floats", LONG), floats("few", SHORT)]
    weights[1].doc_string = "described"
    weights.append(helper.make_tensor("text", TensorProto.STRING, [1], [b"a" * 2 * LONG]))
    onnx.save(model(weights), tmp_path / "in.onnx")
    return tmp_path / "in.onnx"


def test_what_is_written_is_what_the_library_writes(path, tmp_path):
    theirs, lazily, whole = (tmp_path / f"{name}.onnx" for name in ("theirs", "lazily", "whole"))
    ir.save(ir.load(path), theirs)
    inside.write(inside.load(path), lazily)
    inside.write(ir.load(path), whole)
    assert lazily.read_bytes() == whole.read_bytes() == theirs.read_bytes()


def test_long_weights_are_read_when_they_are_asked_for(path):
    found = inside.load(path).graph.initializers
    for name, value in ir.load(path).graph.initializers.items():
        is_long = value.const_value.nbytes >= 2 * LONG and name != "text"
        assert isinstance(found[name].const_value, ir.ExternalTensor) == is_long
        np.testing.assert_array_equal(found[name].const_value.numpy(), value.const_value.numpy())


def test_weights_beside_a_model_are_put_inside(path, tmp_path):
    moved = ir.load(path)
    del moved.graph.initializers["text"]  # it has no bytes to lie elsewhere
    ir.save(moved, tmp_path / "beside.onnx", external_data="beside.data")
    inside.write(ir.load(tmp_path / "beside.onnx"), tmp_path / "out.onnx")
    (tmp_path / "beside.data").unlink()
    for name, value in ir.load(tmp_path / "out.onnx").graph.initializers.items():
        want = ir.load(path).graph.initializers[name].const_value
        np.testing.assert_array_equal(value.const_value.numpy(), want.numpy())


def test_a_model_is_left_as_it_was(path, tmp_path):
    read_whole = ir.load(path)
    before = {name: value.const_value for name, value in read_whole.graph.initializers.items()}
    inside.write(read_whole, tmp_path / "out.onnx")
    after = read_whole.graph.initializers
    assert all(after[name].const_value is tensor for name, tensor in before.items())


def fault(what, path):
    try:
        what(path)
    except InputError as error:
        return error.fact
    return None


def test_facts_find_the_faults_that_reading_finds(path):
    sound = path.read_bytes()
    for seed in range(60):
        random = np.random.default_rng(seed)
        spoilt = bytearray(sound)
        place = int(random.integers(0, 400) if seed % 2 else random.integers(0, len(sound)))
        spoilt[place] ^= 1 << int(random.integers(8))
        path.write_bytes(spoilt[: len(sound) - (seed % 3) * 1000])
        assert fault(facts_of, path) == fault(read, path), seed


def test_a_weight_of_another_size_is_told_as_ever(path):
    spoilt = onnx.load(path)
    spoilt.graph.initializer[1].dims[0] = 3
    onnx.save(spoilt, path)
    assert fault(facts_of, path) == fault(read, path)
    assert "float32.98304" in fault(read, path)


def test_a_file_cannot_say_that_its_weights_are_here(path):
    held = floats("claims", SHORT)
    held.ClearField("float_data")
    held.data_location = TensorProto.EXTERNAL
    held.external_data.add(key="location", value="here")
    onnx.save(model([held]), path)
    assert "which is not there" in fault(facts_of, path)
