"""`edgeattn check`, from the command line to what is printed and written."""

from __future__ import annotations

import json

import pytest

from edgeattn.records.check import Checked
from export_tests.engine.nets import small
from export_tests.profiling.nets import residual

FOR = ("--device", "jetson-agx-orin", "--jetpack", "6.2")


def test_for_people(edgeattn, tmp_path):
    residual(tmp_path / "net.onnx", "se")
    run = edgeattn("check", "net.onnx", *FOR)
    assert (run.returncode, run.stderr) == (0, "")
    first, *rest = run.stdout.splitlines()
    assert first == (
        "YES: net.onnx runs on the Jetson AGX Orin 64 GB (JetPack 6.2, TensorRT 10.3) in fp16"
    )
    assert "8 of 8 are taken" in rest[1]


def test_a_dla_with_what_falls_off_it_by_module(edgeattn, tmp_path):
    residual(tmp_path / "net.onnx", "se")
    run = edgeattn("check", "net.onnx", *FOR, "--dla")
    assert run.returncode == 1
    assert run.stdout.startswith("NO: net.onnx will not run whole on the DLA of the Jetson AGX")
    said = " ".join(run.stdout.split())
    assert "no: GlobalAveragePool does not run on the DLA" in said
    assert "at site layer1.0.attention, layer2.0.attention" in said
    assert "layer1.0.attention is one 1 1 GlobalAveragePool" in said
    assert "--gpu-fallback" in said
    run = edgeattn("check", "net.onnx", *FOR, "--dla", "--gpu-fallback")
    assert run.returncode == 0
    assert run.stdout.startswith("YES: net.onnx runs on the Jetson AGX Orin 64 GB with its DLA")


def test_as_json_and_as_a_file(edgeattn, tmp_path):
    small(tmp_path / "m.onnx", extra="Foo")
    run = edgeattn("check", "m.onnx", *FOR, "--json", "-o", "found.json")
    assert run.returncode == 0  # nobody knows whether its plugin is there
    found = Checked.model_validate_json(run.stdout)
    assert (found.verdict, found.model) == ("unknown", "m.onnx")
    assert found.command.startswith("edgeattn check m.onnx")
    assert json.loads((tmp_path / "found.json").read_text()) == json.loads(run.stdout)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("check", "m.onnx"), "No device is named"),
        (("check", "m.onnx", *FOR, "--attention", "se"), "exported already"),
        (("check", "m.onnx", *FOR, "--opset", "13"), "exported already"),
        (("check", "m.onnx", *FOR, "-o", "m.onnx"), "m.onnx"),
        (("check", "m.onnx", *FOR, "--precision", "fp8"), "no precision 'fp8'"),
        (("check", "none.onnx", *FOR), "no file none.onnx"),
    ],
)
def test_what_cannot_be_asked(edgeattn, tmp_path, arguments, said):
    small(tmp_path / "m.onnx")
    run = edgeattn(*arguments)
    assert run.returncode == 2
    assert said in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "lowered"),
    [(("--dla",), "lowered for dla"), (("--no-lower",), "not lowered"), ((), "for tensorrt")],
)
def test_a_model_is_exported_for_the_device(edgeattn, options, lowered):
    run = edgeattn(
        "check", "resnet18", "-a", "se", *FOR, "--shape", "1x3x64x64", "--json", *options
    )
    found = Checked.model_validate_json(run.stdout)
    assert lowered in found.notes[0]
    assert (found.model, found.verdict) == ("resnet18", "yes")
    assert any(one.site for one in (found.dla.modules if found.dla else ())) == bool(found.dla)
