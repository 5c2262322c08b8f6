"""`edgeattn devices calibrate --on`, on a real sshd, with the stand-in for trtexec."""

from __future__ import annotations

import json
import sys

import onnx
import pytest

from edgeattn.devices.profile import find
from edgeattn.profiling.calibration.networks import networks
from export_tests.engine.nets import small
from export_tests.hosts import trtexec


@pytest.fixture
def host(sshd):
    """Plays a version of trtexec on a host, and sees to it that nothing is left there."""

    def play(version="10.3.0", **settings):
        trtexec.install(sshd.path, version, **settings)
        return sshd.address

    yield play
    assert [one for one in sshd.left if one != ".ses"] == []  # ONNX Runtime's own


def test_the_networks_are_what_any_tensorrt_parses(tmp_path):
    found = list(networks(find("jetson-orin-nano-8gb"), tmp_path))
    assert [one.name for one in found] == ["floor", "fp32", "fp16", "int8"]
    for one in found:
        model = onnx.load(one.path)
        onnx.checker.check_model(model)
        onnx.shape_inference.infer_shapes(model, strict_mode=True, check_type=True)
        assert {opset.version for opset in model.opset_import} == {13}
    nano = [one.name for one in networks(find("jetson-nano"), tmp_path)]
    assert nano == ["floor", "fp32", "fp16"]  # it has no fast int8


@pytest.mark.slow
@pytest.mark.parametrize("version", ["8.2.1", "8.6.2", "10.3.0", "11.1.0"])
def test_a_device_is_measured(edgeattn, host, tmp_path, version):
    address = host(version)
    command = ["devices", "calibrate", "--on", address, "--device", "jetson", "-o", "mine.toml"]
    run = edgeattn(*command, "--json")
    assert run.returncode == 0, run.stderr
    document = json.loads(run.stdout)
    names = [one["name"] for one in document["fit"]["traces"]]
    own = ("floor", "floor, without a CUDA graph", "fp32", "fp16", "int8")
    assert names == [f"calibration, {one}" for one in own]
    text = (tmp_path / "mine.toml").read_text()
    assert f"TensorRT {version.removesuffix('.0')}, by trtexec" in text
    device = find(str(tmp_path / "mine.toml"))
    assert device.fitted_to == 5
    assert device.enqueue_us == pytest.approx(2)  # as the stand-in plays it
    assert "enqueue_us" not in device.guesses
    assert "fp16" in device.efficiency.types  # the stand-in makes nothing of Q/DQ


def test_a_host_that_no_profile_is_known_of(edgeattn, host):
    run = edgeattn("devices", "calibrate", "--on", host())
    assert run.returncode == 2
    assert "No device profile is known of" in run.stderr


def test_a_trtexec_that_fails(edgeattn, host, tmp_path):
    command = ["devices", "calibrate", "--on", host(fails="memory"), "--device", "jetson"]
    run = edgeattn(*command, "-o", "mine.toml")
    assert run.returncode == 3
    assert not (tmp_path / "mine.toml").exists()


def test_versions_that_tell_nothing_of_layers(edgeattn, host):
    run = edgeattn("devices", "calibrate", "--on", host("8.0.1"), "--device", "jetson")
    assert run.returncode == 2
    assert "does not tell what the layers" in run.stderr


@pytest.mark.slow
def test_a_processor_is_calibrated_there(edgeattn, sshd, tmp_path):
    """By ONNX Runtime of the host's Python: as here, by the same runner."""
    python = sshd.path / "python3"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    command = ["devices", "calibrate", "--on", sshd.address, "--device", "generic-x86"]
    run = edgeattn(*command, "--threads", "1", "--limit", "1", "-o", "mine.toml", "--json")
    assert run.returncode == 0, run.stderr
    device = find(str(tmp_path / "mine.toml"))
    assert (device.kind, device.cores) == ("cpu", 1)
    assert {"pointwise", "stem", "grouped", "product"} <= set(device.efficiency.layers)
    assert "by ONNX Runtime" in (tmp_path / "mine.toml").read_text().splitlines()[0]
    assert [one for one in sshd.left if one != ".ses"] == []


@pytest.mark.slow
def test_a_prediction_stands_beside_what_a_host_measures(edgeattn, host, tmp_path):
    """Of the layers that were built there; and what is saved can be learned from."""
    small(tmp_path / "m.onnx")
    where = ["--on", host(), "--device", "jetson", "--power-mode", "7W", "--limit", "0.1"]
    out = ["--no-marginal", "-o", "m.json", "--report", "m.html"]
    run = edgeattn("profile", "m.onnx", *where, *out)
    assert run.returncode == 0, run.stderr
    assert "Jetson Orin Nano 8 GB, 7W" in run.stdout
    document = json.loads((tmp_path / "m.json").read_text())
    said = document["expected"]
    assert (said["device"], said["power_mode"]) == ("jetson-orin-nano-8gb", "7W")
    assert sum(one["predicted_us"] for one in said["kinds"]) == pytest.approx(
        1e3 * said["latency_ms"]
    )
    assert "Predicted, and measured" in (tmp_path / "m.html").read_text()
    known = ["--device", "jetson", "--power-mode", "7W", "-o", "mine.toml"]
    run = edgeattn("devices", "calibrate", "--from", "m.json", *known)
    assert run.returncode == 0, run.stderr
    assert "nothing was" not in run.stdout
    assert find(str(tmp_path / "mine.toml")).fitted_to == 1


@pytest.mark.slow
def test_where_no_layers_are_told_a_plan_is_predicted(edgeattn, host, tmp_path):
    pytest.importorskip("tensorrt_rtx")
    small(tmp_path / "m.onnx")
    where = ["--on", host("8.0.1"), "--device", "jetson", "--limit", "0.1", "--no-marginal"]
    run = edgeattn("profile", "m.onnx", *where, "--json")
    assert run.returncode == 0, run.stderr
    document = json.loads(run.stdout)
    assert document["expected"]["latency_ms"] > 0
    assert document["expected"]["kinds"] == []
    assert "what TensorRT-RTX plans" in document["notes"][-1]
