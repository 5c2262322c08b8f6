"""Means, sums and maxima: over the axes that the node says, however it says them."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from export_tests.lowering.float64 import as_double, assert_equal64
from export_tests.lowering.graphs import CHANNELS as C
from export_tests.lowering.graphs import TARGETS, between, check, gated, lowered
from export_tests.lowering.kit import ops

OPSETS = (13, 17, 18, 20)
REDUCTIONS = ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceSumSquare", "ReduceL2")
# A sum over the map is large: a gate of it would saturate, and hide faults.
SMALL = np.array(0.01)


def gate_of(op_type, axes, keepdims=1):
    """Gives the body that gates x by a reduction of it, brought back to rank 4."""

    def statistic(g, x):
        v = g.op("Mul", g.reduce(op_type, x, axes, keepdims), SMALL)
        return v if keepdims else g.op("Unsqueeze", v, np.array(sorted(a % 4 for a in axes)))

    return gated(statistic)


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("op_type", REDUCTIONS)
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("axes", [[2, 3], [-1, -2], [1], [-3], [3], [2, 1]])
def test_axes(op_type, axes, keepdims, opset):
    fires = None if axes in ([3], [2, 1]) else True
    check(between(gate_of(op_type, axes, keepdims), opset=opset), fires=fires, batches=(2,))


@pytest.mark.parametrize("op_type", REDUCTIONS)
@pytest.mark.parametrize("axes", [[0], [0, 2, 3], [0, 1, 2, 3], [-4, -1]])
@pytest.mark.parametrize("batch", ["n", C])
def test_over_the_batch(op_type, axes, batch):
    check(between(gate_of(op_type, axes), batch=batch), fires=None)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("op_type", REDUCTIONS)
def test_without_axes(op_type, opset):
    for options in ({}, {"keepdims": 0}):

        def statistic(g, x, options=options):
            return g.op("Mul", g.op(op_type, x, **options), SMALL)

        check(between(gated(statistic), opset=opset, batch=2), fires=None)


@pytest.mark.parametrize("op_type", ["ReduceMean", "ReduceMax", "ReduceSum"])
@pytest.mark.parametrize("is_given", [False, True])
@pytest.mark.parametrize("noop", [0, 1])
def test_empty_axes(op_type, is_given, noop):
    def statistic(g, x):
        axes = [np.array([], dtype=np.int64)] if is_given else []
        v = g.op(op_type, x, *axes, noop_with_empty_axes=noop)
        return g.op("Mul", g.op("Add", v, g.op("GlobalAveragePool", x)), SMALL)

    check(between(gated(statistic), batch=2), fires=None)


@pytest.mark.parametrize("op_type", ["ReduceMean", "ReduceSum"])
def test_axes_that_may_be_overridden(op_type):
    def statistic(g, x):
        v = g.op(op_type, x, g.overridable(np.array([2, 3])))
        return g.op("Mul", v, SMALL)

    check(between(gated(statistic)), fires=None, keeps=(op_type,))


def window(g, x, op_type, kernel=(7, 5), **attributes):
    return g.op(op_type, x, kernel_shape=list(kernel), **attributes)


@pytest.mark.parametrize("op_type", ["AveragePool", "MaxPool"])
def test_a_window_of_the_whole_map(op_type):
    for attributes in ({}, {"strides": [7, 5]}, {"pads": [0] * 4}, {"auto_pad": "VALID"}):
        body = gated(lambda g, x, a=attributes: window(g, x, op_type, **a))
        check(between(body), gone=(op_type,))


@pytest.mark.parametrize("op_type", ["AveragePool", "MaxPool"])
@pytest.mark.parametrize(
    ("kernel", "attributes"),
    [
        ((7, 5), {"pads": [1, 1, 1, 1]}),
        ((7, 5), {"pads": [1, 0, 0, 1], "strides": [3, 2]}),
        ((7, 3), {"strides": [7, 3]}),
        ((3, 5), {"strides": [2, 1]}),
        ((5, 7), {"pads": [0, 1, 0, 1]}),
    ],
)
def test_other_windows(op_type, kernel, attributes):
    """A window that is smaller, or reaches into the padding, is no global one."""

    def statistic(g, x):
        v = window(g, x, op_type, kernel, **attributes)
        return g.op("Mul", g.op("GlobalAveragePool", v), np.array(0.5))

    check(between(gated(statistic)), keeps=(op_type,))


@pytest.mark.parametrize("op_type", ["GlobalAveragePool", "GlobalMaxPool"])
@pytest.mark.parametrize("size", [(7, 5), (1, 1), (1, 5), (7, 1)])
def test_global_pools(op_type, size):
    check(between(gated(lambda g, x: g.op(op_type, x)), size=size), fires=None)


@pytest.mark.parametrize("op_type", ["GlobalAveragePool", "GlobalMaxPool"])
def test_global_pools_of_three_axes(op_type):
    def statistic(g, x):
        flat = g.op(op_type, g.op("Reshape", x, np.array([-1, C, 35])))
        return g.op("Reshape", flat, np.array([-1, C, 1, 1]))

    check(between(gated(statistic)), gone=("Reshape",))


@pytest.mark.parametrize("op_type", ["GlobalAveragePool", "GlobalMaxPool"])
def test_global_pools_of_a_group(op_type):
    def statistic(g, x):
        flat = g.op(op_type, g.op("Reshape", x, np.array([-1, 3, 4 * 7, 5])))
        wide = g.op(
            "Expand", g.op("Reshape", flat, np.array([-1, 3, 1, 1])), np.array([1, 1, 4, 1])
        )
        return g.op("Reshape", wide, np.array([-1, C, 1, 1]))

    check(between(gated(statistic)), fires=None)


@pytest.mark.parametrize("groups", [2, 3, 6])
def test_a_mean_of_each_group(groups):
    def body(g, x):
        v = g.op("Reshape", x, np.array([-1, groups, C // groups, 7, 5]))
        m = g.reduce("ReduceMean", v, [2])
        v = g.op("Mul", v, g.op("Sigmoid", m))
        return g.op("Reshape", v, np.array([-1, C, 7, 5]))

    check(between(body), fires=None)


def test_a_mean_across_groups():
    def body(g, x):
        v = g.op("Reshape", x, np.array([-1, 3, 4, 7, 5]))
        v = g.op("Mul", v, g.op("Sigmoid", g.reduce("ReduceMean", v, [1, 3, 4])))
        return g.op("Reshape", v, np.array([-1, C, 7, 5]))

    check(between(body), fires=None)


CHAINS = {
    "columns, then rows": lambda g, x: g.reduce("ReduceMean", g.reduce("ReduceMean", x, [3]), [2]),
    "a maximum of means": lambda g, x: g.reduce("ReduceMax", g.reduce("ReduceMean", x, [3]), [2]),
    "a mean of maxima": lambda g, x: g.reduce("ReduceMean", g.reduce("ReduceMax", x, [3]), [2]),
    "channels, then the map": lambda g, x: g.reduce(
        "ReduceMean", g.reduce("ReduceMean", x, [1]), [2, 3]
    ),
    "the map, then channels": lambda g, x: g.reduce("ReduceMax", g.op("GlobalMaxPool", x), [1]),
    "a sum of sums": lambda g, x: g.op(
        "Mul", g.reduce("ReduceSum", g.reduce("ReduceSum", x, [2]), [3]), SMALL
    ),
    "a sum of means": lambda g, x: g.reduce("ReduceSum", g.reduce("ReduceMean", x, [2]), [3]),
    "again, over what is gone": lambda g, x: g.reduce(
        "ReduceSum", g.op("GlobalAveragePool", x), [2, 3]
    ),
}


@pytest.mark.parametrize("name", CHAINS)
def test_chains(name):
    check(between(gated(CHAINS[name])))


def spread(g, x, *, unbiased=False, by="Pow"):
    d = g.op("Sub", x, g.reduce("ReduceMean", x, [2, 3]))
    square = g.op("Pow", d, np.array(2.0)) if by == "Pow" else g.op("Mul", d, d)
    if unbiased:
        return d, g.op("Div", g.reduce("ReduceSum", square, [2, 3]), np.array(34.0))
    return d, g.reduce("ReduceMean", square, [2, 3])


@pytest.mark.parametrize("by", ["Pow", "Mul"])
@pytest.mark.parametrize("unbiased", [False, True])
def test_variances(unbiased, by):
    def deviation(g, x):
        _, variance = spread(g, x, unbiased=unbiased, by=by)
        return g.op("Add", g.op("GlobalAveragePool", x), g.op("Sqrt", variance))

    def energy(g, x):
        d, variance = spread(g, x, unbiased=unbiased, by=by)
        under = g.op("Mul", g.op("Add", variance, np.array(0.125)), np.array(4.0))
        return g.op("Add", g.op("Div", g.op("Mul", d, d), under), np.array(0.5))

    def standard(g, x):
        d, variance = spread(g, x, unbiased=unbiased, by=by)
        return g.op("Div", d, g.op("Sqrt", g.op("Add", variance, np.array(0.125))))

    for statistic in (deviation, energy, standard):
        check(between(gated(statistic)))


def test_a_variance_by_squares():
    def statistic(g, x):
        m = g.op("GlobalAveragePool", x)
        square = g.op("GlobalAveragePool", g.op("Mul", x, x))
        return g.op("Sub", square, g.op("Mul", m, m))

    check(between(gated(statistic)))


def test_a_mean_over_other_axes_than_its_difference():
    def statistic(g, x):
        d = g.op("Sub", x, g.reduce("ReduceMean", x, [1, 2, 3]))
        return g.reduce("ReduceMean", g.op("Mul", d, d), [2, 3])

    check(between(gated(statistic)))


def test_two_sites_of_one_statistic():
    def body(g, x):
        m = g.op("GlobalAveragePool", x)
        return [g.op("Mul", x, g.op("Sigmoid", m)), g.op("Mul", x, g.op("Tanh", m))]

    check(between(body))


def test_a_statistic_that_something_else_reads():
    def body(g, x):
        m = g.op("GlobalAveragePool", x)
        early = g.op("Slice", m, np.array([1]), np.array([6]), np.array([1]))
        y = g.op("Mul", x, g.op("Sigmoid", m))
        late = g.op("Mul", g.conv(y, C, C, 3), g.op("Tanh", m))
        return [g.conv(g.op("Mul", x, g.reduce("ReduceMean", early, [1])), C, C), late]

    check(between(body))


@pytest.mark.parametrize("place", ["statistic", "gate", "result", "x"])
def test_graph_outputs(place):
    def body(g, x):
        m = g.op("GlobalAveragePool", x)
        s = g.op("Sigmoid", m)
        y = g.op("Mul", x, s)
        g.output({"statistic": m, "gate": s, "result": y, "x": x}[place], rank=4)
        return y

    model = between(body)
    check(model, fires=None)
    for target in TARGETS:
        after, _ = lowered(model, target)
        assert [v.name for v in after.graph.outputs] == [v.name for v in model.graph.outputs]


@pytest.mark.parametrize("op_type", ["ReduceMean", "ReduceMax", "GlobalAveragePool"])
def test_open_rows_and_columns(op_type):
    def statistic(g, x):
        v = g.op(op_type, x) if op_type[0] == "G" else g.reduce(op_type, x, [2, 3])
        return g.conv(g.op("Relu", g.conv(v, C, 4)), 4, C)

    double = as_double(between(gated(statistic), size=("h", "w")))
    for target in TARGETS:
        after, _ = lowered(double, target)
        for size in ((7, 5), (4, 9), (1, 1)):
            assert_equal64(double, after, [[2, 3, *size]])


def test_a_sum_over_open_rows():
    def statistic(g, x):
        return g.op("Mul", g.reduce("ReduceSum", x, [2, 3]), SMALL)

    double = as_double(between(gated(statistic), size=("h", "w")))
    for target in TARGETS:
        after, _ = lowered(double, target)
        assert ops(after)["ReduceSum"] == 1
        for size in ((7, 5), (4, 9)):
            assert_equal64(double, after, [[2, 3, *size]])


def test_an_if_that_reads_the_statistic():
    def body(g, x):
        m = g.op("GlobalAveragePool", x)
        s = g.op("Sigmoid", m)
        branches = {}
        for name, op_type, other in (("then_branch", "Add", s), ("else_branch", "Mul", m)):
            node = helper.make_node(op_type, [s, other], [name], name=f"{name}/{op_type}")
            value = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", C, 1, 1])
            branches[name] = helper.make_graph([node], name, [], [value])
        high = g.op("Greater", g.op("ReduceMax", s, keepdims=0), np.array(0.9))
        return g.op("Mul", g.op("Mul", x, s), g.op("If", high, **branches))

    check(between(body), fires=None)
