"""`edgeattn parity` with a ladder, and with an engine, from the command line."""

from __future__ import annotations

import json

import numpy as np
import onnx_ir as ir
import pytest

from edgeattn.cli import app
from edgeattn.engine.gpu import local_gpu
from edgeattn.lowering import pipeline
from export_tests.foreign import net

MODEL = """
from torch import nn

def make():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 5, 3))
"""
without_gpu = pytest.mark.skipif(local_gpu() is not None, reason="what is told without a GPU")


@pytest.fixture
def file(tmp_path):
    return net(tmp_path / "net.onnx")


def states(document):
    return {rung["rung"]: rung["state"] for rung in document["rungs"]}


def test_a_ladder_from_a_model_for_people(tmp_path, capsys):
    (tmp_path / "small.py").write_text(MODEL)
    ask = ["parity", f"{tmp_path / 'small.py'}:make", "-a", "se", "--at", "1", "--shape"]
    ask += ["1x3x12x12", "--attention-arg", "reduction=2", "--ladder", "--precision", "fp16"]
    assert app.run([*ask, "--opset", "13"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("torch  ")
    rungs = [line.split()[0] for line in lines if not line.startswith((" ", "note"))]
    assert rungs[:6] == ["torch", "rung", "onnx", "lowered", "cast", "engine"]
    assert next(line for line in lines if line.startswith("cast")).split()[1] == "passed"


@without_gpu
def test_the_engine_is_not_climbed_without_a_gpu(file, capsys):
    assert app.run(["parity", str(file), "--ladder", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert states(document) == {"lowered": "passed", "engine": "not climbed"}
    assert document["first_fall"] is None
    assert app.run(["parity", str(file), "--ladder"]) == 0
    assert "engine not climbed: No NVIDIA GPU is here." in capsys.readouterr().out


def test_a_fall_ends_with_1_and_is_named(file, capsys, monkeypatch):
    real = pipeline.lower

    def wrong(model, **options):
        weight = model.graph.initializers["b3"]
        weight.const_value = ir.tensor(weight.const_value.numpy() * np.float32(1.1))
        return real(model, **options)

    monkeypatch.setattr(pipeline, "lower", wrong)
    assert app.run(["parity", str(file), "--ladder"]) == 1
    said = capsys.readouterr().out
    assert "the first rung that falls: lowered, at " in said
    assert "lowered fell: It differs from onnx" in said


def test_a_ladder_on_real_data(file, tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(3, 1, (1, 3, 12, 12)))
    ask = ["parity", str(file), "--ladder", "-q", "--input", str(tmp_path / "x.npy")]
    assert app.run(ask) == 0
    assert app.run([*ask, "--input", str(tmp_path / "x.npy")]) == 2


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["b.onnx", "--ladder"], "neither a second file"),
        (["--ladder", "--reference", "resnet18"], "nor --reference"),
        (["--ladder", "--max-rel", "1"], "nor --max-rel"),
        (["--ladder", "--min-sqnr", "30"], "--precision fp16"),
        (["--ladder", "--keep-fp32", "*"], "--precision fp16"),
        (["--ladder", "--precision", "int4"], "no precision 'int4'"),
        (["--ladder", "--precision", "int8"], "calibrat"),
        (["--ladder", "-a", "se"], "Options of a model"),
        (["--ladder", "--dynamic-batch"], "Options of a model"),
        (["--ladder", "--target", "tpu"], "no target 'tpu'"),
        (["--ladder", "--opset", "999"], "999"),
        (["b.onnx", "--precision", "fp16"], "--ladder"),
        (["b.onnx", "--opset", "17"], "--ladder"),
        ([], "--ladder"),
    ],
)
def test_bad_input_is_refused(file, capsys, monkeypatch, more, said):
    monkeypatch.chdir(file.parent)
    net(file.parent / "b.onnx")
    assert app.run(["parity", file.name, *more]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("subject", ["missing.onnx", "no-such-model", "missing.engine"])
def test_what_is_not_there(subject, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ask = ["parity", subject] + ([] if subject.endswith(".engine") else ["--ladder"])
    assert app.run(ask) == 2
    assert subject in capsys.readouterr().err


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx has wheels for x86-64 only")
    folder = tmp_path_factory.mktemp("engine")
    source = net(folder / "net.onnx")
    path = folder / "net.engine"
    capability = ["--compute-capability", "8.6"]
    assert app.run(["build", str(source), "-o", str(path), "-q", *capability]) == 0
    return path


@without_gpu
def test_an_engine_is_not_compared_without_its_gpu(engine, capsys):
    for more in ([], [str(engine.with_suffix(".onnx"))], ["--min-sqnr", "10"]):
        assert app.run(["parity", str(engine), *more]) == 3
        said = capsys.readouterr().err
        assert "runs on a GPU of compute capability 8.6, and no NVIDIA GPU is here" in said


def test_an_engine_that_is_not_its_manifests(engine, tmp_path, capsys):
    other = tmp_path / "other.engine"
    other.write_bytes(engine.read_bytes() + b"\0")
    assert app.run(["parity", str(other)]) == 2
    assert "There is no manifest" in capsys.readouterr().err
    other.with_suffix(".json").write_bytes(engine.with_suffix(".json").read_bytes())
    assert app.run(["parity", str(other)]) == 2
    assert "does not belong" in capsys.readouterr().err


def test_an_engine_is_not_compared_with_a_model(engine, capsys):
    assert app.run(["parity", str(engine), "--reference", "resnet18"]) == 2
    assert "not with a model" in capsys.readouterr().err


def test_int8_is_reported_and_not_gated(file, tmp_path, capsys):
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self):
            draw = np.random.default_rng(0).normal(0, 0.1, (1, 3, 12, 12))
            self.left = [{"x": draw.astype(np.float32)}]

        def get_next(self):
            return self.left.pop() if self.left else None

    path = tmp_path / "int8.onnx"
    quantize_static(file, path, Reader())
    assert app.run(["parity", str(path), str(file), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["precision"] == "int8"
    assert document["outputs"][0]["sqnr_db"] < 40
    assert app.run(["parity", str(path), str(file), "-q", "--min-sqnr", "60"]) == 1
