"""Files in other forms than ours are read in ours; and what other programs are given of them."""

from __future__ import annotations

import os
import random

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeattn.base.errors import InputError
from edgeattn.graph.reading import as_read, facts_of, read
from edgeattn.runtimes.onnxruntime import Session
from export_tests.foreign import net, value, weights


def changed(path, change, **how):
    """Writes the stranger's net with its message changed."""
    proto = onnx.load(net(path, **how))
    change(proto)
    path.write_bytes(proto.SerializeToString())
    return path


def shuffle(proto):
    nodes = list(proto.graph.node)
    random.Random(0).shuffle(nodes)
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)


def list_weights(proto):
    for one in proto.graph.initializer:
        proto.graph.input.append(helper.make_tensor_value_info(one.name, one.data_type, one.dims))


def list_weights_of_ir_3(proto):
    list_weights(proto)
    proto.ir_version = 3


def sizes(*numbers):
    def change(proto):
        for one in (*proto.graph.input, *proto.graph.output):
            for place, number in enumerate(numbers):
                dim = one.type.tensor_type.shape.dim[place]
                dim.ClearField("value")
                if isinstance(number, str):
                    dim.dim_param = number
                elif number is not None:
                    dim.dim_value = number

    return change


def order(model):
    return [node.op_type for node in model.graph]


@pytest.mark.parametrize("change", [shuffle, list_weights, list_weights_of_ir_3])
def test_another_order_and_listed_weights(tmp_path, change):
    wanted = read(net(tmp_path / "as.onnx")).model
    path = changed(tmp_path / "m.onnx", change)
    found = read(path)
    assert sorted(order(found.model)) == sorted(order(wanted))
    assert [one.name for one in found.model.graph.inputs] == ["x"]
    assert set(found.model.graph.initializers) == set(weights())
    assert not found.is_plain
    with as_read(path) as copy:
        onnx.checker.check_model(copy, full_check=True)
        assert [one.name for one in onnxruntime.InferenceSession(copy).get_inputs()] == ["x"]
    x = np.random.default_rng(0).normal(size=(1, 3, 12, 12))
    np.testing.assert_array_equal(Session(path).run([x]), Session(tmp_path / "as.onnx").run([x]))


def test_an_order_inside_a_body(tmp_path):
    body = helper.make_graph(
        [helper.make_node("Neg", ["u"], ["v"]), helper.make_node("Abs", ["c"], ["u"])],
        "body", [], [value("v", None)],
    )  # fmt: skip
    other = helper.make_graph([helper.make_node("Abs", ["c"], ["w"])], "o", [], [value("w", None)])
    chosen = helper.make_node("If", ["yes"], ["i"], then_branch=body, else_branch=other, name="I")
    extra = [helper.make_node("Add", ["a", "i"], ["y"])]

    def change(proto):
        proto.graph.node.insert(0, chosen)
        proto.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))

    model = read(changed(tmp_path / "m.onnx", change, extra=extra)).model
    (branch,) = [n.attributes["then_branch"].as_graph() for n in model.graph if n.op_type == "If"]
    assert [node.op_type for node in branch] == ["Abs", "Neg"]
    assert order(model).index("If") > order(model).index("Conv")


@pytest.mark.parametrize("number", [-1, 0, None, "?", ""])
def test_open_sizes(tmp_path, number):
    path = changed(tmp_path / "m.onnx", sizes(number, 3, number, number))
    (x,) = read(path).model.graph.inputs
    assert [getattr(size, "value", size) for size in x.shape] == ["batch", 3, "x.2", "x.3"]
    assert Session(path).has_open_batch
    assert Session(path).run([np.ones((2, 3, 16, 20))])[0].shape == (2, 8, 16, 20)


def test_a_batch_that_has_a_name_keeps_it(tmp_path):
    def second(proto):
        proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
        proto.graph.input.append(value("other", [None, 5]))

    model = read(changed(tmp_path / "m.onnx", second)).model
    assert [one.shape[0].value for one in model.graph.inputs] == ["N", "N"]


def no_shape(proto):
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    proto.graph.output[0].type.tensor_type.ClearField("shape")


def scaled(proto):
    no_shape(proto)
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    proto.graph.initializer.append(numpy_helper.from_array(np.array(255, np.float32), "most"))
    proto.graph.node.insert(0, helper.make_node("Div", ["f", "most"], ["u"]))
    proto.graph.node.insert(0, helper.make_node("Cast", ["x"], ["f"], to=1))
    proto.graph.node[2].input[0] = "u"


def turned(proto):
    no_shape(proto)
    proto.graph.node.insert(0, helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]))
    proto.graph.node[1].input[0] = "t"


