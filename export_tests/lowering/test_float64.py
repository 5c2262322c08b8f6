"""The evaluation that the tests of lowering rest on: it is torch's, in float64, to 1e-12."""

import numpy as np
import onnx_ir as ir
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper
from torch import nn

from export_tests.lowering.kit import (
    as_double,
    assert_equal64,
    evaluate64,
    export,
    randomise_,
    tiny_net,
)
from export_tests.lowering.spellings.se import HardRelu6, LinearOnAView

C = 8


def node(op, *shapes, opset=18, **attributes):
    """Gives a float32 model of one node, all of whose operands are inputs."""
    names = [f"x{i}" for i in range(len(shapes))]
    values = zip(names, shapes, strict=True)
    graph = helper.make_graph(
        [helper.make_node(op, names, ["y"], **attributes)],
        "g",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in values],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    return ir.from_proto(model)


MAP = (2, C, 7, 9)
CASES = {
    "conv": (
        lambda x, w, b: F.conv2d(x, w, b, stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2),
        node(
            "Conv", MAP, (6, 4, 3, 2), (6,),
            strides=[2, 1], pads=[1, 2, 1, 2], dilations=[1, 2], group=2,
        ),
    ),
    "depthwise": (
        lambda x, w: F.conv2d(x, w, padding=1, groups=C),
        node("Conv", MAP, (C, 1, 3, 3), pads=[1, 1, 1, 1], group=C),
    ),
    "conv of one dimension": (
        lambda x, w: F.conv1d(x, w, padding=1), node("Conv", (2, 3, 9), (4, 3, 3), pads=[1, 1]),
    ),
    "max pool": (
        lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True),
        node("MaxPool", MAP, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4, ceil_mode=1),
    ),
    "average pool": (
        lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
        node("AveragePool", MAP, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4, ceil_mode=1),
    ),
    "average pool with its padding": (
        lambda x: F.avg_pool2d(x, 3, 2, 1),
        node(
            "AveragePool", MAP,
            kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4, count_include_pad=1,
        ),
    ),
    "global mean": (lambda x: x.mean((2, 3), keepdim=True), node("GlobalAveragePool", MAP)),
    "global maximum": (lambda x: x.amax(2, keepdim=True), node("GlobalMaxPool", (2, C, 9))),
    "mean": (
        lambda x: x.mean((2, 3)), node("ReduceMean", MAP, axes=[-1, 2], keepdims=0, opset=13),
    ),
    "softmax": (lambda x: x.softmax(2), node("Softmax", MAP, axis=2)),
    "softmax of old": (
        lambda x: x.flatten(2).softmax(2).view(x.shape), node("Softmax", MAP, axis=2, opset=11),
    ),
    "softmax of old by default": (
        lambda x: x.flatten(1).softmax(1).view(x.shape), node("Softmax", MAP, opset=11),
    ),
    "log softmax": (lambda x: x.log_softmax(-1), node("LogSoftmax", MAP, axis=-1)),
    "gemm": (
        lambda a, b, c: 0.5 * a @ b.t() + 2 * c,
        node("Gemm", (3, 4), (5, 4), (5,), alpha=0.5, beta=2.0, transB=1),
    ),
    "matmul": (torch.matmul, node("MatMul", (2, 3, 4), (4, 5))),
    "einsum": (
        lambda a, b: torch.einsum("nchw,nc->nhw", a, b),
        node("Einsum", MAP, (2, C), equation="nchw,nc->nhw"),
    ),
    "batch norm": (
        lambda x, w, b, m, v: (x - m) / torch.sqrt(v + 0.125) * w + b,
        node("BatchNormalization", (5, C), (C,), (C,), (C,), (C,), epsilon=0.125),
    ),
    "batch norm of old": (
        lambda x, w, b, m, v: (x - m) / torch.sqrt(v + 0.125) * w + b,
        node("BatchNormalization", (5, C), (C,), (C,), (C,), (C,), epsilon=0.125, opset=13),
    ),
    "instance norm": (
        lambda x, w, b: F.instance_norm(x, weight=w, bias=b, eps=0.125),
        node("InstanceNormalization", MAP, (C,), (C,), epsilon=0.125),
    ),
    "layer norm": (
        lambda x, w, b: F.layer_norm(x, (9,), w, b, eps=0.125),
        node("LayerNormalization", MAP, (9,), (9,), epsilon=0.125),
    ),
    "group norm by channel": (
        lambda x, w, b: F.group_norm(x, 2, w, b, eps=0.125),
        node("GroupNormalization", MAP, (C,), (C,), num_groups=2, epsilon=0.125, opset=21),
    ),
    "group norm by group": (
        lambda x, w, b: F.group_norm(
            x, 2, w.repeat_interleave(4), b.repeat_interleave(4), eps=0.125
        ),
        node("GroupNormalization", MAP, (2,), (2,), num_groups=2, epsilon=0.125),
    ),
    "hard swish": (F.hardswish, node("HardSwish", MAP)),
    "hard sigmoid": (
        lambda x: torch.clamp(0.25 * x, 0, 1), node("HardSigmoid", MAP, alpha=0.25, beta=0.0),
    ),
    "sigmoid": (torch.sigmoid, node("Sigmoid", MAP)),
    "tanh": (torch.tanh, node("Tanh", MAP)),
    "erf": (torch.erf, node("Erf", MAP)),
    "softplus": (F.softplus, node("Softplus", MAP)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_operators(name):
    function, model = CASES[name]
    rng = np.random.default_rng(4)
    inputs = [rng.normal(0.3, 1.5, list(v.shape)) for v in model.graph.inputs]
    if name.startswith("batch norm"):
        inputs[4] **= 2
    want = function(*map(torch.from_numpy, inputs)).numpy()
    (got,) = evaluate64(model, inputs)
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("scales", [(1, 1, 2, 3), (1, 1, 0.5, 1.7)])
def test_nearest(scales):
    sizes = [int(s * n) for s, n in zip(scales, MAP, strict=True)]
    graph = helper.make_graph(
        [
            helper.make_node(
                "Resize",
                ["x", "", "scales"],
                ["y"],
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            )
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, MAP)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, sizes)],
        [helper.make_tensor("scales", TensorProto.FLOAT, [4], scales)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    x = np.random.default_rng(4).normal(size=MAP)
    want = F.interpolate(torch.from_numpy(x), scale_factor=scales[2:], mode="nearest")
    np.testing.assert_array_equal(evaluate64(ir.from_proto(model), [x])[0], want.numpy())


class _Plain(nn.Module):
    """Layers that no exporter and no simplifier folds in float32."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, C, 3, stride=2, padding=1)
        self.spread = nn.GroupNorm(4, C)
        self.attention = HardRelu6(C)
        self.fc = nn.Linear(C, 5)

    def forward(self, x):
        x = F.silu(self.conv(x))
        x = F.max_pool2d(self.spread(x), 3, 1, 1)
        return self.fc(self.attention(x).mean((2, 3))).softmax(-1)


NETS = [("dynamo", 18), ("dynamo", 21), ("torchscript", 11), ("torchscript", 17)]


@pytest.mark.parametrize(("exporter", "opset"), NETS)
def test_a_net(exporter, opset):
    net = randomise_(_Plain())
    model = export(net, (2, 3, 11, 13), exporter=exporter, opset=opset, dynamic_batch=True)
    x = np.random.default_rng(4).normal(size=(3, 3, 11, 13))
    (got,) = evaluate64(model, [x])
    want = net.double()(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13)


def test_attributes_are_not_rounded():
    model = node("HardSigmoid", MAP)
    (step,) = model.graph
    step.attributes["alpha"] = ir.AttrFloat32("alpha", 1 / 6)
    step.attributes["beta"] = ir.AttrFloat32("beta", 0.5)
    x = np.random.default_rng(4).normal(size=MAP)
    np.testing.assert_array_equal(evaluate64(model, [x])[0], np.clip(x * (1 / 6) + 0.5, 0, 1))


def test_a_difference_is_seen():
    net = tiny_net(lambda _: LinearOnAView(C), C)
    model = as_double(export(net, (1, 3, 11, 13), dynamic_batch=True))
    assert_equal64(model, model.clone())
    for value in model.graph.initializers.values():
        if value.const_value.dtype == ir.DataType.DOUBLE and len(value.shape) == 4:
            changed = model.clone()
            array = value.const_value.numpy().copy()
            array.flat[0] *= 1 + 1e-9
            changed.graph.initializers[value.name].const_value = ir.tensor(array)
            with pytest.raises(AssertionError, match="relative error"):
                assert_equal64(model, changed)
