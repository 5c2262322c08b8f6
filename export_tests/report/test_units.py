"""Figures as people read them."""

from __future__ import annotations

import pytest

from edgeattn.report import units


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (units.count(None), "?"),
        (units.count(0), "0"),
        (units.count(8464), "8464"),
        (units.count(20_060), "20.1 k"),
        (units.count(4_089_184_256), "4.09 G"),
        (units.size(None), "?"),
        (units.size(0), "0 B"),
        (units.size(46_200_000), "46.2 MB"),
        (units.microseconds(None), "-"),
        (units.microseconds(0), "0 µs"),
        (units.microseconds(12.34), "12.3 µs"),
        (units.microseconds(-1234), "-1.23 ms"),
        (units.microseconds(2_345_678), "2346 ms"),
        (units.milliseconds(1.5), "1.5 ms"),
        (units.percent(0.3704), "37.0 %"),
        (units.ratio(None), "∞"),
        (units.ratio(1.26), "1.3×"),
        (units.ratio(493.2), "493×"),
    ],
)
def test_units(written, text):
    assert written == text
