"""Samples: what they come to, when they agree, and that differences are of pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeattn.profiling import samples
from export_tests.profiling.traces import kernel, trace


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
    found = samples.difference(base * 1.1 + storm, base + storm, [10] * 6)
    assert found.percent == pytest.approx(10, abs=1)
    low, high = found.ci95
    assert low <= found.percent <= high
    assert high - low < 10
    assert found.rounds == 60


@given(st.lists(st.floats(1, 100), min_size=3, max_size=40), st.floats(-0.5, 2))
def test_a_constant_difference_is_found_exactly(base, above):
    found = samples.difference([one + above for one in base], base)
    assert found.p50_ms == pytest.approx(above, abs=1e-9)
    bounds = sorted(100 * above / one for one in (min(base), max(base)))
    assert bounds[0] - 1e-6 <= found.percent <= bounds[1] + 1e-6


@given(st.lists(st.floats(1, 100), min_size=3, max_size=40), st.floats(0.5, 2))
def test_a_constant_factor_is_found_exactly(base, factor):
    found = samples.difference([factor * one for one in base], base)
    assert found.percent == pytest.approx(100 * (factor - 1), abs=1e-6)
    assert found.ci95 == pytest.approx((found.percent, found.percent), abs=1e-6)


def clustered(generations, *, above=0.0, of_process=0.02, rounds=12, seed=0):
    """Rounds of two models: each process is faster or slower by some per cent in all of its."""
    draw = np.random.default_rng(seed)
    both = []
    for share in (above, 0.0):
        of_each = np.repeat(draw.normal(0, of_process, generations), rounds)
        both.append(10 * (1 + share) * (1 + of_each + draw.normal(0, 0.01, len(of_each))))
    return *both, [rounds] * generations


@pytest.mark.parametrize("generations", [4, 10])
def test_an_interval_holds_the_true_difference_though_processes_cluster_rounds(generations):
    found = [
        samples.difference(*clustered(generations, above=0.1, seed=seed)) for seed in range(150)
    ]
    holds = [one.ci95[0] <= 10 <= one.ci95[1] for one in found]
    assert np.mean(holds) >= 0.92
    # Rounds taken for independent ones, as where all are of one process, hold it far less often.
    naive = []
    for seed in range(60):
        a, b, _ = clustered(generations, above=0.1, seed=seed)
        draws = np.random.default_rng(seed).integers(len(a), size=(200, len(a)))
        low, high = np.percentile(100 * (np.median((a / b)[draws], axis=1) - 1), [2.5, 97.5])
        naive.append(low <= 10 <= high)
    assert np.mean(naive) < 0.7


def test_a_generation_that_is_far_off_does_not_take_the_others_along():
    a, b, generations = clustered(8, above=0.1)
    a[:12] *= 5
    found = samples.difference(a, b, generations)
    assert found.percent == pytest.approx(10, abs=4)
    assert found.ci95[1] < 40


def test_ratios_hold_the_true_one_too():
    holds = []
    for seed in range(100):
        a, b, generations = clustered(6, above=0.1, seed=seed)
        c, d, _ = clustered(6, above=0.2, seed=1000 + seed)
        _, (low, high) = samples.ratio([a, c], [b, d], generations)
        holds.append(low <= (1.1 * 1.2) ** 0.5 <= high)
    assert np.mean(holds) >= 0.92


def test_where_generations_are_not_known_time_stands_for_them():
    a, b, generations = clustered(10)
    known, not_known = samples.difference(a, b, generations), samples.difference(a, b)
    assert known.ci95 == pytest.approx(not_known.ci95)
    assert samples.difference(a, b, [len(a)]) == not_known
    assert samples.difference([1.0], [2.0]).ci95 is None


def test_few_generations_make_an_interval_wide():
    for freedom, quantile in ((1, 12.706), (2, 4.303), (3, 3.182), (5, 2.571), (9, 2.262)):
        assert samples._student(freedom) == pytest.approx(quantile, rel=2e-3)
    widths = []
    for count in (2, 4, 8, 16):
        values = [1.0 + 0.01 * (-1) ** k for k in range(count)]
        found = samples.difference(values, [1.0] * count, [1] * count)
        widths.append(found.ci95[1] - found.ci95[0])
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 10
    assert widths[-1] < 5


def measured(values, generations=()):
    return trace(
        [], latency_ms=samples.latency(list(values)), generations=tuple(generations), rounds_ms=()
    )


def test_of_runs_apart_an_interval_rests_on_the_spread_of_both():
    holds = []
    for seed in range(100):
        a, b, generations = clustered(6, above=0.1, seed=seed)
        found = samples.apart(measured(a, generations), measured(b, generations[:1] * 6))
        holds.append(found.ci95[0] <= 10 <= found.ci95[1])
        assert found.ci95[0] <= found.percent <= found.ci95[1]
        assert found.rounds == 0
    assert np.mean(holds) >= 0.92
    bare = trace([kernel("k", time_us=2000)], latency_ms=samples.Latency(p50=2.0))
    found = samples.apart(bare, measured([1.0, 1.0]))
    assert (found.percent, found.ci95) == (pytest.approx(100), None)
    assert samples.spread(bare) is None
    many = measured(np.random.default_rng(0).normal(10, 0.1, 30_000))
    assert samples.spread(many) == pytest.approx((10, 10), abs=0.05)
    # That of two very unlike spreads is no narrower than that of the wider alone.
    steady = measured([10.0, 10.0, 10.01, 10.0], [1] * 4)
    noisy = measured([10.0, 11.0, 9.0, 10.5], [1] * 4)
    both, alone = samples.apart(noisy, steady), samples.spread(noisy)
    assert both.ci95[1] - both.ci95[0] > 0.9 * 10 * (alone[1] - alone[0])


def test_an_interval_of_a_latency_has_its_median():
    a, _, generations = clustered(8)
    low, high = samples.spread(measured(a, generations))
    assert low <= float(np.median(a)) <= high
    assert samples.spread(measured([1.0])) is None
    assert samples.spread(trace([], evidence="predicted", interval_ms=(1.0, 2.0))) == (1.0, 2.0)


def test_the_same_samples_give_the_same_interval():
    pairs = [1.0, 1.2, 1.1, 1.3], [1.0, 1.1, 1.0, 1.2]
    assert samples.difference(*pairs) == samples.difference(*pairs)


@pytest.mark.parametrize(("values", "warnings"), [([1.0] * 9, 0), ([1.0, 1.2] * 9, 1)])
def test_what_varies_is_warned_of(values, warnings):
    assert len(samples.warnings_of(samples.latency(values))) == warnings
