"""`edgeattn report`: made again from saved traces, of one kind or of several."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from edgeattn.base.errors import InputError
from edgeattn.cli import app
from edgeattn.records.store import Outcome, Store
from edgeattn.records.trace import Difference, SavedRow
from edgeattn.report import html
from edgeattn.report.content import report_of
from edgeattn.report.document import comparison_document, profile_document
from edgeattn.report.sweep import document_of as sweep_document
from edgeattn.report.sweep import sweep_of
from export_tests.profiling.traces import kernel, node, trace
from export_tests.report.sweeps import rows

SITE = "layer1.0.attention"
ROWS = tuple(rows(backbones=2))


def made(name="model", **more):
    nodes = [
        node("layer1.0.conv/Conv", "Conv", macs=100),
        node(f"{SITE}/Mul", "Mul", site=SITE, element_ops=5),
    ]
    kernels = [
        kernel("conv", ["layer1.0.conv/Conv"], kind="matmul", time_us=30, macs=100),
        kernel("gate", [f"{SITE}/Mul"], time_us=10),
    ]
    return trace(kernels, nodes, [SITE], name=name, **more)


def saved(path, document):
    path.write_text(json.dumps(document))
    return str(path)


@pytest.fixture
def profile(tmp_path):
    rows = [SavedRow(trace=made())]
    return saved(tmp_path / "profile.json", profile_document(report_of(rows)))


@pytest.fixture
def comparison(tmp_path):
    difference = Difference(p50_ms=0.01, percent=33.0, ci95=(30.0, 35.0), rounds=40)
    rows = [
        SavedRow(trace=made("net", variant="plain")),
        SavedRow(trace=made("net-se", variant="lowered"), difference=difference),
        SavedRow(trace=made("net-eca", variant="lowered"), difference=difference),
    ]
    return saved(tmp_path / "compare.json", comparison_document(report_of(rows)))


@pytest.fixture
def predicted(tmp_path):
    found = made("there", evidence="predicted", interval_ms=(0.01, 0.1))
    return saved(tmp_path / "trace.json", found.model_dump(mode="json"))


def test_a_report_again(capsys, profile, tmp_path):
    page, again = tmp_path / "r.html", tmp_path / "again.json"
    assert app.run(["report", profile, "--report", str(page), "-o", str(again)]) == 0
    assert "all sites" in capsys.readouterr().out
    assert page.read_text().startswith("<!DOCTYPE html>")
    first, second = (json.loads(Path(path).read_text()) for path in (profile, again))
    assert {**first, "command": ""} == {**second, "command": ""}


def test_a_report_of_the_first_version_is_read(capsys, profile):
    path = Path(profile)
    path.write_text(path.read_text().replace('"schema_version": 2', '"schema_version": 1'))
    assert app.run(["report", profile, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["schema_version"] == 2


def test_a_comparison_again(capsys, comparison):
    assert app.run(["report", comparison, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in found["models"]] == ["net", "net-se", "net-eca"]
    assert found["models"][1]["difference"]["percent"] == 33.0


def test_devices_side_by_side_stand_apart(capsys, profile, predicted):
    assert app.run(["report", profile, predicted]) == 0
    out = capsys.readouterr().out
    measured, guess = out.index(" MEASURED "), out.index(" PREDICTED ")
    assert measured < out.index("model ", measured) < guess < out.index("there", guess)
    assert out.count("latency  ") == 2


def test_a_trace_alone_is_enough(capsys, predicted):
    assert app.run(["report", predicted, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["interval_ms"] == [0.01, 0.1]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda text: text[: len(text) // 2], "not all of it"),
        (lambda _: "[]", "is no trace"),
        (lambda text: text.replace('"schema_version": 2', '"schema_version": 99'), "version 99"),
        (lambda text: text.replace('"artifact": "profile"', '"artifact": "engine"'), "is no trace"),
        (lambda text: text.replace('"evidence"', '"evidenz"'), "cannot be read as a trace"),
        (lambda text: text.replace('"time_us": 30.0', '"time_us": "long"'), "time_us"),
    ],
)
def test_files_that_are_none(capsys, profile, tmp_path, spoil, said):
    path = tmp_path / "bad.json"
    path.write_text(spoil(Path(profile).read_text()))
    page = tmp_path / "r.html"
    assert app.run(["report", str(path), "--report", str(page)]) == 2
    assert said in capsys.readouterr().err
    assert not page.exists()


def test_a_file_that_is_not_there(capsys):
    assert app.run(["report", "no-such.json"]) == 2
    assert "no-such.json cannot be read" in capsys.readouterr().err


def test_what_is_read_is_not_written_over(capsys, profile):
    assert app.run(["report", profile, "-o", profile]) == 2
    assert "would be replaced" in capsys.readouterr().err


def test_links_are_written_through_and_files_land_together(tmp_path, profile, monkeypatch):
    here, real = tmp_path / "here", tmp_path / "real"
    here.mkdir()
    real.mkdir()
    (real / "real-r.json").write_text("old")
    (real / "r.json").write_text("another's")
    (here / "r.json").symlink_to("../real/real-r.json")
    page = tmp_path / "r.html"
    asked = ["report", profile, "-o", str(here / "r.json"), "--report", str(page), "-q"]

    def fail(*_):
        raise InputError("It cannot be drawn.")

    with monkeypatch.context() as patch:
        patch.setattr(html, "render", fail)
        assert app.run(asked) == 2
    assert (real / "real-r.json").read_text() == "old"
    assert not page.exists()
    assert app.run(asked) == 0
    assert (here / "r.json").is_symlink()
    assert json.loads((real / "real-r.json").read_text())["schema_version"] == 2
    assert sorted(path.name for path in real.iterdir()) == ["r.json", "real-r.json"]
    assert (real / "r.json").read_text() == "another's"
    assert page.exists()


def test_two_things_for_one_file_are_refused(tmp_path, profile, capsys):
    (tmp_path / "b.json").symlink_to("a.json")
    for other in ("a.json", "b.json"):
        both = ["-o", str(tmp_path / "a.json"), "--trace", str(tmp_path / other)]
        assert app.run(["report", profile, *both]) == 2
        assert "two things" in capsys.readouterr().err
    assert app.run(["report", profile, "-o", profile]) == 2
    assert "read from" in capsys.readouterr().err


def test_what_a_killed_run_left_is_said(tmp_path, profile, capsys):
    left = tmp_path / ".edgeattn-a1b2c3d4"
    (left / "new").mkdir(parents=True)
    (left / "lock").touch()
    assert app.run(["report", profile, "-o", str(tmp_path / "r.json"), "-q"]) == 0
    assert (
        capsys.readouterr().err
        == f"edgeattn: removed {left}, which a run that was killed had left\n"
    )
    assert not left.exists()


@pytest.fixture
def swept(tmp_path):
    """The file of a sweep: as `edgeattn sweep` writes it."""
    path = tmp_path / "sweep.db"
    with Store(path) as store:
        store.add([(row.key, f"job {at}") for at, row in enumerate(ROWS)] + [("x", "bad job")])
        store.finish(Outcome(key=row.key, row=row) for row in ROWS)
        store.finish([Outcome(key="x", fact="The device has not memory enough.")])
    return str(path)


def test_a_sweep_is_shown_and_written(capsys, swept, tmp_path):
    page, again, table = tmp_path / "s.html", tmp_path / "s.json", tmp_path / "s.csv"
    written = ["--report", str(page), "-o", str(again), "--export", str(table)]
    written += ["--export", str(tmp_path / "s.parquet")]
    assert app.run(["report", swept, *written]) == 0
    out = capsys.readouterr().out
    assert "PREDICTED" in out
    assert "bad job: The device has not memory enough." in out
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert len(table.read_text().splitlines()) == len(ROWS) + 1
    assert (tmp_path / "s.parquet").read_bytes()[:4] == b"PAR1"
    document = json.loads(again.read_text())
    assert [one["key"] for one in document["rows"]] == [row.key for row in ROWS]
    assert document["failed"] == [{"job": "bad job", "fact": "The device has not memory enough."}]
    assert app.run(["report", str(again), "--json"]) == 0
    second = json.loads(capsys.readouterr().out)
    assert {**document, "command": ""} == {**second, "command": ""}


def test_rows_of_two_sweeps_are_in_one_report_each_once(capsys, swept, tmp_path):
    other = sweep_document(sweep_of(ROWS[:2], {"worse job": "No such opset."}))
    assert app.run(["report", swept, saved(tmp_path / "o.json", other), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["rows"]) == len(ROWS)
    assert {one["job"] for one in found["failed"]} == {"bad job", "worse job"}


def test_what_does_not_go_with_a_sweep_is_refused(capsys, swept, profile, tmp_path, monkeypatch):
    (tmp_path / "no.db").write_bytes(b"")
    newer = saved(tmp_path / "newer.json", {"schema_version": 99, "artifact": "sweep"})
    endless = sweep_document(sweep_of(ROWS[1:2], {}))
    endless["rows"][0]["above_percent"] = "Infinity"
    endless = saved(tmp_path / "endless.json", endless)
    odd = saved(tmp_path / "odd.json", {"schema_version": 1, "artifact": "sweep", "rows": [{}]})
    for arguments, said in (
        ([swept, profile], "is of a sweep, and"),
        ([swept, "--trace", str(tmp_path / "t.json")], "--trace is for traces"),
        ([swept, "--figure", "x.svg"], "--figure is for traces"),
        ([profile, "--export", str(tmp_path / "t.csv")], "--export is for the rows of a sweep"),
        ([swept, "--export", str(tmp_path / "t.xlsx")], "neither a .csv nor a .parquet"),
        ([swept, "-o", swept], "would be replaced"),
        ([str(tmp_path / "no.db")], "is no file of a sweep"),
        ([str(tmp_path / "gone.db")], "No such file"),
        ([newer], "schema version 99"),
        ([odd], "cannot be read as a sweep"),
        ([endless], "finite number"),
    ):
        assert app.run(["report", *arguments]) == 2
        error = capsys.readouterr().err
        assert said in error, error
        assert "Traceback" not in error
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert app.run(["report", swept, "--export", str(tmp_path / "t.parquet")]) == 3
    assert "pip install 'edgeattn[parquet]'" in capsys.readouterr().err
    assert not (tmp_path / "t.parquet").exists()
