"""Pools that keep the map's size: on the map as a whole, never on a part laid out as one."""

from __future__ import annotations

import numpy as np
import pytest

from export_tests.lowering.graphs import CHANNELS as C
from export_tests.lowering.graphs import between, check, lowered
from export_tests.lowering.kit import ops

POOLS = {
    "maximum": ("MaxPool", {"kernel_shape": [3, 3], "pads": [1] * 4}),
    "wide": ("MaxPool", {"kernel_shape": [5, 3], "pads": [2, 1, 2, 1], "strides": [1, 1]}),
    "uneven": ("MaxPool", {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1]}),
    "dilated": ("MaxPool", {"kernel_shape": [3, 3], "pads": [2] * 4, "dilations": [2, 2]}),
    "same": ("MaxPool", {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER"}),
    "mean": ("AveragePool", {"kernel_shape": [3, 3], "pads": [1] * 4}),
    "mean with its padding": (
        "AveragePool", {"kernel_shape": [3, 3], "pads": [1] * 4, "count_include_pad": 1},
    ),
    "mean, same": ("AveragePool", {"kernel_shape": [2, 3], "auto_pad": "SAME_LOWER"}),
    "one": ("MaxPool", {"kernel_shape": [1, 1]}),
}  # fmt: skip


def pool(g, x, name):
    op_type, attributes = POOLS[name]
    return g.op(op_type, x, **attributes)


def gate(g, x):
    return g.op("Mul", x, g.op("Sigmoid", g.op("GlobalAveragePool", x)))


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("opset", [13, 19])
def test_of_a_map(name, opset):
    """All values are below zero: padding with 0 instead of minus infinity would be seen."""

    def body(g, x):
        v = g.op("Sub", g.op("Neg", g.op("Relu", x)), np.array(2.0))
        return g.op("Mul", x, g.op("Sigmoid", g.op("Add", pool(g, v, name), gate(g, v))))

    check(between(body, opset=opset))


@pytest.mark.parametrize("name", POOLS)
def test_of_the_mean_over_channels(name):
    def body(g, x):
        v = pool(g, g.reduce("ReduceMean", x, [1]), name)
        return g.op("Mul", x, g.op("Sigmoid", v))

    check(between(body))


@pytest.mark.parametrize("name", POOLS)
def test_of_each_part_of_the_channels(name):
    def body(g, x):
        made = [gate(g, pool(g, part, name)) for part in g.split(x, [4] * 3)]
        return g.op("Concat", *made, axis=1)

    check(between(body), gone=("Split", "Concat"))


@pytest.mark.parametrize("name", POOLS)
def test_with_groups_on_the_batch(name):
    def body(g, x):
        v = g.op("Reshape", x, np.array([-1, 4, 7, 5]))
        v = g.op("Mul", v, g.op("Sigmoid", pool(g, v, name)))
        return gate(g, g.op("Reshape", v, np.array([-1, C, 7, 5])))

    check(between(body))


@pytest.mark.parametrize("name", POOLS)
def test_of_a_part_of_the_rows(name):
    def body(g, x):
        v = g.op("Reshape", x, np.array([-1, 2 * C, 3, 5]))
        v = g.op("Reshape", pool(g, v, name), np.array([-1, C, 6, 5]))
        return g.op("Mul", v, g.op("Sigmoid", g.op("GlobalAveragePool", x)))

    check(between(body, size=(6, 5)), fires=None)


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("axis", [2, 3])
def test_of_each_part_of_the_map(name, axis):
    def body(g, x):
        parts = g.split(x, [3, 3], axis=axis)
        whole = g.op("Concat", *(pool(g, part, name) for part in parts), axis=axis)
        return gate(g, whole)

    check(between(body, size=(6, 6)), fires=None)


@pytest.mark.parametrize("name", POOLS)
def test_of_the_map_across(name):
    """Transposed, the kernel lies across the map."""

    def body(g, x):
        v = g.op(
            "Transpose", pool(g, g.op("Transpose", x, perm=[0, 1, 3, 2]), name), perm=[0, 1, 3, 2]
        )
        return g.op("Mul", v, g.op("Sigmoid", g.op("GlobalAveragePool", x)))

    check(between(body, size=(6, 6)), fires=None)


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("axes", [[2, 3], [3], [2]])
def test_of_what_is_expanded(name, axes):
    def body(g, x):
        v = g.op("Expand", g.reduce("ReduceMean", x, axes), np.array([1, C, 7, 5]))
        return g.op("Mul", x, g.op("Sigmoid", pool(g, v, name)))

    check(between(body), fires=None)


@pytest.mark.parametrize(("kernel", "size"), [([3, 3], (1, 1)), ([3, 1], (1, 5)), ([3, 3], (7, 1))])
def test_of_small_maps(kernel, size):
    pads = [kernel[0] // 2, kernel[1] // 2] * 2
    for op_type in ("MaxPool", "AveragePool"):

        def body(g, x, op_type=op_type):
            return gate(g, g.op(op_type, x, kernel_shape=kernel, pads=pads))

        check(between(body, size=size), fires=None)


def test_with_places():
    """A pool that gives its indices, too, is left."""

    def body(g, x):
        v, places = g.op("MaxPool", x, kernel_shape=[3, 3], pads=[1] * 4, count=2)
        del places
        return gate(g, v)

    after, _ = lowered(between(body))
    assert ops(after)["MaxPool"] == 1