@pytest.mark.parametrize("change", [no_shape, scaled, turned])
def test_an_unknown_rank_is_that_of_what_reads_it(tmp_path, change):
    path = changed(tmp_path / "m.onnx", change)
    (x,) = read(path).model.graph.inputs
    assert [getattr(size, "value", size) for size in x.shape] == (
        ["batch", "x.1", "x.2", "x.3"] if change is turned else ["batch", 3, "x.2", "x.3"]
    )
    assert Session(path).has_open_batch


def test_what_is_read_as_it_is_gets_no_copy(tmp_path):
    path = net(tmp_path / "m.onnx", named=False, external="m.weights")
    with as_read(path) as file:
        assert file == path


def test_a_file_that_changes_is_read_again(tmp_path):
    path = net(tmp_path / "m.onnx")
    assert facts_of(path).precision == "fp32"
    net(path, dtype=np.float16)
    assert facts_of(path).precision == "fp16"
    changed(path, shuffle)
    assert not facts_of(path).is_plain


def test_sparse_weights(tmp_path):
    dense = np.zeros((8, 3, 3, 3), np.float32)
    dense[1, 2, 0, 1], dense[7, 0, 2, 2] = 2, -3

    def sparse(places):
        def change(proto):
            (index,) = [k for k, one in enumerate(proto.graph.initializer) if one.name == "w1"]
            del proto.graph.initializer[index]
            held = helper.make_tensor("w1", TensorProto.FLOAT, [2], dense[dense != 0])
            at = numpy_helper.from_array(places, "at")
            proto.graph.sparse_initializer.append(helper.make_sparse_tensor(held, at, dense.shape))

        return change

    for places in (np.flatnonzero(dense), np.argwhere(dense)):
        model = read(changed(tmp_path / "m.onnx", sparse(places))).model
        np.testing.assert_array_equal(model.graph.initializers["w1"].const_value.numpy(), dense)
    with pytest.raises(InputError, match="out of bounds"):
        read(changed(tmp_path / "m.onnx", sparse(np.array([0, 10**9]))))


def cached(folder):
    """Lays a model and its weights out as a model hub's cache does."""
    blobs, snapshot = folder / "models--a--b" / "blobs", folder / "models--a--b/snapshots/f00/onnx"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    net(blobs / "m.onnx", external="m.onnx_data")
    for name, blob in (("m.onnx", "5eed"), ("m.onnx_data", "da7a")):
        (blobs / name).rename(blobs / blob)
        (snapshot / name).symlink_to(f"../../../blobs/{blob}")
    return snapshot / "m.onnx"


def beside_the_target(folder):
    """Links to a model alone, whose weights lie beside what is linked to."""
    (folder / "real").mkdir()
    net(folder / "real" / "m.onnx", external="m.data")
    (folder / "m.onnx").symlink_to("real/m.onnx")
    return folder / "m.onnx"


def by_a_detour(folder):
    (folder / "real").mkdir()
    path = net(folder / "real" / "m.onnx", external="m.data")
    proto = onnx.load(path, load_external_data=False)
    for one in proto.graph.initializer:
        for entry in one.external_data:
            entry.value = "../real/m.data" if entry.key == "location" else entry.value
    path.write_bytes(proto.SerializeToString())
    return path


def with_a_second_name(folder):
    path = net(folder / "m.onnx", external="m.data")
    os.link(folder / "m.data", folder / "other")
    return path


@pytest.mark.parametrize("lay", [cached, beside_the_target, by_a_detour, with_a_second_name])
def test_weights_behind_links(tmp_path, lay, monkeypatch):
    path = lay(tmp_path)
    for one in (path, path.relative_to(tmp_path)):
        monkeypatch.chdir(tmp_path)
        found = read(one)
        kept = found.model.graph.initializers["w1"].const_value.numpy()
        np.testing.assert_array_equal(kept, weights()["w1"])
        assert len(found.data) == 1
        assert found.data[0].is_file()
        assert Session(one).run([np.ones((1, 3, 12, 12))])[0].shape == (1, 8, 12, 12)


@pytest.mark.parametrize("kind", ["link", "dots", "absolute"])
def test_weights_of_others_are_refused(tmp_path, kind):
    (tmp_path / "mine").mkdir()
    path = net(tmp_path / "mine" / "m.onnx", external="m.data")
    (tmp_path / "mine" / "m.data").rename(tmp_path / "secret")
    if kind == "link":
        (tmp_path / "mine" / "m.data").symlink_to("../secret")
    else:
        proto = onnx.load(path, load_external_data=False)
        location = "../secret" if kind == "dots" else str(tmp_path / "secret")
        for entry in (e for one in proto.graph.initializer for e in one.external_data):
            entry.value = location if entry.key == "location" else entry.value
        path.write_bytes(proto.SerializeToString())
    with pytest.raises(InputError, match=r"m\.onnx keeps weights in .*secret") as caught:
        read(path)
    assert caught.value.mend
