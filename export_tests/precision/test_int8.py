"""An int8 model is near the float32 one, and of the form that TensorRT takes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from edgeattn.base.errors import InputError
from edgeattn.engine.plan import plan
from edgeattn.graph import writing as artifacts
from edgeattn.graph.names import module_of
from edgeattn.parity.metrics import measure, tolerance_of
from edgeattn.precision.calibration import read_samples
from edgeattn.precision.int8 import quantise
from edgeattn.records.manifest import Tensor
from edgeattn.runtimes.onnxruntime import Session
from export_tests import foreign
from export_tests.precision import nets

pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx has wheels for x86-64 only")

#: Convolutions of every kind, a gate, a shortcut, a classifier.
LINES = """
    stem/Conv: Conv(x w1:16,4,3,3 b1:16; pads=[1] * 4) -> stem
    act/Relu: Relu(stem) -> a
    block.dw/Conv: Conv(a w2:16,1,3,3; pads=[1] * 4, group=16) -> b
    block.act/Clip: Clip(b low six) -> k
    block.pw/Conv: Conv(k w3:16,16,1,1 b3:16) -> m
    block.se/ReduceMean: ReduceMean(m hw) -> s
    block.se.fc/Conv: Conv(s w4:16,16,1,1) -> e
    block.se.gate/Sigmoid: Sigmoid(e) -> g
    block.se/Mul: Mul(m g) -> n
    block/Add: Add(n a) -> o
    wide/Conv: Conv(o w5:32,8,1,1; group=2) -> p
    up/ConvTranspose: ConvTranspose(p w6:32,16,2,2; strides=[2, 2]) -> u
    pool/ReduceMean: ReduceMean(u hw; keepdims=0) -> v
    fc1/Gemm: Gemm(v w7:24,16 b7:24; transB=1) -> z
    fc1/Relu: Relu(z) -> r
    fc2/MatMul: MatMul(r w8:24,12) -> y
