"""`edgeattn build`, as it is typed."""

from __future__ import annotations

import json
import shutil

import numpy as np
import onnx
import pytest
from onnx import helper

from edgeattn.cli import app
from export_tests.engine.nets import HALF, small

pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx has wheels for x86-64 only")

ASKED = {
    "engine", "runtime", "compute_capability", "precision", "kernels", "traffic_bytes",
    "weights_bytes", "activation_bytes", "seconds", "manifest",
}  # fmt: skip


def test_a_file(edgeattn, tmp_path):
    small(tmp_path / "m.onnx")
    proto = onnx.load(tmp_path / "m.onnx")
    helper.set_model_props(proto, {"edgeattn.forms": "openvino"})
    onnx.save(proto, tmp_path / "m.onnx")
    run = edgeattn("build", "m.onnx", "--compute-capability", "8.6", "--log", "log.txt", "--json")
    assert (run.returncode, run.stderr) == (0, "")
    said = json.loads(run.stdout)
    assert said.keys() >= ASKED
    assert said["engine"] == "m.sm86.engine"
    assert said["manifest"] == "m.sm86.json"
    assert said["runtime"] == "tensorrt-rtx"
    assert said["precision"]["asked"] == "fp32"
    assert said["precision"]["built"] == {"fp32": said["kernels"], "fp16": 0, "int8": 0}
    assert said["command"].startswith("edgeattn build m.onnx --compute-capability 8.6")
    assert said["notes"][0].startswith("m.onnx was lowered for openvino, and is for tensorrt now")
    assert "Layers:" in (tmp_path / "log.txt").read_text()
    told = edgeattn("build", "m.onnx", "--compute-capability", "8.6")
    assert told.returncode == 0
    assert "m.sm86.engine" in told.stdout
    assert "builds without a GPU" in told.stdout


def test_into_a_folder_and_under_a_name(edgeattn, tmp_path):
    small(tmp_path / "m.onnx")
    (tmp_path / "out").mkdir()
    for place, engine in (("out", "out/m.sm75.engine"), ("out/x.engine", "out/x.engine")):
        run = edgeattn("build", "m.onnx", "--compute-capability", "7.5", "-o", place, "--json")
        assert run.returncode == 0, run.stderr
        assert json.loads(run.stdout)["engine"] == engine
        assert (tmp_path / engine).is_file()
        assert (tmp_path / engine).with_suffix(".json").is_file()


@pytest.fixture(scope="module")
def script():
    return (
        "import torch\n"
        "from torch import nn\n"
        "def make():\n"
        "    torch.manual_seed(0)\n"
        "    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1),\n"
        "                         nn.Flatten(), nn.Linear(8, 4))\n"
    )


def test_a_model(edgeattn, tmp_path, script):
    (tmp_path / "net.py").write_text(script)
    run = edgeattn(
        "build", "net.py:make", "--shape", "1x3x16x16", "--precision", "fp16",
        "--device", "rtx-4090", "--json",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout)
    assert said["engine"] == "net-make-fp16.sm89.engine"
    assert said["device"] == "rtx-4090"
    assert said["precision"]["asked"] == "fp16"
    names = {one.name for one in tmp_path.iterdir()}
    assert names == {
        "net.py", "net-make.onnx", "net-make.json", "net-make-fp16.onnx", "net-make-fp16.json",
        "net-make-fp16.sm89.engine", "net-make-fp16.sm89.json",
    }  # fmt: skip


def test_a_mismatch_is_exit_1_and_lists_the_kernels(edgeattn, tmp_path):
    small(tmp_path / "m.onnx")
    run = edgeattn("cast", "m.onnx", "--precision", "fp16", "--keep-fp32", "stem", "-o", "h.onnx")
    assert run.returncode == 0, run.stderr
    assert edgeattn("build", "h.onnx", "--precision", "fp16").returncode == 0
    (tmp_path / "h.json").unlink()
    run = edgeattn("build", "h.onnx", "--precision", "fp16")
    assert run.returncode == 1
    assert "stem/Conv" in run.stdout
    run = edgeattn("build", "h.onnx", "--precision", "fp16", "--json")
    assert run.returncode == 1
    mismatches = json.loads(run.stdout)["precision"]["mismatches"]
    assert any("stem/Conv" in one["nodes"] for one in mismatches)


