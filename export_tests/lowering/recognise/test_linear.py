"""Layers on the squeeze, bands over its channels, and convolutions to one channel."""

from __future__ import annotations

import numpy as np
import pytest

from export_tests.lowering.graphs import CHANNELS as C
from export_tests.lowering.graphs import between, check, gated

FLAT = np.array([2, 3])


def squeezed(g, x):
    return g.reduce("ReduceMean", x, [2, 3], 0)


def gemm(g, s, inside, outside, **attributes):
    shape = (outside, inside) if attributes.get("transB") else (inside, outside)
    return g.op("Gemm", s, g.random(*shape), g.random(outside), **attributes)


def matmul(g, s, inside, outside, **attributes):
    return g.op("Add", g.op("MatMul", s, g.random(inside, outside)), g.random(outside))


# The hidden width may be that of the map: what is summed over comes out again.


@pytest.mark.parametrize("hidden", [1, 4, C, 20])
@pytest.mark.parametrize("layer", [gemm, matmul])
@pytest.mark.parametrize("numbers", [{}, {"transB": 1}, {"alpha": 0.5, "beta": 2.0, "transB": 1}])
def test_excitations(hidden, layer, numbers):
    def statistic(g, x):
        s = g.op("Relu", layer(g, squeezed(g, x), C, hidden, **numbers))
        return g.op("Unsqueeze", layer(g, s, hidden, C, **numbers), FLAT)

    check(between(gated(statistic)), gone=("Gemm", "MatMul"))


@pytest.mark.parametrize("hidden", [1, 4, C, 20])
def test_excitations_by_convolution(hidden):
    def statistic(g, x):
        s = g.conv(g.op("GlobalAveragePool", x), C, hidden)
        return g.conv(g.op("Relu", s), hidden, C)

    check(between(gated(statistic)))


@pytest.mark.parametrize("layer", [gemm, matmul])
def test_a_single_layer(layer):
    def statistic(g, x):
        return g.op("Unsqueeze", layer(g, squeezed(g, x), C, C), FLAT)

    check(between(gated(statistic)))
    check(between(gated(lambda g, x: g.conv(g.op("GlobalAveragePool", x), C, C))))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_residual_on_the_squeeze(count):
    def statistic(g, x):
        s = squeezed(g, x)
        for _ in range(count):
            s = g.op("Add", s, g.op("Tanh", gemm(g, s, C, C)))
        return g.op("Unsqueeze", s, FLAT)

    check(between(gated(statistic)))


def test_a_layer_of_two_pools():
    """The weights are the same for both: one layer for two."""

    def statistic(g, x):
        first, second = g.random(4, C, 1, 1), g.random(C, 4, 1, 1)
        made = []
        for op_type in ("GlobalAveragePool", "GlobalMaxPool"):
            s = g.op("Relu", g.op("Conv", g.op(op_type, x), first))
            made.append(g.op("Conv", s, second))
        return g.op("Add", *made)

    check(between(gated(statistic)))


@pytest.mark.parametrize("groups", [2, 3, 4])
def test_a_layer_for_each_group(groups):
    """The same weights for all groups, which lie on the batch."""

    def body(g, x):
        width = C // groups
        v = g.op("Reshape", x, np.array([-1, width, 7, 5]))
        s = g.conv(g.op("Relu", g.conv(g.op("GlobalAveragePool", v), width, 2)), 2, width)
        v = g.op("Mul", v, g.op("Sigmoid", s))
        return g.op("Reshape", v, np.array([-1, C, 7, 5]))

    check(between(body), fires=None)


@pytest.mark.parametrize("groups", [2, 3, 4, C])
def test_a_grouped_convolution(groups):
    def statistic(g, x):
        return g.conv(g.op("GlobalAveragePool", x), C, C, group=groups)

    check(between(gated(statistic)), fires=None)


@pytest.mark.parametrize("kernel", [1, 3])
def test_a_convolution_of_the_map(kernel):
    check(between(gated(lambda g, x: g.conv(x, C, C, kernel))), fires=False)
    check(between(gated(lambda g, x: g.conv(x, C, 1, kernel))), fires=None)
    check(between(gated(lambda g, x: g.conv(x, C, C, kernel, group=C))), fires=None)


