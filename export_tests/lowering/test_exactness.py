"""Random graphs of the kind that attention is made of: lowered, they compute the same."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgeattn.lowering.permutation import shuffle as order
from export_tests.lowering.float64 import as_double, assert_equal64, evaluate64
from export_tests.lowering.graphs import TARGETS, between, lowered

C, SIZE = 12, (4, 6)


class Grammar:
    """Draws what follows `x: [n, channels, *SIZE]`, and keeps that shape."""

    def __init__(self, draw, graph):
        self.draw, self.g = draw, graph

    def one_of(self, *values):
        return self.draw(st.sampled_from(values))

    def divisor(self, channels):
        return self.one_of(*(k for k in range(1, channels + 1) if channels % k == 0))

    def statistic(self, x, channels):  # noqa: PLR0911 - one for each kind
        """Gives [n, channels, 1, 1], [n, 1, h, w] or the whole map."""
        g = self.g
        match self.one_of("mean", "max", "mean", "deviation", "across", "energy", "norm", "mixed"):
            case "mean":
                return g.reduce("ReduceMean", x, [2, 3]), channels
            case "max":
                return g.op("GlobalMaxPool", x), channels
            case "deviation":
                return g.op("Sqrt", g.op("Add", self.squares(x)[1], np.array(0.125))), channels
            case "across":
                return g.reduce(self.one_of("ReduceMean", "ReduceMax"), x, [1]), 1
            case "energy":
                square, variance = self.squares(x)
                return g.op("Div", square, g.op("Add", variance, np.array(0.125))), channels
            case "norm":
                numbers = (g.random(channels), g.random(channels))
                return g.op("InstanceNormalization", x, *numbers, epsilon=0.125), channels
        mean, high = g.op("GlobalAveragePool", x), g.reduce("ReduceMax", x, [1])
        return g.op(self.one_of("Mul", "Add"), mean, high), channels

    def squares(self, x):
        d = self.g.op("Sub", x, self.g.reduce("ReduceMean", x, [2, 3]))
        square = self.g.op("Mul", d, d)
        return square, self.g.reduce("ReduceMean", square, [2, 3])

    def chain(self, s, channels, *, is_thin):
        """Gives what stands between a statistic and its gate."""
        g = self.g
        for _ in range(self.draw(st.integers(0, 3))):
            match self.one_of("affine", "number", "function", "layer", "square", "twice"):
                case "affine":
                    s = g.op("Mul", s, g.random(channels, 1, 1))
                    s = g.op("Add", s, g.random(1, channels, 1, 1))
                case "number":
                    op_type = self.one_of("Add", "Mul", "Sub")
                    s = g.op(op_type, s, np.array(self.one_of(-0.5, 0.25, 2.0)))
                case "function":
                    s = g.op(self.one_of("Relu", "Tanh", "Sigmoid", "HardSwish", "Abs"), s)
                case "square":
                    s = g.op("Tanh", s)
                    s = g.op("Mul", s, s)
                case "twice":
                    s = g.op("Add", s, g.op("Sigmoid", s))
                case "layer" if is_thin:
                    hidden = self.one_of(1, 3, channels)
                    s = g.conv(g.op("Relu", g.conv(s, channels, hidden)), hidden, channels)
        return s

    def gate(self, x, channels):
        s, width = self.statistic(x, channels)
        s = self.chain(s, width, is_thin=False)
        # A quarter is the same in float32; the default of a fifth is not.
        op_type = self.one_of("Sigmoid", "Tanh", "HardSigmoid")
        s = self.g.op(op_type, s, **({"alpha": 0.25} if op_type == "HardSigmoid" else {}))
        return self.g.op("Mul", *self.draw(st.permutations([x, s])))

    def squeeze(self, x, channels):
        s = self.chain(self.g.op("GlobalAveragePool", x), channels, is_thin=True)
        return self.g.op("Mul", x, self.g.op("Sigmoid", s))

    def shuffled(self, x, channels):
        groups = self.divisor(channels)
        if self.draw(st.booleans()):
            return self.g.op("Gather", x, order(groups, channels), axis=1)
        v = self.g.op("Reshape", x, np.array([-1, groups, channels // groups, *SIZE]))
        v = self.g.op("Transpose", v, perm=[0, 2, 1, 3, 4])
        return self.g.op("Reshape", v, np.array([-1, channels, *SIZE]))

    def grouped(self, x, channels, depth):
        groups = self.divisor(channels)
        v = self.g.op("Reshape", x, np.array([-1, channels // groups, *SIZE]))
        v = self.block(v, channels // groups, depth)
        return self.g.op("Reshape", v, np.array([-1, channels, *SIZE]))

    def parted(self, x, channels, depth):
        count = self.one_of(*([k for k in (2, 3) if channels % k == 0] or [1]))
        width = channels // count
        parts = self.g.split(x, [width] * count) if count > 1 else [x]
        if self.draw(st.booleans()):
            state = self.draw(st.integers(0, 3))  # the same on each part, with its own weights
            made = [self.alike(part, width, state) for part in parts]
        else:
            made = [self.block(part, width, depth) for part in parts]
        if self.draw(st.integers(0, 4)) == 0:
            made = made[::-1]
        return self.g.op("Concat", *made, axis=1) if count > 1 else made[0]

    def alike(self, x, channels, state):
        g = self.g
        match state:
            case 0:
                s = g.op("Mul", g.op("GlobalAveragePool", x), g.random(channels, 1, 1))
            case 1:
                s = g.conv(x, channels, 1)
            case 2:
                flat = g.op("Reshape", g.conv(x, channels, 1), np.array([0, 1, -1]))
                s = g.op("Reshape", g.op("Softmax", flat, axis=2), np.array([0, 1, *SIZE]))
            case _:
                numbers = (g.random(channels), g.random(channels))
                s = g.op("InstanceNormalization", x, *numbers, epsilon=0.125)
        return g.op("Mul", x, g.op("Sigmoid", s))

    def block(self, x, channels, depth):
        """Draws steps, one after the other."""
        kinds = ["gate", "squeeze", "gate", "shuffle", "residual", "pool"]
        kinds += ["groups", "parts"] if depth else []
        for _ in range(self.draw(st.integers(1, 2))):
            match self.one_of(*kinds):
                case "gate":
                    x = self.gate(x, channels)
                case "squeeze":
                    x = self.squeeze(x, channels)
                case "shuffle":
                    x = self.shuffled(x, channels)
                case "residual":
                    x = self.g.op("Add", x, self.gate(x, channels))
                case "pool":
                    x = self.g.op("MaxPool", x, kernel_shape=[3, 3], pads=[1] * 4)
                case "groups":
                    x = self.grouped(x, channels, depth - 1)
                case "parts":
                    x = self.parted(x, channels, depth - 1)
        return x


@given(st.data())
def test_before_and_after(data):
    def body(graph, x):
        grammar = Grammar(data.draw, graph)
        y = grammar.block(x, C, depth=2)
        return graph.op("Relu", graph.op("Add", y, x)) if data.draw(st.booleans()) else y

    model = between(body, size=SIZE, opset=data.draw(st.sampled_from([14, 18, 20])))
    double = as_double(model)
    for target in TARGETS:
        after, _ = lowered(double, target)
        assert_equal64(double, after, batches=(2,))


def test_parts_of_groups_in_the_batch_joined_in_another_order():
    def body(graph, x):
        x = graph.op("Reshape", x, np.array([-1, 3, *SIZE]))
        made = []
        for part in graph.split(x, [1] * 3):
            mean = graph.op("Mul", graph.op("GlobalAveragePool", part), graph.random(1, 1, 1))
            made.append(graph.op("Mul", part, graph.op("Sigmoid", mean)))
        return graph.op(
            "Reshape", graph.op("Concat", *made[::-1], axis=1), np.array([-1, C, *SIZE])
        )

    double = as_double(between(body, size=SIZE))
    for target in TARGETS:
        after, _ = lowered(double, target)
        assert_equal64(double, after, batches=(2,))


def test_a_norm_over_the_batch_too():
    def body(graph, x):
        centred = graph.op("Sub", x, graph.reduce("ReduceMean", x, [0, 1, 2, 3]))
        square = graph.reduce("ReduceMean", graph.op("Mul", centred, centred), [0, 1, 2, 3])
        return graph.op("Div", centred, graph.op("Sqrt", graph.op("Add", square, np.array(0.5))))

    model = as_double(between(body, size=SIZE, batch=2))
    for target in (*TARGETS, "dla"):
        after, _ = lowered(model, target)
        assert_equal64(model, after)


def test_outputs_that_are_one_value_keep_their_names():
    def body(graph, x):
        means = graph.op("GlobalAveragePool", x), graph.reduce("ReduceMean", x, [2, 3])
        gated = [graph.op("Mul", x, graph.op("Sigmoid", mean)) for mean in means]
        graph.output(*gated)
        return gated[1]

    model = between(body, size=SIZE, batch=1)
    names = [value.name for value in model.graph.outputs]
    for target in (*TARGETS, "dla"):
        after, _ = lowered(model, target)
        assert [value.name for value in after.graph.outputs] == names
        assert_equal64(as_double(model), as_double(after))


@given(st.data())
def test_views_are_exact_to_the_bit(data):
    """Reshapes, shuffles and parts move elements, and do nothing else to them."""

    def body(graph, x):
        grammar, width = Grammar(data.draw, graph), C
        x = graph.op("Relu", x)
        for _ in range(data.draw(st.integers(1, 4))):
            if data.draw(st.booleans()):
                x = grammar.shuffled(x, width)
            else:
                parts = graph.split(x, [width // 2] * 2)
                made = [grammar.shuffled(part, width // 2) for part in parts]
                x = graph.op("Concat", *data.draw(st.permutations(made)), axis=1)
        return graph.op("Relu", x)

    double = as_double(between(body, size=SIZE, out=0))
    feeds = [np.random.default_rng(3).normal(size=(2, 3, *SIZE))]
    (want,) = evaluate64(double, feeds)
    for target in TARGETS:
        after, _ = lowered(double, target)
        (got,) = evaluate64(after, feeds)
        # A convolution that takes the order in adds up the same numbers in the same order.
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-15 * np.abs(want).max())
