"""Samples: what they come to, when they agree, and that differences are of pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeattn.profiling import samples


@given(st.lists(st.floats(0.01, 1e4), min_size=1, max_size=60))
def test_a_latency_is_in_order(values):
    found = samples.latency(values)
    assert found.min <= found.p50 <= found.p90 <= found.p99 <= found.max
    assert found.mean == pytest.approx(np.mean(values))
    assert found.cv == pytest.approx(np.std(values) / np.mean(values), abs=1e-9)
    assert len(found.samples) == len(values)


@pytest.mark.parametrize(
    ("medians", "agree"),
    [
        ([], False),
        ([1.0, 1.0], False),
        ([1.0, 1.0, 1.0], True),
        ([1.0, 1.04, 1.02], True),
        ([1.0, 1.06, 1.02], False),
        ([9.0, 1.0, 1.04, 1.02], True),
    ],
)
def test_windows_agree(medians, agree):
    assert samples.agree(medians) is agree


def test_what_disturbs_a_whole_round_counts_for_neither():
    generator = np.random.default_rng(1)
    base = 10 + generator.normal(0, 0.02, 60)
    storm = np.where(generator.random(60) < 0.3, 25.0, 0.0)
    found = samples.difference(base * 1.1 + storm, base + storm)
    assert found.percent == pytest.approx(10, abs=1)
    low, high = found.ci95
    assert low <= found.percent <= high
    assert high - low < 2
    assert found.rounds == 60


@given(st.lists(st.floats(1, 100), min_size=3, max_size=40), st.floats(-0.5, 2))
def test_a_constant_difference_is_found_exactly(base, above):
    found = samples.difference([one + above for one in base], base)
    assert found.p50_ms == pytest.approx(above, abs=1e-9)
    assert found.percent == pytest.approx(100 * above / float(np.median(base)), abs=1e-6)


def test_the_same_samples_give_the_same_interval():
    pairs = [1.0, 1.2, 1.1, 1.3], [1.0, 1.1, 1.0, 1.2]
    assert samples.difference(*pairs) == samples.difference(*pairs)


@pytest.mark.parametrize(("values", "warnings"), [([1.0] * 9, 0), ([1.0, 1.2] * 9, 1)])
def test_what_varies_is_warned_of(values, warnings):
    assert len(samples.warnings_of(samples.latency(values))) == warnings
