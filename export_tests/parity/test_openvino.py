"""Outputs of OpenVINO, held against ONNX Runtime's, and what it does not take."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import parser

from edgeattn.base.errors import InputError, MissingError
from edgeattn.cli import app
from edgeattn.parity import compare_files
from edgeattn.parity.openvino import OpenVino
from edgeattn.runtimes.openvino import outputs
from export_tests.foreign import net

openvino = pytest.importorskip("openvino")


def written(path, text, opset=17, **weights):
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}]> {text}')
    for name, array in weights.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    onnx.save(model, path)
    return path


def compared(path, other=None, **how):
    return compare_files(path, other or path, compare=OpenVino().compare, **how)


@pytest.mark.parametrize("batch", [1, "N"])
def test_files_agree(tmp_path, batch):
    path = net(tmp_path / "a net.onnx", shape=(batch, 3, 12, 12), external="weights.bin")
    report = compared(path)
    assert report.passed
    assert min(one.sqnr_db for one in report.outputs) > 100
    assert [case.batch for case in report.cases] == ([1, 2, 3, 8] if batch == "N" else [1])
    assert {case.runtime for case in report.cases} == {"openvino"}


def test_a_file_that_differs_is_told_by_its_node(tmp_path):
    path, other = net(tmp_path / "a.onnx"), net(tmp_path / "b.onnx")
    model = onnx.load(path)
    weight = next(one for one in model.graph.initializer if one.name == "b3")
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * 2, "b3"))
    onnx.save(model, path)
    report = compared(path, other)
    assert not report.passed
    assert report.first_difference == "e"


def test_what_openvino_computes_otherwise_is_told_by_its_node(tmp_path):
    # It smooths what it makes smaller by another rule than ONNX's.
    text = """g (float[1, 1, 8, 8] x) => (float[1, 1, 4, 4] y) <int64[4] sizes = {1, 1, 4, 4}>
    {
        before = Sigmoid (x)
        smaller = Resize <mode = "linear", antialias = 1> (before, , , sizes)
        y = Tanh (smaller)
    }"""
    report = compared(written(tmp_path / "a.onnx", text, opset=18))
    assert not report.passed
    assert report.first_difference == "smaller"


def test_inputs_and_outputs_of_all_kinds(tmp_path):
    # OpenVINO drops what does nothing, and the names of inputs with it.
    text = """g (float[N, 2] a, int64[N] b, bool[N] c, uint8[N, 2] d, float16[N] e, double[N] f)
    => (float[N, 2] same, int64[N] more, bool[N] other, float[N, 2] pixels, float16[N] half,
        double[N] wide, float[N, 2] a_too)
    {
        same = Sum (a)
        more = Add (b, b)
        other = Not (c)
        pixels = Cast <to = 1> (d)
        half = Exp (e)
        wide = Exp (f)
        a_too = Dropout (a)
    }"""
    path = written(tmp_path / "a.onnx", text)
    assert compared(path).passed
    a = np.arange(6, dtype=np.float32).reshape(3, 2)
    feeds = {
        "a": a, "b": np.array([1, -2, 3]), "c": np.array([True, False, True]),
        "d": a.astype(np.uint8), "e": np.ones(3, np.float16), "f": np.zeros(3),
    }  # fmt: skip
    (found,), precision = outputs(path, [feeds])
    assert precision == "f32"
    assert [one.dtype.name for one in found] == [
        "float32", "int64", "bool", "float32", "float16", "float64", "float32"
    ]  # fmt: skip
    assert np.array_equal(found[0], a)
    assert np.array_equal(found[1], [2, -4, 6])


CROPPED = """g (float[1, 1, 4, 4] x) => (float[1, 1, N, M] y)
<float[4] scales = {1, 1, 2, 2}, float[8] roi = {0, 0, 0, 0, 1, 1, 1, 1}>
{
    y = Resize <mode = "linear", coordinate_transformation_mode = "tf_crop_and_resize">
        (x, roi, scales)
}"""
PRODUCT = "g (float[2, 8] x) => (float[2, 8] y) <int64 axis = {1}> { y = CumProd (x, axis) }"


@pytest.mark.parametrize(
    ("text", "opset", "said"),
    [
        ("g (float[2, 2] x) => (float y) { y = Det (x) }", 17, "take Det node_of_y"),
        (CROPPED, 17, "tf_crop_and_resize"),
        (PRODUCT, 26, "take CumProd node_of_y"),
    ],
)
def test_what_openvino_does_not_take(tmp_path, text, opset, said):
    path = written(tmp_path / "a.onnx", text, opset=opset)
    with pytest.raises(InputError) as refusal:
        outputs(path, [{"x": np.zeros([1, 1, 4, 4], np.float32)}])
    assert said in refusal.value.fact
    assert "--runtime onnxruntime" in refusal.value.mend
    assert "Exception" not in refusal.value.fact


def test_from_the_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net(tmp_path / "a.onnx")
    ask = ["parity", "a.onnx", "--runtime", "openvino"]
    assert app.run([*ask, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["machine"]["facts"]["device"] == "CPU"
    assert app.run([*ask, "--ladder"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "OpenVINO" in lines[1]
    assert [line.split()[:2] for line in lines if line.startswith(("lowered", "openvino"))] == [
        ["lowered", "passed"], ["openvino", "passed"]
    ]  # fmt: skip
    assert app.run([*ask, "--openvino-device", "NPU"]) == MissingError.exit_code
    assert "it has CPU" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--runtime", "tensorrt"], "--runtime tensorrt runs no ONNX file"),
        (["--openvino-device", "GPU"], "Add --runtime openvino"),
        (["--ladder", "--runtime", "onnxruntime"], "as it is"),
    ],
)
def test_bad_input_is_refused(tmp_path, capsys, more, said):
    path = net(tmp_path / "a.onnx")
    assert app.run(["parity", str(path), *more]) == 2
    assert said in capsys.readouterr().err


def test_bf16(tmp_path, capsys):
    path = net(tmp_path / "a.onnx")
    ask = ["parity", str(path), "--runtime", "openvino", "--precision", "bf16"]
    has = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    for more in ([], ["--ladder"]):
        code = app.run([*ask, *more])
        said = capsys.readouterr()
        if "BF16" in has:
            assert code == 0
            assert "bf16: " in said.out
            assert "OpenVINO computed in bf16." in said.out
        else:
            assert code == InputError.exit_code
            assert "does not compute in bf16" in said.err


def test_whole_numbers_that_are_cut_off_are_said(tmp_path):
    text = "g (int64[2] b) => (int64[2] y) { y = Add (b, b) }"
    path = written(tmp_path / "b.onnx", text)
    report = compared(path, inputs=[np.array([1 << 40, 3])])
    assert not report.passed
    assert "b holds larger ones" in report.notes[0]
