"""`edgeattn compare`: the whole pipeline, from a model's name to differences measured in turns."""

from __future__ import annotations

import json
import shutil

import psutil
import pytest

from edgeattn.cli import app

NET = '''
"""A small network of two residual blocks."""

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.act1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.act2 = nn.ReLU()

    def forward(self, x):
        y = self.bn2(self.conv2(self.act1(self.bn1(self.conv1(x)))))
        return self.act2(y + x)


def make():
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), Block(16), Block(16),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
    )
'''
QUICK = ["--shape", "1x3x32x32", "--limit", "0.3", "--threads", "1", "--no-simplify"]


@pytest.fixture
def net(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(NET)
    return f"{path}:make"


@pytest.fixture
def one_core(monkeypatch):
    """Has models made in this process, which has torch already."""
    monkeypatch.setattr("edgeattn.workflows.compare.cores", lambda: 1)


@pytest.mark.usefixtures("one_core")
def test_plain_stock_and_lowered_in_turns(capsys, net, tmp_path):
    keep, page = tmp_path / "kept", tmp_path / "r.html"
    code = app.run(
        ["compare", net, "--attention", "none,simam", "--at", "block-end", "--stock", *QUICK,
         "--keep", str(keep), "--report", str(page), "--json"]
    )  # fmt: skip
    found = json.loads(capsys.readouterr().out)
    assert code == 0
    models = found["models"]
    assert [(one["name"], one["variant"]) for one in models] == [
        ("make", "plain"), ("make-simam", "stock"), ("make-simam", "lowered"),
    ]  # fmt: skip
    assert models[0]["difference"] is None
    rounds = {one["difference"]["rounds"] for one in models[1:]}
    assert rounds == {len(models[0]["latency_ms"]["samples"])}
    for one in models[1:]:
        low, high = one["difference"]["ci95"]
        assert low <= one["difference"]["percent"] <= high
        assert [site["attention"] for site in one["sites"]] == ["simam", "simam"]
        assert one["sites"][0]["marginal_us"] is not None
    assert models[1]["whole"]["macs"] == models[0]["whole"]["macs"]
    counts = [len(one["kernels"]) for one in models]
    assert counts[0] < min(counts[1:])
    assert found["left_out"] == {}
    assert {path.name for path in keep.glob("*.onnx")} == {
        "make.onnx", "make-simam.onnx", "make-simam-stock.onnx",
    }  # fmt: skip
    assert page.is_file()


@pytest.mark.slow
def test_runtimes_and_precisions_in_the_same_rounds(capsys, net, tmp_path):
    pytest.importorskip("openvino")
    saved, page = tmp_path / "c.json", tmp_path / "r.html"
    code = app.run(
        ["compare", net, "--attention", "se", "--at", "block-end", *QUICK, "--no-marginal",
         "--runtime", "onnxruntime,openvino", "--precision", "fp32,int8", "--calibration", "random",
         "--samples", "2", "--limit", "0.1", "--keep", str(tmp_path / "kept"), "-o", str(saved)]
    )  # fmt: skip
    assert code == 0
    said = capsys.readouterr().out
    found = json.loads(saved.read_text())
    models = found["models"]
    names = [("make", "plain"), ("make-se", "lowered")]
    assert [(one["runtime"], one["precision"], one["name"], one["variant"]) for one in models] == [
        (runtime, precision, *name)
        for runtime in ("onnxruntime", "openvino")
        for precision in ("fp32", "int8")
        for name in names
    ]
    assert len({one["trace"]["rounds_id"] for one in models}) == 1
    assert [one["difference"] is None for one in models] == [True, False] * 4
    for one in models:
        layers = [kernel for kernel in one["kernels"] if kernel["kind"] == "matmul"]
        own = sum(kernel["precision"] == one["precision"] for kernel in layers)
        assert one["computed_in"] == f"{own} of {len(layers)} layers"
        assert own >= 2
        assert not [warning for warning in one["warnings"] if "computes in int8" in warning]
    targets = {
        runtime: json.loads((tmp_path / "kept" / runtime / "make-se.json").read_text())["target"]
        for runtime in ("onnxruntime", "openvino")
    }
    assert targets == {"onnxruntime": "onnxruntime", "openvino": "openvino"}
    contests = {one["label"]: one for one in found["contests"]}
    assert {label for label, one in contests.items() if one["of"] == "runtime"} == {
        "make, fp32", "make-se, fp32", "all 2 models, fp32",
        "make, int8", "make-se, int8", "all 2 models, int8",
    }  # fmt: skip
    assert "All 2 models, fp32: " in said
    assert app.run(["report", str(saved), "--report", str(page), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["contests"] == found["contests"]
    assert "Which precision is the fastest" in page.read_text()


def test_what_cannot_be_exported_is_left_out_and_said(capsys, net, monkeypatch):
    monkeypatch.setattr("edgeattn.workflows.compare.cores", lambda: 1)
    code = app.run(
        ["compare", net, "--attention", "se,sa", "--attention-arg", "sa.groups=5", *QUICK,
         "--device", "rtx-3090", "--json"]
    )  # fmt: skip
    found = json.loads(capsys.readouterr().out)
    assert code == 1
    assert [one["name"] for one in found["models"]] == ["make", "make-se"]
    assert {one["evidence"] for one in found["models"]} == {"predicted"}
    assert found["models"][1]["difference"]["ci95"] is None
    assert set(found["left_out"]) == {"sa"}


@pytest.mark.slow
def test_models_made_side_by_side_are_those_made_one_by_one(capsys, net, tmp_path, monkeypatch):
    keep, found = tmp_path / "kept", []
    for cores in (1, 3):
        monkeypatch.setattr("edgeattn.workflows.compare.cores", lambda cores=cores: cores)
        code = app.run(
            ["compare", net, "--attention", "se,simam,sa", "--attention-arg", "sa.groups=5",
             "--stock", "--at", "block-end", *QUICK, "--device", "jetson", "--precision",
             "fp32,fp16", "--keep", str(keep), "--json"]
        )  # fmt: skip
        files = {one.name: one.read_bytes() for one in keep.glob("*.onnx")}
        found.append((code, json.loads(capsys.readouterr().out), files))
        shutil.rmtree(keep)
    assert found[0] == found[1]
    assert len(found[0][1]["models"]) == 10


@pytest.mark.slow
def test_a_model_that_is_not_there_ends_what_is_made_beside_it(capsys, monkeypatch):
    monkeypatch.setattr("edgeattn.workflows.compare.cores", lambda: 3)
    before = set(psutil.Process().children())  # a builder may wait for its next engine
    assert app.run(["compare", "no_such_model", "--attention", "se,simam"]) == 2
    assert "no_such_model" in capsys.readouterr().err
    assert set(psutil.Process().children()) <= before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["resnet18"], "No attention is named."),
        (["resnet18", "--attention", "none"], "No attention is named."),
        (["resnet18", "--attention", "se,simamm"], "Did you mean simam"),
        (["resnet18", "--attention", "se", "--device", "jetsonn"], "Did you mean jetson"),
        (["no_such_model", "--attention", "se"], "no_such_model"),
        (["resnet18", "--attention", "se", "--keep", __file__], "is no folder"),
        (["resnet18", "--attention", "se", "--report", "/no/such/r.html"], "does not exist"),
        (["resnet18", "--attention", "se", "--export-layer-info", "l.json"], "has none"),
        (["resnet18", "-a", "se", "--precision", "fp32,int9"], "There is no precision 'int9'"),
        (["resnet18", "-a", "se", "--precision", "fp32,int8"], "needs data to calibrate on"),
        (["resnet18", "-a", "se", "--precision", "bf16"], "onnxruntime takes no model in bf16"),
        (["resnet18", "-a", "se", "--runtime", "onnxruntime,torch"], "cannot be run in rounds"),
        (
            ["resnet18", "-a", "se", "--runtime", "onnxruntime,openvino", "--device", "jetson"],
            "predicted for none",
        ),
    ],
)
@pytest.mark.usefixtures("one_core")
def test_bad_input(capsys, arguments, said):
    assert app.run(["compare", *arguments]) == 2
    assert said in capsys.readouterr().err
