"""Axes say of a tensor what numpy does with it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edgeattn.lowering.indices import fresh, leaves, regroup, resolve, tie, unify

SIZES = st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 12, 15])


def shape_of(axes):
    return [math.prod(index.size for index in leaves(axis)) for axis in axes]


def arranged(axes, base):
    """Gives the elements 0, 1, … of a value with the axes `base`, as other axes arrange them."""
    flat = [index for axis in resolve(base) for index in axis]
    order = [flat.index(index) for axis in resolve(axes) for index in axis]
    array = np.arange(math.prod(i.size for i in flat)).reshape([i.size for i in flat])
    return array.transpose(order).reshape(shape_of(axes))


def new(*shape):
    return fresh(shape, [None] * len(shape))


@st.composite
def factorings(draw, total):
    """Draws a shape of `total` elements, with ones in it."""
    shape = []
    while total > 1:
        factor = draw(st.sampled_from([d for d in range(2, total + 1) if total % d == 0]))
        shape.append(factor)
        total //= factor
    for _ in range(draw(st.integers(0, 2))):
        shape.insert(draw(st.integers(0, len(shape))), 1)
    return shape


@st.composite
def steps(draw, shape, count=4):
    """Draws reshapes and transposes that follow each other."""
    made = []
    for _ in range(draw(st.integers(1, count))):
        if draw(st.booleans()):
            made.append(("reshape", draw(factorings(math.prod(shape)))))
            shape = made[-1][1]
        else:
            order = draw(st.permutations(range(len(shape))))
            made.append(("transpose", order))
            shape = [shape[k] for k in order]
    return made


def applied(axes, array, drawn):
    """Applies steps to axes and to an array; axes are None where they cannot say a reshape."""
    for kind, what in drawn:
        array = array.reshape(what) if kind == "reshape" else array.transpose(what)
        axes = regroup(axes, what) if kind == "reshape" else tuple(axes[k] for k in what)
        if axes is None:
            return None, array
    return axes, array


@given(st.data(), st.lists(SIZES, min_size=1, max_size=4))
def test_reshape_and_transpose(data, shape):
    base = new(*shape)
    array = np.arange(math.prod(shape)).reshape(shape)
    axes, array = applied(base, array, data.draw(steps(shape)))
    assume(axes is not None)
    assert shape_of(axes) == list(array.shape)
    np.testing.assert_array_equal(arranged(axes, base), array)


@given(st.data(), st.lists(SIZES, min_size=1, max_size=4))
def test_what_was_arranged_before_stays(data, shape):
    """Splitting an index for one value changes nothing for another."""
    base = new(*shape)
    array = np.arange(math.prod(shape)).reshape(shape)
    one, first = applied(base, array, data.draw(steps(shape)))
    assume(one is not None)
    other, second = applied(base, array, data.draw(steps(shape)))
    np.testing.assert_array_equal(arranged(one, base), first)
    if other is not None:
        np.testing.assert_array_equal(arranged(other, base), second)


@given(st.data(), st.lists(SIZES, min_size=1, max_size=4))
def test_splits_and_merges_of_a_new_value_go(data, shape):
    base = new(*shape)
    finer = [list(data.draw(factorings(size))) or [1] for size in shape]
    axes = regroup(base, list(itertools.chain.from_iterable(finer)))
    assert axes is not None
    array = np.arange(math.prod(shape))
    np.testing.assert_array_equal(arranged(axes, base).reshape(-1), array)
    back = regroup(axes, shape)
    assert back is not None
    assert resolve(back) == resolve(base)
    assert resolve(regroup(axes, [math.prod(shape)])) == (leaves(i for a in base for i in a),)


@given(st.data(), st.sampled_from([12, 24, 30]), st.integers(2, 5))
def test_one_unknown_size_is_the_rest(data, channels, rows):
    base = fresh(["n", channels, rows], [0, 1, None])
    groups = data.draw(st.sampled_from([d for d in range(1, channels + 1) if channels % d == 0]))
    axes = regroup(base, [None, channels // groups, rows])
    assert axes is not None
    assert [i.size for i in axes[0]] == (["n", groups] if groups > 1 else ["n"])
    assert math.prod(i.size for i in axes[1]) == channels // groups
    back = regroup(axes, ["n", channels, rows])
    assert back is not None
    assert resolve(back) == resolve(base)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([2, 3], [3, 2]),
        ([4, 9], [6, 6]),
        ([6, 5], [4, 7]),
        (["n", 6], [3, None, None]),
        (["n", "n"], [None, 2]),
    ],
)
def test_what_no_axes_say(before, after):
    base = new(*before)
    assert regroup(base, after) is None


def test_a_failed_reshape_leaves_the_value_as_it_was():
    base = new(4, 9)
    assert regroup(base, [6, 6]) is None
    np.testing.assert_array_equal(arranged(base, base), np.arange(36).reshape(4, 9))
    assert shape_of(regroup(base, [2, 2, 3, 3])) == [2, 2, 3, 3]


def test_shuffle():
    base = new(2, 12, 3)
    axes = regroup(base, [2, 3, 4, 3])
    axes = (axes[0], axes[2], axes[1], axes[3])
    axes = regroup(axes, [2, 12, 3])
    assert [i.size for i in axes[1]] == [4, 3]
    array = np.arange(72).reshape(2, 3, 4, 3).swapaxes(1, 2).reshape(2, 12, 3)
    np.testing.assert_array_equal(arranged(axes, base), array)
    assert resolve(regroup(axes, [2, 36])) != resolve(regroup(base, [2, 36]))


@given(st.data(), st.sampled_from([8, 12, 24, 30, 36, 60]))
def test_unify(data, size):
    one, other = new(size), new(size)
    first = regroup(one, data.draw(factorings(size)))
    second = regroup(other, data.draw(factorings(size)))
    left, right = (tuple(i for axis in axes for i in axis) for axes in (first, second))
    divide = _divide([i.size for i in leaves(left)], [i.size for i in leaves(right)])
    assert unify(left, right) == divide
    if divide:
        assert leaves(one[0]) == leaves(other[0])
    for axes in (one, other):
        np.testing.assert_array_equal(arranged(axes, axes), np.arange(size))


def _divide(one, other):
    """Says whether two factorings, read from the end, end inside each other evenly."""
    ends = [list(itertools.accumulate(reversed(sizes), int.__mul__)) for sizes in (one, other)]
    both = sorted({*ends[0], *ends[1]})
    return all(b % a == 0 for a, b in itertools.pairwise([1, *both]))


def test_unify_reaches_who_else_has_the_index():
    one, other = new(4, 6), new(6)
    shuffled = regroup((one[1],), [2, 3])
    assert unify(other[0], one[1])
    assert leaves(other[0]) == (*leaves(shuffled[0]), *leaves(shuffled[1]))


@pytest.mark.parametrize(("one", "other"), [(6, 4), (6, 5), (6, "n"), ("n", "m"), ("n", 6)])
def test_sizes_that_differ_are_not_one(one, other):
    assert not unify(new(one)[0], new(other)[0])


def test_open_sizes_of_one_name_are_one():
    one, other = new("n", 3), new("n", 3)
    assert unify(one[0], other[0])
    assert leaves(one[0]) == leaves(other[0])


def test_two_axes_of_a_value_are_never_one():
    one, other = new(5, 5), new(5, 5)
    assert not unify(one[0], one[1])
    assert unify(one[0], other[0])
    assert not unify(one[1], other[0]), "a row of one would be a column of it, too"
    assert unify(one[1], other[1])


def test_nor_are_their_parts():
    (axis,) = new(25)
    outer, inner = axis[0].split(5, 5)
    assert not unify([outer], [inner])


def test_nor_through_a_third():
    value, third = new(5, 5), new(5)
    assert unify(value[0], third[0])
    assert not unify(value[1], third[0])


def test_tie():
    one, other = new(5), new(5)
    assert tie((one[0], other[0]))
    assert not unify(one[0], other[0])
    third = new(5)
    assert unify(third[0], one[0])
    assert not tie((third[0], one[0])), "a diagonal"


@given(st.data(), SIZES, SIZES)
def test_split(data, outer, inner):
    assume(outer > 1 and inner > 1)
    base = new(outer * inner)
    parts = base[0][0].split(outer, inner)
    assert leaves(base[0]) == parts
    assert [i.size for i in parts] == [outer, inner]
    assert parts[0].order < parts[1].order
    turned = ((parts[1], parts[0]),)
    want = np.arange(outer * inner).reshape(outer, inner).T.reshape(-1)
    np.testing.assert_array_equal(arranged(turned, base), want)


def test_axes_of_size_one_have_no_index():
    axes = new(1, 3, 1)
    assert [len(axis) for axis in axes] == [0, 1, 0]
    assert [len(axis) for axis in regroup(axes, [3, 1, 1, 1])] == [1, 0, 0, 0]
