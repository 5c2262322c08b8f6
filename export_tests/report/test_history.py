"""Saved results by commit: their order, what changed, and that names stay text on the page."""

from __future__ import annotations

import json
import re

import pytest

from edgeattn.cli import app
from edgeattn.profiling import samples
from edgeattn.records.trace import Commit, SavedRow
from edgeattn.report.content import report_of
from edgeattn.report.document import document_of
from export_tests.report.traces import HOSTILE, trace

DAYS = ("2026-03-02T10:00:00+01:00", "2026-03-01T23:00:00Z", "2026-03-02T10:30:00+09:00")


def commit(at, **more):
    return Commit(**{"sha": f"{at}" * 40, "date": DAYS[at], "subject": f"change {at}"} | more)


def measured(level_ms, *, name="net", spread=0.005, **more):
    values = [level_ms * (1 + spread * (-1) ** g) for g in range(6) for _ in range(5)]
    latency = samples.latency(values)
    return trace(name, latency_ms=latency, generations=(5,) * 6, **more)


@pytest.fixture
def files(tmp_path):
    found = []
    for at, level_ms in enumerate((11.0, 10.0, 11.01)):
        rows = [SavedRow(trace=measured(level_ms, commit=commit(at)))]
        rows.append(
            SavedRow(trace=trace("there", predicted=True, shared_spread=0.1, commit=commit(at)))
        )
        found.append(tmp_path / f"{at}.json")
        found[-1].write_text(json.dumps(document_of(report_of(rows))))
    return [str(path) for path in found]


def test_runs_are_in_the_order_of_their_commits(capsys, files, tmp_path):
    page, out = tmp_path / "page.html", tmp_path / "out.json"
    asked = ["report", "--history", *files, "--report", str(page), "-o", str(out), "--json"]
    assert app.run(asked) == 0
    found = json.loads(capsys.readouterr().out)
    assert json.loads(out.read_text()) == found
    measured_there, predicted = found["series"]
    runs = measured_there["runs"]
    assert [one["commit"]["subject"] for one in runs] == ["change 1", "change 2", "change 0"]
    assert [one["verdict"] for one in runs] == ["", "slower", ""]
    assert runs[1]["change"]["percent"] == pytest.approx(10.1, abs=0.1)
    assert runs[1]["change"]["ci95"][0] < 10.1 < runs[1]["change"]["ci95"][1]
    assert (predicted["evidence"], {one["verdict"] for one in predicted["runs"]}) == (
        "predicted",
        {""},
    )
    assert predicted["runs"][1]["change"]["ci95"] is None
    text = page.read_text()
    assert text.count('<g class="run slower">') == 1
    assert len(re.findall(r'<polyline class="line"', text)) == 2
    assert "<script src" not in text
    assert "http" not in re.sub(r"http-equiv", "", text)


def test_the_table(capsys, files):
    assert app.run(["report", "--history", *files]) == 0
    said = capsys.readouterr().out
    assert "111111111  2026-03-01  change 1" in said
    assert "+10.1 %" in said
    assert "slower" in said
    assert "90 %, predicted" in said


def test_without_commits_runs_are_in_the_order_of_files(capsys, tmp_path):
    paths = []
    for at, known in enumerate((commit(1), None, commit(2, date="whenever", is_changed=True))):
        paths.append(tmp_path / f"run-{at}.json")
        row = SavedRow(trace=measured(10.0 + at, commit=known))
        paths[-1].write_text(json.dumps(document_of(report_of([row]))))
    assert app.run(["report", "--history", *map(str, paths)]) == 0
    said = capsys.readouterr().out
    places = [said.index(one) for one in ("111111111 ", "run-1.json", "222222222+")]
    assert places == sorted(places)


def test_hostile_names_stay_text(capsys, tmp_path):
    name = HOSTILE.replace("\udc80", "")
    bad = commit(0, subject=name, sha=name)
    path, page = tmp_path / "a.json", tmp_path / "page.html"
    row = SavedRow(trace=measured(10.0, name=name, commit=bad))
    path.write_text(json.dumps(document_of(report_of([row]))))
    assert app.run(["report", "--history", str(path), "--report", str(page)]) == 0
    assert "\x1b" not in capsys.readouterr().out
    assert "<script>alert" not in page.read_text()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--figure", "a.svg"], "--figure is for traces"),
        (["--fail-above", "3%"], "--fail-above is not for --history"),
        (["--export", "a.csv"], "--export is not for --history"),
    ],
)
def test_what_is_refused(capsys, files, tmp_path, monkeypatch, asked, said):
    monkeypatch.chdir(tmp_path)
    assert app.run(["report", "--history", *files, *asked]) == 2
    assert said in capsys.readouterr().err
