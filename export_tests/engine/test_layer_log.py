"""The build log: whole logs, bindings, profiles, and engines that TensorRT-RTX really builds."""

from __future__ import annotations

import re
from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import parser

from edgeattn.base.errors import InputError
from edgeattn.engine.layer_log import memory_bytes, read_log
from edgeattn.engine.layers import read
from export_tests.engine.test_layers import line, message, metadata, tensor

SIZES = {"Float": 4, "Half": 2, "Int8": 1, "Int64": 8, "Int32": 4, "Bool": 1}


def built(path: Path, profiles=()) -> str:
    """Builds with a bare script; gives its log as trtexec writes it."""
    trt = pytest.importorskip("tensorrt_rtx")
    said = []

    class Log(trt.ILogger):
        def log(self, severity, text):
            said.append(f"[{str(severity).rpartition('.')[2][0]}] {text}\n")

    log = Log()
    builder = trt.Builder(log)
    network = builder.create_network(0)
    assert trt.OnnxParser(network, log).parse_from_file(str(path))
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM86, 0)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    for shapes in profiles:
        profile = builder.create_optimization_profile()
        for name, points in shapes.items():
            profile.set_shape(name, *points)
        config.add_optimization_profile(profile)
    assert builder.build_serialized_network(network, config) is not None
    return "".join(said)


