"""The plan of a real engine, built by TensorRT-RTX without a GPU."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeattn.base.errors import InputError, MissingError
from edgeattn.engine import apart
from edgeattn.engine import plan as planning
from edgeattn.engine.plan import plan
from edgeattn.records.layers import traffic_bytes

trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx has wheels for x86-64 only")

BYTES = {"Float": 4, "Half": 2, "Int64": 8, "Int32": 4, "Bool": 1}


def value(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def written(path, nodes, inputs, outputs, weights=None, *, opset=17, domains=(), external=False):
    tensors = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    where = {"save_as_external_data": True, "location": "weights", "size_threshold": 0}
    onnx.save(model, path, **(where if external else {}))
    return path


def resnet(path, *, width=64, external=False):
    """Eight basic blocks of a ResNet-18, at 56x56, its nodes named as torch's exporters do."""
    generator = np.random.default_rng(0)
    weights, nodes, last, channels = {}, [], "x", 3

    def conv(source, name, out, *, size=3, stride=1):
        weights[f"{name}.weight"] = generator.normal(
            0, (2 / (channels * size**2)) ** 0.5, (out, channels, size, size)
        ).astype(np.float32)
        weights[f"{name}.bias"] = generator.normal(0, 1, out).astype(np.float32)
        nodes.append(
            helper.make_node(
                "Conv",
                [source, f"{name}.weight", f"{name}.bias"],
                [f"{name}:0"],
                name=f"{name}/Conv",
                strides=[stride] * 2,
                pads=[size // 2] * 4,
            )
        )
        return f"{name}:0"

    def op(kind, name, *sources):
        nodes.append(helper.make_node(kind, list(sources), [f"{name}:0"], name=f"{name}/{kind}"))
        return f"{name}:0"

    for block in range(8):
        out, stride = width * 2 ** (block // 2), 2 if block in (2, 4, 6) else 1
        stem, identity = f"layer{block // 2 + 1}.{block % 2}", last
        if channels != out:
            identity = conv(last, f"{stem}.down", out, size=1, stride=stride)
        inner = op("Relu", f"{stem}.act1", conv(last, f"{stem}.conv1", out, stride=stride))
        channels = out
        added = op("Add", f"{stem}.sum", conv(inner, f"{stem}.conv2", out), identity)
        last = op("Relu", f"{stem}.act2", added)
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["y"], name="pool/Pool"))
    shapes = value("x", [1, 3, 56, 56]), value("y", [1, channels, 1, 1])
    return written(path, nodes, shapes[:1], shapes[1:], weights, external=external)


def raw_log(path):
    """The message with the layers, by a script of its own."""

    class Log(trt.ILogger):
        def __init__(self):
            super().__init__()
            self.messages = []

        def log(self, severity, text):
            self.messages.append(text)

    log = Log()
    builder = trt.Builder(log)
    network = builder.create_network(0)
    assert trt.OnnxParser(network, log).parse_from_file(str(path))
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM86, 0)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    builder.build_serialized_network(network, config)
    (message,) = [text for text in log.messages if text.startswith("Layers:")]
    return message


def test_a_resnet_against_an_independent_reading(tmp_path):
    path = resnet(tmp_path / "r.onnx")
    kernels = plan(path)
    assert 17 <= len(kernels) <= 40  # 19 convolutions and the pool, most with all around them fused
    layers, _, _ = raw_log(path).partition("I/O Tensors:")
    found = re.findall(r"Dimensions: \[([\d,]*)\][^{}]*Datatype: (\w+)", layers)
    expected = sum(math.prod(map(int, d.split(","))) * BYTES[kind] for d, kind in found)
    assert traffic_bytes(kernels) == expected
    assert expected > 4 * 11_000_000  # its weights alone
    asked = {node.name for node in onnx.load(path).graph.node}
    assert {node for kernel in kernels for node in kernel.nodes} <= asked
    assert {name for name in asked if "Conv" in name} <= {n for k in kernels for n in k.nodes}


def test_the_plan_is_the_same_each_time(tmp_path):
    path = resnet(tmp_path / "r.onnx", width=8)
    assert plan(path) == plan(path)


