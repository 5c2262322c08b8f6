"""Costs: by hand, against torch's own counter, and the numbers that papers print."""

import numpy as np
import onnx_ir as ir
import pytest
import torch
from onnx import helper, numpy_helper, parser
from torch.utils.flop_counter import FlopCounterMode

from edgeattn.graph import costs, shapes

F32, I64 = 1, 7


def _graph(nodes, inputs, outputs, weights=None):
    """Gives a model; inputs and outputs are shapes by name."""
    weights = weights or {}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(k, F32, s) for k, s in inputs.items()],
        [helper.make_tensor_value_info(k, F32, s) for k, s in outputs.items()],
        [numpy_helper.from_array(v, k) for k, v in weights.items()],
    )
    return ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]))


def _one(op, inputs, output, attributes=None, weights=None):
    names = [*inputs, *(weights or {})]
    node = helper.make_node(op, names, ["y"], name="a/Op", **(attributes or {}))
    (cost,) = costs.per_node(_graph([node], inputs, {"y": output}, weights))
    assert cost.known
    assert (cost.name, cost.op_type) == ("a/Op", op)
    return cost.macs, cost.matmul_macs, cost.element_ops


def _zeros(*shape):
    return np.zeros(shape, np.float32)


def _ints(*values):
    return np.array(values, np.int64)


X = (2, 8, 5, 6)
N = 2 * 8 * 5 * 6


@pytest.mark.parametrize("op", ["Relu", "Sigmoid", "HardSwish", "Exp", "Erf", "Neg", "Sqrt"])
def test_elementwise_is_one_per_output(op):
    assert _one(op, {"x": X}, X) == (0, 0, N)


def test_a_gate_is_one_per_broadcast_output():
    assert _one("Mul", {"x": X, "g": (2, 8, 1, 1)}, X) == (0, 0, N)


@pytest.mark.parametrize("op", ["Sum", "Max", "Mean"])
def test_of_many_tensors(op):
    assert _one(op, {"x": X, "z": X, "w": X}, X) == (0, 0, 2 * N)


@pytest.mark.parametrize(
    ("op", "output", "attributes", "weights"),
    [
        ("ReduceMean", (2, 8, 1, 1), {}, {"a": _ints(2, 3)}),
        ("GlobalAveragePool", (2, 8, 1, 1), {}, {}),
        ("ReduceMax", (2, 1, 5, 6), {}, {"a": _ints(1)}),
    ],
)
def test_reductions_are_one_per_input(op, output, attributes, weights):
    assert _one(op, {"x": X}, output, attributes, weights) == (0, 0, N)


def test_pooling_is_its_window():
    window = {"kernel_shape": [3, 3], "pads": [1] * 4}
    assert _one("MaxPool", {"x": X}, X, window) == (0, 0, 9 * N)


def test_softmax_and_norms():
    assert _one("Softmax", {"x": X}, X) == (0, 0, 5 * N)
    pair = {"s": _zeros(8), "b": _zeros(8)}
    assert _one("InstanceNormalization", {"x": X}, X, {}, pair) == (0, 0, 7 * N)
    assert _one("LayerNormalization", {"x": X}, X, {}, {"s": _zeros(6)}) == (0, 0, 7 * N)
    four = {**pair, "m": _zeros(8), "v": _zeros(8)}
    assert _one("BatchNormalization", {"x": X}, X, {}, four) == (0, 0, 2 * N)


