"""Gates: `--fail-above` against what was run beside or saved before, and what servers are shown."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest

from edgeattn.cli import app
from edgeattn.options.profile import Item
from edgeattn.profiling import samples
from edgeattn.records.trace import Commit, Difference, Machine, SavedRow
from edgeattn.report.content import report_of
from edgeattn.report.document import comparison_document, document_of
from edgeattn.report.sweep import document_of as sweep_document
from edgeattn.report.sweep import sweep_of
from edgeattn.workflows import compare
from export_tests.profiling.nets import residual
from export_tests.report import sweeps
from export_tests.report.traces import HOSTILE, trace

GENERATIONS = (10,) * 6


def measured(name, level_ms, *, spread=0.01, **more):
    """A trace of six generations, each a little faster or slower than the next."""
    values = [
        level_ms * (1 + spread * (-1) ** generation) for generation in range(6) for _ in range(10)
    ]
    return trace(
        name, latency_ms=samples.latency(values), generations=GENERATIONS, variant="", **more
    )


def saved(path, *rows):
    path.write_text(json.dumps(document_of(report_of(rows))))
    return str(path)


@pytest.fixture
def pair(tmp_path):
    above = Difference(p50_ms=0.4, percent=4.0, ci95=(3.0, 5.0), rounds=60)
    rows = [
        SavedRow(trace=measured("a", 10.0)),
        SavedRow(trace=measured("b", 10.4), difference=above),
    ]
    path = tmp_path / "pair.json"
    path.write_text(json.dumps(comparison_document(report_of(rows))))
    return str(path)


def run(capsys, *arguments):
    code = app.run(["report", *arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.mark.parametrize(
    ("limit", "code", "verdict"),
    [
        (["2%"], 1, "failed"), (["6%"], 0, "passed"), (["4.5%"], 0, "cannot tell"),
        (["4.5%", "--cannot-tell", "fail"], 1, "cannot tell"), (["+0.2ms"], 1, "failed"),
        (["+0.6ms"], 0, "passed"), (["12ms"], 0, "passed"), (["10ms"], 1, "failed"),
    ],
)  # fmt: skip
def test_the_interval_decides(capsys, pair, limit, code, verdict):
    found, out, err = run(capsys, pair, "--fail-above", *limit)
    assert found == code
    assert f"{verdict}  b: " in out
    assert ("run longer" in err) is (verdict == "cannot tell")


def test_what_servers_are_shown(capsys, pair, tmp_path):
    summary, tests = tmp_path / "out.md", tmp_path / "out.xml"
    asked = [pair, "--fail-above", "2%", "--summary", str(summary), "--junit", str(tests)]
    code, out, _ = run(capsys, *asked, "--json")
    assert code == 1
    gate = json.loads(out)["gate"]
    assert (gate["limit"], gate["verdict"], gate["fails"]) == ("+2 %", "failed", True)
    (check,) = gate["checks"]
    assert (check["model"], check["against"], check["interval"]) == ("b", "a", [3.0, 5.0])
    text = summary.read_text()
    assert "❌ **failed**, limit +2 %" in text
    assert "`+4.0 % [+3.0, +5.0] above a, limit +2 %`" in text
    suite = ET.parse(tests).getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("1", "1", "0")
    (failure,) = suite.iter("failure")
    assert "[+3.0, +5.0] above a" in failure.get("message")
    run(capsys, pair, "--fail-above", "4%", "--junit", str(tests))
    assert ET.parse(tests).getroot().find("testsuite/testcase/skipped") is not None


def test_a_summary_without_a_gate(capsys, pair, tmp_path):
    assert run(capsys, pair, "--summary", str(tmp_path / "out.md"))[0] == 0
    text = (tmp_path / "out.md").read_text()
    assert "**measured**" in text
    assert "| `b` | `A Device` | 10.4 ms |" in text


def test_what_is_measured_and_predicted_shares_no_table(capsys, pair, tmp_path):
    there = saved(tmp_path / "there.json", SavedRow(trace=trace("there", predicted=True)))
    asked = ["--summary", str(tmp_path / "o.md"), "--fail-above", "100ms"]
    code, out, _ = run(capsys, pair, there, *asked)
    assert code == 0
    assert "passed  there, predicted: " in out
    text = (tmp_path / "o.md").read_text()
    assert "`there`" in text.partition("**predicted**")[2]
    assert "`there`" not in text.partition("**predicted**")[0].partition("**measured**")[2]


def test_hostile_names_stay_text(capsys, tmp_path):
    name = f"@someone `` a|b {HOSTILE}".replace("\udc80", "")
    above = Difference(p50_ms=1.0, percent=9.0, ci95=(8.0, 10.0), rounds=60)
    rows = [
        SavedRow(trace=measured("a", 10.0)),
        SavedRow(trace=measured(name, 11.0), difference=above),
    ]
    path = saved(tmp_path / "pair.json", *rows)
    asked = ["--summary", str(tmp_path / "o.md"), "--junit", str(tmp_path / "o.xml")]
    assert run(capsys, path, "--fail-above", "2%", *asked)[0] == 1
    lines = [one for one in (tmp_path / "o.md").read_text().splitlines() if "@someone" in one]
    assert all("```@someone `` a\\|b" in one for one in lines if one.startswith("|"))
    assert len({one.count("|") - one.count(r"\|") for one in lines if one.startswith("| ❌")}) == 1
    test = ET.parse(tmp_path / "o.xml").getroot().find("testsuite/testcase")
    assert "</script><script>" in test.get("name")


def test_what_was_saved_before_is_a_baseline(capsys, tmp_path):
    commit = Commit(sha="0123456789abcdef", date="2026-01-02T03:04:05+00:00", is_changed=True)
    rows = [SavedRow(trace=measured(name, 10.0, commit=commit)) for name in ("net", "other")]
    before = saved(tmp_path / "before.json", *rows)
    now = saved(tmp_path / "now.json", SavedRow(trace=measured("net", 11.0)))
    code, out, _ = run(capsys, now, "--fail-above", "5%", "--baseline", before)
    assert code == 1
    assert "above net of 012345678+, limit +5 %" in out
    assert "not run in the same rounds" in out
    assert run(capsys, now, "--fail-above", "15%", "--baseline", before)[0] == 0
    # Both runs' own spread is in the interval: of a noisy one, nothing can be told.
    noisy = saved(tmp_path / "noisy.json", SavedRow(trace=measured("net", 11.0, spread=0.2)))
    code, out, _ = run(capsys, noisy, "--fail-above", "5%", "--baseline", before)
    assert (code, "cannot tell" in out) == (0, True)


def test_of_a_baseline_only_what_ran_alike_counts(capsys, tmp_path):
    elsewhere = Machine(device="a-device", title="Another Device")
    before = saved(
        tmp_path / "before.json",
        SavedRow(trace=measured("net", 10.0, machine=elsewhere)),
        SavedRow(trace=measured("net", 10.0, precision="fp16")),
        SavedRow(trace=trace("net", predicted=True)),
    )
    now = saved(tmp_path / "now.json", SavedRow(trace=measured("net", 10.0)))
    code, _, err = run(capsys, now, "--fail-above", "5%", "--baseline", before)
    assert code == 2
    assert "nothing to compare net with" in err
    assert "Another Device" in err
    both = saved(
        tmp_path / "both.json",
        SavedRow(trace=measured("net", 10.0)),
        SavedRow(trace=measured("newer", 10.0)),
    )
    code, out, _ = run(capsys, both, "--fail-above", "5%", "--baseline", now)
    assert (code, "note: newer is not in the baseline." in out) == (0, True)
    # One alone is compared with the only one, whatever it was called.
    named = saved(tmp_path / "named.json", SavedRow(trace=measured("renamed", 10.0)))
    assert run(capsys, named, "--fail-above", "5%", "--baseline", now)[0] == 0


def test_predictions_have_an_interval_of_their_difference(capsys, tmp_path):
    made = trace("net", predicted=True, shared_spread=0.1)
    slower = made.model_copy(update={"latency_ms": samples.latency([0.5])})
    before = saved(tmp_path / "before.json", SavedRow(trace=made))
    now = saved(tmp_path / "now.json", SavedRow(trace=slower))
    code, out, _ = run(capsys, now, "--fail-above", "5%", "--baseline", before)
    assert (code, "failed  net: +" in out) == (1, True)
    assert run(capsys, before, "--fail-above", "5%", "--baseline", before)[0] == 0


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--fail-above", "fast"], "is no limit"),
        (["--junit", "out.xml"], "there is no limit"),
        (["--baseline", "before.json"], "there is none"),
        (["--fail-above", "3%", "--cannot-tell", "fial"], "Did you mean"),
        (["--fail-above", "8ms", "--baseline", "before.json"], "is a limit in all"),
        (["--fail-above", "3%", "--baseline", "none.json"], "none.json"),
        (["--fail-above", "3%", "--baseline", "junk.json"], "no trace of edgeattn's"),
    ],
)
def test_what_is_refused(capsys, tmp_path, monkeypatch, pair, asked, said):
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / "before.json", SavedRow(trace=measured("net", 10.0)))
    (tmp_path / "junk.json").write_text("[1]")
    code, _, err = run(capsys, pair, *asked)
    assert code == 2
    assert said in err


def test_one_model_alone_has_nothing_to_be_above(capsys, tmp_path):
    path = residual(tmp_path / "a.onnx", "none")
    assert app.run(["profile", str(path), "--fail-above", "3%"]) == 2
    assert "--against FILE" in capsys.readouterr().err
    now = saved(tmp_path / "now.json", SavedRow(trace=measured("net", 10.0)))
    assert run(capsys, now, "--fail-above", "3%")[0] == 2


def test_a_pair_is_measured_and_judged(capsys, tmp_path):
    path = residual(tmp_path / "a.onnx", "none")
    quick = ["--limit", "0.3", "--threads", "1", "--no-marginal"]
    asked = ["profile", str(path), "--against", str(path), *quick, "--json", "--fail-above"]
    assert app.run([*asked, "1000000%"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["gate"]["verdict"] == "passed"
    assert len(found["trace"]["generations"]) == found["windows"] >= 3


def test_the_rows_of_a_sweep_are_judged(capsys, tmp_path):
    rows = list(sweeps.rows(backbones=1, attentions=2, devices=1, precisions=("fp32",)))
    plain = [one for one in rows if not one.attention]
    path = tmp_path / "sweep.json"
    path.write_text(json.dumps(sweep_document(sweep_of(rows, {}))))
    most = max(one.above_interval_percent[1] for one in rows if one.above_interval_percent)
    tests, text = tmp_path / "o.xml", tmp_path / "o.md"
    asked = [str(path), "--junit", str(tests), "--summary", str(text), "--fail-above"]
    assert run(capsys, *asked, f"{most + 1:.1f}%")[0] == 0
    assert ET.parse(tests).getroot().get("tests") == str(len(rows) - len(plain))
    assert "✅ **passed**" in text.read_text()
    code, out, _ = run(capsys, *asked, "0.1us")
    assert code == 1
    assert out.count("failed  ") == len(rows)


def test_two_models_of_one_name_are_two(capsys, tmp_path, monkeypatch):
    made = []

    def make(request, name, _export, folder, **_):
        made.append((request.source, folder / f"{name}.onnx"))
        return [Item(path=residual(made[-1][1], "none"), name=name, variant="plain")]

    monkeypatch.setattr(compare, "make", make)
    texts = []
    for folder in ("before", "now"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "net.py").write_text("")
        texts.append(f"{tmp_path / folder / 'net.py'}:make")
    quick = ["--limit", "0.1", "--threads", "1", "--no-marginal"]
    assert app.run(["profile", texts[1], "--against", texts[0], *quick, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [source for source, _ in made] == texts
    assert made[0][1] != made[1][1]
    assert (found["against"]["name"], found["name"]) == tuple(texts)
