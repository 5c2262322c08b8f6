"""Forms that compete on a device: a real sshd, a stand-in for trtexec; and what is kept of them."""

from __future__ import annotations

import json
import sys
from collections import Counter

import onnx
import onnx_ir as ir
import pytest

from edgeattn.cli import app
from edgeattn.hosts.watch import Watch
from edgeattn.profiling import samples
from edgeattn.profiling.measure.hosts import turns
from edgeattn.workflows import tune_on
from export_tests.cli.test_compare import NET
from export_tests.hosts.trtexec import install
from export_tests.lowering.graphs import between

#: Where a Transpose takes nothing, and a product of [1, C, 1, 1] and the map much.
SLOW_MEANS = {"GlobalAveragePool": 0.5, "Transpose": 0.0001}


def gate(g, x):
    """SE, with the mean over axes of the map."""
    s = g.conv(g.op("GlobalAveragePool", x), 24, 4)
    return g.op("Mul", x, g.op("Sigmoid", g.conv(g.op("Relu", s), 4, 24)))


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in.onnx"
    ir.save(between(gate, channels=24, size=(28, 20), batch=1), path)
    return path


@pytest.fixture
def device(sshd, monkeypatch, tmp_path):
    """Gives a host that plays a version of trtexec, and an empty cache."""
    for name, small in (("_WARM_UP_MS", 1), ("_MOST", 100), ("_WINDOW", (1, 1, 0.0))):
        monkeypatch.setattr(turns, name, small)
    monkeypatch.setattr(samples, "WINDOWS", 1)
    monkeypatch.setattr(Watch, "idle", lambda *_: None)
    monkeypatch.setattr(tune_on, "_PAIR_S", 0.1)
    monkeypatch.setattr(tune_on, "cache_folder", lambda: tmp_path / "cache")

    def play(version, **settings):
        install(sshd.path, version, **settings)
        return sshd.address

    yield play
    assert sshd.left == []


def run(capsys, *words):
    code = app.run([*map(str, words), "--no-simplify", "--json"])
    out, err = capsys.readouterr()
    return code, json.loads(out) if code == 0 else " ".join(err.split())


def ops(path):
    return Counter(node.op_type for node in onnx.load(path).graph.node)


@pytest.fixture
def tuned(device, source, sshd, capsys, tmp_path):
    """Runs `optimize --tune --on` there, and gives its document."""

    def tuned(*words, code=0, version="8.5.2", **settings):
        address = device(version, **settings) if version else sshd.address
        forms = tmp_path / "forms.json"
        more = ("--tune", "--on", address, "--save-forms", forms)
        out = tmp_path / "out.onnx"
        found, said = run(capsys, "optimize", source, "-o", out, *more, *words)
        assert found == code, said
        return said

    return tuned


@pytest.mark.slow
def test_onnxruntime_of_a_host_without_tensorrt(tuned, tmp_path, sshd):
    python = sshd.path / "python3"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    document = tuned("--target", "onnxruntime", version=None)
    assert document["trials"][0]["family"] == "region"
    assert len(document["trials"]) > 1
    assert all("ratio" in one["figures"] and not one["fault"] for one in document["trials"])
    assert ", ONNX Runtime 1." in document["notes"][0]
    assert json.loads((tmp_path / "forms.json").read_text())["place"]["runtime"] == "onnxruntime"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "settings", "code", "said"),
    [
        ([], {"version": None}, 3, "There is no trtexec on"),
        (["--tensorrt", "10.3"], {}, 2, "TensorRT 8.5.2, and the model is for 10.3"),
        (["--tune-limit", "1e-3"], {}, 2, "--tune-limit"),
    ],
)
def test_what_does_not_go(tuned, words, settings, code, said):
    assert said in tuned(*words, code=code, **settings)


@pytest.mark.slow
def test_a_build_that_fails_is_a_trial_that_says_so_and_is_not_kept(tuned, tmp_path):
    document = tuned(version="10.3.0", fails="memory")
    assert all("its memory ran out" in one["fault"] for one in document["trials"])
    assert "Nothing could be measured of global-mean 24x28x20:" in " ".join(document["notes"])
    assert "another generation" in document["notes"][-1]
    assert not list(tmp_path.glob("cache/*"))