def test_a_file_in_int8_needs_no_calibration_again(edgeattn, tmp_path):
    small(tmp_path / "m.onnx")
    run = edgeattn(
        "build", "m.onnx", "--precision", "int8", "--calibration", "random", "--samples", "4"
    )
    assert run.returncode == 0, run.stderr
    run = edgeattn("build", "m-int8.onnx", "--precision", "int8", "--json")
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout)
    assert said["precision"]["asked"] == "int8"
    assert said["precision"]["built"]["int8"] >= 2
    assert said["precision"]["mismatches"] == []


def test_a_plan_for_a_jetson(edgeattn, tmp_path):
    small(tmp_path / "m.onnx")
    run = edgeattn("build", "m.onnx", "--device", "jetson")
    assert run.returncode == 3
    assert "trtexec" in run.stderr
    assert "--plan" in run.stderr
    run = edgeattn("build", "m.onnx", "--device", "jetson", "--plan")
    assert run.returncode == 0, run.stderr
    assert "m.plan-sm86.engine" in run.stdout
    assert "NOT FOR" in run.stdout


BAD = [
    (["nothing.onnx"], "There is no file"),
    (["broken.onnx"], "no ONNX model"),
    (["m.onnx", "--opt-shapes", "y:1x3x16x16"], "names 'y'"),
    (["open.onnx", "--min-shapes", "x:4x3x16x16", "--opt-shapes", "x:2x3x16x16"], "min > opt"),
    (["open.onnx", "--opt-shapes", "x:2x3x8x8"], "the model takes"),
    (["m.onnx", "--min-shapes", "x:1x3x16x16"], "no --opt-shapes"),
    (["m.onnx", "--timing-cache", "t"], "no --timing-cache"),
    (["m.onnx", "--dla", "0", "--precision", "fp16"], "no --dla"),
    (["m.onnx", "--gpu-fallback"], "DLA"),
    (["m.onnx", "--version-compatible"], "no --version-compatible"),
    (["m.onnx", "--precision", "fp8"], "no precision 'fp8'"),
    (["m.onnx", "--precision", "int8"], "calibrate"),
    (["m.onnx", "--precision", "int8", "--calibration", "empty"], "empty"),
    (["m.onnx", "--precision", "int8", "--calibration", "wrong.npz"], "wrong.npz"),
    (["m.onnx", "--half-io"], "no precision to cast to"),
    (["h.onnx", "--precision", "int8", "--calibration", "random"], "is fp16 already"),
    (["m.onnx", "--device", "jetsom"], "Did you mean"),
    (["m.onnx", "--device", "rtx-3090", "--compute-capability", "8.6"], "another"),
    (["m.onnx", "--runtime", "openvino"], "no runtime"),
    (["m.onnx", "-a", "se"], "exported already"),
    (["m.onnx", "-o", "x.plan"], "must end in .engine"),
    (["m.onnx", "-o", "no/x.engine"], "does not exist"),
    (["m.onnx", "--optimization-level", "9"], "--optimization-level"),
    (["foo.onnx"], "last/Foo (Foo)"),
]


def test_bad_input(tmp_path, monkeypatch, capsys):
    small(tmp_path / "m.onnx")
    small(tmp_path / "h.onnx", dtype=HALF)
    small(tmp_path / "open.onnx", batch="batch")
    small(tmp_path / "foo.onnx", extra="Foo")
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    (tmp_path / "empty").mkdir()
    np.savez(tmp_path / "wrong.npz", x=np.zeros((2, 3, 5, 5), np.float32))
    monkeypatch.chdir(tmp_path)
    before = sorted(one.name for one in tmp_path.iterdir())
    for arguments, fact in BAD:
        code = app.run(["build", *arguments])
        told = capsys.readouterr()
        assert code == 2, (arguments, told.err)
        assert fact in told.err, (arguments, told.err)
        assert told.out == ""
        assert sorted(one.name for one in tmp_path.iterdir()) == before, arguments


def test_where_torch_and_timm_cannot_be_imported(edgeattn, tmp_path, stub):
    """A Jetson has little room."""
    small(tmp_path / "m.onnx")
    absent = "raise ImportError('not here')"
    stubs = stub(torch=absent, timm=absent, torchvision=absent)
    run = edgeattn("build", "m.onnx", "--precision", "fp16", stubs=stubs)
    assert run.returncode == 0, run.stderr
    shutil.rmtree(stubs)