"""
CLIP = {"low": np.zeros((), np.float32), "six": np.array(6, np.float32)}
LAYERS = [
    "stem/Conv", "block.dw/Conv", "block.pw/Conv", "wide/Conv", "up/ConvTranspose", "fc1/Gemm",
    "fc2/MatMul",
]  # fmt: skip


def samples(batch=1, size=8, limit=8, seed=0):
    inputs = [Tensor(name="x", shape=(batch, 4, size, size), dtype="float32")]
    return read_samples("random", inputs, limit=limit, seed=seed)


@pytest.fixture
def source(tmp_path):
    return nets.write(tmp_path / "net.onnx", LINES, weights=CLIP)


def run(path, batches):
    session = Session(path)
    return np.concatenate([session.run([feed["x"]])[0] for feed in batches])


def nodes(path):
    return {node.name: node for node in onnx.load(path).graph.node}


def pairs_in_front(path):
    """Gives, for each input that a pair serves: node, index, value, scale, zero point, axis."""
    graph = onnx.load(path).graph
    makers = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    found = {}
    for node in graph.node:
        for index, name in enumerate(node.input):
            last = makers.get(name)
            if last is None or last.op_type != "DequantizeLinear":
                continue
            first = makers[last.input[0]]
            assert first.op_type == "QuantizeLinear"
            assert first.input[1:] == last.input[1:]
            assert first.attribute == last.attribute
            axes = [attribute.i for attribute in first.attribute]
            scale, zero = (constants[name] for name in first.input[1:])
            found[node.name, index] = (first.input[0], scale, zero, *axes)
    return found


def test_a_net_of_every_kind(tmp_path, source):
    target = tmp_path / "int8.onnx"
    seen = []
    result = quantise(
        source, target, samples(), on_progress=lambda *step: seen.append(step), method="minmax"
    )
    assert result.quantised == (*LAYERS, "block/Add")
    assert result.left == (("block.se.fc/Conv", "it computes a gate or a statistic"),)
    assert result.method == "minmax, random, seed 0: 8 samples"
    assert seen == [(done, 8) for done in range(1, 9)]
    onnx.checker.check_model(target, full_check=True)
    figures = measure(
        "y", run(source, samples(seed=1)), run(target, samples(seed=1)), tolerance_of("fp16")
    )
    assert figures.sqnr_db > 28
    assert figures.argmax_agreement >= 7 / 8


def test_the_form_that_tensorrt_takes(tmp_path, source):
    target = tmp_path / "int8.onnx"
    quantise(source, target, samples(), method="minmax")
    found = pairs_in_front(target)
    assert set(found) == {(name, index) for name in LAYERS for index in (0, 1)} | {("block/Add", 1)}
    weights = {
        tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(target).graph.initializer
    }
    for (name, index), (value, scale, zero, *axis) in found.items():
        assert scale.dtype == np.float32
        assert (scale > 0).all()
        assert zero.dtype == np.int8
        assert zero.shape == scale.shape
        assert not zero.any()
        if index == 1 and name != "block/Add":
            weight = weights[value]
            assert weight.dtype == np.float32
            others = tuple(i for i in range(weight.ndim) if i != axis[0])
            np.testing.assert_allclose(scale, np.abs(weight).max(axis=others) / 127, rtol=1e-6)
        else:
            assert scale.shape == ()
            assert not axis
    # Each reader has a pair of its own; the pairs of one value share a scale.
    made = [node for node in onnx.load(target).graph.node if node.op_type == "QuantizeLinear"]
    assert len(made) == len({node.output[0] for node in made}) == len(found)
    assert found["block.dw/Conv", 0] == found["block/Add", 1]
    # The statistic and the gate read the map as it is.
    for name in ("block.se/ReduceMean", "block.se/Mul"):
        assert "m" in nodes(target)[name].input


def test_pairs_belong_to_the_module_that_they_serve(tmp_path, source):
    target = tmp_path / "int8.onnx"
    quantise(source, target, samples(), method="minmax")
    before, after = nodes(source), nodes(target)
    assert set(before) <= set(after)
    readers = {name: node.name for node in after.values() for name in node.input}
    for name in set(after) - set(before):
        reader = readers[after[name].output[0]]
        assert module_of(name) == module_of(reader), name


@pytest.mark.parametrize("capability", [(7, 5), (8, 0), (8, 6), (8, 9), (12, 0)], ids=str)
def test_tensorrt_rtx_builds_int8_convolutions(tmp_path, capability):
    # Without the classifier: TensorRT-RTX has no float32 products of matrices for 7.5.
    lines = LINES.partition("    pool/")[0]
    source = nets.write(tmp_path / "net.onnx", lines, weights=CLIP, outputs=("u",))
    target = tmp_path / "int8.onnx"
    quantise(source, target, samples())
    kernels = plan(target, compute_capability=capability)
    layers = {"stem/Conv", "block.dw/Conv", "block.pw/Conv", "wide/Conv"}
    made = {
        name
        for kernel in kernels
        if any(tensor.dtype == "int8" for tensor in kernel.inputs)
        for name in kernel.nodes
    }
    # TensorRT-RTX takes pairs everywhere, but has no int8 convolutions for 7.5, and no transposed
    # ones at all: it computes them in float32.
    assert layers <= made if capability >= (8, 0) else not made


def test_tensorrt_rtx_takes_a_classifier(tmp_path, source):
    quantise(source, tmp_path / "int8.onnx", samples())
    made = [kernel for kernel in plan(tmp_path / "int8.onnx") if kernel.kind == "gemm"]
    assert made
    assert all(kernel.inputs[0].dtype == "int8" for kernel in made)


def test_the_numbers_are_those_of_onnx_runtime(tmp_path):
    """Where both quantise the same, quantize_static is the independent witness."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    lines = """
        one: Conv(x w1:8,4,3,3 b1:8) -> a
        act: Relu(a) -> b
        two: Conv(b w2:8,1,3,3; group=8) -> c
        flat: Flatten(c) -> d
        fc: Gemm(d w3:5,128; transB=1) -> y
    """
    source = nets.write(tmp_path / "net.onnx", lines)

    class Reader(CalibrationDataReader):
        def __init__(self):
            self._left = iter(samples())

        def get_next(self):
            return next(self._left, None)

    layers = ["Conv", "Gemm"]
    quantize_static(
        source, tmp_path / "theirs.onnx", Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=QuantType.QInt8, weight_type=QuantType.QInt8, op_types_to_quantize=layers,
        extra_options={
            "ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False,
            "DedicatedQDQPair": True, "AddQDQPairToWeight": True,
            "OpTypesToExcludeOutputQuantization": layers,
        },
    )  # fmt: skip
    quantise(source, tmp_path / "ours.onnx", samples(), method="minmax")
    ours, theirs = (pairs_in_front(tmp_path / f"{name}.onnx") for name in ("ours", "theirs"))
    assert set(ours) == set(theirs)
    for key, (value, scale, *_) in ours.items():
        assert value == theirs[key][0]
        np.testing.assert_allclose(scale, theirs[key][1].squeeze(), rtol=1e-6)


@pytest.mark.parametrize("opset", [13, 17, 21])
def test_opsets(tmp_path, opset):
    source = foreign.net(tmp_path / "net.onnx", opset=opset)
    target = tmp_path / "int8.onnx"
    inputs = [Tensor(name="x", shape=(1, 3, 12, 12), dtype="float32")]
    result = quantise(source, target, read_samples("random", inputs, limit=4, seed=0))
    assert result.quantised == ("Conv_0",)
    assert [name for name, _ in result.left] == ["Conv_2", "Conv_4"]
    onnx.checker.check_model(target, full_check=True)
    assert onnx.load(target).opset_import[0].version == opset
    assert plan(target)


def test_gates_are_quantised_where_they_are_asked_for(tmp_path, source):
    result = quantise(source, tmp_path / "int8.onnx", samples(), gates=True)
    assert "block.se.fc/Conv" in result.quantised
    assert not result.left


@pytest.mark.parametrize("batch", [1, "batch"])
def test_a_gate_behind_a_computed_reshape(tmp_path, batch):
    """As torch's TorchScript exporter writes a squeeze: no bound, and a target from Shape."""
    lines = """
        conv: Conv(x w1:6,4,3,3) -> m
        pool: ReduceMean(m hw; keepdims=0) -> s
        fc: Gemm(s w2:6,6) -> e
        size: Shape(m) -> n
        batch: Gather(n zero) -> b
        target: Concat(b rest; axis=0) -> t
        view: Reshape(e t) -> g
        mul: Mul(m g) -> y
    """
    weights = {"zero": np.array([0]), "rest": np.array([6, 1, 1])}
    source = nets.write(tmp_path / "net.onnx", lines, weights=weights, shape=(batch, 4, 8, 8))
    result = quantise(source, tmp_path / "int8.onnx", samples())
    assert result.quantised == ("conv",)
    assert result.left == (("fc", "it computes a gate or a statistic"),)


