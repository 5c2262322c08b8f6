"""A form is taken only where it pays: the plans of lowered graphs are no larger than they were.

Graphs as paddle2onnx writes them: constants as nodes, normalisations and biases unfused, layer
norms as means, hard activations by Clip, reshapes that copy sizes.
"""

import io
import itertools

import numpy as np
import onnx
import onnx_ir as ir
import onnxsim
import pytest
import torch
from torch import nn

from edgeattn.engine.plan import plan
from edgeattn.lowering.measures import Figures, freed
from edgeattn.lowering.pipeline import lower
from edgeattn.models.quiet import quiet
from edgeattn.records.layers import traffic_bytes
from export_tests.lowering.graphs import TARGETS, Graph
from export_tests.lowering.kit import as_double, assert_equal64, export, randomise_

pytest.importorskip("tensorrt_rtx")

# Statistics and constants that a plan binds once more.
SLACK = 1.001


class Paddle(Graph):
    """Writes graphs as paddle2onnx does."""

    def constant(self, array):
        """Adds a Constant node."""
        array = np.asarray(array, dtype=np.float32 if np.asarray(array).dtype.kind == "f" else None)
        return self.op("Constant", value=onnx.numpy_helper.from_array(array))

    def normed(self, x, channels):
        """Adds a BatchNormalization that is not fused."""
        variance = self.const(self.rng.uniform(0.5, 2.0, channels))
        weights = [self.random(channels, offset=1.0), self.random(channels), self.random(channels)]
        return self.op("BatchNormalization", x, *weights, variance)

    def hard_sigmoid(self, x, form):
        """Adds a hard sigmoid: the operator, or by Clip and Div."""
        if form == "operator":
            return self.op("HardSigmoid", x, alpha=1 / 6, beta=0.5)
        moved = self.op("Add", x, self.constant([3.0]))
        clipped = self.op("Clip", moved, self.constant(0.0), self.constant(6.0))
        return self.op("Div", clipped, self.constant([6.0]))

    def hard_swish(self, x):
        """Adds x relu6(x + 3) / 6."""
        moved = self.op("Add", x, self.constant([3.0]))
        clipped = self.op("Clip", moved, self.constant(0.0), self.constant(6.0))
        return self.op("Div", self.op("Mul", x, clipped), self.constant([6.0]))

    def squeezed(self, x, channels, form):
        """Adds a squeeze and excitation."""
        m = self.op("GlobalAveragePool", x)
        if form == "reshaped":
            m = self.op("Reshape", m, np.array([0, -1, 1, 1]))
        m = self.op("Relu", self.conv(m, channels, channels // 4))
        m = self.hard_sigmoid(self.conv(m, channels // 4, channels), form)
        return self.op("Mul", x, m)

    def layer_norm(self, x, channels):
        """Adds a layer norm of [N, L, C] as means."""
        centred = self.op("Sub", x, self.reduce("ReduceMean", x, [-1]))
        square = self.op("Pow", centred, self.constant(2.0))
        spread = self.op("Add", self.reduce("ReduceMean", square, [-1]), self.constant(1e-5))
        normed = self.op("Div", centred, self.op("Sqrt", spread))
        scaled = self.op("Mul", normed, self.random(channels, offset=1.0))
        return self.op("Add", scaled, self.random(channels))

    def linear(self, x, inside, outside):
        """Adds a product and a bias."""
        weight = self.random(inside, outside, scale=inside**-0.5)
        return self.op("Add", self.op("MatMul", x, weight), self.random(outside))


def _lcnet(form, *, is_affine=False):
    """PP-LCNet (V3 with learnable scalars): depthwise, hard swish, SE, pointwise."""

    def body(g, x):
        for _ in range(2):
            x = g.hard_swish(g.normed(g.conv(x, 32, 32, 3, group=32), 32))
            if is_affine:
                x = g.op("Add", g.op("Mul", x, g.random(1, offset=1.0)), g.random(1))
            x = g.hard_swish(g.normed(g.conv(g.squeezed(x, 32, form), 32, 32), 32))
        return x

    return body


def _hgnet(g, x):
    """PP-HGNet: a Concat of convolutions, ESE with one layer."""
    parts = [x]
    for _ in range(2):
        parts.append(g.op("Relu", g.normed(g.conv(parts[-1], 32, 32, 3), 32)))
    y = g.op("Relu", g.normed(g.conv(g.op("Concat", *parts, axis=1), 96, 32), 32))
    gate = g.op("Sigmoid", g.conv(g.op("GlobalAveragePool", y), 32, 32))
    return g.op("Add", x, g.op("Mul", y, gate))


def _svtr(g, x):
    """SVTR: two mixing blocks on [N, H W, C] between convolutions, swish by Sigmoid and Mul."""
    y = g.conv(x, 32, 32)
    y = g.op("Mul", y, g.op("Sigmoid", y))
    y = g.op("Transpose", g.op("Reshape", y, np.array([0, 32, -1])), perm=[0, 2, 1])
    for _ in range(2):
        qkv = g.op("Reshape", g.linear(g.layer_norm(y, 32), 32, 96), np.array([0, -1, 3, 4, 8]))
        q, k, v = (
            g.op("Squeeze", part, np.array([0]))
            for part in g.split(g.op("Transpose", qkv, perm=[2, 0, 3, 1, 4]), [1, 1, 1], axis=0)
        )
        q = g.op("Mul", q, g.constant(8**-0.5))
        weights = g.op("MatMul", q, g.op("Transpose", k, perm=[0, 1, 3, 2]))
        mixed = g.op("MatMul", g.op("Softmax", weights, axis=-1), v)
        mixed = g.op("Reshape", g.op("Transpose", mixed, perm=[0, 2, 1, 3]), np.array([0, -1, 32]))
        y = g.op("Add", y, g.linear(mixed, 32, 32))
        hidden = g.linear(g.layer_norm(y, 32), 32, 64)
        hidden = g.op("Mul", hidden, g.op("Sigmoid", hidden))
        y = g.op("Add", y, g.linear(hidden, 64, 32))
    y = g.op("Reshape", g.layer_norm(y, 32), np.array([0, 8, 40, 32]))
    return g.conv(g.op("Transpose", y, perm=[0, 3, 1, 2]), 32, 32)


BODIES = {
    "lcnet": _lcnet("clip"),
    "lcnet-v3": _lcnet("operator", is_affine=True),
    "lcnet-reshaped": _lcnet("reshaped"),
    "hgnet": _hgnet,
    "svtr": _svtr,
}


def _model(body):
    graph = Paddle(batch=1, opset=17)
    x = graph.op("Relu", graph.conv(graph.input(3, 8, 40), 3, 32, 3))
    graph.output(graph.conv(body(graph, x), 32, 16), rank=4)
    proto, _ = onnxsim.simplify(ir.to_proto(graph.model()))
    return ir.from_proto(proto)


def _figures(model, folder):
    path = folder / "model.onnx"
    ir.save(model, path)
    kernels = plan(path)
    return len(kernels), traffic_bytes(kernels)


@pytest.mark.parametrize("name", BODIES)
def test_paddle_like_graphs_are_no_larger(name, tmp_path):
    model = _model(BODIES[name])
    before, after = _figures(model, tmp_path), model.clone()
    lower(after, target="tensorrt")
    kernels, moved = _figures(after, tmp_path)
    assert kernels <= before[0]
    assert moved <= before[1] * SLACK


@pytest.mark.parametrize("target", TARGETS)
def test_what_was_taken_is_exact(target):
    for body in BODIES.values():
        double = as_double(_model(body))
        after = double.clone()
        lower(after, target=target)
        assert_equal64(double, after, [[1, 3, 8, 40]], rel=1e-9)


def test_what_does_not_pay_is_a_near_miss(monkeypatch):
    numbers = itertools.count(1)
    measure = lambda *_: Figures(kernels=next(numbers), traffic_bytes=0)  # noqa: E731
    monkeypatch.setattr("edgeattn.lowering.targets.fusion.measure", measure)
    model = _model(BODIES["lcnet"])
    count = len(model.graph)
    record = lower(model, target="tensorrt")
    assert not record.rewrites
    assert len(model.graph) == count
    first = record.near_misses[0].reason
    assert (
        first == "its form would take 2 kernels and 0 MB, and as it is it takes 1 kernels and 0 MB"
    )


def test_launches_weigh():
    one = Figures(kernels=2, traffic_bytes=1_000_000)
    assert not Figures(kernels=3, traffic_bytes=990_000).pays_against(one)
    assert Figures(kernels=3, traffic_bytes=500_000).pays_against(one)
    assert one.pays_against(one)


NETS = (
    "mobilenetv3_large_100", "efficientnet_b0", "lcnet_050", "hgnetv2_b0", "ghostnet_100",
    "regnety_004", "convnextv2_atto", "pvt_v2_b0", "repvit_m1", "rexnet_100", "mixnet_s",
    "resnest14d", "seresnext26t_32x4d", "ecaresnet26t", "eca_nfnet_l0", "skresnet18",
    "gcresnext26ts", "fastvit_t8", "poolformer_s12", "xcit_nano_12_p16_224", "levit_128s",
    "coatnet_pico_rw_224", "inception_next_atto", "ese_vovnet19b_dw",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
def test_popular_networks_are_no_larger(name, tmp_path):
    from edgeattn.base.torchvision_ops import declare_missing_operators

    declare_missing_operators()
    import timm
    import torch

    module = timm.create_model(name).eval()
    buffer = io.BytesIO()
    x = torch.randn(1, *module.pretrained_cfg["input_size"])
    with quiet():  # it warns of what it traces
        torch.onnx.export(module, (x,), buffer, dynamo=False, opset_version=17)
    proto, _ = onnxsim.simplify(onnx.load_from_string(buffer.getvalue()))
    model = ir.from_proto(proto)
    before = _figures(model, tmp_path)
    if lower(model, target="tensorrt").rewrites:
        kernels, moved = _figures(model, tmp_path)
        assert kernels <= before[0]
        assert moved <= before[1] * SLACK


@pytest.mark.parametrize("target", TARGETS)
def test_the_boxes_of_a_yolo_are_no_fault(target):
    """Sides of boxes, [N, 4, cells]: its parts are none of a map's channels."""

    class Boxes(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 16, 3, padding=1)
            self.mean = nn.Conv2d(4, 1, 1, bias=False)
            self.register_buffer("anchors", torch.rand(1, 2, 35))

        def forward(self, x):
            sides = self.conv(x).view(x.shape[0], 4, 4, 35).transpose(2, 1).softmax(1)
            near, far = self.mean(sides).view(-1, 4, 35).chunk(2, 1)
            low, high = self.anchors - near, self.anchors + far
            return torch.cat(((low + high) / 2, high - low), 1)

    torch.manual_seed(0)
    record = lower(export(randomise_(Boxes()), (1, 3, 7, 5)), target=target)
    assert not [one for one in record.near_misses if "report" in one.reason]


def test_what_the_new_form_reads_is_not_gone():
    x = ir.val("x", ir.DataType.FLOAT, [1, 8, 4, 4])
    first = ir.Node("", "Relu", [x])
    second = ir.Node("", "Abs", [first.outputs[0]])
    last = ir.Node("", "Exp", [second.outputs[0]])
    nodes = [first, second, last]
    ir.Graph([x], [last.outputs[0]], nodes=nodes)
    new = [ir.Node("", "Sigmoid", [first.outputs[0]])]
    assert freed(nodes, last.outputs) == nodes
    assert freed(nodes, last.outputs, new) == [second, last]
