"""Quantised files for TensorRT: the same function, with int8 around zero and float biases."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeattn.base.errors import InputError
from edgeattn.engine.quantised import rewrite
from edgeattn.engine.target import choose
from edgeattn.graph.precision import quantised_nodes
from edgeattn.graph.quantised import fold_biases
from edgeattn.options.build import EngineOptions
from edgeattn.workflows.build import BuildOptions, build

F = np.float32


class Net:
    """A graph as onnxruntime.quantization writes it: pairs around every value, int32 biases."""

    def __init__(self):
        self.generator = np.random.default_rng(3)
        self.nodes, self.weights = [], {}

    def add(self, op, inputs, name, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [name], name=f"{name}/{op}", **attributes))
        return name

    def put(self, name, array):
        self.weights[name] = np.asarray(array)
        return name

    def pair(self, x, zero, scale=0.04, dtype=np.uint8):
        names = [self.put(f"{x}.scale", F(scale))]
        if zero is not None:
            names.append(self.put(f"{x}.zero", dtype(zero)))
        self.add("QuantizeLinear", [x, *names], f"{x}.q")
        return self.add("DequantizeLinear", [f"{x}.q", *names], f"{x}.dq")

    def weight(self, name, shape, *, axis=0, dtype=np.int8, zero=0):
        low, high = (-127, 128) if dtype == np.int8 else (0, 256)
        scales = self.generator.uniform(0.001, 0.004, shape[axis]).astype(F)
        self.put(f"{name}.i", self.generator.integers(low, high, shape).astype(dtype))
        self.put(f"{name}.s", scales)
        self.put(f"{name}.z", np.full(shape[axis], zero, dtype))
        return self.add(
            "DequantizeLinear", [f"{name}.i", f"{name}.s", f"{name}.z"], name, axis=axis
        )

    def bias(self, name, length):
        self.put(f"{name}.i", self.generator.integers(-9000, 9000, length).astype(np.int32))
        self.put(f"{name}.s", self.generator.uniform(1e-4, 2e-4, length).astype(F))
        return self.add("DequantizeLinear", [f"{name}.i", f"{name}.s"], name, axis=0)

    def model(self, shape, output):
        graph = helper.make_graph(
            self.nodes,
            "quantised",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
            [numpy_helper.from_array(array, name) for name, array in self.weights.items()],
        )
        opsets = [helper.make_opsetid("", 13)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=7)
        return onnx.shape_inference.infer_shapes(model)


def convolution(zero=125, **attributes):
    net = Net()
    x = net.pair("x", zero)
    net.add("Conv", [x, net.weight("w", (6, 4, 3, 3)), net.bias("b", 6)], "c", **attributes)
    return net.model([2, 4, 9, 8], net.pair("c", 77, 0.05))


def block():
    """Gives two convolutions of one value, a sum of it, a mean, and products of both kinds."""
    net = Net()
    x = net.pair("x", 125)
    net.add("Conv", [x, net.weight("w1", (4, 4, 3, 3)), net.bias("b1", 4)], "c1", pads=[1] * 4)
    net.add("Relu", ["c1"], "r1")
    net.add("Conv", [x, net.weight("w2", (4, 1, 1, 1))], "c2", group=4)
    net.add("Add", [net.pair("r1", 0), net.pair("c2", 100)], "a")
    net.add("Add", ["a", x], "a2")
    net.add("GlobalAveragePool", [net.pair("a2", 90)], "m")
    net.add("Flatten", [net.pair("m", 140, 0.02)], "f")
    w3 = net.weight("w3", (5, 4))
    net.add("Gemm", ["f", w3, net.bias("b3", 5)], "g", transB=1, alpha=0.5, beta=2.0)
    net.add("MatMul", [net.pair("g", 30), net.weight("w4", (5, 3), axis=1)], "p")
    return net.model([2, 4, 8, 8], net.pair("p", 128))


def transposed():
    net = Net()
    net.add(
        "ConvTranspose", [net.pair("x", 60), net.weight("w", (4, 3, 3, 3))], "c", strides=[2, 2]
    )
    return net.model([1, 4, 5, 6], net.pair("c", -3, dtype=np.int8))


def asymmetric_weights():
    net = Net()
    w = net.weight("w", (6, 4, 1, 1), dtype=np.uint8, zero=131)
    net.add("Conv", [net.pair("x", None), w], "c")
    return net.model([1, 4, 5, 6], "c")


CASES = {
    "padded": lambda: convolution(pads=[1, 0, 2, 1]),
    "strided": lambda: convolution(strides=[2, 1], dilations=[1, 2]),
    "same": lambda: convolution(auto_pad="SAME_UPPER"),
    "all positive": lambda: convolution(zero=0, pads=[1] * 4),
    "in the middle": lambda: convolution(zero=128, pads=[1] * 4),
    "block": block,
    "transposed": transposed,
    "asymmetric weights": asymmetric_weights,
}


def run(model, x):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return session.run(None, {"x": x})[0]


def refused(node, constants):
    """Returns whether TensorRT refuses a node for its types or its zero point."""
    if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
        return False
    zero = constants.get(node.input[2]) if len(node.input) > 2 else np.uint8(0)
    stored = constants.get(node.input[0], np.int8(0))
    return bool(zero.any()) or zero.dtype == np.uint8 or stored.dtype == np.int32


@pytest.mark.parametrize("case", CASES)
def test_the_function_stays(case):
    model = CASES[case]()
    found = rewrite(ir.from_proto(model))
    written = ir.to_proto(found.model)
    onnx.checker.check_model(written, full_check=True)
    constants = {one.name: numpy_helper.to_array(one) for one in written.graph.initializer}
    assert not any(refused(node, constants) for node in written.graph.node)
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng(1).normal(0, 2, shape).astype(F)
    want, got = run(model, x), run(written, x)
    assert got.shape == want.shape
    assert np.abs(want).max() > 0.1
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
    layers = {"Conv", "Gemm", "MatMul"}
    names = [
        {node.name for node in one.graph.node if node.op_type in layers} for one in (model, written)
    ]
    assert names[0] == names[1]


@pytest.mark.parametrize("case", ["padded", "all positive", "block"])
def test_layers_stay_quantised(case):
    model = ir.from_proto(CASES[case]())
    assert quantised_nodes(rewrite(model).model) >= quantised_nodes(model) - {"g/Gemm"}


def test_what_is_symmetric_stays():
    net = Net()
    net.add("Conv", [net.pair("x", 0, dtype=np.int8), net.weight("w", (6, 4, 1, 1))], "c")
    assert rewrite(ir.from_proto(net.model([1, 4, 5, 6], "c"))) is None


def test_a_bias_is_what_onnxruntime_computes():
    net = Net()
    net.add("Conv", ["x", net.weight("w", (6, 4, 1, 1)), net.bias("b", 6)], "c")
    model = net.model([1, 4, 5, 6], "c")
    model.graph.output.append(helper.make_tensor_value_info("b", TensorProto.FLOAT, [6]))
    options = onnxruntime.SessionOptions()
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    (want,) = session.run(["b"], {"x": np.zeros((1, 4, 5, 6), F)})
    del model.graph.output[1:]
    folded = ir.from_proto(model)
    assert fold_biases(folded) == 1
    np.testing.assert_array_equal(folded.graph.initializers["b"].const_value.numpy(), want)
    assert "b.i" not in folded.graph.initializers


class TestBuild:
    """What TensorRT-RTX builds of them."""

    @pytest.fixture(autouse=True)
    def library(self):
        pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx has wheels for x86-64 only")

    def made(self, tmp_path, model):
        onnx.save(model, tmp_path / "q.onnx")
        target = choose(device=None, capability="8.6", runtime="tensorrt-rtx", as_plan=False)
        return build(
            tmp_path / "q.onnx", BuildOptions(target=target, engine=EngineOptions()), tmp_path
        )

    def test_int8_kernels(self, tmp_path):
        manifest = self.made(tmp_path, block())
        assert manifest.precision.asked == "int8"
        assert manifest.precision.built["int8"] >= 2
        assert manifest.precision.mismatches == ()
        (note,) = (one for one in manifest.notes if "int8 around zero" in one)
        assert "int32 biases as float32 ones (2)" in note
        assert "shifted to 0 (7)" in note

    def test_quantised_operators_are_refused_with_what_helps(self, tmp_path):
        net = Net()
        constants = [net.put("s", F(0.1)), net.put("z", np.uint8(3))]
        net.add("QuantizeLinear", ["x", *constants], "q")
        weight = [net.put("w", np.ones((2, 4, 1, 1), np.int8)), "s", net.put("wz", np.int8(0))]
        net.add("QLinearConv", ["q", *constants, *weight, *constants], "c")
        net.add("DequantizeLinear", ["c", *constants], "y")
        with pytest.raises(InputError) as caught:
            self.made(tmp_path, net.model([1, 4, 5, 6], "y"))
        assert "--precision int8 --calibration" in caught.value.mend
        assert "QuantFormat.QDQ" in caught.value.mend
