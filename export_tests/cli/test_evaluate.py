"""`edgeattn evaluate`, from the command line to the figures."""

from __future__ import annotations

import json

import pytest

from edgeattn.cli import app
from export_tests.precision.classifiers import RIGHT, classifier, colours


def test_for_people(edgeattn, tmp_path):
    classifier(tmp_path / "a.onnx", RIGHT)
    classifier(tmp_path / "b.onnx", RIGHT[[0, 2, 1]])
    (colours(tmp_path / "val", 4) / "red" / "0003.png").write_bytes(b"none")
    run = edgeattn("evaluate", "a.onnx", "b.onnx", "--data", "val", "--mean", "0", "--std", "1",
                   "--skip-broken")  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    for said in ("folder val: 11 images, 1 skipped, 3 classes", "100.00", "36.36", "-63.64",
                 "b.onnx loses", "green", "val/red/0003.png cannot be read",
                 "as the options say"):  # fmt: skip
        assert said in run.stdout


def test_as_json(tmp_path, capsys):
    paths = [str(classifier(tmp_path / name, RIGHT)) for name in ("a.onnx", "b.onnx")]
    data = colours(tmp_path / "val", 4)
    assert app.run(["evaluate", *paths, "--data", str(data), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [one["model"] for one in document["models"]] == paths
    last = document["models"][-1]
    assert (last["images"], last["top1"], last["top5"], last["agreement"]) == (12, 100, None, 100)
    assert last["interval"][0] < 0 < last["interval"][1]
    assert document["models"][0]["interval"] is None
    assert "are assumed" in document["notes"][0]


@pytest.mark.parametrize(
    ("ask", "code", "said"),
    [
        ([], 2, "No data are given"),
        (["--data", "none"], 2, "neither a folder nor a list"),
        (["--data", "val", "--mean", "0"], 2, "--mean is given without --std"),
        (["--data", "val", "--classes", "none.txt"], 2, "none.txt"),
        (["--data", "val", "--threads", "0"], 2, "threads"),
    ],
)
def test_bad_input(tmp_path, monkeypatch, capsys, ask, code, said):
    monkeypatch.chdir(tmp_path)
    classifier(tmp_path / "a.onnx", RIGHT)
    colours(tmp_path / "val", 1)
    assert app.run(["evaluate", "a.onnx", *ask]) == code
    assert said in capsys.readouterr().err
