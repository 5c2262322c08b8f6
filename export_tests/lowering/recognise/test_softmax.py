"""Softmax: over the map or the channels, whatever stands around it; never over something else."""

from __future__ import annotations

import numpy as np
import pytest

from export_tests.lowering.graphs import CHANNELS as C
from export_tests.lowering.graphs import between, check, gated

OPSETS = (13, 18, 20)


def flattened(g, x, axis=-1, channels=1):
    """Gives the softmax over all positions of the mean over channels."""
    v = g.reduce("ReduceMean", x, [1]) if channels == 1 else x
    v = g.op("Softmax", g.op("Reshape", v, np.array([0, channels, -1])), axis=axis)
    return g.op("Reshape", v, np.array([0, channels, 7, 5]))


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("axis", [2, -1])
@pytest.mark.parametrize("channels", [1, C])
def test_over_the_map(opset, axis, channels):
    check(between(lambda g, x: g.op("Mul", x, flattened(g, x, axis, channels)), opset=opset))


def test_by_flatten():
    def body(g, x):
        v = g.op("Flatten", g.reduce("ReduceMax", x, [1]), axis=1)
        v = g.op("Softmax", v, axis=1)
        return g.op("Mul", x, g.op("Reshape", v, np.array([-1, 1, 7, 5])))

    check(between(body), gone=("Flatten",))


@pytest.mark.parametrize("axis", [2, 3, -1])
def test_over_rows_or_columns_only(axis):
    def body(g, x):
        m = g.op("Sigmoid", g.op("GlobalAveragePool", x))
        return g.op("Mul", m, g.op("Softmax", x, axis=axis))

    check(between(body), fires=None)


@pytest.mark.parametrize("axis", [1, -3])
def test_over_channels(axis):
    check(
        between(
            lambda g, x: g.op("Mul", x, g.op("Softmax", g.op("GlobalAveragePool", x), axis=axis))
        )
    )
    check(between(lambda g, x: g.op("Mul", x, g.op("Softmax", x, axis=axis))), fires=None)


@pytest.mark.parametrize("groups", [2, 3, 4])
@pytest.mark.parametrize("axis", [1, 2])
def test_over_a_part_of_the_channels(groups, axis):
    def body(g, x):
        m = g.op("Reshape", g.op("GlobalAveragePool", x), np.array([-1, groups, C // groups]))
        m = g.op("Reshape", g.op("Softmax", m, axis=axis), np.array([-1, C, 1, 1]))
        return g.op("Mul", x, m)

    check(between(body), fires=None)


def test_over_channels_and_the_map():
    def body(g, x):
        v = g.op("Softmax", g.op("Reshape", x, np.array([-1, C * 35])), axis=1)
        return g.op("Mul", x, g.op("Reshape", v, np.array([-1, C, 7, 5])))

    check(between(body), fires=None)


def test_over_a_part_of_the_map():
    def body(g, x):
        v = g.op("Reshape", g.reduce("ReduceMean", x, [1]), np.array([-1, 2, 3 * 5]))
        v = g.op("Softmax", v, axis=2)
        return g.op("Mul", x, g.op("Reshape", v, np.array([-1, 1, 6, 5])))

    check(between(body, size=(6, 5)), fires=None)


def test_over_the_map_across():
    def body(g, x):
        v = g.op("Transpose", g.reduce("ReduceMean", x, [1]), perm=[0, 1, 3, 2])
        v = g.op("Softmax", g.op("Reshape", v, np.array([-1, 1, 35])), axis=2)
        v = g.op("Transpose", g.op("Reshape", v, np.array([-1, 1, 5, 7])), perm=[0, 1, 3, 2])
        return g.op("Mul", x, v)

    check(between(body))


@pytest.mark.parametrize("axis", [0, 2, 3])
def test_over_one_or_the_batch(axis):
    def body(g, x):
        return g.op("Mul", x, g.op("Softmax", g.op("GlobalAveragePool", x), axis=axis))

    check(between(body, batch=3), fires=None)
    check(between(body), fires=None)


def test_over_what_is_expanded():
    def body(g, x):
        rows = g.op("Expand", g.reduce("ReduceMean", x, [1, 3]), np.array([1, 1, 7, 5]))
        v = g.op("Softmax", g.op("Reshape", rows, np.array([-1, 1, 35])), axis=2)
        return g.op("Mul", x, g.op("Reshape", v, np.array([-1, 1, 7, 5])))

    check(between(body), fires=None)


def test_large_numbers_do_not_overflow():
    def body(g, x):
        v = g.op("Mul", g.reduce("ReduceMean", x, [1]), np.array(300.0))
        v = g.op("Softmax", g.op("Reshape", v, np.array([0, 1, -1])), axis=2)
        return g.op("Mul", x, g.op("Reshape", v, np.array([0, 1, 7, 5])))

    check(between(body, dtype=np.float64), rel=1e-10)


def test_pooling_by_attention():
    """x weighted by its own softmax and added up over the map, as a global context block does."""

    def context(g, x):
        v = g.op("Mul", x, flattened(g, x))
        return g.conv(g.op("Relu", g.conv(g.reduce("ReduceSum", v, [2, 3]), C, 4)), 4, C)

    check(between(lambda g, x: g.op("Add", x, context(g, x))))
    check(between(gated(context)))


def test_of_each_part():
    def body(g, x):
        made = []
        for part in g.split(x, [4] * 3):
            v = g.op("Softmax", g.op("Reshape", g.conv(part, 4, 1), np.array([0, 1, -1])), axis=2)
            v = g.op("Reshape", v, np.array([0, 1, 7, 5]))
            made.append(g.op("Add", part, g.op("Mul", part, v)))
        return g.op("Concat", *made, axis=1)

    check(between(body), gone=("Split", "Concat"))


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_types(dtype):
    check(between(lambda g, x: g.op("Mul", x, flattened(g, x)), dtype=dtype))
