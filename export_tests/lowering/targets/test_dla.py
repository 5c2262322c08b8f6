"""The forms for a DLA: that they are equal, that it runs them, and what is said of what stays."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeattn.graph.marks import maps_of
from edgeattn.graph.shapes import infer
from edgeattn.lowering.pipeline import lower
from edgeattn.lowering.target import TARGETS
from edgeattn.lowering.targets.dla import measure, refused
from edgeattn.parity import compare_files
from edgeattn.support.dla import DLA
from export_tests.lowering.float64 import as_double, assert_equal64
from export_tests.lowering.graphs import Graph, between, check_runs, gated
from export_tests.lowering.kit import export, ops, tiny_net
from export_tests.lowering.spellings.table import SPELLINGS
from export_tests.lowering.test_exactness import SIZE, C, Grammar


def lowered(model, **options):
    """Gives a model lowered for a DLA, its record, and why nodes of it do not run there.

    It is proven equal in float64, and run in float32.
    """
    model = model.clone()
    infer(model)
    double = as_double(model)
    exact = double.clone()
    lower(exact, target="dla", **options)
    assert_equal64(double, exact, batches=(1, 3))
    made = model.clone()
    record = lower(made, target="dla", **options)
    assert not [miss for miss in record.near_misses if "a fault of edgeattn" in miss.reason]
    proto = ir.to_proto(made)
    onnx.checker.check_model(proto, full_check=True)
    check_runs(model, proto)
    return made, record, [reason for node in made.graph if (reason := refused(node))]


def whole(model, **options):
    """Gives the operators of a model that is lowered for a DLA, of which it runs all."""
    before = model.clone()
    infer(before)
    assert any(map(refused, before.graph))
    made, record, left = lowered(model, **options)
    assert not left
    assert record.rewrites
    assert not [miss for miss in record.near_misses if miss.rule == "dla"]
    return ops(made)


@pytest.mark.parametrize(
    "name", ["se-linear-view", "se-hard-hardtanh", "eca-views", "cbam-loop", "bam-expanded"]
)
def test_attention_stays(name):
    net = tiny_net(SPELLINGS[name])
    model = export(net, (1, 3, 26, 46), exporter="torchscript", opset=17)  # sides of 13 and 23
    made, _, left = lowered(model)
    assert not left
    assert maps_of(made) == ("y",)


@pytest.mark.parametrize("size", [(1, 7), (7, 7), (56, 28), (13, 11), (37, 3), (40, 67)])
@pytest.mark.parametrize("op_type", ["ReduceMean", "ReduceMax"])
def test_a_map_is_reduced_by_steps(op_type, size):
    def gate(graph, x):
        return graph.conv(graph.reduce(op_type, x, [2, 3]), 12, 12)

    found = whole(between(gated(gate), size=size, batch=1))
    assert not found[op_type]
    assert found["MaxPool" if op_type == "ReduceMax" else "AveragePool"]


@pytest.mark.parametrize("op_type", ["ReduceMean", "ReduceMax"])
@pytest.mark.parametrize("channels", [1, 12, 13])
def test_a_spatial_gate_is_repeated_along_channels(op_type, channels):
    def gate(graph, x):
        return graph.conv(graph.reduce(op_type, x, [1]), 1, 1, 7)

    model = between(gated(gate), channels=channels, batch=1)
    if channels > 1:
        found = whole(model)
        assert found["Max"] == (4 if op_type == "ReduceMax" else 0)
    else:
        assert not lowered(model)[2]


@pytest.mark.parametrize("size", [(7, 5), (64, 37)])
def test_gates_of_rows_and_columns_are_resized(size):
    def body(graph, x):
        for axis in (2, 3):
            line = graph.reduce("ReduceMean", x, [axis])
            x = graph.op("Mul", x, graph.op("Sigmoid", graph.conv(line, 12, 12)))
        return x

    assert whole(between(body, size=size, batch=1))["Resize"]


def test_groups_have_gates_of_their_own():
    def gate(graph, x):
        parts = graph.op("Reshape", x, np.array([0, 3, 4, 35]))
        mean = graph.reduce("ReduceMean", parts, [2, 3])
        return graph.op("Reshape", graph.op("Expand", mean, np.array([1, 3, 4, 1])),
                        np.array([0, 12, 1, 1]))  # fmt: skip

    whole(between(gated(gate), batch=1))


@pytest.mark.parametrize(
    ("op_type", "numbers"),
    [
        ("HardSwish", ()),
        ("Clip", (-1.0, 1.0)),
        ("Clip", (0.25, 0.5)),
        ("Clip", (-300.0, 300.0)),
        ("Clip", (0.0, 0.125)),
        ("Clip", (-0.001, 6.0)),
        ("Clip", (-2.0, -0.5)),
        ("Clip", (0.5,)),
        ("Clip", (-0.5,)),
        ("Min", (-0.5,)),
        ("Max", (-0.5,)),
        ("Min", (0.5,)),
        ("Neg", ()),
    ],
)
def test_functions_are_clips_from_zero(op_type, numbers):
    def body(graph, x):
        return graph.op(op_type, x, *(np.array(number) for number in numbers))

    assert not set(whole(between(body, batch=1))) & {"HardSigmoid", "HardSwish", "Min", "Neg"}


def test_a_clip_that_no_scale_makes_one_of_it_stays():
    for bound in (3.4e38, 1e5, 1e-5):
        body = lambda graph, x, b=bound: graph.op("Clip", x, np.array(-b), np.array(b))  # noqa: E731
        made, _, left = lowered(between(body, batch=1))
        assert ops(made)["Clip"] == 1
        assert left


def test_a_hard_sigmoid_is_a_clip():
    def gate(graph, x):
        return graph.op("HardSigmoid", graph.op("GlobalAveragePool", x), alpha=0.25, beta=0.5)

    assert whole(between(gated(gate), batch=1))["Clip"]


def test_a_number_less_a_map_and_a_quotient_by_constants():
    def body(graph, x):
        x = graph.op("Sub", np.array(1.0), x)
        return graph.op("Div", x, graph.random(12, 1, 1, offset=2.0, scale=0.1))

    whole(between(body, batch=1))


def test_a_softmax_of_two_is_a_sigmoid():
    def body(graph, x):
        mean = graph.op("GlobalAveragePool", x)
        both = graph.op("Reshape", graph.conv(mean, 12, 24), np.array([0, 2, 12, 1, 1]))
        both = graph.op("Softmax", both, axis=1)
        parts = [graph.op("Gather", both, np.array(k), axis=1) for k in (0, 1)]
        products = [graph.op("Mul", graph.conv(x, 12, 12), part) for part in parts]
        stack = [graph.op("Unsqueeze", one, np.array([1])) for one in products]
        return graph.reduce("ReduceSum", graph.op("Concat", *stack, axis=1), [1], keepdims=0)

    found = whole(between(body, batch=1))
    assert found["Sigmoid"] == 1
    assert not found["Softmax"]


@pytest.mark.parametrize("op_type", ["ReduceSum", "ReduceMean"])
def test_maps_that_are_stacked_are_added(op_type):
    def body(graph, x):
        stack = [graph.op("Unsqueeze", graph.conv(x, 12, 12), np.array([1])) for _ in range(3)]
        return graph.reduce(op_type, graph.op("Concat", *stack, axis=1), [1], keepdims=0)

    found = whole(between(body, batch=1))
    assert (found["Add"], found["Mul"]) == (2, op_type == "ReduceMean")


def test_a_product_that_is_no_pooled_map_stays():
    def body(graph, x):
        rows = graph.op("Transpose", graph.op("Reshape", x, np.array([0, 12, 35])), perm=[0, 2, 1])
        column = graph.op("Reshape", graph.op("GlobalAveragePool", x), np.array([0, 12, 1]))
        scores = graph.op("MatMul", rows, column)
        return graph.op("Reshape", scores, np.array([0, 1, 7, 5]))

    made, _, left = lowered(between(body, out=0, batch=1))
    assert ops(made)["MatMul"] == 1
    assert left


def test_stacked_maps_may_have_a_gate_each():
    """As timm writes selective kernels."""

    def body(graph, x):
        maps = [graph.op("Relu", graph.conv(x, 12, 12)) for _ in range(2)]
        parts = [graph.op("Unsqueeze", one, np.array([1])) for one in maps]
        stack = graph.op("Concat", *parts, axis=1)
        mean = graph.reduce("ReduceMean", graph.reduce("ReduceSum", stack, [1], keepdims=0), [2, 3])
        both = graph.op("Reshape", graph.conv(mean, 12, 24), np.array([0, 2, 12, 1, 1]))
        gated = graph.op("Mul", graph.op("Softmax", both, axis=1), stack)
        return graph.reduce("ReduceSum", gated, [1], keepdims=0)

    assert not set(whole(between(body, batch=1))) & {"Softmax", "Concat", "ReduceSum", "Reshape"}


@pytest.mark.parametrize("order", [[5, 0, 3, 1, 4, 2, 11, 10, 9, 8, 7, 6], [0] * 4])
def test_channels_are_picked_by_a_convolution(order):
    def body(graph, x):
        return graph.op("Gather", graph.op("Relu", x), np.array(order), axis=1)

    assert not whole(between(body, out=0, batch=1))["Gather"]


@pytest.mark.parametrize("pads", [[0] * 4, [1, 1, 1, 1], [0, 1, 1, 0]])
def test_an_average_counts_its_padding(pads):
    def body(graph, x):
        return graph.op("AveragePool", x, kernel_shape=[3, 2], strides=[2, 1], pads=pads)

    found = whole(between(body, out=0, batch=1))
    assert found["Mul"] == any(pads)


@pytest.mark.parametrize(("size", "factors"), [((8, 6), 0), ((7, 6), 1), ((9, 5), 1)])
def test_a_last_window_that_reaches_beyond_has_padding(size, factors):
    def body(graph, x):
        how = {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}
        return graph.op("AveragePool", x, **how)

    assert whole(between(body, size=size, out=0, batch=1))["Mul"] == factors


@pytest.mark.parametrize("side", [9, 13])
def test_a_wide_maximum_is_one_of_several(side):
    def body(graph, x):
        return graph.op("MaxPool", x, kernel_shape=[side, 7], pads=[side // 2, 3] * 2)

    found = whole(between(body, size=(20, 9), out=0, batch=1))
    assert found["MaxPool"] == (side + 4) // 6


@pytest.mark.parametrize(("dilation", "stays"), [(4, True), (16, False)])
def test_a_dilated_convolution_has_zeros_between_its_weights(dilation, stays):
    def body(graph, x):
        weight, bias = graph.random(12, 4, 3, 3), graph.random(12)
        how = {"pads": [dilation] * 4, "dilations": [dilation] * 2, "group": 3}
        return graph.op("Conv", x, weight, bias, **how)

    left = lowered(between(body, size=(20, 9), out=0, batch=1))[2]
    assert not left if stays else left


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize(("op_type", "kernel"), [("Conv", 3), ("Conv", 1), ("MaxPool", 3)])
def test_zeros_beside_a_map_are_those_of_a_convolution(op_type, kernel, opset):
    def body(graph, x):
        if opset == 13:
            x = graph.op("Pad", x, np.array([0, 0, 1, 0, 0, 0, 2, 1]))
        else:
            x = graph.op("Pad", x, np.array([0, 1, 1, 2]), np.array(0.0), np.array([-1, 2]))
        if op_type == "MaxPool":
            return graph.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2])
        return graph.op("Conv", x, graph.random(12, 12, kernel, kernel), strides=[2, 2])

    found = whole(between(body, out=0, batch=1, opset=opset))
    assert not found["Pad"]
    assert found["Conv"] == (2 if kernel == 3 and op_type == "Conv" else 3 - (op_type != "Conv"))


@pytest.mark.parametrize("batch", [2, "n"])
def test_two_statistics_side_by_side_are_joined_as_maps(batch):
    def body(graph, x):
        mean = graph.reduce("ReduceMean", x, [2, 3], keepdims=0)
        most = graph.op("Flatten", graph.op("GlobalMaxPool", x))
        both = graph.op("Concat", mean, most, axis=-1)
        return graph.op("Gemm", both, graph.random(24, 5), graph.random(5))

    assert whole(between(body, out=0, batch=batch))["Concat"] == 1


@pytest.mark.parametrize("how", [{"mode": "edge"}, {"fill": 1.0}])
def test_what_is_beside_a_map_and_no_zero_stays(how):
    def body(graph, x):
        amounts, fill = np.array([0, 0, 1, 1, 0, 0, 1, 1]), np.array(how.get("fill", 0.0))
        x = graph.op("Pad", x, amounts, fill, mode=how.get("mode", "constant"))
        return graph.op("Conv", x, graph.random(12, 12, 3, 3))

    assert ops(lowered(between(body, out=0, batch=1))[0])["Pad"] == 1


def test_a_resize_has_scales():
    def body(graph, x):
        sizes = np.array([1, 12, 14, 10])
        how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return graph.op("Resize", x, "", "", sizes, **how)

    whole(between(body, out=0, batch=1))


@pytest.mark.parametrize("flatten", ["Flatten", "Reshape"])
@pytest.mark.parametrize("op_type", ["Gemm", "MatMul"])
def test_a_head_is_made_of_convolutions(op_type, flatten):
    def body(graph, x):
        shape = [np.array([1, -1])] if flatten == "Reshape" else []
        x = graph.op(flatten, x, *shape)
        inner = graph.op(op_type, x, graph.random(12 * 35, 6))
        return graph.op("Gemm", graph.op("Relu", inner), graph.random(6, 5), graph.random(5))

    model = between(body, out=0, batch=1)
    made, record, left = lowered(model)
    assert not left
    assert {"map-output", "flat-layer"} <= {one.rule for one in record.rewrites}
    assert list(made.graph.outputs[0].shape) == [1, 5, 1, 1]
    assert made.graph.outputs[0].name == model.graph.outputs[0].name


@pytest.mark.parametrize("is_grouped", [False, True])
def test_what_is_lowered_for_a_dla_stays_as_it_is(is_grouped):
    def body(graph, x):
        if is_grouped:  # between the map and the flat layer there are other views at first
            parts = graph.op("Reshape", x, np.array([0, 3, -1]))
            gate = graph.op("Sigmoid", graph.reduce("ReduceMean", parts, [2]))
            x = graph.op("Reshape", graph.op("Mul", parts, gate), np.array([0, 12, 7, 5]))
        x = graph.op("Dropout", graph.op("Flatten", x))
        return graph.op("Gemm", x, graph.random(12 * 35, 5), graph.random(5))

    made, record, left = lowered(between(body, size=(7, 5), out=0, batch=1))
    assert not left
    assert {"map-output", "flat-layer"} <= {one.rule for one in record.rewrites}
    again = made.clone()
    assert not lower(again, target="dla").rewrites
    assert ops(again) == ops(made)
    assert maps_of(again) == maps_of(made)


def test_channels_that_are_parted_behind_a_softmax_of_two():
    """What is before them has its outputs in another order then."""

    def body(graph, x):
        both = graph.conv(graph.op("GlobalAveragePool", x), 12, 24)
        both = graph.op("Softmax", graph.op("Reshape", both, np.array([0, 2, 12, 1, 1])), axis=1)
        parts = [graph.op("Gather", both, np.array(k), axis=1) for k in (0, 1)]
        x = graph.op("Add", *[graph.op("Mul", x, part) for part in parts])
        halves = [graph.op("GlobalAveragePool", half) for half in graph.split(x, [6, 6])]
        return graph.conv(graph.op("Concat", *halves, axis=1), 12, 12)

    assert not whole(between(body, out=0, batch=1))["GlobalAveragePool"]


def test_what_two_parts_compute_alike_stands_before_both():
    def body(graph, x):
        one, other = (graph.op("Add", x, graph.op("Tanh", x)) for _ in range(2))
        left, right = graph.split(one, [6, 6])
        low, high = graph.split(right, [3, 3])
        both = [graph.op("GlobalAveragePool", low), graph.op("GlobalMaxPool", high)]
        parts = (graph.op("Concat", *both, axis=1), graph.op("GlobalAveragePool", left))
        gates = [graph.op("Sigmoid", graph.conv(part, 6, 6)) for part in parts]
        gate = graph.op("Concat", *gates, axis=1)
        mean = graph.op("Mul", gate, graph.op("GlobalAveragePool", other))
        return graph.op("Gemm", graph.op("Flatten", mean), graph.random(12, 5))

    lowered(between(body, out=0, batch=1))


def test_an_output_stays_as_it_is_where_that_is_asked():
    rules = TARGETS["dla"].rules - {"map-output"}
    made, _, left = lowered(_classifier(), rules=rules)
    assert list(made.graph.outputs[0].shape) == [1, 5]
    assert not maps_of(made)
    assert len(left) == 1


def test_a_map_that_is_an_output_too_keeps_its_name():
    def body(graph, x):
        mean = graph.conv(graph.op("GlobalAveragePool", x), 12, 5)
        graph.output(mean)
        return graph.op("Flatten", mean)

    model = between(body, out=0, batch=1)
    made, _, _ = lowered(model)
    assert [value.name for value in made.graph.outputs] == [v.name for v in model.graph.outputs]
    assert list(made.graph.outputs[1].shape) == [1, 5, 1, 1]


def test_an_output_that_is_no_map_stays_as_it_is():
    def body(graph, x):
        mean = graph.reduce("ReduceMean", x, [2, 3], keepdims=0)
        return graph.op("TopK", mean, np.array([3]), count=2)[0]

    made, _, _ = lowered(between(body, out=0, batch=1))
    assert list(made.graph.outputs[0].shape) == [1, 3]
    assert not maps_of(made)


def _classifier(batch=1):
    def body(graph, x):
        mean = graph.reduce("ReduceMean", x, [2, 3], keepdims=0)
        return graph.op("Gemm", mean, graph.random(12, 5), graph.random(5))

    return between(body, out=0, batch=batch)


def test_a_map_is_compared_with_what_it_stands_for(tmp_path):
    model = _classifier()
    stock, path, bare = (tmp_path / f"{name}.onnx" for name in ("stock", "dla", "bare"))
    ir.save(model, stock)
    made, _, _ = lowered(model)
    ir.save(made, path)
    report = compare_files(path, stock)
    assert report.passed
    assert report.outputs[0].sqnr_db > 80
    made.metadata_props.clear()  # another file with such an output has another interface
    ir.save(made, bare)
    assert not compare_files(bare, stock).passed


def test_a_batch_may_be_open():
    made, _, left = lowered(_classifier(batch="n"))
    assert not left
    assert made.graph.outputs[0].shape[0] == made.graph.inputs[0].shape[0]


@pytest.mark.parametrize("spelling", ["product", "sum"])
def test_a_pooled_context_leaves_its_softmax(spelling):
    def gate(graph, x):
        flat = graph.op("Reshape", x, np.array([0, 12, 35]))
        mask = graph.op("Reshape", graph.conv(x, 12, 1), np.array([0, 1, 35]))
        mask = graph.op("Softmax", mask, axis=2)
        if spelling == "product":
            context = graph.op("MatMul", flat, graph.op("Transpose", mask, perm=[0, 2, 1]))
        else:
            context = graph.reduce("ReduceSum", graph.op("Mul", flat, mask), [2])
        return graph.op("Reshape", context, np.array([0, 12, 1, 1]))

    made, _, left = lowered(between(gated(gate), batch=1))
    assert len(left) == 1
    (softmax,) = (node for node in made.graph if node.op_type == "Softmax")
    assert list(softmax.outputs[0].shape) == [1, 1, 35, 1]
    assert DLA("orin", "10.3", "fp16").takes(softmax).verdict == "yes"


def test_a_head_is_written_though_what_is_before_it_cannot_be():
    def body(graph, x):
        parts = graph.op("Reshape", x, np.array([0, 3, 4, 35]))
        gate = graph.op("Sigmoid", graph.reduce("ReduceMax", parts, [1]))
        gated_parts = graph.op("Mul", parts, gate)
        x = graph.op("Add", graph.op("Reshape", gated_parts, np.array([0, 12, 7, 5])), x)
        mean = graph.reduce("ReduceMean", graph.op("Relu", x), [2, 3], keepdims=0)
        return graph.op("Gemm", mean, graph.random(12, 5), graph.random(5))

    made, record, left = lowered(between(body, out=0, batch=1))
    assert any("part of the channels" in miss.reason for miss in record.near_misses)
    assert not set(ops(made)) & {"ReduceMean", "Gemm"}
    assert left


def test_what_cannot_stay_is_named():
    def simam(graph, x):
        centred = graph.op("Sub", x, graph.reduce("ReduceMean", x, [2, 3]))
        square = graph.op("Mul", centred, centred)
        total = graph.reduce("ReduceSum", square, [2, 3])
        spread = graph.op("Add", graph.op("Div", total, np.array(34.0)), np.array(1e-4))
        return graph.op("Div", square, spread, name="block/gate/Div")

    made, record, left = lowered(between(gated(simam), batch=1))
    named = [miss for miss in record.near_misses if miss.rule == "dla"]
    assert len(left) == len(named) == 1
    assert named[0].reason.startswith("Reciprocal: ")
    assert not ops(made)["ReduceSum"]


def test_what_a_dla_runs_stays_as_it_is():
    def body(graph, x):
        return graph.op("Mul", x, graph.op("Sigmoid", graph.conv(x, 12, 12)))

    model = between(body, batch=1)
    made, record, left = lowered(model)
    assert not left
    assert not record.rewrites
    assert not record.near_misses
    assert ops(made) == ops(model)


def test_less_off_it_is_better_whatever_it_moves():
    graph = Graph(batch=1)
    x = graph.input(12, 8, 8)
    graph.output(graph.op("Exp", graph.op("Sigmoid", x)), graph.op("Relu", graph.op("Relu", x)))
    model = graph.model()
    infer(model)
    sigmoid, exp, *relus = model.graph
    off, on = measure([sigmoid, exp], []), measure(relus, [])
    assert (off.off, off.changes) == (1, 1)
    assert (on.off, on.changes) == (0, 0)
    assert on.pays_against(off)
    assert not off.pays_against(on)


@settings(max_examples=8)
@given(st.data())
def test_before_and_after(data):
    def body(graph, x):
        return Grammar(data.draw, graph).block(x, C, depth=2)

    double = as_double(between(body, size=SIZE, opset=data.draw(st.sampled_from([14, 18]))))
    for must_pay in (True, False):
        after = double.clone()
        record = lower(after, target="dla", must_pay=must_pay)
        assert not [miss for miss in record.near_misses if "a fault of edgeattn" in miss.reason]
        assert_equal64(double, after, batches=(2,))
