"""What a server of continuous integration shows: a summary in Markdown, and verdicts as JUnit's."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from edgeattn.base.legible import legible
from edgeattn.profiling import samples
from edgeattn.profiling.gate import Check, Gate, Verdict
from edgeattn.records.sweep import SweepRow
from edgeattn.report.content import Report, Row
from edgeattn.report.sweep import Sweep
from edgeattn.report.units import milliseconds

#: What is to be done where a gate cannot tell.
LONGER: Final = "run longer (--limit), or measure what is predicted"
_MARKS: Final[dict[Verdict, str]] = {"passed": "✅", "failed": "❌", "cannot tell": "❔"}
_TICKS: Final = re.compile("`+")


def summary(report: Report, gate: Gate | None) -> str:
    """Return a report, and what a gate found, as GitHub and GitLab show Markdown.

    Names are code there, so that nothing in them is markup, a mention or a link.
    """
    parts = [f"### {_code(report.title)}"]
    if gate is not None:
        parts.append(table_of(gate))
    titles = ("model", "on", "latency", "interval", "above the first", "interval")
    for evidence in dict.fromkeys(row.trace.evidence for row in report.rows):
        some = (row for row in report.rows if row.trace.evidence == evidence)
        parts.append(f"**{evidence}**\n\n{_table(titles, map(_row, some))}")
    warnings = dict.fromkeys(one for row in report.rows for one in row.trace.warnings)
    parts.append("\n".join(f"- {_code(one)}" for one in warnings))
    parts.append(f"{_code(report.command)}" if report.command else "")
    return "\n\n".join(filter(None, parts)) + "\n"


def sweep_summary(found: Sweep, gate: Gate | None) -> str:
    """Return a sweep likewise, its rows by where they ran."""
    parts = [f"### {_code(found.title)}"]
    if gate is not None:
        parts.append(table_of(gate))
    for place, numbers in found.by_place().items():
        parts.append(f"#### {_code(f'{place.title}, {place.evidence}')}")
        rows = (found.rows[at] for at in numbers)
        titles = ("row", "latency", "interval", "above plain", "interval")
        parts.append(_table(titles, map(_row_of_sweep, rows)))
    parts.append("\n".join(f"- {_code(f'{job}: {why}')}" for job, why in found.failed.items()))
    parts.append(f"{_code(found.command)}" if found.command else "")
    return "\n\n".join(filter(None, parts)) + "\n"


def table_of(gate: Gate) -> str:
    """Return what a gate found of each model, in Markdown."""
    verdict = f"{_MARKS[gate.verdict]} **{gate.verdict}**, limit {gate.limit}"
    if gate.verdict == "cannot tell":
        verdict += f": {LONGER}"
    rows = (
        (_MARKS[one.verdict], _code(one.model), _code(gate.said(one)), one.verdict)
        for one in gate.checks
    )
    notes = dict.fromkeys(one.note for one in gate.checks if one.note)
    notes |= {f"Not in the baseline: {_code(one)}": None for one in gate.new}
    return "\n\n".join([verdict, _table(("", "model", "found", ""), rows), *notes])


def junit(gate: Gate, *, suite: str) -> str:
    """Return what a gate found as JUnit's XML, a test for each model.

    Args:
        gate: The gate.
        suite: What it is of.
    """
    failed = sum(map(gate.counts_as_failed, gate.checks))
    skipped = sum(one.verdict == "cannot tell" for one in gate.checks) if not gate.is_strict else 0
    root = ET.Element("testsuites", name="edgeattn")
    tests = ET.SubElement(root, "testsuite", name=legible(suite))
    for element in (root, tests):
        element.set("tests", str(len(gate.checks) + len(gate.errors)))
        element.set("failures", str(failed))
        element.set("errors", str(len(gate.errors)))
        element.set("skipped", str(skipped))
    for one in gate.checks:
        test = ET.SubElement(tests, "testcase", name=legible(one.model), classname=legible(suite))
        said = legible(gate.said(one))
        if gate.counts_as_failed(one):
            ET.SubElement(test, "failure", message=f"{one.verdict}: {said}").text = _more(one)
        elif one.verdict == "cannot tell":
            ET.SubElement(test, "skipped", message=f"{one.verdict}: {said}; {LONGER}")
        ET.SubElement(test, "system-out").text = f"{said}\n{_more(one)}"
    for name, fact in gate.errors.items():
        test = ET.SubElement(tests, "testcase", name=legible(name), classname=legible(suite))
        ET.SubElement(test, "error", message=legible(fact))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _more(check: Check) -> str:
    longer = f"The limit lies in the interval: {LONGER}." if check.verdict == "cannot tell" else ""
    return " ".join(filter(None, (longer, legible(check.note))))


def _row(row: Row) -> Iterator[str]:
    trace = row.trace
    yield _code(row.label)
    yield _code(row.device)
    yield milliseconds(trace.latency_ms.p50)
    bounds = samples.spread(trace)
    yield "" if bounds is None else " … ".join(map(milliseconds, bounds))
    yield "" if row.difference is None else f"{row.difference.percent:+.1f} %"
    of_difference = row.difference and row.difference.bounds
    yield "{:+.1f} … {:+.1f} %".format(*of_difference) if of_difference else ""


def _row_of_sweep(row: SweepRow) -> Iterator[str]:
    yield _code(row.label)
    yield milliseconds(row.latency_ms)
    bounds = row.latency_interval_ms
    yield "" if bounds is None else " … ".join(map(milliseconds, bounds))
    yield "" if row.above_percent is None else f"{row.above_percent:+.1f} %"
    above = row.above_interval_percent
    yield "" if above is None else "{:+.1f} … {:+.1f} %".format(*above)


def _table(titles: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _code(text: str) -> str:
    r"""Write a text as code, which holds in a table too: `a\|b`."""
    text = re.sub(r"\s+", " ", legible(text)).replace("|", r"\|")
    ticks = "`" * (1 + max(map(len, _TICKS.findall(text)), default=0))
    room = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{room}{text}{room}{ticks}"
