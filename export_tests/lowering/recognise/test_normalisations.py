"""Normalisations: of one channel's positions, as moments; of anything else, left as they are."""

from __future__ import annotations

import numpy as np
import pytest

from export_tests.lowering.graphs import CHANNELS as C
from export_tests.lowering.graphs import between, check, gated

OPSETS = (13, 18, 21)


def instance(g, x, channels=C, epsilon=0.125):
    scale, bias = g.random(channels), g.random(channels)
    return g.op("InstanceNormalization", x, scale, bias, epsilon=epsilon)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("size", [(7, 5), (1, 5), (7, 1)])
def test_instance(opset, size):
    check(between(gated(instance), opset=opset, size=size))


def test_of_one_position():
    """(x - x) / sqrt(0 + e) is nothing: what is left is the bias."""
    check(between(gated(instance), size=(1, 1)), fires=None)


@pytest.mark.parametrize("epsilon", [1e-12, 1e-5, 10.0])
def test_epsilon(epsilon):
    check(between(gated(lambda g, x: instance(g, x, epsilon=epsilon))))


def test_epsilon_by_default():
    def statistic(g, x):
        return g.op("InstanceNormalization", x, g.random(C), g.random(C))

    check(between(gated(statistic)), rel=1e-10)


def written_out(groups):
    """Gives GroupNorm as torch's exporters write it."""

    def norm(g, x):
        v = g.op("Reshape", x, np.array([0, groups, -1]))
        v = g.op("InstanceNormalization", v, np.ones(groups), np.zeros(groups), epsilon=0.125)
        v = g.op("Reshape", v, g.op("Shape", x))
        return g.op("Add", g.op("Mul", v, g.random(C, 1, 1)), g.random(C, 1, 1))

    return norm


def test_group_norm_of_single_channels():
    check(between(gated(written_out(C))), gone=("Reshape", "Shape"))


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_group_norm_of_several(groups):
    model = between(gated(written_out(groups)))
    check(model, fires=None, keeps=("InstanceNormalization",))


@pytest.mark.parametrize("opset", [18, 21])
@pytest.mark.parametrize("groups", [1, 2, 3, 6, C])
def test_group_normalization(groups, opset):
    def norm(g, x):
        count = groups if opset < 21 else C
        numbers = (g.random(count), g.random(count))
        return g.op("GroupNormalization", x, *numbers, num_groups=groups, epsilon=0.125)

    # ONNX Runtime has the operator from opset 21 on only.
    model = between(gated(norm), opset=opset)
    if groups == C:
        check(model, gone=("GroupNormalization",))
    elif opset == 21:
        check(model, fires=None, keeps=("GroupNormalization",))


def test_instance_norm_of_half_the_channels():
    def body(g, x):
        a, b = g.split(x, [6, 6])
        a = g.op("Mul", a, g.op("Sigmoid", g.op("GlobalAveragePool", a)))
        b = g.op("Mul", b, g.op("Sigmoid", instance(g, b, 6)))
        return g.op("Concat", a, b, axis=1)

    check(between(body), gone=("Split", "Concat"))


def test_instance_norm_with_groups_on_the_batch():
    def body(g, x):
        v = g.op("Reshape", x, np.array([-1, 4, 7, 5]))
        v = g.op("Mul", v, g.op("Sigmoid", instance(g, v, 4)))
        return g.op("Reshape", v, np.array([-1, C, 7, 5]))

    check(between(body), gone=("Reshape",))


def test_overridable_scale():
    def statistic(g, x):
        return g.op("InstanceNormalization", x, g.overridable(np.linspace(1, 2, C)), g.random(C))

    check(between(gated(statistic)), fires=None, keeps=("InstanceNormalization",))


def test_instance_norm_of_what_is_expanded():
    def statistic(g, x):
        rows = g.reduce("ReduceMean", x, [3])
        return instance(g, g.op("Expand", rows, np.array([1, C, 7, 5])))

    check(between(gated(statistic)), fires=None)


@pytest.mark.parametrize("opset", [17, 18, 21])
@pytest.mark.parametrize(
    ("axis", "shape"), [(2, (7, 5)), (-2, (7, 5)), (-1, (5,)), (3, (5,)), (2, (7, 1)), (2, (1, 5))]
)
@pytest.mark.parametrize("has_bias", [False, True])
def test_layer_norm_over_positions(axis, shape, has_bias, opset):
    def statistic(g, x):
        bias = [g.random(*shape)] if has_bias else []
        return g.op("LayerNormalization", x, g.random(*shape), *bias, axis=axis, epsilon=0.125)

    check(between(gated(statistic), opset=opset), batches=(2,), fires=None)


@pytest.mark.parametrize(("axis", "shape"), [(1, (C, 7, 5)), (-3, (C, 7, 5))])
def test_layer_norm_over_everything(axis, shape):
    def statistic(g, x):
        return g.op("LayerNormalization", x, g.random(*shape), g.random(*shape), axis=axis)

    check(between(gated(statistic)), fires=None, keeps=("LayerNormalization",), rel=1e-9)


def test_layer_norm_over_channels():
    def statistic(g, x):
        v = g.op("Transpose", x, perm=[0, 2, 3, 1])
        v = g.op("LayerNormalization", v, g.random(C), g.random(C), epsilon=0.125)
        return g.op("Transpose", v, perm=[0, 3, 1, 2])

    check(between(gated(statistic)), fires=None, keeps=("LayerNormalization",))


@pytest.mark.parametrize(
    ("layer", "opset", "batch"),
    [("MatMul", 17, 1), ("Gelu", 20, "n"), ("LayerNormalization", 18, 1)],
)
def test_layer_norm_over_channels_of_a_layer_and_its_shortcut(layer, opset, batch):
    """What a layer gives is not known to lie channels last: they pass for columns there."""

    def body(g, x):
        v = g.op("Transpose", x, perm=[0, 2, 3, 1])
        weights = {"MatMul": (g.random(C, C),), "LayerNormalization": (g.random(C), g.random(C))}
        v = g.op(layer, v, *weights.get(layer, ()))
        v = g.op("Transpose", g.op("Add", v, g.random(C)), perm=[0, 3, 1, 2])
        v = g.op("Transpose", g.op("Add", v, x), perm=[0, 2, 3, 1])
        v = g.op("LayerNormalization", v, g.random(C), g.random(C), epsilon=0.125)
        return g.op("Transpose", v, perm=[0, 3, 1, 2])

    model = between(body, opset=opset, batch=batch)
    check(model, fires=None, keeps=("LayerNormalization",), batches=(2,), rel=1e-9)


def test_layer_norm_of_the_squeeze():
    def statistic(g, x):
        s = g.reduce("ReduceMean", x, [2, 3], 0)
        s = g.op("LayerNormalization", s, g.random(C), g.random(C), epsilon=0.125)
        return g.op("Unsqueeze", s, np.array([2, 3]))

    check(between(gated(statistic)), fires=None, keeps=("LayerNormalization",))


@pytest.mark.parametrize("shift", [0.0, 1e3])
def test_a_large_mean(shift):
    """The moments of values far from 0 must not be differences of large numbers."""

    def body(g, x):
        v = g.op("Add", x, np.full((C, 1, 1), shift))
        return g.op("Mul", x, g.op("Sigmoid", instance(g, v)))

    check(between(body, dtype=np.float64), rel=1e-11)
