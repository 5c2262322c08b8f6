"""The algebra of channel permutations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeattn.lowering import permutation as pm


@st.composite
def permutations(draw, length=None):
    n = draw(st.integers(1, 24)) if length is None else length
    return np.array(draw(st.permutations(range(n))), dtype=np.int64)


@given(permutations(), st.data())
def test_compose_does_the_first_then_the_second(p, data):
    q = data.draw(permutations(len(p)))
    x = np.random.default_rng(0).standard_normal(len(p))
    np.testing.assert_array_equal(x[pm.compose(p, q)], x[p][q])


@given(permutations())
def test_inverse_undoes(p):
    assert pm.is_identity(pm.compose(p, pm.inverse(p)))
    assert pm.is_identity(pm.compose(pm.inverse(p), p))
    assert pm.is_permutation(pm.inverse(p))


@given(st.integers(1, 6), st.integers(1, 6))
def test_shuffle_is_reshape_transpose_reshape(groups, per_group):
    channels = groups * per_group
    x = np.arange(channels)
    want = x.reshape(groups, per_group).T.reshape(-1)
    np.testing.assert_array_equal(x[pm.shuffle(groups, channels)], want)
    assert pm.is_identity(pm.compose(pm.shuffle(groups, channels), pm.shuffle(per_group, channels)))


def test_shuffle_refuses_groups_that_do_not_divide():
    with pytest.raises(ValueError):
        pm.shuffle(3, 8)


@given(permutations(), st.integers(1, 4))
def test_expand_moves_runs(p, repeat):
    x = np.random.default_rng(0).standard_normal((len(p), repeat))
    np.testing.assert_array_equal(x.reshape(-1)[pm.expand(p, repeat)], x[p].reshape(-1))


@given(st.integers(1, 5), st.integers(1, 5), st.data())
def test_group_order_finds_whole_groups(groups, inside, data):
    blocks = data.draw(permutations(groups))
    within = np.array([data.draw(permutations(inside)) for _ in range(groups)])
    p = (blocks[:, None] * inside + within).reshape(-1)
    np.testing.assert_array_equal(pm.group_order(p, groups), blocks)


def test_group_order_refuses_what_crosses_groups():
    assert pm.group_order(pm.shuffle(2, 8), 2) is None
    assert pm.group_order(pm.identity(7), 2) is None


@given(st.lists(st.integers(0, 30), max_size=30))
def test_runs_cover_the_indices(indices):
    found = pm.runs(np.array(indices, dtype=np.int64))
    assert [k for start, stop in found for k in range(start, stop)] == indices
    assert all(a[1] != b[0] for a, b in itertools.pairwise(found))


@pytest.mark.parametrize("wrong", [[0, 0], [1, 2], [0, 2], [-1, 0]])
def test_what_is_no_permutation(wrong):
    assert pm.permutation(wrong) is None


def test_permutation_of_numbers():
    np.testing.assert_array_equal(pm.permutation([2, 0, 1]), [2, 0, 1])
