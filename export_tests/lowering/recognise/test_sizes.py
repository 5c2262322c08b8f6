"""Target shapes that the graph computes: constants where they are known, left where not."""

from __future__ import annotations

import numpy as np
import pytest

from export_tests.lowering.float64 import as_double, assert_equal64
from export_tests.lowering.graphs import CHANNELS as C
from export_tests.lowering.graphs import TARGETS, between, check, gated, lowered
from export_tests.lowering.kit import ops


def joined(g, *parts):
    made = [p if isinstance(p, str) else np.array([p]) for p in parts]
    return g.op("Concat", *made, axis=0)


def dim(g, x, axis):
    """Gives one size of x, i64[1]."""
    return g.op("Gather", g.op("Shape", x), np.array([axis]), axis=0)


def scalar_dim(g, x, axis):
    return g.op(
        "Unsqueeze", g.op("Gather", g.op("Shape", x), np.array(axis), axis=0), np.array([0])
    )


def statistic(target):
    """Gives the body that gates x by its flattened means, reshaped to `target(g, x)`."""

    def body(g, x):
        flat = g.op("Flatten", g.op("GlobalAveragePool", x))
        return g.op("Reshape", flat, target(g, x))

    return gated(body)


TARGET = {
    "by Gather": lambda g, x: joined(g, dim(g, x, 0), dim(g, x, 1), 1, 1),
    "by scalars": lambda g, x: joined(g, scalar_dim(g, x, 0), scalar_dim(g, x, 1), 1, 1),
    "from the end": lambda g, x: joined(g, dim(g, x, -4), dim(g, x, -3), 1, 1),
    "the rest": lambda g, x: joined(g, dim(g, x, 0), -1, 1, 1),
    "by Slice": lambda g, x: joined(
        g, g.op("Slice", g.op("Shape", x), np.array([0]), np.array([2]), np.array([0])), 1, 1
    ),
    "by Slice from the end": lambda g, x: joined(
        g, g.op("Slice", g.op("Shape", x), np.array([-4]), np.array([-2]), np.array([0])), 1, 1
    ),
    "arithmetic": lambda g, x: joined(
        g, dim(g, x, 0), g.op("Mul", g.op("Div", dim(g, x, 1), np.array([4])), np.array([4])), 1, 1
    ),
    "sums": lambda g, x: joined(
        g, dim(g, x, 0), g.op("Sub", g.op("Add", dim(g, x, 1), np.array([5])), np.array([5])), 1, 1
    ),
    "by Cast": lambda g, x: g.op("Cast", joined(g, dim(g, x, 0), C, 1, 1), to=7),
}


@pytest.mark.parametrize("name", TARGET)
@pytest.mark.parametrize("batch", ["n", 2])
def test_targets(name, batch):
    check(between(statistic(TARGET[name]), batch=batch), gone=("Shape",))


@pytest.mark.parametrize(("start", "end"), [(0, 2), (-4, -2), (0, -2)])
def test_a_part_of_the_shape(start, end):
    def target(g, x):
        return joined(g, g.op("Shape", x, start=start, end=end), 1, 1)

    check(between(statistic(target)), gone=("Shape",))


def test_sizes_by_fractions():
    """int(1.5 * channels): no arithmetic of integers."""

    def body(g, x):
        size = g.op("Cast", g.op("Shape", x, start=1, end=2), to=1)
        size = g.op("Cast", g.op("Mul", size, np.array([1.5])), to=7)
        v = g.op("Reshape", x, joined(g, -1, size, 4, 7))
        v = g.op("Mul", v, g.op("Sigmoid", g.op("GlobalAveragePool", v)))
        return g.op("Reshape", v, np.array([-1, C, 6, 7]))

    check(between(body, size=(6, 7)), fires=None)


@pytest.mark.parametrize("divisor", [1.5, 2.0, 5.0])
def test_a_bound_by_fractions(divisor):
    def body(g, x):
        size = g.op("Cast", g.op("Shape", x, start=1, end=2), to=1)
        end = g.op("Cast", g.op("Floor", g.op("Div", size, np.array([divisor]))), to=7)
        v = g.op("Slice", x, np.array([0]), end, np.array([1]))
        return g.op("Mul", v, g.op("Sigmoid", g.op("GlobalAveragePool", v)))

    check(between(body, out=int(C / divisor)), fires=None)


def test_a_quotient_of_negative_sizes():
    """ONNX rounds to zero, Python down."""

    def target(g, x):
        less = g.op("Div", g.op("Sub", dim(g, x, 1), np.array([19])), np.array([2]))  # -7 / 2
        return joined(g, dim(g, x, 0), g.op("Add", less, np.array([15])), 1, 1)

    check(between(statistic(target)), fires=None)


def test_a_size_that_may_be_overridden():
    target = statistic(lambda g, x: joined(g, -1, g.overridable(np.array([C])), 1, 1))
    check(between(target), fires=None)


@pytest.mark.parametrize("rank", [2, 4])
def test_open_rows_and_columns(rank):
    def body(g, x):
        shape = g.op("Shape", x)
        flat = g.op("Reshape", g.reduce("ReduceMean", x, [1]), np.array([0, 1, -1]))
        v = g.op("Softmax", flat, axis=2)
        part = g.op("Slice", shape, np.array([2]), np.array([4]), np.array([0]))
        target = joined(g, 0, 1, part) if rank == 4 else joined(g, dim(g, x, 0), 1, part)
        return g.op("Mul", x, g.op("Reshape", v, target))

    double = as_double(between(body, size=("h", "w")))
    for target in TARGETS:
        after, _ = lowered(double, target)
        for size in ((7, 5), (4, 9)):
            assert_equal64(double, after, [[2, 3, *size]])


def test_a_positional_constant_on_open_rows():
    def body(g, x):
        v = g.op("Add", x, g.random(1, C, 7, 5))
        return g.op("Mul", v, g.op("Sigmoid", g.op("GlobalAveragePool", v)))

    double = as_double(between(body, size=("h", "w")))
    for target in TARGETS:
        after, _ = lowered(double, target)
        assert_equal64(double, after, [[2, 3, 7, 5]])


def test_reshape_between_open_sizes_is_left():
    def body(g, x):
        target = joined(g, dim(g, x, 0), C, dim(g, x, 3), dim(g, x, 2))  # no transpose
        v = g.op("Reshape", x, target)
        v = g.op("Mul", v, g.op("Sigmoid", v))
        return g.op("Reshape", v, g.op("Shape", x))

    double = as_double(between(body, size=("h", "w")))
    for target in TARGETS:
        after, _ = lowered(double, target)
        assert_equal64(double, after, [[2, 3, 7, 5]])


def test_no_shape_is_left_for_its_own_sake():
    def body(g, x):
        s = g.op("Sigmoid", g.op("GlobalAveragePool", x))
        return g.op("Mul", x, g.op("Expand", s, g.op("Shape", x)))

    for target in TARGETS:
        after, _ = lowered(between(body), target)
        assert not ops(after)["Shape"]
