"""`edgeattn cast`, from the command line to the files."""

from __future__ import annotations

import json

import pytest

from edgeattn.cli import app
from export_tests.foreign import net
from export_tests.precision.classifiers import RIGHT, classifier, colours
from export_tests.precision.nets import write
from export_tests.precision.test_keep import SIMAM


def test_for_people(edgeattn, tmp_path):
    write(tmp_path / "in.onnx", SIMAM)
    run = edgeattn("cast", "in.onnx", "-o", "out.onnx", "--precision", "fp16")
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    for said in ("out.onnx", "3 in fp16, 8 kept, 4 added", "random, seed 0", "at ", "squares",
                 "parity passed"):  # fmt: skip
        assert said in run.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"in.onnx", "out.onnx", "out.json"}


def test_as_json(edgeattn, tmp_path):
    write(tmp_path / "in.onnx", SIMAM)
    (tmp_path / "there").mkdir()
    ask = ["cast", "in.onnx", "-o", "there", "--precision", "fp16", "--json", "--keep-fp32",
           "at/mul", "--half-io"]  # fmt: skip
    run = edgeattn(*ask)
    assert run.returncode == 0, run.stderr
    document = json.loads(run.stdout)
    assert document["onnx"] == "there/in.onnx"
    assert document["command"] == f"edgeattn {' '.join(ask)}"
    assert {"node": "at/mul", "op_type": "Mul", "reason": "asked for: at/mul"}.items() <= next(
        one for one in document["kept"] if one["node"] == "at/mul"
    ).items()
    assert document["inputs"][0]["dtype"] == "float16"
    assert json.loads((tmp_path / "there" / "in.json").read_text())["onnx"] == "in.onnx"


def test_every_node_with_its_reason(tmp_path, capsys):
    path, out = write(tmp_path / "in.onnx", SIMAM), tmp_path / "out.onnx"
    ask = ["cast", str(path), "-o", str(out), "--precision", "fp16", "--explain"]
    assert app.run(ask) == 0
    assert "at/square" in capsys.readouterr().out


def test_int8(tmp_path, capsys):
    path, out = net(tmp_path / "in.onnx"), tmp_path / "out.onnx"
    ask = ["cast", str(path), "-o", str(out), "--precision", "int8", "--calibration", "random",
           "--samples", "3"]  # fmt: skip
    assert app.run(ask) == 0
    assert "in int8" in capsys.readouterr().out


BAD = {
    "no precision": ([], 2, "No precision is given"),
    "fp32": (["--precision", "fp32"], 2, "No precision is given"),
    "another": (["--precision", "fp8"], 2, "no precision 'fp8'"),
    "int8 without data": (["--precision", "int8"], 2, "--calibration FOLDER"),
    "too near": (["--precision", "fp16", "--min-sqnr", "150"], 1, "The cast model differs"),
    "no such module": (["--precision", "fp16", "--keep-fp32", "no"], 2, "'no'"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused(tmp_path, capsys, name):
    asked, code, said = BAD[name]
    path, out = net(tmp_path / "in.onnx"), tmp_path / "out.onnx"
    assert app.run(["cast", str(path), "-o", str(out), *asked]) == code
    assert said in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["in.onnx"]


def test_a_destination_that_is_none(tmp_path, capsys):
    path = net(tmp_path / "in.onnx")
    ask = ["cast", str(path), "-o", str(tmp_path / "out.pb"), "--precision", "fp16"]
    assert app.run(ask) == 2
    assert "Write: -o" in capsys.readouterr().err


def test_accuracy_is_found_and_kept_to(tmp_path, capsys):
    path, out = classifier(tmp_path / "in.onnx", RIGHT, size=(16, 16)), tmp_path / "out.onnx"
    data = colours(tmp_path / "val", 5)
    ask = ["cast", str(path), "-o", str(out), "--precision", "fp16", "--data", str(data)]
    assert app.run([*ask, "--max-accuracy-drop", "0.5", "--json"]) == 0
    found = json.loads(out.with_suffix(".json").read_text())["accuracy"]
    assert [one["model"] for one in found["models"]] == [str(path), str(out)]
    assert (found["images"], found["models"][1]["change"]) == (15, 0)
    assert app.run(ask) == 0
    assert "as the first" in capsys.readouterr().out


def test_a_cast_that_loses_more_is_refused(tmp_path, capsys):
    # Half cannot tell the two large numbers apart.
    rows = [[2048.0, 0, 0], [0, 1, 0], [2048.5, 0, 0]]
    path, out = classifier(tmp_path / "in.onnx", rows), tmp_path / "out.onnx"
    data = colours(tmp_path / "val", 5)
    ask = ["cast", str(path), "-o", str(out), "--precision", "fp16", "--data", str(data),
           "--mean", "0", "--std", "1", "--max-accuracy-drop"]  # fmt: skip
    assert app.run([*ask, "30"]) == 1
    said = capsys.readouterr().err
    assert "loses 33.33 points of top-1 (95 %: " in said
    assert "from 100.00 % to 66.67 %, on 15 images of folder" in said
    assert "Most are lost of red: of 5 images 5 were right, and 0 are." in said
    assert not out.exists()
    assert app.run([*ask, "34"]) == 0


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (["--max-accuracy-drop", "1"], "no images to find it on"),
        (["--classes", "names.txt"], "--data, which is not given"),
        (["--data", "none"], "neither a folder nor a list"),
    ],
)
def test_what_accuracy_is_found_on_is_said(tmp_path, capsys, ask, said):
    path = classifier(tmp_path / "in.onnx", RIGHT)
    out = str(tmp_path / "out.onnx")
    assert app.run(["cast", str(path), "-o", out, "--precision", "fp16", *ask]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out.onnx").exists()