def test_an_open_batch_stays_open(tmp_path):
    source = nets.write(tmp_path / "net.onnx", LINES, weights=CLIP, shape=("batch", 4, 8, 8))
    target = tmp_path / "int8.onnx"
    result = quantise(source, target, samples())
    assert result.quantised == (*LAYERS, "block/Add")
    assert onnx.load(target).graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    for batch in (1, 5):
        assert run(target, samples(batch=batch, limit=batch)).shape == (batch, 12)


def test_large_weights_go_beside_the_model(tmp_path, source, monkeypatch):
    quantise(source, tmp_path / "whole.onnx", samples())
    monkeypatch.setattr(artifacts, "_LARGEST_INLINE_BYTES", 0)
    target = tmp_path / "int8.onnx"
    quantise(source, target, samples())
    assert target.with_name("int8.onnx.data").is_file()
    np.testing.assert_array_equal(
        run(target, samples(seed=1)), run(tmp_path / "whole.onnx", samples(seed=1))
    )


def test_what_is_always_zero_has_a_scale(tmp_path):
    lines = "one: Conv(x dead) -> a\nact: Relu(a) -> b\ntwo: Conv(b w:4,4,1,1) -> y"
    weights = {"dead": np.zeros((4, 4, 1, 1), np.float32)}
    source = nets.write(tmp_path / "net.onnx", lines, weights=weights)
    quantise(source, tmp_path / "int8.onnx", samples())
    assert not run(tmp_path / "int8.onnx", samples()).any()


def test_weights_that_two_layers_share(tmp_path):
    lines = "one: Conv(x w:4,4,1,1) -> a\ntwo: Conv(a w:4,4,1,1) -> y"
    source = nets.write(tmp_path / "net.onnx", lines)
    result = quantise(source, tmp_path / "int8.onnx", samples())
    assert result.quantised == ("one", "two")
    found = pairs_in_front(tmp_path / "int8.onnx")
    assert found["one", 1][0] == found["two", 1][0]


def test_the_same_twice(tmp_path, source):
    for name in ("one", "two"):
        quantise(source, tmp_path / f"{name}.onnx", samples())
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()


