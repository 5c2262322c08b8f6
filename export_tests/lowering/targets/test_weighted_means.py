"""Means with constant weights for each position, as of a DCT: written small, and squeezed."""

from __future__ import annotations

import numpy as np
import pytest

from export_tests.lowering.graphs import CHANNELS as C
from export_tests.lowering.graphs import SIZE, between, check, gated, lowered
from export_tests.lowering.kit import ops

WIDE = 4 * C


def weights(g, channels, parts):
    """Gives a map for each part of the channels, as one constant over all of them."""
    maps = g.rng.normal(0, 1, (parts, *SIZE))
    return g.const(np.repeat(maps, channels // parts, axis=0))


def excited(g, pooled, channels):
    hidden = g.op("Relu", g.op("Gemm", pooled, g.random(channels, 3), g.random(3)))
    hidden = g.op("Gemm", hidden, g.random(3, channels), g.random(channels))
    return g.op("Unsqueeze", hidden, np.array([2, 3]))


def pooled(parts, *, layers=True):
    def statistic(g, x):
        weighted = g.op("Mul", x, weights(g, C, parts))
        if not layers:
            return g.reduce("ReduceMean", weighted, [2, 3])
        return excited(g, g.reduce("ReduceSum", weighted, [2, 3], 0), C)

    return statistic


@pytest.mark.parametrize("parts", [1, 3, C])
@pytest.mark.parametrize("layers", [True, False])
def test_pools(parts, layers):
    check(between(gated(pooled(parts, layers=layers))))


def test_a_depthwise_convolution_over_the_whole_map():
    def statistic(g, x):
        return g.op("Conv", x, g.random(C, 1, *SIZE), g.random(C), group=C)

    check(between(gated(statistic)))


def squeezed(g, x, *, stride=1, also=None):
    """Gives a 1x1 convolution to more channels, and the gate on its map."""
    weight, bias = g.random(WIDE, C, 1, 1), g.random(WIDE)
    wide = g.op("Conv", x, weight, bias, strides=[stride, stride])
    maps = np.repeat(g.rng.normal(0, 1, (3, *(-(-s // stride) for s in SIZE))), WIDE // 3, axis=0)
    coefficients = g.reduce("ReduceSum", g.op("Mul", wide, maps), [2, 3], 0)
    gate = excited(g, coefficients, WIDE)
    if also:
        gate = g.op("Add", gate, g.op(also, wide))
    return g.conv(g.op("Mul", wide, g.op("Sigmoid", gate)), WIDE, C)


def reads_of_means(model):
    """Gives the channels of what is reduced, channels last."""
    return {node.inputs[0].shape[-1] for node in model.graph if node.op_type == "ReduceMean"}


def test_squeezed_before_the_convolution():
    model = between(squeezed, batch=1)
    check(model, batches=(1,))
    after, record = lowered(model)
    assert ("squeeze", "cheaper") in record.rewrites[0].forms
    assert ops(after)["Conv"] == ops(model)["Conv"] + 2
    # A column for each part and channel of what the convolution reads.
    assert 3 * C in reads_of_means(after)


@pytest.mark.parametrize("options", [{"also": "GlobalMaxPool"}, {"stride": 2}])
def test_left_where_the_map_is_needed(options):
    model = between(lambda g, x: squeezed(g, x, **options), batch=1)
    check(model, batches=(1,))
    after, _ = lowered(model)
    assert reads_of_means(after) <= {WIDE}


def test_the_constant_is_written_once_for_a_part():
    model = between(gated(pooled(3)))
    after, _ = lowered(model)
    shapes = [tuple(v.shape) for v in after.graph.initializers.values()]
    assert (1, *SIZE, 3) in shapes
    assert (C, *SIZE) not in shapes
