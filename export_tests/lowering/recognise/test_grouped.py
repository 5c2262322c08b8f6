"""Groups in the batch: their convolutions, and products of a row with a matrix."""

from __future__ import annotations

import numpy as np
import pytest

from export_tests.lowering.graphs import CHANNELS as C
from export_tests.lowering.graphs import SIZE, between, check, lowered
from export_tests.lowering.kit import ops

G = 3
WIDTH = C // G


def grouped(g, x):
    return g.op("Reshape", x, np.array([-1, WIDTH, *SIZE]))


def back(g, x):
    return g.op("Reshape", x, np.array([-1, C, *SIZE]))


def row(g, x):
    """Gives the softmax of the means of each group, [N G, 1, WIDTH]."""
    means = g.op("Reshape", g.op("GlobalAveragePool", x), np.array([-1, WIDTH, 1]))
    return g.op("Softmax", g.op("Transpose", means, perm=[0, 2, 1]), axis=-1)


def weighed(g, vector, x):
    """Gives the sum over a group's channels, weighed by a row, as a map of one channel."""
    flat = g.op("Reshape", x, np.array([0, WIDTH, -1]))
    return g.op("Reshape", g.op("MatMul", vector, flat), np.array([-1, 1, *SIZE]))


def gated(g, x, logits):
    return back(g, g.op("Mul", x, g.op("Sigmoid", logits)))


def filtered(g, x, kernel, outside=WIDTH, **changes):
    weight = g.random(outside, WIDTH, *kernel)
    pads = [size // 2 for size in (*kernel, *kernel)]
    attributes = {"pads": pads, "kernel_shape": list(kernel), **changes}
    return g.op("Conv", x, weight, g.random(outside), **attributes)


@pytest.mark.parametrize("kernel", [(3, 3), (1, 5), (5, 3)])
def test_a_convolution_of_groups_weighs_itself(kernel):
    """Means of a convolution are sums over what its kernel reaches."""

    def body(g, x):
        x = grouped(g, x)
        y = filtered(g, x, kernel)
        return gated(g, x, weighed(g, row(g, y), y))

    check(between(body), gone=("MatMul",))


def test_the_row_of_a_normalised_map_is_constant():
    def body(g, x):
        x = grouped(g, x)
        normed = g.op("InstanceNormalization", x, g.random(WIDTH), g.random(WIDTH))
        y = filtered(g, x, (3, 3))
        return gated(g, x, weighed(g, row(g, normed), y))

    model = between(body)
    check(model, gone=("MatMul", "Softmax", "InstanceNormalization", "ReduceMean"))
    # What is left is a convolution to one channel for each group.
    after, _ = lowered(model)
    shapes = [tuple(v.shape) for v in after.graph.initializers.values()]
    assert (G, WIDTH, 3, 3) in shapes


@pytest.mark.parametrize("width", [WIDTH, 1])
def test_a_constant_row(width):
    """Where a group is one channel, its softmax is 1: simplifiers leave a constant."""

    def body(g, x):
        grouped = g.op("Reshape", x, np.array([-1, width, *SIZE]))
        y = g.conv(grouped, width, width, 3)
        flat = g.op("Reshape", y, np.array([0, width, -1]))
        weighed = g.op("MatMul", g.random(1, 1, width), flat)
        gate = g.op("Sigmoid", g.op("Reshape", weighed, np.array([-1, 1, *SIZE])))
        means = g.op("GlobalAveragePool", grouped)
        return back(g, g.op("Mul", g.op("Mul", grouped, gate), g.op("Tanh", means)))

    check(between(body), gone=("MatMul",))


def test_both_ways():
    def body(g, x):
        x = grouped(g, x)
        normed = g.op("InstanceNormalization", x, g.random(WIDTH), g.random(WIDTH))
        y = filtered(g, x, (3, 3))
        sums = g.op("Add", weighed(g, row(g, normed), y), weighed(g, row(g, y), normed))
        return gated(g, x, sums)

    check(between(body), gone=("MatMul",))


@pytest.mark.parametrize("outside", [1, 2])
def test_a_convolution_to_fewer_channels(outside):
    def body(g, x):
        x = grouped(g, x)
        y = filtered(g, x, (3, 3), outside)
        return gated(g, x, g.reduce("ReduceMean", y, [1]))

    check(between(body))


@pytest.mark.parametrize(
    "changes",
    [{"dilations": [2, 2], "pads": [2, 2, 2, 2]}, {"auto_pad": "SAME_UPPER", "pads": None}],
)
def test_other_convolutions_are_left(changes):
    def body(g, x):
        x = grouped(g, x)
        attributes = {key: value for key, value in changes.items() if value is not None}
        weight = g.random(WIDTH, WIDTH, 3, 3)
        y = g.op("Conv", x, weight, **attributes)
        return gated(g, x, g.op("GlobalAveragePool", y))

    check(between(body), fires=None)
    after, _ = lowered(between(body))
    assert ops(after)["Conv"] == ops(between(body))["Conv"]


def test_a_product_of_two_matrices_is_left():
    def body(g, x):
        x = grouped(g, x)
        flat = g.op("Reshape", x, np.array([0, WIDTH, -1]))
        turned = g.op("Transpose", flat, perm=[0, 2, 1])
        affinity = g.op("Softmax", g.op("MatMul", flat, turned), axis=-1)
        mixed = g.op("Reshape", g.op("MatMul", affinity, flat), np.array([-1, WIDTH, *SIZE]))
        return gated(g, x, mixed)

    check(between(body), fires=None, keeps=("MatMul",))


def test_a_row_over_positions_is_left():
    def body(g, x):
        flat = g.op("Reshape", x, np.array([0, C, -1]))
        scores = g.op("Reshape", g.conv(x, C, 1), np.array([0, 1, -1]))
        columns = g.op("Transpose", flat, perm=[0, 2, 1])
        context = g.op("MatMul", g.op("Softmax", scores, axis=-1), columns)
        return g.op("Add", x, g.op("Reshape", context, np.array([0, C, 1, 1])))

    check(between(body), fires=None, keeps=("MatMul",))
