"""Steps over a side: that they are the mean and the maximum, and that a DLA has each."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeattn.lowering.targets.cascade import maxima, means, repeats

SIDES = st.integers(1, 1000)


def windows(x, step, outside):
    """Gives the windows of a step over a line, one to a row."""
    x = np.pad(x, (step.before, step.after), constant_values=outside)
    rows = np.lib.stride_tricks.sliding_window_view(x, step.window)[:: step.stride]
    assert (len(rows) - 1) * step.stride + step.window == len(x), "it leaves some out"
    return rows


@given(SIDES)
def test_means_of_means_are_the_mean(side):
    x = np.random.default_rng(side).normal(1.0, 1.0, side)
    got = x
    for step in means(side):
        left = step.left(len(got))
        got = windows(got, step, 0.0).mean(axis=1) * step.factor
        assert len(got) == left
    assert got.shape == (1,)
    np.testing.assert_allclose(got[0], x.mean(), rtol=1e-12)


@given(SIDES)
def test_maxima_of_maxima_are_the_maximum(side):
    x = np.random.default_rng(side).normal(-9.0, 1.0, side)
    got = x
    for step in maxima(side):
        assert step.is_pool
        got = windows(got, step, -np.inf).max(axis=1)
    assert got.tolist() == [x.max()]


@given(SIDES)
def test_a_dla_has_every_step(side):
    for step in means(side):
        assert step.stride <= 8
        assert step.window <= (8 if step.is_pool else 32)
        assert max(step.before, step.after) < step.window
    assert all(step.window <= 8 and step.stride <= 16 for step in maxima(side))
    assert all(1 < factor <= 32 for factor in repeats(side))
    assert np.prod(repeats(side)) >= side


@pytest.mark.parametrize(
    ("side", "expected"), [(7, [7]), (14, [7, 2]), (28, [7, 4]), (56, [8, 7]), (112, [8, 7, 2])]
)
def test_what_divides_is_pooled(side, expected):
    assert [step.window for step in means(side)] == expected
    assert all(step.is_pool for step in means(side))
    assert [step.window for step in maxima(side)] == expected
