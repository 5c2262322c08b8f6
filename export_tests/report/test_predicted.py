"""The interval of a predicted difference, which no report takes for a measured one."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from edgeattn.records.trace import Difference, SavedRow
from edgeattn.report.content import report_of
from edgeattn.report.document import comparison_document
from edgeattn.report.headline import headline
from edgeattn.report.html import render
from edgeattn.report.pictures import kinds
from edgeattn.report.table import lines
from export_tests.report.traces import plain, report, trace


def predicted(low=3.1, high=12.9):
    above = Difference(p50_ms=0.1, percent=8.0, ci95=None, predicted90=(low, high), rounds=0)
    rows = [
        SavedRow(trace=plain(predicted=True)),
        SavedRow(trace=trace("se", predicted=True), difference=above),
    ]
    return report_of(rows)


def printed(made):
    console = Console(file=io.StringIO(), width=200)
    for line in lines(made, top=None):
        console.print(line)
    return console.file.getvalue()


def test_the_terminal():
    said = printed(predicted())
    assert "90 %, predicted" in said
    assert "+3.1 … +12.9" in said
    assert "95 %" not in said
    assert "90 %, predicted" not in printed(report(plain(), trace()))


def test_the_page():
    page = render(predicted())
    assert "+3.1 to +12.9" in page
    assert "95 % interval" not in page
    assert "Below Σ of what is predicted" in page
    assert "Below Σ of what is predicted" not in render(report(plain(), trace()))


@pytest.mark.parametrize(
    ("low", "words"),
    [(3.1, "+8.0 % latency"), (-1.0, "no latency that stands out of what predictions are off by")],
)
def test_the_headline(low, words):
    made = predicted(low)
    found = headline(made)
    assert words in str(found)
    assert f"predicted to be, 9 times in 10, {low:+.1f} to +12.9 %" in found.more[0]


def test_pictures_and_json():
    (bars,) = kinds(predicted()).values()
    assert [bar.above for bar in bars] == ["", "+3 to +13 %"]
    (measured,) = kinds(report(plain(), trace())).values()
    assert {bar.above for bar in measured} == {""}
    document = comparison_document(predicted())
    assert document["models"][1]["difference"]["predicted90"] == [3.1, 12.9]
    assert document["models"][1]["difference"]["ci95"] is None
