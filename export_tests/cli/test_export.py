"""`edgeattn export` and `edgeattn parity`, from the command line to the files."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from edgeattn.base.errors import InputError
from edgeattn.cli import app
from edgeattn.cli.export import destination

MODEL = '''
"""Two convolutions and a classifier."""
from torch import nn

class Small(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Linear(width, 5)

    def forward(self, x):
        return self.head(self.norm(self.conv(x)).relu().mean((2, 3)))

def make(width=16):
    return Small(width)
'''


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    (folder / "small.py").write_text(MODEL)
    return f"{folder / 'small.py'}:make"


def options(small):
    return [small, "-a", "se", "--at", "norm", "--attention-arg", "reduction=4",
            "--shape", "1x3x16x16"]  # fmt: skip


@pytest.fixture(scope="module")
def exported(small, tmp_path_factory):
    """A file with SE after the norm, exported once."""
    path = tmp_path_factory.mktemp("exported") / "small.onnx"
    as_written = ["-q", "--no-simplify", "--no-lower"]  # its weights keep their names
    assert app.run(["export", *options(small), "-o", str(path), *as_written]) == 0
    return path


def altered(exported: Path, target: Path, *, module: str) -> Path:
    """A copy in which one weight of a module is another."""
    model = onnx.load(exported)
    (weight,) = [w for w in model.graph.initializer if w.name == f"{module}.weight"]
    values = onnx.numpy_helper.to_array(weight).copy()
    values.flat[0] += 1
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    onnx.save(model, target)
    return target


@pytest.mark.parametrize(
    ("source", "attentions", "name"),
    [
        ("resnet50", ("ulsam",), "resnet50-ulsam.onnx"),
        ("resnet50", (), "resnet50.onnx"),
        ("timm:resnet50", ("se", "timm-eca"), "resnet50-se-timm-eca.onnx"),
        ("nets/mine.py:small", ("se",), "mine-small-se.onnx"),
        ("nets/mine.pt2", (), "mine.onnx"),
        ("/a b/net.v2.pt2", (), "net.v2.onnx"),
        ("", (), "model.onnx"),
        ("timm:hf_hub:timm/resnet18.a1_in1k", (), "resnet18.a1_in1k.onnx"),
    ],
)
def test_default_names(tmp_path, source, attentions, name):
    assert destination(None, source, attentions) == Path(name)
    assert destination(tmp_path, source, attentions) == tmp_path / name


def test_the_name_asked_is_the_name_written(tmp_path):
    assert destination(tmp_path / "a.onnx", "resnet50", ("se",)) == tmp_path / "a.onnx"
    with pytest.raises(InputError, match="neither a folder"):
        destination(tmp_path / "missing", "resnet50", ())


def test_export_for_people(edgeattn, small, tmp_path):
    run = edgeattn("export", *options(small), "--opset", "13")
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    for said in (
        "small-make-se.onnx",
        "13 (IR version",
        "16×8×8",
        "norm",
        "parity passed",
        "exported",
    ):
        assert said in run.stdout
    sections = run.stdout.strip().split("\n\n")
    assert [section.split()[0] for section in sections] == ["small-make-se.onnx", "site", "output"]
    assert "note" not in sections[1]
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"small-make-se.onnx", "small-make-se.json"}


def test_export_as_json(edgeattn, small, tmp_path):
    (tmp_path / "there").mkdir()
    ask = ["export", *options(small), "-o", "there", "--json", "--no-simplify", "--dynamic-batch"]
    run = edgeattn(*ask)
    assert run.returncode == 0, run.stderr
    document = json.loads(run.stdout)
    assert document["opset"] == 17
    assert document["command"].startswith("edgeattn export ")
    assert document["parity"]["passed"] is True
    assert {case["batch"] for case in document["parity"]["cases"]} == {1, 2, 3, 8}
    assert [site["target"] for site in document["sites"]] == ["norm"]
    path = tmp_path / document["onnx"]  # from where the command stood
    model = onnx.load(path)
    assert [opset.version for opset in model.opset_import if not opset.domain] == [17]
    manifest = json.loads(path.with_suffix(".json").read_text())
    assert manifest == {**document, "onnx": path.name}  # from where the manifest lies


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_cast_is_part_of_the_name_and_of_the_manifest(edgeattn, small, tmp_path, precision):
    data = ["--calibration", "random", "--samples", "4"] if precision == "int8" else []
    ask = ["export", *options(small), "--no-simplify", "--precision", precision, *data]
    run = edgeattn(*ask)
    assert run.returncode == 0, run.stderr
    assert f"in {precision}" in run.stdout
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {f"small-make-se-{precision}.onnx", f"small-make-se-{precision}.json"}
    manifest = json.loads((tmp_path / f"small-make-se-{precision}.json").read_text())
    assert manifest["cast"]["precision"] == manifest["parity"]["precision"] == precision
    assert manifest["parity"]["passed"] is True
    assert {case["weights"] for case in manifest["parity"]["cases"]} == {"model", "random"}
    assert any("before the cast" in note for note in manifest["notes"])
    nodes = onnx.load(tmp_path / manifest["onnx"]).graph.node
    assert manifest["nodes"]["final"] == len(nodes)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("device", "name", "opset"),
    [
        (["jetson-nano"], "small-make-se.onnx", 13),
        (["jetson-orin-nx-8gb", "--jetpack", "6.2"], "small-make-se-fp16.onnx", 17),
        (["raspberry-pi-5"], "small-make-se.onnx", 17),
    ],
)
def test_a_device_says_what_is_not_given(edgeattn, small, tmp_path, device, name, opset):
    run = edgeattn("export", *options(small), "--device", *device, "--json")
    assert run.returncode == 0, run.stderr
    document = json.loads(run.stdout)
    assert document["onnx"].endswith(name)
    written = json.loads((tmp_path / name).with_suffix(".json").read_text())
    (said,) = [one for one in onnx.load(tmp_path / name).opset_import if not one.domain]
    assert written["opset"] == said.version == opset
    taken = [one for one in written["notes"] if one.startswith(f"From {device[0]}: ")]
    assert [one.split()[2] for one in taken] == ["target", "opset", "precision"]
    assert written["target"] == taken[0].split()[3].rstrip(",")
    assert written["options"]["jetpack"] == (device[2] if len(device) > 1 else None)


def test_lowering_may_be_left_out(edgeattn, small):
    ask = ["export", *options(small), "--no-simplify"]
    run = edgeattn(*ask, "--no-lower")
    assert re.search(r"^lowered +no *$", run.stdout, flags=re.MULTILINE), run.stderr
    run = edgeattn(*ask, "--target", "onnxruntime")
    said = r"^lowered +for onnxruntime: \d+ rewrites at \d+ sites"
    assert re.search(said, run.stdout, flags=re.MULTILINE)


def test_a_site_with_a_note_has_it_in_its_row(edgeattn, small):
    ask = ["export", small, "-a", "se", "--at", "norm", "--attention-arg", "reduction=99"]
    run = edgeattn(*ask, "--shape", "1x3x16x16", "--no-simplify")
    (heads, row) = re.findall(r"^(?:site|attention) .*", run.stdout, flags=re.MULTILINE)
    assert heads.split()[-1] == "note"
    assert "hidden width 1" in row


def test_the_command_recorded_is_the_one_that_ran(small, tmp_path):
    path = tmp_path / "a b.onnx"
    ask = ["export", *options(small), "-q", "--no-simplify", "-o", str(path)]
    assert app.run(ask) == 0
    command = json.loads(path.with_suffix(".json").read_text())["command"]
    assert shlex.split(command) == ["edgeattn", *ask]


def test_the_weights_given_are_not_written_over(small, tmp_path, capsys):
    path = tmp_path / "weights.onnx"
    path.write_bytes(b"weights")
    assert app.run(["export", small, "--weights", str(path), "-o", str(path)]) == 2
    assert "would be replaced" in capsys.readouterr().err
    assert path.read_bytes() == b"weights"


def test_quiet_says_nothing(edgeattn, small):
    run = edgeattn("export", *options(small), "-q", "--no-simplify")
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["-a", "sse"], "se"),
        (["--shape", "1x3"], "shape"),
        (["-o", "/no/such/folder/a.onnx"], "/no/such/folder"),
        (["--weights", "missing.pth"], "missing.pth"),
        (["--model-arg", "widht=3"], "widht"),
        (["--at", "nowhere.*", "-a", "se"], "nowhere"),
        (["--precision", "int8"], "--calibration"),
        (["--precision", "fp8"], "fp8"),
        (["--half-io"], "--precision fp16"),
    ],
)
def test_bad_input_is_refused(capsys, small, tmp_path, monkeypatch, more, said):
    monkeypatch.chdir(tmp_path)
    assert app.run(["export", small, "--no-simplify", *more]) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_parity_with_the_model_it_was_made_from(exported, small, capsys):
    assert app.run(["parity", str(exported), "--reference", *options(small)]) == 0
    assert "parity passed" in capsys.readouterr().out


def test_parity_takes_the_shape_from_the_file(exported, small):
    without_shape = options(small)[:-2]
    assert app.run(["parity", str(exported), "--reference", *without_shape, "-q"]) == 0


@pytest.mark.parametrize("module", ["attention.fc1", "attention.fc2", "head"])
def test_parity_names_the_first_module_that_differs(exported, small, tmp_path, capsys, module):
    path = altered(exported, tmp_path / "other.onnx", module=module)
    assert app.run(["parity", str(path), "--reference", *options(small), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["passed"] is False
    assert document["first_difference"] == module


def test_parity_of_two_files(exported, tmp_path, capsys):
    assert app.run(["parity", str(exported), str(exported)]) == 0
    path = altered(exported, tmp_path / "other.onnx", module="head")
    assert app.run(["parity", str(path), str(exported)]) == 1
    said = capsys.readouterr().out
    assert "parity failed" in said
    assert "the first that differs: head" in said


@pytest.mark.parametrize("kind", ["npy", "pixels", "png"])
def test_parity_on_real_data(exported, small, tmp_path, kind):
    path = tmp_path / ("x.png" if kind == "png" else "x.npy")
    pixels = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    if kind != "png":
        dtype = np.float32 if kind == "npy" else np.uint8
        np.save(path, pixels.transpose(2, 0, 1)[None].astype(dtype))
    else:
        Image.fromarray(pixels).save(path)
    ask = ["parity", str(exported), "--input", str(path), "-q"]
    assert app.run([*ask, "--reference", *options(small)]) == 0
    assert app.run([*ask, str(exported)]) == 0


def test_parity_by_another_tolerance(exported, tmp_path, capsys):
    path = altered(exported, tmp_path / "other.onnx", module="head")
    loose = ["--max-rel", "1e9", "--min-sqnr", "-1e9"]
    assert app.run(["parity", str(path), str(exported), *loose, "-q"]) == 0
    assert app.run(["parity", str(path), str(exported), "-q"]) == 1


def halved(exported: Path, target: Path) -> Path:
    """A copy with the classifier's weight rounded to half precision, and stored so."""
    model = onnx.load(exported)
    (weight,) = [w for w in model.graph.initializer if w.name == "head.weight"]
    half = onnx.numpy_helper.to_array(weight).astype(np.float16)
    weight.CopyFrom(onnx.numpy_helper.from_array(half, "half"))
    cast = onnx.helper.make_node("Cast", ["half"], ["head.weight"], name="head/Cast", to=1)
    model.graph.node.insert(0, cast)
    onnx.save(model, target)
    return target


