"""`edgeattn evaluate`, from the command line to the figures."""

from __future__ import annotations

import json
import sys

import pytest

from edgeattn.cli import app
from export_tests.hosts import trtexec
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
                 "as the options"):  # fmt: skip
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


@pytest.fixture
def python(sshd):
    """Has a host's Python be this one."""
    path = sshd.path / "python3"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    path.chmod(0o755)
    return sshd.address


def models(text):
    return [
        (one["top1"], one["agreement"], one["runtime"]) for one in json.loads(text.stdout)["models"]
    ]


@pytest.mark.parametrize(
    "runtime", ["onnxruntime", pytest.param("openvino", marks=pytest.mark.slow)]
)
def test_on_a_host(edgeattn, python, sshd, tmp_path, runtime):
    classifier(tmp_path / "a.onnx", RIGHT)
    classifier(tmp_path / "b.onnx", RIGHT[[0, 2, 1]], size=(6, 6), last=True, batch=5)
    colours(tmp_path / "val", 30)
    run = edgeattn("evaluate", "a.onnx", "b.onnx", "--data", "val", "--on", python,
                   "--runtime", runtime, "--json")  # fmt: skip
    assert run.returncode == 0, run.stderr
    (first, _, by), (second, agreement, _) = models(run)
    assert (first, second, agreement) == (100, pytest.approx(100 / 3), pytest.approx(100 / 3))
    assert by.endswith(f" on {python}")
    assert [one for one in sshd.left if one != ".ses"] == []


@pytest.mark.slow
def test_an_engine_on_a_host(edgeattn, sshd, tmp_path):
    trtexec.install(sshd.path, "10.3.0")
    classifier(tmp_path / "a.onnx", RIGHT)
    colours(tmp_path / "val", 3)
    shapes = [f"--{point}-shapes" for point in ("min", "opt", "max")]
    shapes = [part for k, one in enumerate(shapes) for part in (one, f"image:{1 + 3 * k}x3x8x8")]
    run = edgeattn("build", "a.onnx", "--on", sshd.address, *shapes, "-o", "a.engine")
    assert run.returncode == 0, run.stderr
    run = edgeattn("evaluate", "a.engine", "--data", "val", "--on", sshd.address, "--json")
    assert run.returncode == 0, run.stderr
    assert models(run) == [(100, None, f"TensorRT 10.3.0 on {sshd.address}")]
    said = json.loads(run.stdout)
    assert said["models"][0]["batch"] == 4
    assert "anew, and loads the engine, for every 4 images" in said["notes"][0]
    run = edgeattn("evaluate", "a.engine", "--data", "val")
    assert run.returncode == 3
    assert "--on [USER@]HOST" in run.stderr


@pytest.mark.slow
def test_in_openvino(tmp_path, capsys):
    pytest.importorskip("openvino")
    paths = [str(classifier(tmp_path / name, RIGHT)) for name in ("a.onnx", "b.onnx")]
    data = colours(tmp_path / "val", 30)
    ask = ["evaluate", *paths, "--data", str(data), "--runtime", "openvino", "--json"]
    assert app.run(ask) == 0
    document = json.loads(capsys.readouterr().out)
    assert [one["top1"] for one in document["models"]] == [100, 100]
    assert document["models"][0]["runtime"].startswith("OpenVINO ")


@pytest.mark.parametrize(
    ("ask", "code", "said"),
    [
        ([], 2, "No data are given"),
        (["--data", "none"], 2, "neither a folder nor a list"),
        (["--data", "val", "--mean", "0"], 2, "--mean is given without --std"),
        (["--data", "val", "--classes", "none.txt"], 2, "none.txt"),
        (["--data", "val", "--threads", "0"], 2, "threads"),
        (["--data", "val", "--runtime", "tensorrt"], 2, "runs no ONNX file itself"),
        (["--data", "val", "--openvino-device", "GPU"], 2, "not --runtime openvino"),
        (["--data", "val", "--on", "a,b"], 2, "one at a time"),
    ],
)
def test_bad_input(tmp_path, monkeypatch, capsys, ask, code, said):
    monkeypatch.chdir(tmp_path)
    classifier(tmp_path / "a.onnx", RIGHT)
    colours(tmp_path / "val", 1)
    assert app.run(["evaluate", "a.onnx", *ask]) == code
    assert said in capsys.readouterr().err