def test_copies_are_one_per_output():
    assert _one("Transpose", {"x": X}, (2, 5, 6, 8), {"perm": [0, 2, 3, 1]}) == (0, 0, N)
    assert _one("Concat", {"x": X, "z": X}, (2, 16, 5, 6), {"axis": 1}) == (0, 0, 2 * N)
    cut = {"s": _ints(0), "e": _ints(4), "a": _ints(1)}
    assert _one("Slice", {"x": X}, (2, 4, 5, 6), {}, cut) == (0, 0, N // 2)
    assert _one("Expand", {"x": (2, 8, 1, 1)}, X, {}, {"s": _ints(*X)}) == (0, 0, N)


def test_views_are_free():
    assert _one("Reshape", {"x": X}, (2, 240), {}, {"s": _ints(2, 240)}) == (0, 0, 0)
    assert _one("Flatten", {"x": X}, (2, 240)) == (0, 0, 0)
    assert _one("Transpose", {"x": (2, 8, 1, 1)}, (2, 1, 8, 1), {"perm": [0, 2, 1, 3]}) == (0, 0, 0)


@pytest.mark.parametrize(("mode", "each"), [("nearest", 1), ("linear", 4), ("cubic", 16)])
def test_resizing_reads_its_neighbours(mode, each):
    node = helper.make_node("Resize", ["x", "", "s"], ["y"], mode=mode)
    weights = {"s": np.array([1, 1, 2, 2], np.float32)}
    model = _graph([node], {"x": X}, {"y": (2, 8, 10, 12)}, weights)
    assert costs.count(model).element_ops == each * 4 * N


@pytest.mark.parametrize(("mode", "each"), [("bilinear", 4), ("nearest", 1), ("bicubic", 16)])
def test_grid_sampling_reads_its_neighbours(mode, each):
    inputs = {"x": X, "g": (2, 3, 4, 2)}
    assert _one("GridSample", inputs, (2, 8, 3, 4), {"mode": mode}) == (0, 0, each * 2 * 8 * 12)


def test_linear_layers_and_attention_stand_apart():
    assert _one("MatMul", {"x": (2, 7, 8)}, (2, 7, 5), {}, {"w": _zeros(8, 5)}) == (560, 0, 0)
    assert _one("MatMul", {"x": (2, 7, 8), "w": (2, 8, 5)}, (2, 7, 5)) == (0, 560, 0)
    assert _one("Gemm", {"x": (8, 3)}, (3, 5), {"transA": 1}, {"w": _zeros(8, 5)}) == (120, 0, 0)
    product = {"equation": "nchw,ndhw->ncd"}
    assert _one("Einsum", {"x": X, "z": (2, 3, 5, 6)}, (2, 8, 3), product) == (0, 2 * 8 * 3 * 30, 0)


def test_fused_attention_is_its_two_products_and_a_softmax():
    flat = {"q": (1, 3, 8), "k": (1, 5, 8), "v": (1, 5, 12)}
    heads = {"q_num_heads": 2, "kv_num_heads": 2}
    split = {"q": (1, 2, 3, 4), "k": (1, 2, 5, 4), "v": (1, 2, 5, 6)}
    wanted = (0, 3 * 5 * (8 + 12), 5 * 2 * 3 * 5)
    assert _one("Attention", flat, (1, 3, 12), heads) == wanted
    assert _one("Attention", split, (1, 2, 3, 6)) == wanted


def test_deformable_convolution_reads_four_neighbours_per_sample():
    inputs = {"x": (2, 8, 5, 5), "w": (6, 4, 3, 3), "o": (2, 18, 3, 3)}
    wanted = (2 * 6 * 9 * 4 * 9, 0, 4 * 2 * 9 * 8 * 9)
    assert _one("DeformConv", inputs, (2, 6, 3, 3), {"group": 2}) == wanted


def test_a_weight_behind_a_transpose_is_a_weight():
    nodes = [
        helper.make_node("Transpose", ["w"], ["t"]),
        helper.make_node("MatMul", ["x", "t"], ["y"]),
    ]
    model = _graph(nodes, {"x": (2, 8)}, {"y": (2, 5)}, {"w": _zeros(5, 8)})
    assert costs.count(model) == costs.Costs(macs=80, matmul_macs=0, element_ops=0)


def test_shape_arithmetic_is_free():
    model = ir.from_proto(
        parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 18]>
        g (float[2,8,5,6] x) => (float[2,240] y) <int64[1] zero = {0}, int64[1] rest = {-1}> {
            s = Shape(x)
            n = Gather(s, zero)
            m = Mul(n, n)
            d = Div(m, n)
            t = Concat <axis = 0> (d, rest)
            y = Reshape(x, t)
        }""")
    )
    assert costs.count(model) == costs.Costs(macs=0, matmul_macs=0, element_ops=0)


@pytest.mark.parametrize(
    "layer",
    [
        torch.nn.Conv2d(8, 12, 3, stride=2, padding=1),
        torch.nn.Conv2d(8, 16, 3, groups=4, dilation=2),
        torch.nn.Conv2d(8, 8, 5, groups=8, padding=2),
        torch.nn.Conv2d(8, 4, (1, 3), stride=(2, 1)),
        torch.nn.ConvTranspose2d(8, 6, 3, stride=2, output_padding=1),
        torch.nn.ConvTranspose2d(8, 4, 2, groups=2),
    ],
    ids=str,
)
def test_convolutions_agree_with_torch(layer):
    x = torch.zeros(2, 8, 15, 14)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        y = layer(x)
    transposed = isinstance(layer, torch.nn.ConvTranspose2d)
    attributes = {
        "strides": list(layer.stride),
        "pads": list(layer.padding) * 2,
        "dilations": list(layer.dilation),
        "group": layer.groups,
    }
    if transposed:
        attributes["output_padding"] = list(layer.output_padding)
    op = "ConvTranspose" if transposed else "Conv"
    weights = {"w": layer.weight.detach().numpy(), "b": layer.bias.detach().numpy()}
    counts = _one(op, {"x": tuple(x.shape)}, tuple(y.shape), attributes, weights)
    assert counts == (counter.get_total_flops() // 2, 0, 0)


def test_what_cannot_be_counted_is_named():
    model = ir.from_proto(
        parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 18, "custom" : 1]>
        g (float[2,3] x) => (float[2,3] y, float z, float[2,3] w) {
            [mine] h = custom.Thing(x)
            [behind] y = Softmax(h)
            [fine] w = Relu(x)
            [unranked] z = ReduceMean <keepdims = 0> (h)
        }""")
    )
    found = costs.count(model)
    assert found.unknown == ("mine", "behind", "unranked")
    assert found.element_ops == 6


