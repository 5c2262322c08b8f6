"""Intervals are those of the literature, and hold what they say."""

from __future__ import annotations

import numpy as np
import pytest

from edgeattn.precision.proportions import paired, wilson


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    # Newcombe 1998 (Statistics in Medicine 17, 857), table I, method 3
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_one_share(hits, count, low, high):
    assert wilson(hits, count) == pytest.approx((low, high), abs=5e-5)


def test_the_difference_of_two():
    # Fagerland, Lydersen and Laake, Statistical analysis of contingency tables, 2017, chapter 8:
    # 59, 6, 16 and 80: -0.0621 (-0.1186 to -0.0046), the first less the second
    low, high = paired(59, 6, 16, 80)
    assert (-high, -low) == pytest.approx((-0.1186, -0.0046), abs=1e-3)
    # Newcombe 1998 (Statistics in Medicine 17, 2635), table III, method 10
    assert paired(36, 12, 2, 0) == pytest.approx((-0.3404, -0.0569), abs=5e-5)


def test_of_nothing_nothing_is_known():
    assert wilson(0, 0) == (0, 1)
    assert paired(0, 0, 0, 0) == (-1, 1)


def test_the_interval_holds_the_true_difference_as_often_as_it_says():
    draw = np.random.default_rng(0)
    shares = (0.70, 0.04, 0.02, 0.24)
    inside = 0
    for cells in draw.multinomial(300, shares, 2000):
        low, high = paired(*map(int, cells))
        inside += low <= shares[2] - shares[1] <= high
    assert 0.93 < inside / 2000 < 0.98
