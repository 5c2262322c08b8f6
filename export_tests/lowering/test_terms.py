"""Spellings of one function are one term, and no others are; checked by evaluating terms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeattn.lowering.indices import fresh, leaves
from edgeattn.lowering.terms import Const, Terms, combine, is_positive, is_scalar, scalar

C, H, W = 4, 3, 2
FUNCTIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "abs": np.abs,
    "clip": lambda x, low, high: np.minimum(np.maximum(x, low), high),
}


class Site:
    """A map `x` and a second one `y`, over (channels, rows, columns)."""

    def __init__(self):
        self.terms = Terms()
        axes = fresh([C, H, W], [1, 2, 3])
        self.order = tuple(axis[0] for axis in axes)
        self.channel, self.space = self.order[0], frozenset(self.order[1:])
        self.x = self.terms.leaf("x", self.order)
        self.y = self.terms.leaf("y", self.order)
        rng = np.random.default_rng(2)
        self.values = {"x": rng.normal(0.3, 2, (C, H, W)), "y": rng.normal(0, 1, (C, H, W))}

    def number(self, value):
        return self.terms.const(scalar(value))

    def per_channel(self, *values):
        return self.terms.const(Const(np.array(values, dtype=float), (self.channel,)))

    def mean(self, term, over=None):
        return self.terms.mean(term, self.space if over is None else frozenset(over))

    def minus(self, one, other):
        return self.terms.add(one, self.terms.scaled(scalar(-1), other))

    def over(self, one, other):
        return self.terms.mul(one, self.terms.pow(other, -1))

    def value(self, term):  # noqa: C901, PLR0911 - one case for each operator
        """Evaluates a term, over (C, H, W), with 1 where it does not depend on an index."""
        axes = None
        if not isinstance(term.attrs, tuple) and term.op in {"mean", "max", "variance", "centred"}:
            axes = tuple(self.order.index(i) for i in leaves(term.attrs))
        args = [self.value(arg) for arg in term.args]
        match term.op:
            case "leaf":
                return self.values[term.attrs]
            case "const":
                return term.attrs.over(self.order)
            case "add":
                return sum(args[1:], args[0])
            case "mul":
                return np.prod(np.broadcast_arrays(*args), axis=0)
            case "pow":
                return args[0] ** term.attrs
            case "fn":
                return FUNCTIONS[term.attrs[0]](args[0], *term.attrs[1:])
            case "mean":
                return args[0].mean(axis=axes, keepdims=True)
            case "max":
                return args[0].max(axis=axes, keepdims=True)
            case "variance":
                return args[0].var(axis=axes, keepdims=True)
            case "centred":
                return args[0] - args[0].mean(axis=axes, keepdims=True)
            case "normalised":
                over, epsilon = term.attrs
                axes = tuple(self.order.index(i) for i in leaves(over))
                centred = args[0] - args[0].mean(axis=axes, keepdims=True)
                return centred / np.sqrt(args[0].var(axis=axes, keepdims=True) + epsilon)
        raise AssertionError(term.op)


@pytest.fixture
def site():
    return Site()


def ops(term):
    """Gives the operators in a term."""
    return {term.op}.union(*map(ops, term.args))


# One form for what is spelled in several ways.


def test_variance(site):
    t, x = site.terms, site.x
    m = site.mean(x)
    d, e = site.minus(x, m), site.minus(m, x)
    count = H * W
    spellings = [
        site.mean(t.mul(d, d)),
        site.mean(t.pow(d, 2)),
        site.mean(t.mul(e, e)),
        site.minus(site.mean(t.mul(x, x)), t.mul(m, m)),
        site.minus(site.mean(t.pow(x, 2)), t.pow(m, 2)),
        t.scaled(scalar(1 / count), t.scaled(scalar(count), site.mean(t.pow(d, 2)))),
        t.variance(x, site.space),
    ]
    assert {id(one) for one in spellings} == {id(spellings[0])}
    np.testing.assert_allclose(
        site.value(spellings[0]), site.values["x"].var(axis=(1, 2), keepdims=True), rtol=1e-14
    )


def test_a_square_about_another_mean_is_no_variance(site):
    t, x, y = site.terms, site.x, site.y
    other = [
        site.mean(t.pow(site.minus(x, site.mean(y)), 2)),
        site.mean(t.pow(site.minus(x, site.mean(x, [site.order[1]])), 2)),
        site.mean(t.pow(site.minus(x, t.scaled(scalar(2), site.mean(x))), 2)),
        site.minus(site.mean(t.pow(x, 2)), t.pow(site.mean(y), 2)),
        site.minus(site.mean(t.pow(x, 2)), t.scaled(scalar(2), t.pow(site.mean(x), 2))),
        t.add(site.mean(t.pow(x, 2)), t.pow(site.mean(x), 2)),
    ]
    for term in other:
        assert term is not t.variance(x, site.space)
        assert "variance" not in ops(term)


def test_normalised(site):
    t, x = site.terms, site.x
    d = site.minus(x, site.mean(x))
    v = t.variance(x, site.space)
    e = t.add(v, site.number(1e-2))
    spellings = [
        t.mul(d, t.pow(e, -0.5)),
        site.over(d, t.pow(e, 0.5)),
        t.mul(d, t.pow(t.pow(e, 0.5), -1)),
        t.mul(d, t.pow(t.pow(e, -1), 0.5)),
        t.normalised(x, site.space, 1e-2),
    ]
    assert {id(one) for one in spellings} == {id(spellings[-1])}


def test_simam(site):
    t, x = site.terms, site.x
    d = site.minus(x, site.mean(x))
    n, lam = H * W - 1, 1e-4
    v = t.scaled(scalar(1 / n), t.scaled(scalar(H * W), site.mean(t.pow(d, 2))))
    under = t.scaled(scalar(4), t.add(v, site.number(lam)))
    energy = t.add(site.over(t.pow(d, 2), under), site.number(0.5))
    assert "normalised" in ops(energy)
    assert "centred" not in ops(energy)
    square = (site.values["x"] - site.values["x"].mean((1, 2), keepdims=True)) ** 2
    want = square / (4 * (square.sum((1, 2), keepdims=True) / n + lam)) + 0.5
    np.testing.assert_allclose(site.value(energy), want, rtol=1e-13)


def test_gate(site):
    t, x = site.terms, site.x
    a = t.fn("sigmoid", site.mean(x))
    assert t.add(x, t.mul(x, a)) is t.mul(x, t.add(a, site.number(1)))


HARD = {
    "relu6 / 6": lambda s, x: s.over(s.terms.fn("clip", s.terms.add(x, s.number(3)), 0.0, 6.0),
                                     s.number(6)),
    "a factor": lambda s, x: s.terms.scaled(
        scalar(1 / 6), s.terms.fn("clip", s.terms.add(x, s.number(3)), 0.0, 6.0)),
    "relu, then a bound": lambda s, x: s.over(
        s.terms.fn("clip", s.terms.fn("relu", s.terms.add(x, s.number(3))), -np.inf, 6.0),
        s.number(6)),
}  # fmt: skip


@pytest.mark.parametrize("name", HARD)
def test_hard_sigmoid(site, name):
    t, x = site.terms, site.x
    inside = t.add(t.scaled(scalar(1 / 6), x), site.number(0.5))
    assert HARD[name](site, x) is t.fn("clip", inside, 0.0, 1.0)


# What must not be made one.


def test_a_root_of_a_square_is_no_number_itself(site):
    t, x = site.terms, site.x
    root = t.pow(t.pow(x, 2), 0.5)
    assert root is not x
    np.testing.assert_allclose(site.value(root), np.abs(site.values["x"]), rtol=1e-14)


@pytest.mark.parametrize(
    ("inner", "outer"), [(4, 0.25), (2, 1.5), (2, -0.5), (6, 1 / 3), (-2, 0.5), (2, 0.5)]
)
def test_even_powers_keep_their_sign(site, inner, outer):
    t, x = site.terms, site.x
    term = t.pow(t.pow(x, inner), outer)
    np.testing.assert_allclose(site.value(term), (site.values["x"] ** inner) ** outer, rtol=1e-13)


def test_powers_of_what_is_positive_merge(site):
    t = site.terms
    a = t.fn("sigmoid", site.x)
    assert t.pow(t.pow(a, 2), 0.5) is a
    assert t.pow(t.pow(a, 0.5), 2) is a
    assert t.mul(a, a) is t.pow(a, 2)
    assert t.mul(t.pow(a, 3), t.pow(a, -1)) is t.pow(a, 2)


@pytest.mark.parametrize("exponent", [0.5, -0.5, 1.5])
def test_no_root_of_a_negative_factor(site, exponent):
    t = site.terms
    term = t.pow(t.scaled(scalar(-2), t.scaled(scalar(-1), t.fn("sigmoid", site.x))), exponent)
    want = (2 / (1 + np.exp(-site.values["x"]))) ** exponent
    np.testing.assert_allclose(site.value(term), want, rtol=1e-14)
    mixed = t.pow(t.mul(site.per_channel(1, -1, 2, -2), site.y), exponent)
    assert mixed.op == "pow", "a constant that is negative somewhere stays inside"


def test_no_constant_goes_into_a_difference(site):
    t, x = site.terms, site.x
    d = site.minus(x, site.mean(x))
    for term in (
        t.scaled(scalar(3), d),
        t.mul(site.per_channel(1, 2, 3, 4), d),
        t.mul(site.per_channel(1, 2, 3, 4), t.add(d, site.number(0.5))),
    ):
        assert "centred" in ops(term)
        assert "mean" not in ops(term)


def test_a_large_mean_does_not_cancel(site):
    t, x = site.terms, site.x
    site.values["x"] = site.values["x"] + 1e6
    d = site.minus(x, site.mean(x))
    term = t.add(t.mul(site.per_channel(1e3, 2, 3e3, 4), d), site.number(0.5))
    x64 = site.values["x"].astype(np.longdouble)
    exact = np.array([1e3, 2, 3e3, 4]).reshape(-1, 1, 1) * (x64 - x64.mean((1, 2), keepdims=True))
    assert np.abs(site.value(term) - (exact + 0.5)).max() < 1e-6 * np.abs(exact).max()


def test_clips(site):
    t, x = site.terms, site.x
    for bounds in [((0.0, 6.0), (1.0, 8.0)), ((-1.0, 1.0), (-0.5, 3.0)), ((0.0, 1.0), (2.0, 3.0))]:
        term = t.fn("clip", t.fn("clip", x, *bounds[0]), *bounds[1])
        want = np.clip(np.clip(site.values["x"], *bounds[0]), *bounds[1])
        np.testing.assert_array_equal(site.value(term), want)
    for low in (-1.0, 0.0, 0.5):
        term = t.fn("clip", t.fn("relu", x), low, 1.0)
        want = np.clip(np.maximum(site.values["x"], 0), low, 1.0)
        np.testing.assert_array_equal(site.value(term), want)


def test_bounds_that_are_nearly_those_of_a_hard_sigmoid(site):
    t = site.terms
    for low, high in [(-0.5000005, 0.5), (-0.5, 0.5000001), (-0.5, 0.5)]:
        term = t.add(t.fn("clip", site.x, low, high), site.number(0.5))
        want = np.clip(site.values["x"], low, high) + 0.5
        np.testing.assert_allclose(site.value(term), want, rtol=0, atol=1e-14)


# Reductions.


def test_means_of_means(site):
    t, x = site.terms, site.x
    _, h, w = site.order
    assert site.mean(site.mean(x, [h]), [w]) is site.mean(x)
    assert site.mean(site.mean(x, [w]), [h]) is site.mean(x)
    assert t.max(t.max(x, frozenset([h])), frozenset([w])) is t.max(x, site.space)
    assert t.max(site.mean(x, [h]), frozenset([w])) is not t.max(x, site.space)


def test_nothing_to_reduce(site):
    t = site.terms
    thin = site.mean(site.x)
    assert site.mean(thin) is thin
    assert t.max(thin, site.space) is thin
    assert is_scalar(site.mean(site.minus(site.x, thin)).attrs, 0)


def test_factors_leave_a_mean(site):
    t, x = site.terms, site.x
    thin = t.fn("sigmoid", site.mean(site.y))
    assert site.mean(t.mul(thin, x)) is t.mul(thin, site.mean(x))
    k = site.per_channel(1, 2, 3, 4)
    assert site.mean(t.mul(k, x)) is t.mul(k, site.mean(x))
    over_channels = site.mean(t.mul(k, x), [site.channel])
    want = (site.values["x"] * np.array([1, 2, 3, 4]).reshape(-1, 1, 1)).mean(0, keepdims=True)
    np.testing.assert_allclose(site.value(over_channels), want, rtol=1e-13)


def test_no_factor_leaves_a_maximum(site):
    t = site.terms
    for k in (-1.0, 2.0):
        term = t.max(t.scaled(scalar(k), site.x), site.space)
        want = (k * site.values["x"]).max(axis=(1, 2), keepdims=True)
        np.testing.assert_array_equal(site.value(term), want)


def test_mean_of_a_constant(site):
    k = site.per_channel(1, 2, 3, 6)
    assert float(site.mean(k, [site.channel]).attrs.array) == 3
    assert site.mean(k) is k


def test_part_of_a_constant(site):
    k = site.per_channel(1, 2, 3, 6)
    assert float(site.terms.select(k, site.channel, 2).attrs.array) == 3
    assert site.terms.select(site.mean(site.x, [site.channel]), site.channel, 2).op == "mean"


# Constants.


def test_constants_over_several_indices(site):
    rng = np.random.default_rng(5)
    c, h, w = site.order
    one = Const(rng.normal(size=(C, H)), (c, h))
    other = Const(rng.normal(size=(W, C)), (w, c))
    for function in (np.add, np.multiply):
        made = combine(function, one, other)
        want = function(one.array[:, :, None], other.array.T[:, None, :])
        np.testing.assert_array_equal(made.over((c, h, w)), want)
        np.testing.assert_array_equal(made.over((w, h, c)), want.transpose(2, 1, 0))


def test_a_constant_after_its_index_was_split(site):
    constant = Const(np.arange(4.0), (site.channel,))
    outer, inner = site.channel.split(2, 2)
    np.testing.assert_array_equal(constant.over((outer, inner)), [[0, 1], [2, 3]])
    np.testing.assert_array_equal(constant.over((inner, outer)), [[0, 2], [1, 3]])


def test_equal_terms_are_one(site):
    t, x = site.terms, site.x
    assert t.add(x, site.number(1)) is t.add(site.number(1), x)
    assert t.add(x, x) is t.scaled(scalar(2), x)
    assert site.minus(x, x) is site.number(0)
    assert t.mul(x, site.number(0)) is site.number(0)
    assert t.scaled(scalar(2), t.scaled(scalar(0.5), x)) is x
    assert site.over(x, x) is site.number(1)
    k = site.per_channel(1, 2, 3, 4)
    assert t.add(t.mul(k, x), t.mul(k, x)) is t.mul(site.per_channel(2, 4, 6, 8), x)


def test_what_is_positive(site):
    t, x = site.terms, site.x
    yes = [
        t.fn("sigmoid", x), t.fn("relu", x), t.pow(x, 2), t.pow(x, -2), t.variance(x, site.space),
        t.add(t.pow(x, 2), site.number(1)), t.mul(t.fn("exp", x), t.fn("abs", x)),
        site.mean(t.pow(x, 2)), site.per_channel(0, 1, 2, 3),
    ]  # fmt: skip
    no = [
        x, t.pow(x, 3), t.fn("tanh", x), site.minus(t.pow(x, 2), site.number(1)), site.mean(x),
        t.scaled(scalar(-1), t.pow(x, 2)), t.mul(x, site.y), site.per_channel(0, 1, -2, 3),
        site.minus(x, site.mean(x)), t.normalised(x, site.space, 1e-5), t.fn("leakyrelu", x, 0.1),
    ]  # fmt: skip
    assert all(map(is_positive, yes))
    assert not any(map(is_positive, no))


# Whatever is written, the normal form has its value.


@st.composite
def built(draw, site, depth=3):  # noqa: C901, PLR0911 - same
    """Draws a term and its value, computed beside it."""
    t = site.terms
    if depth == 0:
        name = draw(st.sampled_from(["x", "y", "number", "channel"]))
        if name in "xy":
            return (site.x if name == "x" else site.y), site.values[name]
        if name == "number":
            value = draw(st.sampled_from([-2.0, -1.0, 0.5, 3.0]))
            return site.number(value), np.full((1, 1, 1), value)
        values = draw(st.sampled_from([(1.0, 2.0, -3.0, 0.5), (1.0, 1.0, 1.0, 1.0)]))
        return site.per_channel(*values), np.array(values).reshape(C, 1, 1)
    (term, value) = draw(built(site, depth - 1))
    match draw(
        st.sampled_from(["add", "sub", "mul", "square", "fn", "mean", "max", "same", "std"])
    ):
        case "add" | "sub" | "mul" as kind:
            other, number = draw(built(site, draw(st.integers(0, depth - 1))))
            if kind == "add":
                return t.add(term, other), value + number
            if kind == "sub":
                return site.minus(term, other), value - number
            return t.mul(term, other), value * number
        case "square":
            return t.pow(term, 2), value**2
        case "std":
            spread = t.add(t.variance(term, site.space), site.number(0.1))
            wide = np.broadcast_to(value, (C, H, W))
            root = np.sqrt(wide.var(axis=(1, 2), keepdims=True) + 0.1)
            return site.over(term, t.pow(spread, 0.5)), value / root
        case "fn":
            name = draw(st.sampled_from(["relu", "sigmoid", "tanh", "abs"]))
            return t.fn(name, term), FUNCTIONS[name](value)
        case "mean" | "max" as kind:
            over = draw(st.sampled_from([(1, 2), (1,), (0,), (0, 1, 2)]))
            indices = frozenset(site.order[k] for k in over)
            reduce = getattr(np, kind)
            return getattr(t, kind)(term, indices), reduce(value, axis=over, keepdims=True)
    return term, value


@given(st.data())
def test_normal_forms_keep_the_value(data):
    site = Site()
    term, want = data.draw(built(site, depth=data.draw(st.integers(1, 5))))
    got = np.broadcast_to(site.value(term), (C, H, W))
    scale = max(1.0, float(np.abs(want).max()))
    np.testing.assert_allclose(got, np.broadcast_to(want, (C, H, W)), rtol=0, atol=1e-10 * scale)
