"""Elementwise operators around a gate: the same numbers, whatever sign and shape they have."""

from __future__ import annotations

import numpy as np
import pytest

from export_tests.lowering.graphs import CHANNELS as C
from export_tests.lowering.graphs import TARGETS, between, check, gated, lowered
from export_tests.lowering.kit import ops


def on_mean(*steps):
    """Gives the body that gates x by operators on its mean: (operator, constants, attributes)."""

    def statistic(g, x):
        v = g.op("GlobalAveragePool", x)
        for op_type, constants, attributes in steps:
            v = g.op(op_type, v, *constants, **attributes)
        return v

    return gated(statistic)


def step(op_type, *constants, **attributes):
    return (op_type, [c if isinstance(c, str) else np.array(c) for c in constants], attributes)


@pytest.mark.parametrize("opset", [13, 18, 20])
@pytest.mark.parametrize("op_type", ["Relu", "Sigmoid", "Tanh", "Exp", "Abs", "Erf", "Softplus"])
def test_functions(op_type, opset):
    body = on_mean(step("Mul", np.linspace(-0.5, 0.5, C).reshape(C, 1, 1)), step(op_type))
    check(between(body, opset=opset))


@pytest.mark.parametrize(("op_type", "alpha"), [("LeakyRelu", 0.3), ("Elu", 0.7)])
def test_parameters(op_type, alpha):
    check(between(on_mean(step(op_type, alpha=alpha))))
    check(between(on_mean(step(op_type))), rel=1e-7)  # the default is a float32, too


@pytest.mark.parametrize("opset", [14, 18])
def test_hard_swish(opset):
    check(between(on_mean(step("HardSwish")), opset=opset))


@pytest.mark.parametrize("numbers", [{}, {"alpha": 0.25, "beta": 0.125}, {"alpha": -0.5}])
def test_hard_sigmoid(numbers):
    check(between(on_mean(step("HardSigmoid", **numbers))), rel=1e-12 if numbers else 1e-7)


CLIPS = {
    "both": [0.0, 6.0],
    "no lower bound": ["", 0.5],
    "no upper bound": [-0.25],
    "no bound": [],
    "from zero": [0.0],
    "below zero": [-3.0, -1.0],
    "crossed": [3.0, -3.0],
}


@pytest.mark.parametrize("name", CLIPS)
def test_clip(name):
    check(between(on_mean(step("Clip", *CLIPS[name]))))
    check(between(on_mean(step("Relu"), step("Clip", *CLIPS[name]))))
    check(between(on_mean(step("Clip", *CLIPS[name]), step("Clip", -0.5, 2.0))))


def test_relu6_of_an_overridable_bound():
    def statistic(g, x):
        bounds = (np.array(0.0), g.overridable(np.array(0.5)))
        return g.op("Clip", g.op("GlobalAveragePool", x), *bounds)

    check(between(gated(statistic)), fires=None, keeps=("Clip",))


@pytest.mark.parametrize(
    "steps",
    [
        [step("Add", 3.0), step("Clip", 0.0, 6.0), step("Div", 6.0)],
        [step("Add", 3.0), step("Clip", 0.0, 6.0), step("Mul", 1 / 6)],
        [step("Add", 3.0), step("Relu"), step("Min", 6.0), step("Div", 6.0)],
        [step("Div", 6.0), step("Clip", -0.5, 0.5), step("Add", 0.5)],
        [step("HardSigmoid", alpha=1 / 6, beta=0.5)],
    ],
)
def test_spellings_of_a_hard_sigmoid(steps):
    def body(g, x):
        v = g.op("GlobalAveragePool", x)
        for op_type, constants, attributes in steps:
            v = g.op(op_type, v, *constants, **attributes)
        return g.op("Mul", x, v)

    # Where the sixth is a float32 in the file, six of it are not one: nothing exact to gain.
    is_sixth = step("Mul", 1 / 6) == steps[-1]
    check(between(body), gone=() if is_sixth else ("Clip", "Min", "Div"), rel=1e-7)
    check(between(body, dtype=np.float64), rel=1e-7 if steps[0][0] == "HardSigmoid" else 1e-12)