def _network(batch):
    return ir.from_proto(
        parser.parse_model(f"""
        <ir_version: 8, opset_import: ["" : 18]>
        g (float[{batch},4,6,6] x) => (float[{batch},4,6,6] y) <int64[2] hw = {{2, 3}}> {{
            m = ReduceMean(x, hw)
            s = Sigmoid(m)
            y = Mul(x, s)
        }}""")
    )


def test_an_open_batch_is_bound():
    static, open_ = _network("3"), _network("batch")
    n = 4 * 36
    assert costs.count(open_).element_ops == 2 * n + 4
    assert costs.count(open_, batch=3) == costs.count(static)
    assert costs.count(static).element_ops == 3 * (2 * n + 4)
    assert not open_.graph.inputs[0].shape.is_static()


def test_a_target_shape_that_is_computed_from_the_batch():
    """A group per sample, `x.reshape(batch * 2, -1)`, which ONNX's inference does not follow."""
    text = """<ir_version: 8, opset_import: ["" : 17]>
        g (float[batch, 4, 6, 6] x) => (float[rows, 72] y)
        <int64[1] two = {2}, int64[1] rest = {-1}> {
            size = Shape <start = 0, end = 1> (x)
            flat = Squeeze (size)
            rows = Mul (flat, two)
            row = Reshape (rows, rest)
            shape = Concat <axis = 0> (row, rest)
            h = Reshape (x, shape)
            y = Relu (h)
        }"""
    model = ir.from_proto(parser.parse_model(text))
    for batch in (1, 3):
        assert costs.count(model, batch=batch) == costs.Costs(
            macs=0, matmul_macs=0, element_ops=batch * 4 * 36
        )


def test_gates_by_hand():
    """The element operations of SE and SimAM: what FLOP counters skip, to the last one."""
    from edgeattn.attention.se import SE
    from edgeattn.attention.simam import SimAM

    C, H, W, hidden = 32, 6, 5, 2
    M, x = C * H * W, torch.randn(1, C, H, W)
    by_hand = {
        # Mean; ReLU and sigmoid on the squeezed; the gate's product.
        SE: (2 * C * hidden, M + hidden + C + M),
        # Mean, subtract, square, sum; /(M-1), + lambda, * 4 per channel; divide, + 1/2, sigmoid,
        # product.
        SimAM: (0, 4 * M + 3 * C + 4 * M),
    }
    for module, (macs, element_ops) in by_hand.items():
        program = torch.onnx.export(
            module(C).eval(), (x,), dynamo=True, opset_version=18, verbose=False
        )
        found = costs.count(program.model)
        assert (found.macs, found.element_ops, found.unknown) == (macs, element_ops, ())


def test_an_open_image_is_not_guessed():
    model = _network("batch")
    model.graph.inputs[0].shape = ir.Shape(["batch", 4, "h", "w"])
    model.graph.outputs[0].shape = None
    assert [n.known for n in costs.per_node(model)] == [False, True, False]


def test_counting_leaves_the_model_alone():
    model = _network("batch")
    before = ir.to_proto(model).SerializeToString()
    costs.count(model, batch=2)
    assert ir.to_proto(model).SerializeToString() == before


def test_inference_fills_in_and_keeps_the_order_of_weights():
    weights = {"small": _zeros(3), "large": _zeros(40, 40), "last": _zeros(2)}
    nodes = [
        helper.make_node("MatMul", ["x", "large"], ["h"]),
        helper.make_node("Relu", ["h"], ["y"]),
    ]
    nodes += [helper.make_node("Relu", [k], [f"{k}_y"]) for k in ("small", "last")]
    model = _graph(nodes, {"x": (5, 40)}, {"y": (5, 40)}, weights)
    assert shapes.is_incomplete(model)
    shapes.infer(model)
    assert not shapes.is_incomplete(model)
    assert list(model.graph.initializers) == list(weights)
    assert model.graph[0].outputs[0].shape == [5, 40]


def test_weights_are_never_read():
    """A model above 2 GB passes: neither counting nor inference touches its weights."""

    def read():
        raise AssertionError("a weight was read")

    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    model = _graph([node], {"x": (2, 40)}, {"y": (2, 40)}, {"w": _zeros(40, 40)})
    weight = model.graph.initializers["w"]
    weight.const_value = ir.LazyTensor(read, dtype=ir.DataType.FLOAT, shape=ir.Shape([40, 40]))
    weight.type = weight.shape = None
    model.graph.outputs[0].shape = None
    assert costs.count(model).macs == 2 * 40 * 40
    assert list(model.graph.initializers) == ["w"]


# MACs of convolutions and linear layers at 224 pixels, as printed in units of 10^9.
@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("resnet50", 4.089),
        pytest.param("resnet101", 7.801, marks=pytest.mark.slow),
    ],
)
def test_published_networks(name, printed):
    from edgeattn.base.torchvision_ops import declare_missing_operators

    declare_missing_operators()
    import timm

    model = timm.create_model(name).eval()
    x = torch.zeros(1, 3, 224, 224)
    exported = torch.onnx.export(model, (x,), dynamo=True, opset_version=18, verbose=False)
    found = costs.count(exported.model)
    assert round(found.macs / 1e9, 3) == printed
    assert found.unknown == ()
    assert found.matmul_macs == 0
