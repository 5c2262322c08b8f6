"""OpenVINO, measured: for real, on small networks, in processes of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgeattn.base.errors import InputError, MissingError
from edgeattn.options.profile import Item, ProfileOptions
from edgeattn.profiling.attribution import attribute
from edgeattn.profiling.measure.openvino.run import profile_kernels
from edgeattn.profiling.measure.times import time_models
from edgeattn.profiling.owners import find_owners
from edgeattn.profiling.sources.model import read_subject
from edgeattn.runtimes import openvino
from edgeattn.workflows.profile import profile
from export_tests.profiling.nets import residual

OPTIONS = ProfileOptions(threads=1, limit_s=0.3, runtime="openvino")


def kernels_of(path: Path):
    subject = read_subject(path)
    found = profile_kernels(path, subject.model, subject.macs, OPTIONS)
    return found, find_owners(found.kernels, {one.name: one for one in subject.nodes})


@pytest.fixture(scope="module")
def attended(tmp_path_factory):
    """A network with SimAM, profiled once."""
    path = residual(tmp_path_factory.mktemp("nets") / "simam.onnx")
    (found,) = profile([Item(path=path, name=path.stem)], OPTIONS)
    return found.row.trace


def test_the_trace(attended):
    assert (attended.evidence, attended.runtime) == ("measured", "openvino")
    assert attended.runtime_version == openvino.version()
    assert attended.machine.threads == 1
    assert any(note.startswith("OpenVINO computed on CPU in float32") for note in attended.notes)
    assert attended.identity.replaced == ("layer1.0.attention", "layer2.0.attention")
    assert attended.identity.difference.rounds >= 15


def test_its_kernels(attended):
    nodes = {one.name for one in attended.nodes}
    assert all(one.precision == "fp32" for one in attended.kernels)
    assert {name for one in attended.kernels for name in one.nodes} <= nodes
    assert sum(one.macs for one in attended.kernels) == sum(one.macs for one in attended.nodes)
    fused = [one for one in attended.kernels if one.op == "Subgraph"]
    assert any(len(one.nodes) > 2 for one in fused)
    assert all(one.kind == "pointwise" for one in fused)
    (fc,) = [one for one in attended.kernels if one.op == "FullyConnected"]
    # What it reads, what it writes, and its weights; a bias that is a part of it is not told.
    assert fc.traffic_bytes in (4 * (32 + 10 + 10 * 32), 4 * (32 + 10 + 10 * 32 + 10))


def test_the_attribution_owns_it_all(attended):
    found = attribute(attended)
    assert found.coverage_us["owned"] >= 0.98 * found.time_us
    assert found.attention.macs == 0
    assert found.attention.time_us > 0


def network(path: Path, nodes: list[onnx.NodeProto], **weights: np.ndarray) -> Path:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", 1, ["batch", 32, 28, 28])],
        [helper.make_tensor_value_info("y", 1, None)],
        [numpy_helper.from_array(one.astype(np.float32), name) for name, one in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def test_names_that_openvino_gives_itself_are_no_nodes(tmp_path):
    # Legacy exports call nodes as OpenVINO calls its own, and names may hold its comma.
    weight = np.random.default_rng(0).normal(0, 0.1, (32, 32, 3, 3))
    path = network(
        tmp_path / "net.onnx",
        [
            helper.make_node("Conv", ["x", "w"], ["a"], name="Multiply_1,Add_2", pads=[1] * 4),
            helper.make_node("HardSwish", ["a"], ["b"], name="Constant_3"),
            helper.make_node("ReduceMean", ["b"], ["c"], name="", axes=[1], keepdims=1),
            helper.make_node("Mul", ["b", "c"], ["y"], name="Add_2"),
        ],
        w=weight,
    )
    found, owned = kernels_of(path)
    assert {one.status for one in owned} == {"owned"}
    (conv,) = [one for one in found.kernels if one.op == "Convolution"]
    assert set(conv.nodes) == {"Multiply_1,Add_2", "Constant_3"}
    assert conv.macs == 32 * 32 * 9 * 28 * 28
    (gate,) = [one for one in found.kernels if "Add_2" in one.nodes]
    assert gate.op == "Subgraph"
    assert gate.outputs


def test_a_layout_copy_is_charged_to_the_planar_layout(tmp_path):
    # A permutation of channels that a reshape writes is planar, between convolutions that are not.
    draw = np.random.default_rng(0)
    shape = {"s": np.array([-1, 2, 16, 28, 28])}
    path = network(
        tmp_path / "net.onnx",
        [
            helper.make_node("Conv", ["x", "v"], ["a"], name="first/Conv", pads=[1] * 4),
            helper.make_node("Cast", ["s"], ["t"], name="shuffle/Cast", to=7),
            helper.make_node("Reshape", ["a", "t"], ["b"], name="shuffle/Reshape"),
            helper.make_node("Softmax", ["b"], ["c"], name="shuffle/Softmax", axis=2),
            helper.make_node("Shape", ["a"], ["d"], name="shuffle/Shape"),
            helper.make_node("Reshape", ["c", "d"], ["e"], name="shuffle/Reshape_1"),
            helper.make_node("Conv", ["e", "w"], ["y"], name="last/Conv", pads=[1] * 4),
        ],
        v=draw.normal(0, 0.1, (32, 32, 3, 3)),
        w=draw.normal(0, 0.1, (32, 32, 3, 3)),
        **shape,
    )
    _, owned = kernels_of(path)
    assert all(one.status == "owned" for one in owned)
    # Of the input and the output, too, there are copies.
    copies = [one for one in owned[1:-1] if one.kernel.op == "Reorder"]
    assert [one.owner for one in copies] == ["shuffle"] * 2
    assert all(not one.kernel.nodes and one.kernel.kind == "shuffle" for one in copies)


@pytest.mark.slow
def test_both_runtimes_are_timed_in_the_same_rounds(tmp_path):
    path = residual(tmp_path / "net.onnx", "none")
    found = time_models([path, path], OPTIONS, runtimes=["onnxruntime", "openvino"])
    assert found.difference(1, 0).rounds == len(found.latency(1).samples)
    assert found.latency(0).p50 != found.latency(1).p50


def test_a_device_that_is_not_there(tmp_path):
    path = residual(tmp_path / "net.onnx", "none")
    options = ProfileOptions(runtime="openvino", openvino_device="GPU")
    with pytest.raises(MissingError, match="no device GPU here; it has CPU") as caught:
        profile([Item(path=path, name="net")], options)
    assert caught.value.mend


def test_the_device_of_another_runtime(tmp_path):
    path = residual(tmp_path / "net.onnx", "none")
    with pytest.raises(InputError, match="not --runtime openvino"):
        profile([Item(path=path, name="net")], ProfileOptions(openvino_device="GPU"))


@pytest.mark.parametrize("asked", [{"device": "rtx-3090"}, {"predict": True}])
def test_it_is_predicted_for_no_device(asked, tmp_path):
    path = residual(tmp_path / "net.onnx", "none")
    options = ProfileOptions(runtime="openvino", **asked)
    with pytest.raises(InputError, match="predicted for none"):
        profile([Item(path=path, name="net")], options)


def test_an_engine_is_not_for_it(tmp_path):
    with pytest.raises(InputError, match="OpenVINO does not run"):
        profile([Item(path=tmp_path / "net.engine", name="net")], OPTIONS)


def test_it_is_not_installed(tmp_path, monkeypatch):
    path = residual(tmp_path / "net.onnx", "none")
    monkeypatch.setattr(openvino, "version_of", lambda _: None)
    with pytest.raises(MissingError, match="not installed") as caught:
        profile([Item(path=path, name="net")], OPTIONS)
    assert caught.value.mend == "Install it: pip install edgeattn[openvino]"
