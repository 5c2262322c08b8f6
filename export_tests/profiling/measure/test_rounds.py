"""Rounds stop when windows agree, and give each model its turn in every place."""

from __future__ import annotations

from collections import Counter
from itertools import cycle
from statistics import NormalDist

from edgeattn.profiling.measure.rounds import Limits, Timed, run_rounds, told

QUICK = Limits(window=(4, 4, 0.0), limit_s=0.0)
ENDLESS = Limits(window=(4, 4, 0.0), limit_s=60.0)


def turn(name, times, order):
    def run():
        order.append(name)
        return next(times)

    return run


def run(*times, limits=QUICK):
    order, windows = [], []
    turns = [turn(name, one, order) for name, one in zip("abcdef", times, strict=False)]
    found = run_rounds(turns, limits, on_window=windows.append)
    return found, order, windows


def test_one_model_stops_as_soon_as_windows_agree():
    steady, _, _ = run(cycle([1.0]), limits=ENDLESS)
    assert steady["windows"] == 5
    drift = iter([10.0] * 4 + [5.0] * 8 + [2.0] * 8 + [1.0] * 12)
    found, _, windows = run(drift, limits=ENDLESS)
    assert (found["windows"], found["agree"], found["generations"]) == (8, True, [4] * 8)
    assert [one["rounds"] for one in windows] == [4, 8, 12, 16, 20, 24, 28, 32]
    assert windows[0]["p50_ms"] == [10.0]


def test_one_model_goes_on_until_its_latency_is_known_as_well_as_is_asked():
    precise = Limits(window=(4, 4, 0.0), limit_s=60.0, precise_to=1.0)
    levels = [1 + 0.02 * NormalDist().inv_cdf(at / 17) for at in (8, 3, 12, 6, 15, 10, 1, 14, 5)]
    processes = (one for level in cycle(levels) for one in [level] * 4)
    found, _, _ = run(processes, limits=precise)
    assert 8 < found["windows"] < 60
    assert run(cycle([1.0]), limits=precise)[0]["windows"] == 5


def test_what_does_not_agree_stops_at_the_limit():
    found, _, _ = run(iter(range(1, 100)))
    assert (found["windows"], found["agree"]) == (3, False)
    timed = Timed(samples_ms=((1.0, 2.0),), windows=3, agree=False, of_machine=("It is hot.",))
    assert timed.warnings == ["It is hot.", "No 3 windows of runs agreed within 5%, of 3."]


def test_several_models_go_on_until_their_difference_is_known():
    processes = (one for level in cycle([1.0, 1.04, 1.0]) for one in [level] * 4)
    found, _, _ = run(processes, cycle([1.0]), limits=ENDLESS)
    assert found["windows"] > 8
    short, _, _ = run(cycle([1.0]), cycle([1.1]))
    assert short["windows"] == 3
    exact, _, _ = run(cycle([1.0]), cycle([1.1]), limits=ENDLESS)
    assert exact["generations"] == [4] * 8
    timed = Timed(
        samples_ms=tuple(map(tuple, exact["samples_ms"])), windows=3, agree=True, of_machine=()
    )
    assert round(timed.difference(1, 0).percent, 6) == 10.0
    assert timed.latency(1).p50 == 1.1
    assert timed.warnings == []


def test_each_model_has_every_place_as_often():
    for models in (2, 3, 4, 6):
        rounds = 24 if models < 5 else 12
        limits = Limits(window=(rounds, rounds, 0.0), limit_s=0.0)
        _, order, _ = run(*(cycle([1.0]) for _ in range(models)), limits=limits)
        assert len(order) == 3 * rounds * models
        places = Counter((name, at % models) for at, name in enumerate(order))
        assert len(set(places.values())) == 1, (models, places)


def test_a_window_ends_after_its_time():
    found, _, _ = run(cycle([1.0]), limits=Limits(window=(2, 1000, 0.0), limit_s=0.0))
    assert len(found["samples_ms"][0]) == 6


def test_progress_is_told():
    said = {"windows": 2, "rounds": 40, "p50_ms": [1.23456, 0.5]}
    assert told(said) == "window 2, 40 rounds, 1.23, 0.5 ms"
