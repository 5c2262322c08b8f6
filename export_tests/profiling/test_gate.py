"""Gates: limits as people write them, and verdicts that rest on the interval alone."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeattn.base.errors import InputError
from edgeattn.profiling.gate import Bounds, Limit, judge


@dataclass(frozen=True)
class Found:
    latency_ms: float = 10.4
    latency_interval_ms: tuple[float, float] | None = (10.2, 10.6)
    above_ms: float | None = 0.4
    above_percent: float | None = 4.0
    above_interval_percent: tuple[float, float] | None = (3.0, 5.0)


@pytest.mark.parametrize(
    ("text", "value", "unit", "said"),
    [
        ("3%", 3.0, "%", "+3 %"),
        ("+3 %", 3.0, "%", "+3 %"),
        ("-2.5%", -2.5, "%", "-2.5 %"),
        ("+0.4ms", 0.4, "+ms", "+0.4 ms"),
        ("+150us", 0.15, "+ms", "+0.15 ms"),
        ("8ms", 8.0, "ms", "8 ms"),
        (" .5 ms ", 0.5, "ms", "0.5 ms"),
    ],
)
def test_limits_are_read(text, value, unit, said):
    found = Limit.parse(text)
    assert (found.value, found.unit, str(found)) == (pytest.approx(value), unit, said)
    assert Limit.parse(str(found)) == found


@pytest.mark.parametrize("text", ["", "3", "%", "3 s", "nan%", "inf ms", "3%%", "1e3%", "++3%"])
def test_what_is_no_limit(text):
    with pytest.raises(InputError, match="is no limit"):
        Limit.parse(text)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("2.9%", "failed"), ("3%", "cannot tell"), ("4%", "cannot tell"), ("5%", "passed"),
        ("+0.29ms", "failed"), ("+0.4ms", "cannot tell"), ("+0.51ms", "passed"),
        ("10.1ms", "failed"), ("10.4ms", "cannot tell"), ("11ms", "passed"), ("-1%", "failed"),
    ],
)  # fmt: skip
def test_a_verdict_is_of_the_interval(text, verdict):
    assert judge(Limit.parse(text), Found()) == verdict


def test_without_an_interval_nothing_is_told():
    bare = Found(latency_interval_ms=None, above_interval_percent=None)
    assert {judge(Limit.parse(text), bare) for text in ("99%", "+99ms", "99ms")} == {"cannot tell"}


def test_what_is_compared_with_nothing_is_judged_by_its_latency_alone():
    plain = Found(above_ms=None, above_percent=None, above_interval_percent=None)
    assert judge(Limit.parse("3%"), plain) is None
    assert judge(Limit.parse("9ms"), plain) == "failed"


@given(st.floats(-50, 50), st.floats(0, 20), st.floats(-50, 50))
def test_a_wider_interval_never_turns_one_verdict_into_the_other(value, half, limit):
    of = Limit(limit, "%")
    narrow = of.verdict(Bounds(value, (value - half / 2, value + half / 2)))
    wide = of.verdict(Bounds(value, (value - half, value + half)))
    assert wide in {narrow, "cannot tell"}