def test_weights_in_a_file_beside(tmp_path):
    inline = plan(resnet(tmp_path / "r.onnx", width=8))
    (tmp_path / "there").mkdir()
    path = resnet(tmp_path / "there" / "r.onnx", width=8, external=True)
    assert path.stat().st_size < (tmp_path / "there" / "weights").stat().st_size
    assert traffic_bytes(plan(path)) == traffic_bytes(inline)
    (tmp_path / "there" / "weights").unlink()
    with pytest.raises(InputError, match="Failed to import initializer"):
        plan(path)


@pytest.mark.parametrize(
    "names",
    [
        ("/layer1/layer1.0/conv1/Conv", "a b.c d", "model.3.cv2/act, 2", "x[0]"),
        ("a]", "b][ONNX Layer: c", "[d]", "x } y, Name: {"),
        ("two\nlines", "r [x], Constants: [", "s\x1eq", "}, { Name: z"),
    ],
)
def test_every_node_name_survives(tmp_path, names):
    weight = np.random.default_rng(1).standard_normal((4, 4, 3, 3)).astype(np.float32)
    values = ["i } x", "c ], Outputs: [", "r, Dimensions: [3], z", "m { Name: q", "y"]
    kinds = [("Conv", {"pads": [1] * 4}), ("Relu", {}), ("MaxPool", {"kernel_shape": [3, 3]}),
             ("Sigmoid", {})]  # fmt: skip
    nodes = [
        helper.make_node(kind, [a, *(["w"] if kind == "Conv" else [])], [b], name=name, **others)
        for (kind, others), name, a, b in zip(kinds, names, values, values[1:], strict=False)
    ]
    ends = value(values[0], [1, 4, 8, 8]), value("y", None)
    kernels = plan(written(tmp_path / "m.onnx", nodes, ends[:1], ends[1:], {"w": weight}))
    assert sorted(node for kernel in kernels for node in kernel.nodes) == sorted(names)
    assert traffic_bytes(kernels) > 4 * (256 + 144 + 256 + 144)


def test_open_shapes_are_refused(tmp_path):
    node = helper.make_node("Relu", ["x"], ["y"], name="m/Relu")
    path = written(
        tmp_path / "m.onnx", [node], [value("x", ["batch", 3])], [value("y", ["batch", 3])]
    )
    with pytest.raises(InputError, match=r"Input x has open dimensions") as caught:
        plan(path)
    assert "--dynamic-batch" in caught.value.mend


def test_a_node_that_is_not_taken_is_named(tmp_path):
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], name="m/Relu"),
        helper.make_node("Foo", ["r"], ["y"], name="m.last/Foo", domain="my"),
    ]
    path = written(
        tmp_path / "m.onnx", nodes, [value("x", [1, 3])], [value("y", [1, 3])], domains=("my",)
    )
    with pytest.raises(InputError, match=r"m\.last/Foo \(Foo\): .*Plugin not found"):
        plan(path)


def test_what_is_no_model_is_refused(tmp_path):
    path = tmp_path / "m.onnx"
    with pytest.raises(InputError, match="There is no file"):
        plan(path)
    path.write_bytes(b"garbage")
    with pytest.raises(InputError, match="Failed to parse"):
        plan(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="builds no engine"):
        plan(path)


def test_a_capability_that_is_not_built_for_is_refused(tmp_path):
    path = resnet(tmp_path / "r.onnx", width=8)
    assert plan(path, compute_capability=(7, 5))
    with pytest.raises(InputError, match=r"8\.7") as caught:
        plan(path, compute_capability=(8, 7))
    assert "8.6" in caught.value.mend


def test_without_the_library_it_is_said_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(MissingError) as caught:
        plan(tmp_path / "m.onnx")
    assert caught.value.exit_code == 3
    assert "pip install tensorrt-rtx" in caught.value.mend


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_no_memory_is_kept(tmp_path):
    path = resnet(tmp_path / "r.onnx", width=32)

    def resident_kib():
        (waiting,) = apart._waiting
        status = Path(f"/proc/{waiting.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1])

    for _ in range(3):
        plan(path)
    before = resident_kib()
    for _ in range(10):
        plan(path)
    assert resident_kib() - before < 10 * 1024  # ten times its weights would be 110 MiB
    assert planning.DEFAULT_CAPABILITY == (8, 6)
