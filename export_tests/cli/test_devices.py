"""`edgeattn devices`."""

from __future__ import annotations

import json
import tomllib
from importlib import resources
from types import SimpleNamespace

import pytest

from edgeattn.cli import app
from edgeattn.devices import profile
from edgeattn.devices.schema import DeviceProfile
from edgeattn.profiling.calibration import calibrate as calibration


def test_list_as_json(capsys):
    assert app.run(["devices", "list", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [device["name"] for device in document] == profile.names()
    (nano,) = [device for device in document if "jetson" in device["aliases"]]
    assert nano["name"] == "jetson-orin-nano-8gb"
    assert nano["compute_capability"] == "8.7"
    assert nano["runtimes"] == ["tensorrt"]
    assert nano["figures"]["power_mode"] == "15W"


def test_list_for_people(capsys):
    assert app.run(["devices", "list"]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert set(profile.names()) <= set(rows)
    assert "1935" in rows["a100-80g-pcie"]
    assert "10.16.2" in rows["jetson-orin-nano-8gb"]


def test_show_as_json(capsys):
    assert app.run(["devices", "show", "jetson", "--power-mode", "7W", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["name"] == "jetson-orin-nano-8gb"
    assert document["tensorrt"] == "10.16.2"
    assert document["opset"] == 24
    assert document["precisions"] == ["fp32", "fp16", "int8"]
    assert document["figures"]["sms"] == 4
    assert document["figures"]["peak_tflops"]["fp16"] == pytest.approx(3.34, rel=0.01)
    assert document["figures"]["kernel_floor_us"] == pytest.approx(
        document["kernel_floor_us"] * 1020 / 408
    )
    assert [mode["name"] for mode in document["power_mode"]] == ["MAXN_SUPER", "25W", "15W", "7W"]


def test_show_for_people(capsys):
    assert app.run(["devices", "show", "jetson"]) == 0
    out = capsys.readouterr().out
    assert "15W (default)" in out
    assert f"{profile.find('jetson').kernel_floor_us:g} µs" in out
    assert "0.75 (guess), depthwise 0.2 (guess)" in out
    assert "MAXN_SUPER" in out
    assert "6.1-6.2" in out


def test_show_in_one_mode(capsys):
    assert app.run(["devices", "show", "jetson", "--power-mode", "25W"]) == 0
    out = capsys.readouterr().out
    assert "102.4" in out
    assert "MAXN_SUPER" not in out


def test_show_says_which_figures_are_measured(capsys):
    assert app.run(["devices", "show", "titan-rtx"]) == 0
    out = capsys.readouterr().out
    assert "2.5 µs" in out
    assert "2.5 µs (guess)" not in out
    assert app.run(["devices", "show", "a100"]) == 0
    out = capsys.readouterr().out
    assert "2.5 µs (guess)" in out
    assert "0.75, depthwise 0.2 (guess)" in out
    assert "tf32" in out


def test_show_a_cpu(capsys):
    assert app.run(["devices", "show", "raspberry-pi-5"]) == 0
    assert "ONNX Runtime and OpenVINO serve it" in capsys.readouterr().out


def test_show_a_file_of_ones_own(tmp_path, capsys):
    path = tmp_path / "bench.toml"
    path.write_bytes((resources.files("edgeattn.profiles") / "rk3588.toml").read_bytes())
    assert app.run(["devices", "show", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "bench"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["jetson-orin-x"], "There is no device named"),
        (["jetson", "--power-mode", "30W"], "It has MAXN_SUPER, 25W, 15W, 7W."),
        (["rtx-3090", "--power-mode", "15W"], "has no power modes"),
        (["no-such.toml"], "There is no file no-such.toml."),
        ([], "NAME"),
    ],
)
def test_bad_input(capsys, arguments, said):
    assert app.run(["devices", "show", *arguments]) == 2
    assert said in capsys.readouterr().err


@pytest.fixture
def _calibrated(monkeypatch):
    """A machine that was calibrated in no time."""
    text = (resources.files("edgeattn.profiles") / "rk3588.toml").read_text(encoding="utf-8")

    def calibrate(options, *, on_stage):
        on_stage("runs 1/2")
        device = DeviceProfile.model_validate({"name": "this-machine", **tomllib.loads(text)})
        cores = options.threads or device.cores
        return calibration.Calibration(
            device=device.model_copy(update={"cores": cores}),
            text=text,
            warnings=("Others computed.",),
        )

    monkeypatch.setattr(calibration, "calibrate", calibrate)
    monkeypatch.setattr("edgeattn.engine.gpu.local_gpu", lambda: None)


@pytest.mark.usefixtures("_calibrated")
def test_calibrate(tmp_path, capsys):
    path = tmp_path / "mine.toml"
    assert app.run(["devices", "calibrate", "-o", str(path), "--threads", "2"]) == 0
    out = capsys.readouterr().out
    assert "mine" in out
    assert "note: Others computed." in out
    assert f"written: {path}" in out
    assert "GPU" not in out
    assert profile.find(str(path)).name == "mine"


@pytest.mark.usefixtures("_calibrated")
def test_calibrate_as_json_beside_a_gpu(tmp_path, capsys, monkeypatch):
    gpu = SimpleNamespace(name="NVIDIA H100", compute_capability=(9, 0))
    monkeypatch.setattr("edgeattn.engine.gpu.local_gpu", lambda: gpu)
    monkeypatch.chdir(tmp_path)
    assert app.run(["devices", "calibrate", "--name", "My board", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["name"], document["file"]) == ("My board", "my-board.toml")
    assert (tmp_path / "my-board.toml").is_file()
    assert document["warnings"][0] == "Others computed."
    assert "The processor alone was calibrated, and not the NVIDIA H100" in document["warnings"][1]


@pytest.mark.usefixtures("_calibrated")
def test_calibrate_over_something_else(tmp_path, capsys):
    other = tmp_path / "other.toml"
    other.write_text("a = 1\n")
    assert app.run(["devices", "calibrate", "-o", str(other)]) == 2
    assert "is no device file" in capsys.readouterr().err
    assert other.read_text() == "a = 1\n"


def test_show_a_calibrated_cpu(tmp_path, capsys):
    text = (resources.files("edgeattn.profiles") / "rk3588.toml").read_text(encoding="utf-8")
    more = "[efficiency.layers]\npointwise = 0.7\n[efficiency.operators]\nSoftmax-strided = 0.01\n"
    path = tmp_path / "bench.toml"
    said = "last_level_gbps = 40\nwake_us = 9.0\nlast_level_holds_us = 900\ncores = 4"
    path.write_text(text.replace("cores = 4", said) + more)
    assert app.run(["devices", "show", str(path)]) == 0
    out = capsys.readouterr().out
    for words in ("40 GB/s", "9 µs", "pointwise 0.7", "Softmax-strided 0.01", "900 µs"):
        assert words in out