def test_a_convolution_to_one_channel_of_a_pooled_map():
    def statistic(g, x):
        v = g.op("MaxPool", g.conv(x, C, C, group=C), kernel_shape=[3, 3], pads=[1] * 4)
        v = g.op("Reshape", g.conv(v, C, 1), np.array([0, 1, 35]))
        return g.op("Reshape", g.op("Softmax", v, axis=2), np.array([0, 1, 7, 5]))

    check(between(gated(statistic)))


def test_a_convolution_with_steps_or_padding():
    for attributes in ({"strides": [2, 2]}, {"pads": [1] * 4}, {"dilations": [2, 2]}):

        def statistic(g, x, attributes=attributes):
            weight = g.random(1, C, *((3, 3) if "dilations" in attributes else (1, 1)))
            return g.op("GlobalAveragePool", g.op("Conv", x, weight, **attributes))

        check(between(gated(statistic)))


@pytest.mark.parametrize("perm", [[0, 2, 1, 3], [0, 3, 2, 1]])
@pytest.mark.parametrize("outside", [1, 3])
def test_a_convolution_over_rows_or_columns(perm, outside):
    rows = 7 if perm[1] == 2 else 5

    def statistic(g, x):
        v = g.op("Transpose", x, perm=perm)
        v = g.reduce("ReduceMean", g.conv(v, rows, outside), [1])
        v = g.op("Transpose", v, perm=list(np.argsort(perm)))
        return g.op("Add", v, g.op("GlobalAveragePool", x))

    check(between(gated(statistic)), fires=None)


def test_a_layer_over_samples():
    def statistic(g, x):
        v = g.op("Reshape", g.op("GlobalAveragePool", x), np.array([2, 2 * C, 1, 1]))
        return g.op("Reshape", g.conv(v, 2 * C, 2 * C), np.array([4, C, 1, 1]))

    check(between(gated(statistic), batch=4), fires=None)

    def turned(g, x):
        s = g.op("MatMul", g.op("Transpose", squeezed(g, x), perm=[1, 0]), g.random(4, 4))
        return g.op("Unsqueeze", g.op("Transpose", s, perm=[1, 0]), FLAT)

    check(between(gated(turned), batch=4), fires=None)


def test_a_transposed_operand():
    def statistic(g, x):
        s = g.op("Transpose", squeezed(g, x), perm=[1, 0])
        return g.op("Unsqueeze", g.op("Gemm", s, g.random(C, C), transA=1), FLAT)

    check(between(gated(statistic)), fires=None)


def test_weights_that_may_be_overridden():
    def statistic(g, x):
        weight = g.overridable(np.linspace(-1, 1, C * C).reshape(C, C, 1, 1))
        return g.op("Conv", g.op("GlobalAveragePool", x), weight)

    check(between(gated(statistic)), fires=None, keeps=("Conv",))

    def biased(g, x):
        bias = g.overridable(np.linspace(-1, 1, C))
        return g.op("Unsqueeze", g.op("Gemm", squeezed(g, x), g.random(C, C), bias), FLAT)

    check(between(gated(biased)), fires=None, keeps=("Gemm",))


@pytest.mark.parametrize("shape", [(1,), (1, 1), (C,), (1, C), ()])
def test_biases(shape):
    def statistic(g, x):
        s = g.op("Gemm", squeezed(g, x), g.random(C, C), g.random(*shape))
        return g.op("Unsqueeze", s, FLAT)

    check(between(gated(statistic)))


@pytest.mark.parametrize("shape", [(3, C), (3, 1)])
def test_a_bias_for_each_sample(shape):
    def statistic(g, x):
        s = g.op("Gemm", squeezed(g, x), g.random(C, C), g.random(*shape))
        return g.op("Unsqueeze", s, FLAT)

    check(between(gated(statistic), batch=3), fires=None, keeps=("Gemm",))


@pytest.mark.parametrize("width", [3, 5, 12])
def test_a_layer_without_a_bias_to_channels_of_rows_size(width):
    """As many outputs as the map has rows or columns."""

    def statistic(g, x):
        s = g.conv(g.op("GlobalAveragePool", x), C, width)
        return g.op("Transpose", s, perm=[0, 2, 1, 3])  # one number for each row

    check(between(gated(statistic), size=(width, 5)), fires=None)