@pytest.mark.slow
def test_attentions_are_compared_in_the_forms_that_win(device, capsys, tmp_path):
    net, forms, kept = tmp_path / "net.py", tmp_path / "forms.json", tmp_path / "kept"
    net.write_text(NET)
    address = device("8.5.2", op_ms=SLOW_MEANS)
    asked = ("compare", f"{net}:make", "--attention", "se", "--at", "block-end", "--no-marginal",
             "--shape", "1x3x32x32", "--limit", "0.1", "--keep", kept, "--on", address)  # fmt: skip
    asked = (*asked, "--precision", "fp16")
    code, found = run(capsys, *asked, "--stock", "--tune", "--save-forms", forms)
    assert code == 0, found
    assert list(found["trials"]) == ["make-se"]
    notes = {(one["name"], one["variant"]): one["notes"] for one in found["models"]}
    assert any("Forms were measured on" in note for note in notes["make-se", "lowered"])
    assert not any("Forms were measured on" in note for note in notes["make-se", "stock"])
    (region,) = json.loads(forms.read_text())["regions"]
    assert region["precision"] == "fp16"

    code, again = run(capsys, *asked, "--forms", forms)
    assert code == 0
    assert "trials" not in again
    assert any("with forms in" in note for one in again["models"] for note in one["notes"])
    for words, said in (
        (["--tune", "--forms", forms], "--tune measures them"),
        (["--tune", "--no-lower"], "--no-lower forbids it"),
    ):
        code, text = run(capsys, *asked, *words)
        assert (code, said in text) == (2, True), text
    code, text = run(capsys, *asked[:-4], "--tune")
    assert (code, "none is named. Add --on HOST" in text) == (2, True), text


def test_a_form_wins_by_time_is_kept_and_given_to_others(tuned, source, device, capsys, tmp_path):
    document = tuned(op_ms=SLOW_MEANS)
    first, *others = document["trials"]
    assert (first["family"], first["form"], first["instead_of"]) == ("region", "lowered", "stock")
    assert first["is_taken"]
    assert first["figures"]["ratio_ci95_high"] < 1
    assert [one["is_taken"] for one in others] == [False] * len(others)
    assert all(one["figures"]["latency_ms"] > 0 for one in others)
    assert ops(tmp_path / "out.onnx")["ReduceMean"] == 1
    (said, *_) = document["notes"]
    assert "TensorRT 8.5.2. Kinds of region: 1, of them left as they are: 0; trials: 2." in said
    assert not any("another generation" in note for note in document["notes"])

    # Nothing is built again, and nobody has to be let in to build.
    again = tuned(fails="memory")
    assert again["trials"] == document["trials"]

    forms = json.loads((tmp_path / "forms.json").read_text())
    assert forms["place"]["version"] == "8.5.2"
    (region,) = forms["regions"]
    assert region["forms"] == {"region": "lowered", "statistics": "channels-first"}
    assert region["trials"] == document["trials"]
    given = ("optimize", source, "-o", tmp_path / "other.onnx", "--forms", tmp_path / "forms.json")
    code, other = run(capsys, *given)
    assert code == 0
    assert "Kinds of region: 1, of them with forms in" in other["notes"][0]
    assert str(tmp_path / "forms.json") in other["sources"]
    assert ops(tmp_path / "other.onnx") == ops(tmp_path / "out.onnx")
    for words, said in (
        (["--target", "onnxruntime"], "has forms for tensorrt, and the target is onnxruntime"),
        (["--tensorrt", "10.3"], "TensorRT 8.5.2, and the model is for 10.3"),
        (["--device", "jetson-nano"], "the Jetson Nano has 8.0.1, 8.2.1"),
        (["--tune"], "--forms gives forms that were measured, and --tune measures them"),
    ):
        code, text = run(capsys, *given, *words)
        assert (code, said in text) == (2, True), text
