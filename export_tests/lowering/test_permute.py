"""Channel permutations move to where they cost nothing, and the function stays."""

from __future__ import annotations

import time
from collections import Counter

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper, shape_inference

from edgeattn.lowering.permutation import shuffle
from edgeattn.lowering.permute import fold_permutations

TARGETS = ("tensorrt", "onnxruntime")
MARK = "shuffle"
OPEN_BATCH = 3


class Net:
    """Builds a graph; permutations are Gathers marked by their name until `model` raises them."""

    def __init__(self, seed=0, batch=1):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.weights, self.inputs, self.outputs = [], [], [], []
        self.shapes = {}
        self.batch = batch

    def input(self, *shape):
        name = f"x{len(self.inputs)}"
        self.inputs.append(helper.make_tensor_value_info(name, 1, [self.batch, *shape]))
        self.shapes[name] = (self.batch, *shape)
        return name

    def const(self, array):
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def random(self, *shape):
        return self.const((self.rng.standard_normal(shape) * 0.5).astype(np.float32))

    def op(self, op, inputs, outputs=1, label=None, **attributes):
        k = len(self.nodes)
        outs = [f"v{k}_{i}" for i in range(outputs)]
        name = f"m{k}/{label or op}"
        self.nodes.append(helper.make_node(op, inputs, outs, name=name, **attributes))
        return outs[0] if outputs == 1 else outs

    def shuffle(self, x, channels, groups=2, p=None):
        p = shuffle(groups, channels) if p is None else np.asarray(p)
        return self.op("Gather", [x, self.const(p.astype(np.int64))], label=MARK, axis=1)

    def conv(self, x, cin, cout, k=1, groups=1, stride=1, bias=True):
        inputs = [x, self.random(cout, cin // groups, k, k)]
        inputs += [self.random(cout)] if bias else []
        return self.op(
            "Conv", inputs, group=groups, pads=[k // 2] * 4, strides=[stride] * 2,
            kernel_shape=[k, k],
        )  # fmt: skip

    def affine(self, x, c):
        return self.op("Mul", [x, self.random(c, 1, 1)])

    def gate(self, x, c):
        mean = self.op("GlobalAveragePool", [x])
        a = self.op("Add", [self.op("Mul", [mean, self.random(1, c, 1, 1)]), self.random(c, 1, 1)])
        return self.op("Mul", [x, self.op("Sigmoid", [a])])

    def plain(self, *outputs):
        infos = [onnx.ValueInfoProto(name=name) for name in outputs]
        graph = helper.make_graph(self.nodes, "g", self.inputs, infos, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        return shape_inference.infer_shapes(model, strict_mode=True)


def raised(proto):
    """Turns the marked Gathers into channel permutations."""
    model = ir.from_proto(proto)
    for node in list(model.graph):
        if node.name.endswith(f"/{MARK}"):
            p = ir.convenience.get_const_tensor(node.inputs[1]).numpy().tolist()
            node.op_type, node.domain = "ChannelPermutation", "edgeattn"
            node.attributes.clear()
            node.attributes["permutation"] = ir.AttrInt64s("permutation", p)
            indices = node.inputs[1]
            node.resize_inputs(1)
            if not indices.uses():
                del model.graph.initializers[indices.name]
    return model


def run(proto, feeds):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(proto.SerializeToString(), options).run(None, feeds)


def feeds_of(proto, seed=1):
    rng = np.random.default_rng(seed)
    overridable = {w.name for w in proto.graph.initializer}
    return {
        i.name: rng.standard_normal(
            [d.dim_value or OPEN_BATCH for d in i.type.tensor_type.shape.dim]
        ).astype("f")
        for i in proto.graph.input
        if i.name not in overridable
    }


def fold(net, *outputs, target="tensorrt"):
    """Folds, proves, and gives the model, its operators and the near misses."""
    before = net if isinstance(net, onnx.ModelProto) else net.plain(*outputs)
    model = raised(before)
    permutations = sum(n.op_type == "ChannelPermutation" for n in model.graph)
    rewrites, near = fold_permutations(model, target=target)
    assert len(rewrites) == permutations
    after = ir.to_proto(model)
    assert not any(n.domain for n in after.graph.node)
    onnx.checker.check_model(after, full_check=True)
    names = [n.name for n in after.graph.node]
    assert len(set(names)) == len(names)
    assert [o.name for o in after.graph.output] == [o.name for o in before.graph.output]
    used = {k for n in after.graph.node for k in n.input}
    assert {w.name for w in after.graph.initializer} <= used | {i.name for i in after.graph.input}
    feeds = feeds_of(before)
    for got, want in zip(run(after, feeds), run(before, feeds), strict=True):
        assert got.shape == want.shape
        scale = max(1.0, np.abs(want).max())
        np.testing.assert_allclose(got / scale, want / scale, rtol=1e-5, atol=1e-5)
    return after, Counter(n.op_type for n in after.graph.node), near


def free(operators):
    return not operators["Gather"] and not operators["Slice"]


def both(build):
    """Folds for both targets and demands that nothing moves any more."""
    for target in TARGETS:
        net = Net()
        _, operators, near = fold(net, *build(net), target=target)
        assert free(operators), target
        assert not near


def test_up_into_the_rows_through_a_gate_and_a_residual():
    def build(net):
        x = net.op("Relu", [net.conv(net.input(3, 5, 7), 3, 8)])
        y = net.shuffle(net.gate(net.conv(x, 8, 8, 3), 8), 8)
        z = net.op("Relu", [net.op("Add", [y, x])])
        return [net.conv(z, 8, 4)]

    both(build)


def test_stays_in_the_rows_where_the_other_side_is_the_identity():
    net = Net()
    x = net.input(8, 4, 4)
    y = net.shuffle(net.gate(net.conv(x, 8, 8), 8), 8, p=net.rng.permutation(8))
    after, operators, _ = fold(net, net.op("Add", [y, x]))
    assert free(operators)
    assert [n.op_type for n in after.graph.node].count("Conv") == 1


def test_down_into_the_columns():
    def build(net):
        x = net.input(8, 4, 4)
        y = net.shuffle(net.op("Add", [x, net.input(8, 4, 4)]), 8, groups=4)
        y = net.op("MaxPool", [net.op("HardSwish", [y])], kernel_shape=[2, 2])
        return [net.conv(net.conv(y, 8, 8, 3, groups=8), 8, 5)]

    both(build)


def test_down_into_the_classifier():
    def build(net):
        y = net.shuffle(net.input(6, 3, 3), 6, groups=3)
        flat = net.op("Flatten", [net.op("GlobalAveragePool", [y])])
        whole = net.op("Flatten", [y])
        weights = [net.random(10, 6), net.random(10)]
        return [
            net.op("Gemm", [flat, *weights], transB=1),
            net.op("MatMul", [whole, net.random(54, 4)]),
        ]

    both(build)


def test_an_open_batch():
    for target in TARGETS:
        net = Net(batch="batch")
        x = net.input(4, 4, 4)
        t = net.op("Concat", [net.conv(x, 4, 6), net.conv(x, 4, 6)], axis=1)
        halves = net.const(np.array([6, 6]))
        a, b = net.op("Split", [net.shuffle(t, 12), halves], outputs=2, axis=1)
        t = net.shuffle(net.op("Concat", [a, net.conv(b, 6, 6)], axis=1), 12, groups=3)
        flat = net.op("Flatten", [net.op("GlobalAveragePool", [t])])
        _, _, near = fold(net, net.op("Gemm", [flat, net.random(12, 5)]), target=target)
        assert not near


def test_a_sum_over_channels_forgets_the_order():
    def build(net):
        y = net.shuffle(net.input(6, 3, 3), 6)
        return [net.op("ReduceMean", [y], axes=[1]), net.op("ReduceMax", [y], axes=[1], keepdims=0)]

    both(build)


def test_normalisations_and_slopes_are_permuted():
    def build(net):
        x = net.conv(net.input(3, 4, 4), 3, 8)
        y = net.shuffle(x, 8)
        var = net.const((net.rng.random(8) + 0.5).astype(np.float32))
        y = net.op("BatchNormalization", [y, net.random(8), net.random(8), net.random(8), var])
        y = net.op("PRelu", [y, net.random(8, 1, 1)])
        y = net.op("InstanceNormalization", [y, net.random(8), net.random(8)])
        y = net.op("Transpose", [y], perm=[0, 2, 3, 1])
        y = net.op("LayerNormalization", [y, net.random(8), net.random(8)], axis=-1)
        return [net.op("MatMul", [y, net.random(8, 5)])]

    both(build)


def test_pad_resize_and_a_map_shared_by_all_channels():
    def build(net):
        y = net.shuffle(net.conv(net.input(3, 4, 4), 3, 8), 8)
        y = net.op("Pad", [y, net.const(np.array([0, 0, 1, 1, 0, 0, 1, 0]))])
        scales = net.const(np.array([1, 1, 2, 2], dtype=np.float32))
        y = net.op("Resize", [y, "", scales], mode="nearest")
        y = net.op("Mul", [y, net.op("ReduceMean", [y], axes=[1])])
        return [net.conv(y, 8, 4)]

    both(build)


def test_depthwise_with_a_multiplier():
    def build(net):
        y = net.conv(net.shuffle(net.input(6, 5, 5), 6, groups=3), 6, 12, 3, groups=6)
        return [net.op("ReduceSum", [net.op("Relu", [y]), net.const(np.array([2, 3]))]), y][:1]

    net = Net()
    (out,) = build(net)
    flat = net.op("Reshape", [out, net.const(np.array([1, 12]))])
    _, operators, _ = fold(net, net.op("Gemm", [flat, net.random(12, 3)]))
    assert free(operators)


def test_aligned_grouped_convolution_takes_groups_and_what_is_inside():
    p = np.array([5, 4, 3, 0, 2, 1])  # the two groups change places, and channels in each

    def build(net):
        y = net.conv(net.shuffle(net.input(6, 4, 4), 6, p=p), 6, 4, 3, groups=2)
        return [net.conv(net.op("Relu", [y]), 4, 3)]

    both(build)


def test_split_halves_of_a_shuffled_convolution():
    for target in TARGETS:
        net = Net()
        y = net.shuffle(net.conv(net.input(3, 4, 4), 3, 8), 8)
        a, b = net.op("Split", [y, net.const(np.array([4, 4]))], outputs=2, axis=1)
        outs = net.conv(a, 4, 3), net.conv(b, 4, 3)
        _, operators, near = fold(net, *outs, target=target)
        assert not operators["Gather"]
        assert not near


def test_concat_of_convolutions_is_left_in_one_piece():
    for target in TARGETS:
        net = Net()
        x = net.input(3, 4, 4)
        y = net.shuffle(net.op("Concat", [net.conv(x, 3, 4), net.conv(x, 3, 6)], axis=1), 10)
        _, operators, near = fold(net, net.conv(y, 10, 3), target=target)
        assert operators == {"Conv": 3, "Concat": 1}
        assert not near


def test_shufflenet_units_have_no_shuffle_left():
    for target, forms in (("tensorrt", {"Gather"}), ("onnxruntime", {"Split"})):
        net = Net()
        x = net.input(4, 6, 6)
        t = net.op("Concat", [net.conv(x, 4, 6), net.op("Relu", [net.conv(x, 4, 6)])], axis=1)
        for _ in range(4):
            halves = net.const(np.array([6, 6]))
            a, b = net.op("Split", [net.shuffle(t, 12), halves], outputs=2, axis=1)
            b = net.conv(net.conv(net.conv(b, 6, 6), 6, 6, 3, groups=6), 6, 6)
            t = net.op("Concat", [a, b], axis=1)
        t = net.shuffle(t, 12)
        y = net.conv(net.conv(t, 12, 12, 3, groups=12), 12, 3)
        _, operators, near = fold(net, y, net.conv(t, 12, 4), target=target)
        assert set(operators) - forms == {"Conv", "Relu", "Concat"}
        assert not near


def stays(name):
    """Graphs in which a Gather must stay, or nothing may be touched."""
    net = Net()
    x = net.input(8, 4, 4)
    if name == "between input and output":
        return net, [net.op("Relu", [net.shuffle(x, 8)])]
    if name == "residual from the input":
        y = net.shuffle(net.op("Sigmoid", [x]), 8)
        return net, [net.op("Add", [x, y])]
    if name == "groups that are not aligned":
        y = net.conv(net.shuffle(net.conv(x, 8, 8, groups=2), 8), 8, 8, groups=2)
        return net, [y]
    if name == "an operator that counts channels":
        return net, [net.op("LRN", [net.shuffle(net.op("Abs", [x]), 8)], size=3)]
    if name == "a view that cuts channels":
        y = net.op("Reshape", [net.shuffle(x, 8), net.const(np.array([1, 2, 4, 16]))])
        return net, [net.op("ReduceMean", [y], axes=[1])]
    assert name == "two orders of one value"
    a = net.op("Relu", [net.conv(x, 8, 8)])
    return net, [net.conv(net.op("Mul", [a, net.shuffle(a, 8)]), 8, 3)]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "name",
    [
        "between input and output",
        "residual from the input",
        "groups that are not aligned",
        "an operator that counts channels",
        "a view that cuts channels",
        "two orders of one value",
    ],
)
def test_one_gather_stays(name, target):
    net, outputs = stays(name)
    after, operators, near = fold(net, *outputs, target=target)
    assert operators["Gather"] == 1
    (miss,) = near
    assert "order" in miss.reason
    (gather,) = (n for n in after.graph.node if n.op_type == "Gather")
    assert any(n.name == f"{gather.name.rpartition('/')[0]}/{MARK}" for n in net.nodes)


def test_the_gather_stands_where_the_tensor_is_smallest():
    net = Net()
    y = net.shuffle(net.input(8, 8, 8), 8)
    y = net.conv(y, 8, 8, 3, groups=8, stride=4)
    after, operators, _ = fold(net, y)
    assert operators["Gather"] == 1
    assert after.graph.node[-1].op_type == "Gather"
    assert next(iter(after.graph.node)).name.endswith("/Conv")


def test_a_shared_constant_is_copied():
    net = Net()
    x = net.input(4, 3, 3)
    shared = net.random(4, 1, 1)
    y = net.shuffle(net.op("Mul", [x, shared]), 4)
    z = net.op("Mul", [net.op("Mul", [net.conv(y, 4, 4), shared]), shared])
    y2 = net.conv(net.op("Mul", [y, shared]), 4, 2)
    _, operators, _ = fold(net, net.op("Relu", [z]), y2)
    assert free(operators)


def test_an_initializer_that_a_caller_may_override_is_not_touched():
    net = Net()
    x = net.input(4, 3, 3)
    weight = net.random(5, 4, 1, 1)
    y = net.op("Conv", [net.shuffle(x, 4), weight])
    before = net.plain(y)
    before.graph.input.append(helper.make_tensor_value_info(weight, 1, [5, 4, 1, 1]))
    after, operators, _ = fold(before)
    assert operators["Gather"] == 1
    kept = next(w for w in after.graph.initializer if w.name == weight)
    want = next(w for w in before.graph.initializer if w.name == weight)
    np.testing.assert_array_equal(numpy_helper.to_array(kept), numpy_helper.to_array(want))


def test_opposite_permutations_cancel_between_input_and_output():
    net = Net()
    y = net.shuffle(net.op("Relu", [net.shuffle(net.input(8, 2, 2), 8, groups=2)]), 8, groups=4)
    _, operators, near = fold(net, y)
    assert operators == {"Relu": 1}
    assert not near


def test_a_permuted_output_and_its_source_are_both_outputs():
    net = Net()
    a = net.op("Relu", [net.input(8, 2, 2)])
    _, operators, _ = fold(net, a, net.shuffle(a, 8), net.shuffle(net.shuffle(a, 8, 2), 8, 4))
    assert operators == {"Relu": 1, "Gather": 1, "Identity": 1}


def test_a_branch_reads_the_order_that_the_model_means():
    net = Net()
    y = net.shuffle(net.conv(net.input(3, 2, 2), 3, 6), 6)
    branches = {}
    for key, op in (("then_branch", "Relu"), ("else_branch", "Neg")):
        out = onnx.ValueInfoProto(name=f"{key}_y")
        node = helper.make_node(op, [y], [f"{key}_y"], name=f"inner/{op}")
        branches[key] = helper.make_graph([node], key, [], [out])
    flag = net.const(np.array(1, dtype=np.bool_))
    _, operators, _ = fold(net, net.op("If", [flag], **branches))
    assert operators["Gather"] == 0


def test_a_permutation_inside_a_branch_becomes_a_gather():
    net = Net()
    x = net.shuffle(net.conv(net.input(3, 2, 2), 3, 6), 6)
    branches = {}
    for key, p in (("then_branch", shuffle(3, 6)), ("else_branch", shuffle(2, 6))):
        out = onnx.ValueInfoProto(name=f"{key}_y")
        node = helper.make_node(
            "ChannelPermutation", [x], [f"{key}_y"], name=f"inner/{key}", domain="edgeattn",
            permutation=p.tolist(),
        )  # fmt: skip
        branches[key] = helper.make_graph([node], key, [], [out])
    flag = net.const(np.array(1, dtype=np.bool_))
    y = net.op("If", [flag], **branches)
    graph = helper.make_graph(
        net.nodes, "g", net.inputs, [helper.make_tensor_value_info(y, 1, [1, 6, 2, 2])], net.weights
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    proto.ir_version = 8
    model = raised(proto)
    rewrites, near = fold_permutations(model)
    assert (len(rewrites), len(near)) == (3, 2)
    after = ir.to_proto(model)
    feeds = feeds_of(proto)
    weights = [numpy_helper.to_array(w) for w in net.weights[:2]]
    made = np.einsum("oc,nchw->nohw", weights[0][:, :, 0, 0], feeds["x0"])
    made += weights[1][:, None, None]
    (got,) = run(after, feeds)
    np.testing.assert_allclose(got, made[:, shuffle(2, 6)][:, shuffle(3, 6)], rtol=1e-5, atol=1e-5)


def test_nothing_is_touched_without_a_permutation():
    net = Net()
    x = net.input(4, 3, 3)
    proto = net.plain(net.op("Concat", [net.conv(x, 4, 4), x], axis=1))
    model = ir.from_proto(proto)
    want = ir.to_proto(model)
    assert fold_permutations(model) == ([], [])
    assert ir.to_proto(model) == want


def test_wires_of_others_are_left_in_place():
    net = Net()
    x = net.input(6, 3, 3)
    a, b = net.op("Split", [net.conv(x, 6, 6), net.const(np.array([2, 4]))], outputs=2, axis=1)
    c = net.op("Concat", [net.op("Relu", [a]), b], axis=1)
    y = net.conv(net.shuffle(net.conv(c, 6, 8), 8), 8, 3)
    for target in TARGETS:
        after, _, _ = fold(net, y, target=target)
        names = {n.name for n in after.graph.node}
        assert names == {n.name for n in net.nodes if not n.name.endswith(MARK)}


KINDS = [
    "shuffle", "shuffle", "shuffle", "permute", "conv", "conv", "relu", "depthwise", "multiplied",
    "grouped", "affine", "gate", "add", "add", "concat", "concat", "split", "slice", "strided",
    "map", "norm", "transpose",
]  # fmt: skip


@st.composite
def nets(draw):  # noqa: C901, PLR0912, PLR0915 -- one branch per kind of node
    """Random graphs of all that the pass knows."""
    net = Net(seed=draw(st.integers(0, 2**16)), batch=draw(st.integers(1, 3)))
    h, w = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    channels = {}

    def put(value, c):
        channels[value] = c
        return value

    for _ in range(draw(st.integers(1, 2))):
        put(net.input(draw(st.sampled_from([4, 6, 8])), h, w), None)
    for info in net.inputs:
        channels[info.name] = info.type.tensor_type.shape.dim[1].dim_value
    for _ in range(draw(st.integers(3, 16))):
        x = draw(st.sampled_from(list(channels)[-5:]))
        c = channels[x]
        kind = draw(st.sampled_from(KINDS))
        divisors = [g for g in range(2, c + 1) if c % g == 0]
        if kind == "shuffle" and divisors:
            put(net.shuffle(x, c, draw(st.sampled_from(divisors))), c)
        elif kind == "permute":
            put(net.shuffle(x, c, p=net.rng.permutation(c)), c)
        elif kind == "conv":
            out = draw(st.sampled_from([4, 6, 8]))
            put(net.conv(x, c, out, draw(st.sampled_from([1, 3]))), out)
        elif kind == "depthwise":
            put(net.conv(x, c, c, 3, groups=c, bias=draw(st.booleans())), c)
        elif kind == "multiplied" and c <= 8:
            put(net.conv(x, c, 2 * c, groups=c), 2 * c)
        elif kind == "grouped" and divisors:
            groups = draw(st.sampled_from(divisors))
            out = groups * draw(st.integers(1, 2))
            put(net.conv(x, c, out, 3, groups=groups), out)
        elif kind == "relu":
            put(net.op(draw(st.sampled_from(["Relu", "HardSwish", "Erf"])), [x]), c)
        elif kind == "affine":
            put(net.affine(x, c), c)
        elif kind == "gate":
            put(net.gate(x, c), c)
        elif kind == "add":
            others = [v for v in channels if channels[v] == c]
            other = draw(st.sampled_from(others))
            put(net.op(draw(st.sampled_from(["Add", "Mul"])), [x, other]), c)
        elif kind == "concat":
            other = draw(st.sampled_from(list(channels)))
            if c + channels[other] <= 24:
                put(net.op("Concat", [x, other], axis=1), c + channels[other])
        elif kind == "split" and c > 1:
            k = draw(st.integers(1, c - 1))
            sizes = net.const(np.array([k, c - k]))
            a, b = net.op("Split", [x, sizes], outputs=2, axis=1)
            put(a, k), put(b, c - k)
        elif kind in {"slice", "strided"} and c > 2:
            step = 2 if kind == "strided" else 1
            start = draw(st.integers(0, 1))
            bounds = [net.const(np.array([k])) for k in (start, c, 1, step)]
            put(net.op("Slice", [x, *bounds]), len(range(start, c, step)))
        elif kind == "map":
            put(net.op("Mul", [x, net.op("ReduceMean", [x], axes=[1])]), c)
        elif kind == "norm":
            put(net.op("InstanceNormalization", [x, net.random(c), net.random(c)], epsilon=0.1), c)
        elif kind == "transpose":
            t = net.op("MatMul", [net.op("Transpose", [x], perm=[0, 2, 3, 1]), net.random(c, 4)])
            put(net.op("Transpose", [t], perm=[0, 3, 1, 2]), 4)
    made = [v for v in channels if v.startswith("v")] or [net.op("Relu", [next(iter(channels))])]
    outputs = dict.fromkeys([made[-1], *draw(st.lists(st.sampled_from(made), max_size=2))])
    return net, list(outputs)


@given(nets(), st.sampled_from(TARGETS))
def test_any_graph_keeps_its_function(drawn, target):
    net, outputs = drawn
    before = net.plain(*outputs)
    fold(before, target=target)


@pytest.mark.parametrize("target", TARGETS)
def test_channels_are_followed_into_a_view_where_they_are_last(target):
    net = Net()
    x = net.shuffle(net.input(8, 8, 8), 8)  # as many as rows and columns
    t = net.op("MatMul", [net.op("Transpose", [x], perm=[0, 2, 3, 1]), net.random(8, 4)])
    fold(net.plain(net.op("Transpose", [t], perm=[0, 3, 1, 2])), target=target)


def test_the_record_names_what_took_a_permutation_in():
    net = Net()
    y = net.shuffle(net.op("Relu", [net.conv(net.input(3, 4, 4), 3, 8)]), 8)
    net.op("Concat", [y, y], axis=1)
    proto = net.plain(net.conv(net.nodes[-1].output[0], 16, 3))
    model = raised(proto)
    (rewrite,), near = fold_permutations(model)
    assert not near
    assert (rewrite.rule, rewrite.site) == ("channel-permutation", "m2")
    assert rewrite.nodes_before == (f"m2/{MARK}",)
    assert set(rewrite.nodes_after) <= {n.name for n in model.graph}
    assert "m4/Conv" in rewrite.nodes_after


@pytest.mark.parametrize("opset", [11, 12, 13, 21])
def test_opsets(opset):
    net = Net()
    x = net.conv(net.input(3, 4, 4), 3, 8)
    y = net.shuffle(x, 8)
    a = net.conv(y, 8, 3)
    bounds = [net.const(np.array([k])) for k in (0, 4, 1)]
    b = net.conv(net.op("Slice", [y, *bounds]), 4, 3)
    c = net.conv(net.op("Concat", [net.op("Slice", [x, *bounds]), a], axis=1), 7, 2)
    proto = net.plain(a, b, c)
    proto.opset_import[0].version = opset
    proto.ir_version = 10
    for target in TARGETS:
        fold(proto, target=target)


def test_results_are_the_same_each_time():
    for target in TARGETS:
        net, outputs = stays("groups that are not aligned")
        proto = net.plain(*outputs)
        texts = set()
        for _ in range(2):
            model = raised(proto)
            fold_permutations(model, target=target)
            texts.add(ir.to_proto(model).SerializeToString(deterministic=True))
        assert len(texts) == 1


def chain(length):
    net = Net()
    x = net.conv(net.input(3, 4, 4), 3, 16)
    for k in range(length // 5):
        y = net.shuffle(net.op("Relu", [net.conv(x, 16, 16, groups=16)]), 16)
        x = net.op("Add", [net.affine(y, 16), x]) if k % 2 else net.conv(y, 16, 16)
    return raised(net.plain(x))


def test_time_is_linear():
    """A guard against quadratic time, with a wide margin for a busy machine."""
    times = []
    for length in (1_000, 10_000):
        model = chain(length)
        start = time.process_time()
        fold_permutations(model)
        times.append(time.process_time() - start)
    assert times[1] < 30 * max(times[0], 0.02)