# Bands.


def band(layout, kernel, *, pads=None, shape=None, bias=True, **attributes):
    """Gives the body that gates x by a band over its means, as [n, 1, c], [n, 1, c, 1] or so."""

    def statistic(g, x):
        s = g.op("GlobalAveragePool", x)
        rank, place = len(layout), layout.index("c")
        s = g.op("Reshape", s, np.array([{"n": -1, "c": C}.get(axis, 1) for axis in layout]))
        sizes = [kernel if k == place else 1 for k in range(2, rank)] if shape is None else shape
        edge = pads or [size // 2 for size in sizes] * 2
        weights = [g.random(1, 1, *sizes), *([g.random(1)] if bias else [])]
        s = g.op("Conv", s, *weights, pads=edge, **attributes)
        return g.op("Reshape", s, np.array([-1, C, 1, 1]))

    return gated(statistic)


@pytest.mark.parametrize("kernel", [1, 3, 5, 2 * C + 1])
@pytest.mark.parametrize("layout", ["n1c", "n1c1", "n11c"])
@pytest.mark.parametrize("bias", [False, True])
def test_bands(layout, kernel, bias):
    check(between(band(layout, kernel, bias=bias)))


@pytest.mark.parametrize("shape", [(3, 5), (3, 3), (1, 3)])
def test_a_kernel_that_reaches_into_the_padding(shape):
    check(between(band("n11c", 0, shape=shape)))


@pytest.mark.parametrize(
    ("kernel", "options"),
    [
        (3, {"pads": [2, 0]}),
        (4, {"pads": [2, 1]}),
        (3, {"pads": [2, 2], "dilations": [2]}),
    ],
)
def test_other_bands(kernel, options):
    check(between(band("n1c", kernel, **options)), fires=None, keeps=("Conv",))


def test_a_band_that_starts_from_the_end():
    def statistic(g, x):
        order = np.arange(C)[::-1].copy()
        s = g.op("Gather", g.op("GlobalAveragePool", x), order, axis=1)
        s = g.op("Reshape", s, np.array([-1, 1, C]))
        s = g.op("Conv", s, g.random(1, 1, 3), pads=[1, 1])
        return g.op("Reshape", s, np.array([-1, C, 1, 1]))

    check(between(gated(statistic)), fires=None)


@pytest.mark.parametrize("groups", [2, 3])
def test_a_band_within_each_group(groups):
    def statistic(g, x):
        s = g.op("Reshape", g.op("GlobalAveragePool", x), np.array([-1, 1, C // groups]))
        s = g.op("Conv", s, g.random(1, 1, 3), pads=[1, 1])
        return g.op("Reshape", s, np.array([-1, C, 1, 1]))

    check(between(gated(statistic)), fires=None)


def test_a_band_over_shuffled_channels():
    def statistic(g, x):
        s = g.op("Reshape", g.op("GlobalAveragePool", x), np.array([-1, 3, 4]))
        s = g.op("Reshape", g.op("Transpose", s, perm=[0, 2, 1]), np.array([-1, 1, C]))
        s = g.op("Conv", s, g.random(1, 1, 3), pads=[1, 1])
        s = g.op("Reshape", s, np.array([-1, 4, 3]))
        return g.op("Reshape", g.op("Transpose", s, perm=[0, 2, 1]), np.array([-1, C, 1, 1]))

    check(between(gated(statistic)), fires=None)


def test_a_band_over_rows():
    def statistic(g, x):
        v = g.op("Reshape", g.reduce("ReduceMean", x, [1, 3]), np.array([-1, 1, 7]))
        v = g.op("Conv", v, g.random(1, 1, 3), pads=[1, 1])
        return g.op("Reshape", v, np.array([-1, 1, 7, 1]))

    check(between(gated(statistic)), fires=None)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_types(dtype):
    check(between(band("n1c", 3), dtype=dtype))
    check(between(gated(lambda g, x: g.conv(g.op("GlobalAveragePool", x), C, C)), dtype=dtype))