@pytest.mark.parametrize("bounds", [(-0.5000005, 0.5), (-0.5, 0.500001), (3.0, -3.0), (-0.5, 0.5)])
@pytest.mark.parametrize("factor", [1.0, -1.0, -1 / 6])
def test_what_is_nearly_a_hard_sigmoid(bounds, factor):
    steps = [step("Clip", *bounds), step("Mul", factor), step("Add", 0.5)]
    check(between(on_mean(*steps), dtype=np.float64))


@pytest.mark.parametrize("exponent", [2.0, 3.0, 4.0, -1.0, -2.0, -3.0, 0.0, 1.0])
def test_powers_of_negative_numbers(exponent):
    check(between(on_mean(step("Sub", 1.5), step("Pow", exponent))))
    check(between(on_mean(step("Sub", 1.5), step("Mul", -0.5), step("Pow", exponent))))


@pytest.mark.parametrize("exponent", [0.5, 1.5, -0.5, 1 / 3, 0.25])
@pytest.mark.parametrize("first", [2.0, 4.0])
def test_roots_of_even_powers(exponent, first):
    check(between(on_mean(step("Pow", first), step("Add", 0.0), step("Pow", exponent))))
    check(between(on_mean(step("Pow", first), step("Mul", 2.0), step("Pow", exponent))))


def test_an_infinite_exponent():
    body = on_mean(step("Sigmoid"), step("Mul", 0.5), step("Pow", np.inf), step("Add", 1.0))
    check(between(body), fires=None)


def test_an_exponent_for_each_channel():
    exponents = np.linspace(1, 3, C).reshape(C, 1, 1)
    check(between(on_mean(step("Sigmoid"), step("Pow", exponents))), fires=None)


@pytest.mark.parametrize("steps", [("Sqrt", "Reciprocal"), ("Reciprocal", "Sqrt"), ("Neg", "Neg")])
def test_chains(steps):
    body = on_mean(step("Sigmoid"), *(step(op_type) for op_type in steps))
    check(between(body))


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 1, 1), (1,), ()])
@pytest.mark.parametrize("op_type", ["Max", "Min", "Pow", "Add", "Mul"])
def test_a_number_of_a_higher_rank(op_type, shape):
    """[n, c] and [1, 1, 1, 1] are [1, 1, n, c]: n has become rows."""

    def body(g, x):
        v = g.op("Abs", g.reduce("ReduceMean", x, [2, 3], 0))
        v = g.op(op_type, v, np.full(shape, 2.0))
        rank = max(2, len(shape))
        v = g.reduce("ReduceMean", v, [-1])
        order = [rank - 2, *range(rank - 2), rank - 1]
        v = g.op("Reshape", g.op("Transpose", v, perm=order), np.array([-1, 1, 1, 1]))
        return g.op("Mul", x, g.op("Sigmoid", v))

    check(between(body), fires=None)


PLACES = [
    ((C,), (7, C)), ((C, 1), (C, 5)), ((C,), (C, C)), ((C, 1), (C, C)),
    ((C, 1, 1), (C, C)), ((C, 1, 1), (7, 5)), ((1, C, 1, 1), (C, 5)),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "size"), PLACES)
@pytest.mark.parametrize("op_type", ["Mul", "Add", "Sub", "Div"])
def test_a_constant_stands_where_it_is_broadcast(op_type, shape, size):
    """[c] against [n, c, h, c] is one number for each column, not for each channel."""

    def body(g, x):
        v = g.op(op_type, x, np.linspace(0.5, 2.0, C).reshape(shape))
        return g.op("Mul", v, g.op("Sigmoid", g.reduce("ReduceMean", v, [2, 3])))

    check(between(body, size=size))


def test_constants_on_the_left():
    for op_type in ("Sub", "Div"):

        def body(g, x, op_type=op_type):
            v = g.op("Exp", g.op("Tanh", g.op("GlobalAveragePool", x)))
            v = g.op(op_type, np.linspace(0.5, 2.0, C).reshape(C, 1, 1), v)
            return g.op("Mul", x, g.op("Sigmoid", v))

        check(between(body))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_sum(count):
    def statistic(g, x):
        return g.op("Sum", *(g.op("GlobalAveragePool", x) for _ in range(count)))

    check(between(gated(statistic)))


