"""Einsum: gates and sums by letters; matrix products and diagonals are left."""

from __future__ import annotations

import numpy as np
import pytest

from export_tests.lowering.graphs import CHANNELS as C
from export_tests.lowering.graphs import between, check, gated


def einsum(g, equation, *operands):
    return g.op("Einsum", *operands, equation=equation)


def squeezed(g, x):
    return g.reduce("ReduceMean", x, [2, 3], 0)


GATES = {
    "nchw,nc->nchw": squeezed,
    "nchw,nhw->nchw": lambda g, x: g.reduce("ReduceMean", x, [1], 0),
    "nchw, nh -> nchw": lambda g, x: g.reduce("ReduceMean", x, [1, 3], 0),
    "abcd,ab->abcd": squeezed,
    "nchw,nchw->nchw": lambda g, x: g.reduce("ReduceMean", x, [2, 3]),  # of size 1
}


@pytest.mark.parametrize("opset", [13, 20])
@pytest.mark.parametrize("equation", GATES)
def test_gates(equation, opset):
    def body(g, x):
        return einsum(g, equation, x, g.op("Sigmoid", GATES[equation](g, x)))

    check(between(body, opset=opset), gone=("Einsum",) if "nchw,nchw" not in equation else ())


SUMS = {
    "nchw->nc": [-1, C, 1, 1],
    "nchw->nhw": [-1, 1, 7, 5],
    "nchw->cn": None,
    "nchw->n": [-1, 1, 1, 1],
    "nchw->ncw": [-1, C, 1, 5],
}


@pytest.mark.parametrize("equation", SUMS)
def test_sums(equation):
    def statistic(g, x):
        v = g.op("Mul", einsum(g, equation, x), np.array(0.01))
        if SUMS[equation] is None:
            v = g.op("Transpose", v, perm=[1, 0])
        return g.op("Reshape", v, np.array(SUMS[equation] or [-1, C, 1, 1]))

    check(between(gated(statistic)), gone=("Einsum",))


def test_constants():
    def statistic(g, x):
        v = einsum(g, "nchw,c->nchw", x, g.random(C))
        return g.op("GlobalAveragePool", v)

    check(between(gated(statistic)), gone=("Einsum",))


def outer_of_one(g, x):
    s = squeezed(g, x)
    return g.reduce("ReduceMean", einsum(g, "nc,nd->nd", s, s), [1])


def inner(g, x):
    s = squeezed(g, x)
    return g.op("Unsqueeze", einsum(g, "nc,nc->n", s, s), np.array([1]))


def gram(g, x):
    v = g.op("Reshape", x, np.array([0, C, 35]))
    v = g.reduce("ReduceMax", einsum(g, "ncp,ndp->ncd", v, v), [2], 0)
    return g.op("Mul", v, np.array(0.01))


LEFT = {
    "a layer": lambda g, x: einsum(g, "nc,oc->no", squeezed(g, x), g.random(C, C)),
    "a letter of the constant": lambda g, x: g.reduce(
        "ReduceMean", einsum(g, "nc,d->ncd", squeezed(g, x), g.random(C)), [2], 0
    ),
    "a sum over the constant": lambda g, x: einsum(g, "nc,d->nc", squeezed(g, x), g.random(C)),
    "outer product": lambda g, x: g.reduce(
        "ReduceMean", einsum(g, "nc,nd->ncd", squeezed(g, x), squeezed(g, x)), [2], 0
    ),
    "outer product of one": outer_of_one,
    "inner product": inner,
    "channels by channels": gram,
    "weighted pooling": lambda g, x: einsum(
        g, "nchw,nhw->nc", x, g.op("Sigmoid", g.reduce("ReduceMean", x, [1], 0))
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LEFT)
def test_other_products(name):
    def statistic(g, x):
        return g.op("Unsqueeze", LEFT[name](g, x), np.array([2, 3]))

    check(between(gated(statistic)), fires=None)


def test_rows_by_columns_of_a_square_map():
    def statistic(g, x):
        rows = g.reduce("ReduceMean", x, [3], 0)
        return einsum(g, "nch,ncw->nchw", rows, rows)

    check(between(gated(statistic), size=(5, 5)), fires=None)


def test_a_map_across():
    def body(g, x):
        v = einsum(g, "nchw->ncwh", x)
        return g.op("Mul", g.op("Add", x, v), g.op("Sigmoid", g.op("GlobalAveragePool", x)))

    check(between(body, size=(5, 5)), fires=None)


def test_without_an_arrow_or_with_an_ellipsis():
    for equation in ("nc,nc", "...hw->..."):

        def statistic(g, x, equation=equation):
            if equation[0] == ".":
                return g.op("Unsqueeze", g.op("Mul", einsum(g, equation, x), np.array(0.01)),
                            np.array([2, 3]))  # fmt: skip
            s = squeezed(g, x)
            return g.op("Mul", einsum(g, equation, s, s), np.array(0.1))

        check(between(gated(statistic)), fires=None, keeps=("Einsum",))