def model(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "model.onnx"
    onnx.save(parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> {text}'), path)
    return path


def independent(log: str) -> tuple[int, int]:
    """Counts kernels and bytes another way: by every tensor's text, kernel by kernel."""
    block = log.split("Layers:\nName: ", 1)[1].split("\n\nI/O Tensors:", maxsplit=1)[0]
    kernels = total = 0
    for text in block.split("\nName: "):
        kind = text.split("LayerType: ")[1].split(",")[0]
        if kind in {"signal", "wait", "shape_call"}:
            continue
        kernels += 1
        for part in text.split("Dimensions: [")[1:]:
            elements = 1
            for size in part.split("]")[0].split(","):
                elements *= int(size or 1)
            total += elements * SIZES[re.search(r"Datatype: (\w+)", part)[1]]
    return kernels, total


NET = """net (float[1,3,16,16] x) => (float[1,8,8,8] y)
<float[8,3,3,3] w = {NUMBERS}> {
    a = Conv<pads=[1,1,1,1]>(x, w)
    b = Relu(a)
    m = ReduceMean<axes=[2,3]>(b)
    g = Sigmoid(m)
    s = Mul(b, g)
    y = MaxPool<kernel_shape=[2,2], strides=[2,2]>(s)
}""".replace("NUMBERS", ", ".join(str((7 * i % 11 - 5) / 8) for i in range(216)))


def test_a_built_engine_as_an_independent_reader_sees_it(tmp_path):
    log = built(model(tmp_path, NET))
    information = read_log(log)
    assert (len(information.kernels), information.traffic_bytes) == independent(log)
    assert information.form == "log"
    assert [(b.name, b.is_input, b.dtype, b.shape) for b in information.bindings] == [
        ("x", True, "fp32", (1, 3, 16, 16)),
        ("y", False, "fp32", (1, 8, 8, 8)),
    ]
    assert information.bindings[0].profiles == (((1, 3, 16, 16),) * 3,)
    assert {node for kernel in information.kernels for node in kernel.nodes}
    activations, weights = memory_bytes(log)
    assert activations is not None
    assert weights is not None
    assert weights >= 216 * 4


@pytest.mark.parametrize("attention", ["simam", pytest.param("se", marks=pytest.mark.slow)])
def test_a_resnet_as_an_independent_reader_sees_it(tmp_path, attention):
    from edgeattn.options.export import ExportOptions
    from edgeattn.options.model import AttentionRequest, ModelRequest
    from edgeattn.workflows.export import export

    request = ModelRequest(
        source="resnet18",
        attentions=(AttentionRequest(name=attention),),
        shapes=((1, 3, 64, 64),),
    )
    export(request, ExportOptions(simplify=False), tmp_path / "r.onnx")
    log = built(tmp_path / "r.onnx")
    (tmp_path / "build.log").write_text(log)
    information = read(tmp_path / "build.log")
    assert (len(information.kernels), information.traffic_bytes) == independent(log)


def test_kernels_of_several_profiles_are_told_apart(tmp_path):
    text = "g (float[n,4,h,w] x) => (float[n,4,h,w] y) { a = Relu(x) y = Softmax<axis=1>(a) }"
    small, large = (1, 4, 8, 8), (4, 4, 32, 32)
    log = built(model(tmp_path, text), [{"x": (small, large, large)}, {"x": (small, small, small)}])
    information = read_log(log)
    assert information.profiles == (0, 1)
    assert information.bindings[0].profiles == ((small, large, large), (small,) * 3)
    first, second = information.of_profile(0), information.of_profile(1)
    assert len(first.kernels) + len(second.kernels) == len(information.kernels)
    assert first.is_open
    assert not second.is_open
    assert second.traffic_bytes == 2 * 4 * 256 * len(second.kernels)
    names = {tensor.name for kernel in second.kernels for tensor in kernel.activations}
    assert {"x", "y"} <= names
    with pytest.raises(InputError, match="no optimisation profile 2"):
        information.of_profile(2)


def test_sizes_on_the_host_are_no_work(tmp_path):
    text = """g (float[n,4,h,w] x) => (float[a,b] y, int64[4] s) {
        s = Shape(x) c = Constant<value_ints=[0,-1]>() z = Reshape(x, c) y = Relu(z) }"""
    log = built(model(tmp_path, text), [{"x": ((1, 4, 8, 8), (2, 4, 8, 8), (4, 4, 8, 8))}])
    assert "ShapeHostToDevice" in log
    assert "shape_call" in log
    assert {kernel.kind for kernel in read_log(log).kernels} == {"kgen"}


def test_a_loop_is_told(tmp_path):
    text = """g (float[1,8] x) => (float[1,8] y) {
        n = Constant<value_int=3>() c = Constant<value = bool {1}>()
        y = Loop(n, c, x) <body = b (int64 i, bool k, float[1,8] a) => (bool l, float[1,8] o) {
            o = Sin(a) l = Identity(k) }> }"""
    with pytest.raises(InputError, match="branches"):
        read_log(built(model(tmp_path, text)))


ONE = line("k", inputs=[tensor("x")], outputs=[tensor("y")], metadata=metadata("a"))


@pytest.mark.parametrize("before", ["", "[V] ", "[11/20/2026-16:15:01] [V] [TRT] "])
def test_a_whole_log(before):
    log = f"{before}Parsing\n{before}{message(ONE)}\n{before}Total Activation Memory: 12 bytes\n"
    information = read_log(log)
    assert [kernel.name for kernel in information.kernels] == ["k"]
    assert [binding.name for binding in information.bindings] == ["x"]
    assert memory_bytes(log) == (12, None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", (None, None)),
        ("Total Activation Memory: 5\nTotal Weights Memory: 7", (5, 7)),
        ("Total Weights Memory: 7 bytes\nTotal Weights Memory: 9 bytes", (None, 9)),
    ],
)
def test_memory(text, said):
    assert memory_bytes(text) == said


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (f"[V] {message(ONE)}\n[V] {message(ONE)}", "of 2 engines"),
        (message(ONE).partition("\n\nI/O")[0], "ends within"),
        (message(ONE).replace("IOMode: Input", "IOMode: Both"), "IOMode: Both"),
        (message(ONE).replace("DataType: Float,", "DataType: Odd,"), "DataType: Odd"),
        ("[V] something else", "no layer information"),
    ],
)
def test_a_log_that_cannot_be_read_is_told(log, said):
    with pytest.raises(InputError, match=re.escape(said)):
        read_log(log)


@given(st.text(max_size=60), st.integers(0, len(message(ONE)) - 1))
def test_a_log_with_a_hole_is_read_whole_or_refused(text, place):
    log = message(ONE)
    try:
        kernels = read_log(log[:place] + text + log[place:]).kernels
    except InputError:
        return
    assert len(kernels) == 1 or "Name: " in text