def test_many_addends():
    def statistic(g, x):
        v = m = g.op("GlobalAveragePool", x)
        for k in range(12):
            v = g.op("Add", v, g.op("Mul", g.op("Sigmoid", v), np.array(0.1 * k)))
        return g.op("Add", v, m)

    check(between(gated(statistic)))


@pytest.mark.parametrize("op_type", ["Mul", "Add", "Sub", "Div"])
def test_a_gate_that_cancels(op_type):
    def body(g, x):
        s = g.op("Sigmoid", g.op("GlobalAveragePool", x))
        return g.op("Add", x, g.op(op_type, s, s))

    check(between(body), fires=None)


def test_x_and_its_gate_times_x():
    for order in ((0, 1), (1, 0)):

        def body(g, x, order=order):
            gate = g.op("Sigmoid", g.op("GlobalAveragePool", x))
            both = (x, g.op("Mul", x, gate))
            return g.op("Add", both[order[0]], both[order[1]])

        check(between(body))


def test_batch_norm():
    def norm(g, x):
        mean, variance = g.random(C), g.const(np.linspace(0.5, 2, C))
        return g.op("BatchNormalization", x, g.random(C), g.random(C), mean, variance, epsilon=0.1)

    check(between(lambda g, x: gated(norm)(g, g.op("MaxPool", x, kernel_shape=[2, 2]))), fires=None)
    check(between(gated(lambda g, x: norm(g, g.op("GlobalAveragePool", x)))))
    check(between(gated(lambda g, x: g.op("GlobalAveragePool", norm(g, x)))))
    check(between(gated(lambda g, x: g.op("GlobalMaxPool", norm(g, x)))))


def test_a_batch_norm_of_the_batch_itself():
    """BatchNorm2d(track_running_stats=False) normalises by the batch's own statistics."""

    def body(g, x):
        numbers = (g.random(C), g.random(C), g.random(C), g.const(np.full(C, 2.0)))
        v = g.op("BatchNormalization", x, *numbers, training_mode=1)
        return g.op("Mul", v, g.op("Sigmoid", g.op("GlobalAveragePool", v)))

    model = between(body)
    for target in TARGETS:
        after, _ = lowered(model, target)
        assert ops(after)["BatchNormalization"] == 1


def test_casts():
    def statistic(g, x):
        half = g.op("Cast", g.op("GlobalAveragePool", x), to=11)  # double
        return g.op("Cast", g.op("Identity", g.op("Mul", half, half)), to=1)

    check(between(gated(statistic)), fires=None)
    check(between(gated(lambda g, x: g.op("Cast", g.op("GlobalAveragePool", x), to=1))))


def test_a_cast_that_rounds_is_kept():
    def statistic(g, x):
        half = g.op("Cast", g.op("GlobalAveragePool", x), to=10)
        return g.op("Cast", half, to=1)

    model = between(gated(statistic))
    for target in TARGETS:
        after, _ = lowered(model, target)
        assert ops(after)["Cast"] == 2


def test_an_overridable_factor():
    def statistic(g, x):
        factor = g.overridable(np.linspace(-1, 1, C).reshape(1, C, 1, 1))
        return g.op("Mul", g.op("GlobalAveragePool", x), factor)

    model = between(gated(statistic))
    check(model)
    name = "w2"
    for target in TARGETS:
        after, _ = lowered(model, target)
        assert name in {v.name for v in after.graph.inputs}
        assert any(v.name == name for node in after.graph for v in node.inputs)


def test_one_initializer_for_two():
    def body(g, x):
        shared = g.random(C, 1, 1)
        v = g.op("Mul", x, shared)
        s = g.op("Sigmoid", g.op("Mul", g.op("GlobalAveragePool", v), shared))
        return g.op("Add", g.op("Mul", v, s), shared)

    check(between(body))


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_types(dtype):
    def statistic(g, x):
        v = g.op("Mul", g.op("GlobalAveragePool", x), np.linspace(-1, 1, C).reshape(C, 1, 1))
        return g.op("Clip", g.op("Add", v, np.array(0.25)), np.array(-1.0))

    check(between(gated(statistic), dtype=dtype))
