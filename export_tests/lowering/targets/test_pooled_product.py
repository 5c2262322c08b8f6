"""Several means of one map, as one product that reads it once."""

from __future__ import annotations

import numpy as np
import pytest

from export_tests.lowering.graphs import between, check, lowered

G, WIDTH = 3, 4


def crossed(size):
    """Gives the body of EMA in three groups: means of rows, of columns and of a convolution."""

    def body(g, x):
        x = g.op("Reshape", x, np.array([-1, WIDTH, *size]))
        weight, bias = g.random(WIDTH, WIDTH, 1, 1), g.random(WIDTH)
        lines = [g.op("Conv", g.reduce("ReduceMean", x, [k]), weight, bias) for k in (3, 2)]
        rows, columns = (g.op("Sigmoid", line) for line in lines)
        y = g.conv(x, WIDTH, WIDTH, 3)
        means = g.op("Reshape", g.op("GlobalAveragePool", y), np.array([-1, 1, WIDTH]))
        flat = g.op("Reshape", g.op("Mul", g.op("Mul", x, rows), columns), np.array([0, WIDTH, -1]))
        weighed = g.op("MatMul", g.op("Softmax", means, axis=-1), flat)
        gate = g.op("Sigmoid", g.op("Reshape", weighed, np.array([-1, 1, *size])))
        return g.op("Reshape", g.op("Mul", x, gate), np.array([-1, G * WIDTH, *size]))

    return body


def products(model):
    """Gives the shapes of the constants that maps are multiplied with, and of layers."""
    nodes = [node for node in model.graph if node.op_type == "MatMul"]
    values = [value for node in nodes for value in node.inputs]
    return sorted(tuple(value.shape) for value in values if value.const_value is not None)


@pytest.mark.parametrize("size", [(7, 5), (1, 5)])
def test_rows_columns_and_a_kernels_places_are_one_product(size):
    model = between(crossed(size), size=size)
    check(model, fires=True if size[0] > 1 else None)
    if size[0] > 1:
        after, _ = lowered(model)
        # 7 rows, 5 columns, 9 places; and one layer for all of them.
        assert products(after) == [(WIDTH, WIDTH), (7 + 5 + 9, 7 * 5)]


def test_of_a_large_map_the_means_stay_apart():
    """The constant grows with the square of the map's area."""
    after, _ = lowered(between(crossed((64, 80)), size=(64, 80)))
    assert all(shape == (WIDTH, WIDTH) for shape in products(after))