def half(path):
    lines = "one: Cast(x; to=10) -> a\ntwo: Conv(a w) -> b\nthree: Cast(b; to=1) -> y"
    weights = {"w": np.ones((4, 4, 1, 1), np.float16)}
    return nets.write(path, lines, weights=weights)


def quantised(path):
    source = nets.write(path.with_name("first.onnx"), LINES, weights=CLIP)
    quantise(source, path, samples(), method="minmax")
    return path


def branching(path):
    body = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["x"], ["y1"])],
        "body", [], [foreign.value("y1", (1, 4, 8, 8))],
    )  # fmt: skip
    nodes = [
        onnx.helper.make_node(
            "If", ["yes"], ["y"], name="branch", then_branch=body, else_branch=body
        )
    ]
    graph = onnx.helper.make_graph(
        nodes, "net", [foreign.value("x", (1, 4, 8, 8))], [foreign.value("y", (1, 4, 8, 8))],
        [numpy_helper.from_array(np.array(True), "yes")],
    )  # fmt: skip
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)]), path)
    return path


BAD = {
    "no layers": (lambda p: nets.write(p, "one: Relu(x) -> y"), "no layer that int8 can take"),
    "gates only": (
        lambda p: nets.write(
            p, "one: Conv(x w:4,4,1,1) -> a\ng: Sigmoid(a) -> b\nm: Mul(x b) -> y"
        ),
        "one: it computes a gate",
    ),
    "half": (half, "two: its input is float16, and not float32"),
    "quantised": (quantised, "quantised already: stem/QuantizeLinear"),
    "branching": (branching, r"body of branch \(If\)"),
    "opset": (lambda p: foreign.net(p, opset=6), "opset 7 changed in Mul"),
    "other size": (
        lambda p: nets.write(p, "one: Conv(x w:4,4,1,1) -> y", shape=(1, 4, 9, 9)),
        "cannot run",
    ),
    "not finite": (
        lambda p: nets.write(p, "log: Log(x) -> a\none: Conv(a w:4,4,1,1) -> y"),
        "NaN or infinite",
    ),
    "no model": (lambda p: p.write_bytes(b"nothing") and p, "no ONNX model"),
    "absent": (lambda p: p, "no file"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_models(tmp_path, name):
    make, message = BAD[name]
    source = make(tmp_path / "net.onnx")
    target = tmp_path / "int8.onnx"
    with pytest.raises(InputError, match=message):
        quantise(source, target, samples())
    assert not target.exists()


def test_the_form_that_onnx_runtime_computes_in_int8(tmp_path, source):
    model = onnx.load(source)
    mark = model.metadata_props.add()
    mark.key, mark.value = "edgeattn.target", "onnxruntime"
    onnx.save(model, source)
    target = tmp_path / "int8.onnx"
    result = quantise(source, target, samples(), method="minmax")
    assert ("up/ConvTranspose", "the runtime has no int8 kernel of it") in result.left
    made = onnx.load(target).graph.node
    pairs = [node for node in made if node.op_type == "QuantizeLinear"]
    assert len({node.input[0] for node in pairs}) == len(pairs)  # one for all readers
    kernels = tmp_path / "optimised.onnx"
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(kernels)
    onnxruntime.InferenceSession(target, options, providers=["CPUExecutionProvider"])
    counts = Counter(node.op_type for node in onnx.load(kernels).graph.node)
    assert counts["QLinearConv"] == 4
    assert counts["Conv"] + counts["FusedConv"] == 1  # of the gate
    assert counts["QGemm"] == 1
    figures = measure(
        "y", run(source, samples(seed=1)), run(target, samples(seed=1)), tolerance_of("fp16")
    )
    assert figures.sqnr_db > 28


def test_a_bias_that_int32_does_not_hold_stays(tmp_path):
    huge = {"b": np.array([1e9, 1.0], np.float32)}
    lines = "c/Conv: Conv(x w1:2,4,1,1 b) -> c\nc/Relu: Relu(c) -> y"
    source = nets.write(tmp_path / "net.onnx", lines, weights=huge)
    quantise(source, tmp_path / "q.onnx", samples(), method="minmax", runtime="onnxruntime")
    conv = nodes(tmp_path / "q.onnx")["c/Conv"]
    assert conv.input[2] == "b"
