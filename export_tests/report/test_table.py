"""What a terminal is shown of a report."""

from __future__ import annotations

from edgeattn.report.table import lines
from export_tests.report.traces import report, trace

VARIES = "The coefficient of variation is {}%, above 2.5%."


def test_messages_that_differ_in_figures_alone_are_one_line():
    traces = [
        trace(
            f"net-{place}",
            warnings=(VARIES.format(place + 3.5), "The clock changed."),
            notes=(f"Sites were found by the manifest of /a/net-{place}.onnx.",),
        )
        for place in range(3)
    ]
    said = [str(line) for line in lines(report(*traces), top=None)]
    assert said[-3:] == [
        f"warning: {VARIES.format(3.5)} (And 2 like it.)",
        "warning: The clock changed.",
        "note: Sites were found by the manifest of /a/net-0.onnx. (And 2 like it.)",
    ]