def test_parity_holds_a_file_to_the_tolerance_of_its_precision(exported, tmp_path, capsys):
    half = str(halved(exported, tmp_path / "half.onnx"))
    found = {}
    for option in ((), ("--max-rel", "1e9"), ("--min-sqnr", "-1e9")):
        assert app.run(["parity", half, str(exported), "--json", *option]) == 0
        found[option] = json.loads(capsys.readouterr().out)
    assert app.run(["parity", str(exported), str(exported), "--json"]) == 0
    full = json.loads(capsys.readouterr().out)
    usual = found[()]
    assert {document["precision"] for document in found.values()} == {"fp16"}
    assert full["precision"] == "fp32"
    assert usual["max_rel_tolerance"] > full["max_rel_tolerance"]
    assert usual["min_sqnr_db"] < full["min_sqnr_db"]
    assert found["--max-rel", "1e9"]["max_rel_tolerance"] == 1e9
    assert found["--max-rel", "1e9"]["min_sqnr_db"] == usual["min_sqnr_db"]
    assert found["--min-sqnr", "-1e9"]["max_rel_tolerance"] == usual["max_rel_tolerance"]


def test_parity_says_how_the_reference_was_built(exported, small, tmp_path, capsys):
    backbone = {
        w.name: torch.from_numpy(onnx.numpy_helper.to_array(w).copy())
        for w in onnx.load(exported).graph.initializer
        if w.name.startswith(("conv.", "norm.", "head."))
    }
    torch.save(backbone, tmp_path / "w.pt")
    ask = ["parity", str(exported), "--reference", *options(small)]
    ask += ["--weights", str(tmp_path / "w.pt")]
    app.run(ask)
    said = capsys.readouterr().out  # lines are wrapped
    assert said.rindex("note: ") > said.rindex("parity ")
    app.run([*ask, "--json"])
    assert "freshly initialised" in str(json.loads(capsys.readouterr().out)["notes"])


@pytest.mark.parametrize("content", [None, b"", b"not a model", "cut"])
def test_parity_refuses_what_is_no_model(exported, tmp_path, capsys, content):
    path = tmp_path / "bad.onnx"
    if content is not None:
        path.write_bytes(exported.read_bytes()[:-100] if content == "cut" else content)
    assert app.run(["parity", str(path), str(exported)]) == 2
    assert "bad.onnx" in capsys.readouterr().err


def test_parity_says_that_a_file_is_not_there(exported, tmp_path, capsys):
    missing = str(tmp_path / "missing.onnx")
    for files in ([missing, str(exported)], [str(exported), missing]):
        assert app.run(["parity", *files]) == 2
        assert f"There is no file {missing}." in capsys.readouterr().err


def test_parity_wants_a_file_per_input(exported, tmp_path, capsys):
    np.save(tmp_path / "x.npy", np.zeros((1, 3, 16, 16)))
    files = ["--input", str(tmp_path / "x.npy")] * 2
    assert app.run(["parity", str(exported), str(exported), *files]) == 2
    assert "1 inputs" in capsys.readouterr().err
