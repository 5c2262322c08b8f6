"""Split, the same on each part, Concat: one; and what only looks like it."""

from __future__ import annotations

import numpy as np
import pytest

from export_tests.lowering.graphs import CHANNELS as C
from export_tests.lowering.graphs import between, check

WHOLE = ("Split", "Slice", "Concat")


def mean(g, x):
    return g.op("GlobalAveragePool", x)


def gate(g, x, statistic=mean):
    return g.op("Mul", x, g.op("Sigmoid", statistic(g, x)))


def parted(*branches, axis=1, order=None, sizes=None):
    """Gives the body that sends each part through its branch and joins the results."""

    def body(g, x):
        count = len(branches)
        parts = g.split(x, sizes or [C // count] * count, axis=axis)
        made = [branch(g, part) for branch, part in zip(branches, parts, strict=True)]
        return g.op("Concat", *(made[k] for k in order or range(count)), axis=axis)

    return body


def layer(outside):
    """Gives a squeeze and a layer of its own weights."""
    return lambda g, x: g.conv(mean(g, x), 4, outside)


def excitation(g, x):
    return g.conv(g.op("Relu", g.conv(mean(g, x), 4, 2)), 2, 4)


def affine(g, x):
    s = g.op("Add", g.op("Mul", mean(g, x), g.random(4, 1, 1)), g.random(4, 1, 1))
    return g.op("Mul", s, np.array(float(g.rng.uniform(0.5, 1.5))))


def spatial(g, x):
    return g.conv(x, 4, 1)


STATISTICS = {
    "means": mean,
    "maxima": lambda g, x: g.op("GlobalMaxPool", x),
    "affine": affine,
    "a layer": layer(4),
    "a layer to one": layer(1),
    "two layers": excitation,
    "spatial": spatial,
    "over channels": lambda g, x: g.reduce("ReduceMax", x, [1]),
    "normalised": lambda g, x: g.op(
        "InstanceNormalization", x, g.random(4), g.random(4), epsilon=0.125
    ),
}


@pytest.mark.parametrize("name", STATISTICS)
def test_alike(name):
    branch = STATISTICS[name]
    # What reduces over a part of the channels may be left, but never written wrong.
    fires = None if name in {"two layers", "a layer", "over channels"} else True
    check(between(parted(*[lambda g, x: gate(g, x, branch)] * 3)), fires=fires)


@pytest.mark.parametrize("name", ["means", "maxima", "affine", "spatial", "normalised"])
def test_alike_is_one(name):
    branch = STATISTICS[name]
    check(between(parted(*[lambda g, x: gate(g, x, branch)] * 3)), gone=WHOLE)


@pytest.mark.parametrize("order", [(1, 0, 2), (2, 1, 0), (1, 2, 0)])
def test_in_another_order(order):
    check(between(parted(*[gate] * 3, order=order)), fires=None)


def test_one_part_twice():
    def body(g, x):
        a, b, _ = g.split(x, [4] * 3)
        return g.op("Concat", gate(g, a), gate(g, a), gate(g, b), axis=1)

    check(between(body), fires=None)


def test_one_part_missing():
    for kept in ((0, 1), (1, 2), (0, 2)):

        def body(g, x, kept=kept):
            parts = g.split(x, [4] * 3)
            return g.op("Concat", *(gate(g, parts[k]) for k in kept), axis=1)

        check(between(body, out=8), fires=None)


@pytest.mark.parametrize("axis", [2, 3])
def test_joined_on_another_axis(axis):
    def body(g, x):
        return g.op("Concat", *(gate(g, part) for part in g.split(x, [6, 6])), axis=axis)

    check(between(body, out=6), fires=None)


@pytest.mark.parametrize("axis", [0, 2, 3])
def test_parts_of_the_map_or_of_the_batch(axis):
    sizes = {0: [1, 1], 2: [3, 3], 3: [2, 2]}[axis]
    body = parted(gate, gate, axis=axis, sizes=sizes)
    check(between(body, size=(6, 4), batch=2), fires=None)


def test_the_same_of_two_values():
    def body(g, x):
        y = g.conv(x, C, C, 3)
        a, b = g.split(x, [6, 6])[0], g.split(y, [6, 6])[1]
        return g.op("Concat", gate(g, a), gate(g, b), axis=1)

    check(between(body), fires=None)


def test_a_part_gated_by_the_other():
    def body(g, x):
        a, b = g.split(x, [6, 6])
        one, other = (g.op("Sigmoid", mean(g, part)) for part in (a, b))
        return g.op("Concat", g.op("Mul", a, other), g.op("Mul", b, one), axis=1)

    check(between(body), fires=None)


def test_two_parts_compared():
    def body(g, x):
        a, b = g.split(x, [6, 6])
        return g.op("Concat", gate(g, g.op("Add", a, b)), gate(g, g.op("Sub", a, b)), axis=1)

    check(between(body), fires=None)


# Branches that differ.

DIFFERENT = {
    "one is left": (gate, lambda _, x: x),
    "statistics": (gate, lambda g, x: gate(g, x, lambda g, v: g.op("GlobalMaxPool", v))),
    "functions": (
        lambda g, x: g.op("Mul", x, g.op("Tanh", mean(g, x))),
        lambda g, x: g.op("Mul", x, g.op("Sigmoid", mean(g, x))),
    ),
    "slopes": (
        lambda g, x: gate(g, g.op("LeakyRelu", x, alpha=0.5)),
        lambda g, x: gate(g, g.op("LeakyRelu", x, alpha=0.25)),
    ),
    "exponents": (
        lambda g, x: gate(g, g.op("Pow", x, np.array(2.0))),
        lambda g, x: gate(g, g.op("Pow", x, np.array(3.0))),
    ),
    "bounds": (
        lambda g, x: gate(g, g.op("Clip", x, np.array(-1.0), np.array(1.0))),
        lambda g, x: gate(g, g.op("Clip", x, np.array(-2.0), np.array(1.0))),
    ),
    "sums": (
        lambda g, x: g.op("Add", x, gate(g, x)),
        lambda g, x: g.op("Sub", x, gate(g, x)),
    ),
    "statistics of a sum": (
        gate,
        lambda g, x: gate(g, x, lambda g, v: g.op("Mul", v, g.random(6, 1, 1))),
    ),
    "means over other axes": (
        lambda g, x: gate(g, x, lambda g, v: g.reduce("ReduceMean", v, [2])),
        lambda g, x: gate(g, x, lambda g, v: g.reduce("ReduceMean", v, [3])),
    ),
}


@pytest.mark.parametrize("name", DIFFERENT)
@pytest.mark.parametrize("turned", [False, True])
def test_different(name, turned):
    branches = DIFFERENT[name]
    check(between(parted(*(branches[::-1] if turned else branches))), fires=None)


# What is finite on one part only. Each branch is safe on its own part.

HALF = np.r_[np.ones(6), np.zeros(6)].reshape(C, 1, 1)
INFINITE = {
    "log": (500.0, lambda g, x: g.op("Log", x)),
    "root": (500.0, lambda g, x: g.op("Sqrt", x)),
    "reciprocal": (500.0, lambda g, x: g.op("Reciprocal", x)),
    "quotient": (500.0, lambda g, x: g.op("Div", np.array(2.0), x)),
    "exponential": (-5000.0, lambda g, x: g.op("Exp", g.op("Mul", x, np.array(-1e-3)))),
    "power": (500.0, lambda g, x: g.op("Pow", x, np.array(0.25))),
}


@pytest.mark.parametrize("name", INFINITE)
def test_what_is_finite_on_its_own_part_only(name):
    shift, function = INFINITE[name]

    def body(g, x):
        v = g.op("Relu", x) if name in {"reciprocal", "quotient"} else x
        if name == "exponential":
            v = g.op("Mul", v, 1.0 + 1e9 * (1.0 - HALF))
            a, b = g.split(v, [6, 6])
            return g.op("Concat", function(g, a), g.op("Mul", b, np.array(-2e-9)), axis=1)
        a, b = g.split(g.op("Add", v, shift * HALF), [6, 6])
        return g.op("Concat", function(g, a), g.op("Mul", b, np.array(-2.0)), axis=1)

    check(between(body), fires=None)


# Parts and the whole.


@pytest.mark.parametrize("outside", [1, 4])
@pytest.mark.parametrize("hidden", [0, 2])
def test_a_layer_of_each_part_reads_the_whole_squeeze(outside, hidden):
    def body(g, x):
        s, inside = mean(g, x), C
        if hidden:
            s, inside = g.op("Relu", g.conv(s, C, hidden)), hidden
        parts = g.split(x, [4] * 3)
        made = [g.op("Mul", p, g.op("Sigmoid", g.conv(s, inside, outside))) for p in parts]
        return g.op("Concat", *made, axis=1)

    check(between(body), fires=None)


def test_parts_of_parts():
    def pair(g, x):
        return g.op("Concat", *(gate(g, part) for part in g.split(x, [3, 3])), axis=1)

    check(between(parted(pair, pair)), fires=None)
    check(between(lambda g, x: gate(g, parted(pair, pair)(g, x))), fires=None)


def test_a_part_that_is_read_again():
    def body(g, x):
        a, b = g.split(x, [6, 6])
        y = g.op("Concat", gate(g, a), gate(g, b), axis=1)
        return g.op("Add", y, g.conv(a, 6, C, 3))

    check(between(body), fires=None)


def test_a_gated_part_that_is_an_output():
    def body(g, x):
        a, b = (gate(g, part) for part in g.split(x, [6, 6]))
        g.output(a, rank=4)
        return g.op("Concat", a, b, axis=1)

    check(between(body), fires=None)


def test_a_shuffle_after():
    def body(g, x):
        y = parted(gate, lambda g, v: gate(g, v, lambda g, w: g.op("GlobalMaxPool", w)))(g, x)
        v = g.op("Transpose", g.op("Reshape", y, np.array([-1, 2, 6, 35])), perm=[0, 2, 1, 3])
        return g.op("Reshape", v, np.array([-1, C, 7, 5]))

    check(between(body), fires=None)


def test_groups_and_halves_of_each():
    """Shuffle attention: groups on the batch, halves of each, another statistic for each half."""

    def body(g, x):
        v = g.op("Reshape", x, np.array([-1, 6, 7, 5]))
        a, b = g.split(v, [3, 3])
        s = g.op("Add", g.op("Mul", mean(g, a), g.random(1, 3, 1, 1)), g.random(1, 3, 1, 1))
        n = g.op("InstanceNormalization", b, g.random(3), g.random(3), epsilon=0.125)
        n = g.op("Add", g.op("Mul", n, g.random(1, 3, 1, 1)), g.random(1, 3, 1, 1))
        made = [g.op("Mul", p, g.op("Sigmoid", q)) for p, q in ((a, s), (b, n))]
        y = g.op("Reshape", g.op("Concat", *made, axis=1), np.array([-1, 2, 6, 35]))
        y = g.op("Transpose", y, perm=[0, 2, 1, 3])
        return g.op("Reshape", y, np.array([-1, C, 7, 5]))

    check(between(body), gone=("Split", "Concat"))
