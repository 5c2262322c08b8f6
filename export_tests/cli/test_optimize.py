"""`edgeattn optimize`, from the command line to the files."""

from __future__ import annotations

import json
import re

import numpy as np
import onnx
import onnx_ir
import pytest

import edgeattn.lowering.pipeline
import edgeattn.lowering.target
from edgeattn.base.errors import InputError
from edgeattn.cli import app
from edgeattn.cli.options import parse_rules
from edgeattn.lowering.record import Lowered
from edgeattn.lowering.target import RULES
from edgeattn.records.lowering import NearMiss, Rewrite
from export_tests.foreign import net
from export_tests.lowering.graphs import between

RECORD = Lowered(
    target="tensorrt",
    rewrites=tuple(
        Rewrite(
            rule="moments",
            site=f"layer1.{k}.attention",
            nodes_before=(f"layer1.{k}.attention/Sub", f"layer1.{k}.attention/Pow"),
            nodes_after=(f"layer1.{k}.attention/Mul[x]",),
        )
        for k in range(3)
    ),
    near_misses=(NearMiss(rule="gate", site="layer2.0.attention", reason="its groups differ"),),
)


@pytest.fixture
def recorded(monkeypatch):
    """Lowering that does nothing, and says that it did."""
    monkeypatch.setattr(edgeattn.lowering.pipeline, "lower", lambda *_, **__: RECORD)


def test_for_people(edgeattn, tmp_path):
    net(tmp_path / "in.onnx", opset=12)
    run = edgeattn("optimize", "in.onnx", "-o", "out.onnx")
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    for said in ("out.onnx", "13 (IR version 7), read at 12", "tensorrt", "8 read", "near misses",
                 "parity passed"):  # fmt: skip
        assert said in run.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"in.onnx", "out.onnx", "out.json"}


def test_as_json(edgeattn, tmp_path):
    net(tmp_path / "in.onnx")
    (tmp_path / "there").mkdir()
    ask = ["optimize", "in.onnx", "-o", "there", "--json", "--target", "onnxruntime",
           "--opset", "18", "--no-simplify"]  # fmt: skip
    run = edgeattn(*ask)
    assert run.returncode == 0, run.stderr
    document = json.loads(run.stdout)
    assert document["onnx"] == "there/in.onnx"
    assert document["opset"] == {"before": 17, "after": 18}
    assert document["target"] == "onnxruntime"
    assert document["command"] == f"edgeattn {' '.join(ask)}"
    assert document["parity"]["passed"] is True
    assert set(document["nodes"]) == {"before", "after"}
    for rewrite in document["rewrites"]:
        assert set(rewrite) == {
            "rule", "site", "nodes_before", "nodes_after", "kind", "forms"
        }  # fmt: skip
    for miss in document["near_misses"]:
        assert set(miss) == {"rule", "site", "reason"}
    beside = json.loads((tmp_path / "there" / "in.json").read_text())
    assert beside["onnx"] == "in.onnx"
    assert beside["rewrites"] == document["rewrites"]


def test_the_record_as_json(recorded, tmp_path, capsys):
    path = net(tmp_path / "in.onnx")
    out = tmp_path / "out.onnx"
    assert app.run(["optimize", str(path), "-o", str(out), "--no-simplify", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["rewrites"][0] == {
        "rule": "moments",
        "site": "layer1.0.attention",
        "nodes_before": ["layer1.0.attention/Sub", "layer1.0.attention/Pow"],
        "nodes_after": ["layer1.0.attention/Mul[x]"],
        "kind": "",
        "forms": [],
    }
    assert document["near_misses"] == [
        {"rule": "gate", "site": "layer2.0.attention", "reason": "its groups differ"}
    ]


def test_the_screen_sums_up(recorded, tmp_path, capsys):
    path = net(tmp_path / "in.onnx")
    out = tmp_path / "out.onnx"
    assert app.run(["optimize", str(path), "-o", str(out), "--no-simplify"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"moments +3 +3 +6 → 3", said)
    assert "3 rewrites at 3 sites, 1 near misses" in said
    assert "its groups differ" not in said


def test_explain_tells_every_rewrite_and_near_miss(recorded, tmp_path, capsys):
    path = net(tmp_path / "in.onnx")
    out = tmp_path / "out.onnx"
    assert app.run(["optimize", str(path), "-o", str(out), "--no-simplify", "--explain"]) == 0
    said = capsys.readouterr().out
    for rewrite in RECORD.rewrites:
        for word in (rewrite.site, *rewrite.nodes_before, *rewrite.nodes_after):
            assert word in said
    assert re.search(r"gate +layer2\.0\.attention +its groups differ", said)


def test_quiet_says_nothing(tmp_path, capsys):
    path = net(tmp_path / "in.onnx")
    out = tmp_path / "out.onnx"
    assert app.run(["optimize", str(path), "-o", str(out), "--no-simplify", "-q"]) == 0
    assert capsys.readouterr().out == ""
    assert onnx.load(out).graph.node


def test_open_sizes(tmp_path, capsys):
    path = net(tmp_path / "in.onnx", shape=("n", 3, "h", "w"))
    ask = ["optimize", str(path), "-o", str(tmp_path / "out.onnx"), "--no-simplify", "-q"]
    assert app.run(ask) == 2
    assert "--shape" in capsys.readouterr().err
    assert app.run([*ask, "--shape", "1x3x10x9"]) == 0
    assert app.run([*ask, "--shape", "10"]) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.onnx", "-o", "out.onnx"], "There is no file missing.onnx"),
        ([".", "-o", "out.onnx"], "is a folder"),
        (["in.onnx"], "--output"),
        (["in.onnx", "-o", "in.onnx"], "would be replaced"),
        (["in.onnx", "-o", "."], "would be replaced"),
        (["in.onnx", "-o", "nowhere/out.onnx"], "does not exist"),
        (["in.onnx", "-o", "out"], "-o out.onnx"),
        (["in.onnx", "-o", "out.onnx", "--opset", "12"], "13"),
        (["in.onnx", "-o", "out.onnx", "--target", "tensorflow"], "tensorrt"),
        (["in.onnx", "-o", "out.onnx", "--rules", "nonsense"], "no rule 'nonsense'"),
        (["in.onnx", "-o", "out.onnx", "--rules", ""], "--rules"),
        (["in.onnx", "-o", "out.onnx", "--rulez", "a"], "--rules"),
        (["bad.onnx", "-o", "out.onnx"], "no ONNX model"),
    ],
)
def test_input_errors(tmp_path, monkeypatch, capsys, arguments, said):
    net(tmp_path / "in.onnx")
    (tmp_path / "bad.onnx").write_text("this is no model")
    monkeypatch.chdir(tmp_path)
    assert app.run(["optimize", *arguments]) == 2
    seen = capsys.readouterr()
    assert said in seen.err
    assert seen.out == ""
    assert {path.name for path in tmp_path.iterdir()} == {"in.onnx", "bad.onnx"}


def test_parse_rules():
    known = ("a", "b", "c")
    assert parse_rules("+a,-b", known) == (("a", "c"), ("a", "b"))
    assert parse_rules("-b", known) == (("a", "c"), ("b",))
    assert parse_rules("+a", known) == (("a", "b", "c"), ("a",))
    assert parse_rules("c, a", known) == (("a", "c"), ("c", "a"))
    for text in ("", "+", "a,", "a,+b", "-a,b"):
        with pytest.raises(InputError, match="cannot be read"):
            parse_rules(text, known)


@pytest.mark.parametrize("form", [["--rules", "-{}"], ["--rules=-{}"], ["--rules", "{}"]])
def test_rules_reach_the_pass(tmp_path, monkeypatch, form):
    seen = []

    def watch(_model, *, target, rules):
        seen.append(set(rules))
        return Lowered(target=target)

    monkeypatch.setattr(edgeattn.lowering.pipeline, "lower", watch)
    monkeypatch.setattr(edgeattn.lowering.target, "RULES", {"one": "", "two": "", "three": ""})
    path = net(tmp_path / "in.onnx")
    words = [word.format("two") for word in form]
    ask = ["optimize", str(path), "-o", str(tmp_path / "out.onnx"), "--no-simplify", "-q"]
    assert app.run([*ask, *words]) == 0
    assert seen == [{"two"} if words[-1] == "two" else {"one", "three"}]


def test_list_rules(edgeattn):
    run = edgeattn("list", "rules", "--json")
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == [{"name": k, "summary": v} for k, v in RULES.items()]
    run = edgeattn("list", "rules")
    assert run.returncode == 0, run.stderr
    for name in RULES:
        assert name in run.stdout


def simam(folder):
    def body(g, x):
        d = g.op("Sub", x, g.reduce("ReduceMean", x, [2, 3]))
        square = g.op("Mul", d, d)
        spread = g.op("Add", g.reduce("ReduceMean", square, [2, 3]), np.array(0.125))
        return g.op("Mul", x, g.op("Sigmoid", g.op("Div", square, spread)))

    path = folder / "in.onnx"
    onnx_ir.save(between(body, channels=32, size=(40, 40), batch=1), path)
    return path


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--tensorrt", "8.5"], "TensorRT 8.5, of another generation"),
        (["--device", "jetson-nano"], "TensorRT 8.2.1 (Jetson Nano), of another generation"),
        (["--device", "jetson", "--tensorrt", "10.3"], "TensorRT 10.3 (Jetson Orin Nano 8 GB), of"),
        (["--device", "jetson"], "say which (--tensorrt 10.3 or 8.6.2 or 8.5.2)"),
        (["--device", "rtx-3090"], None),
    ],
)
def test_forms_for_a_version(tmp_path, capsys, asked, said):
    path, out = simam(tmp_path), tmp_path / "out.onnx"
    assert app.run(["optimize", str(path), "-o", str(out), "--no-simplify", "--json", *asked]) == 0
    document = json.loads(capsys.readouterr().out)
    taken = [one for one in document["notes"] if one.startswith("From ")]
    assert len(taken) == ("--device" in asked)
    notes = " ".join(one for one in document["notes"] if one not in taken)
    assert said in notes if said else "TensorRT" not in notes
    is_other = "another generation" in notes
    assert ("left out: gate negated, statistics channels-last" in notes) == is_other
    left = [one for one in document["near_misses"] if "they are left out" in one["reason"]]
    assert bool(left) == is_other
    assert ("Neg" in {node.op_type for node in onnx.load(out).graph.node}) != is_other


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--tensorrt", "85"], "'85' is no version of TensorRT"),
        (["--tensorrt", "8.5", "--target", "onnxruntime"], "and the target is onnxruntime"),
        (["--device", "raspberry-pi-5", "--target", "tensorrt"], "Add --target onnxruntime"),
        (["--device", "jetson-nono"], "Did you mean jetson-nano"),
        (["--tensorrt", "8.5", "--tune"], "TensorRT 8.5 fuses otherwise"),
        (["--on", "orin"], "Add --tune."),
        (["--tune", "--on", "orin,nano"], "names 2 hosts"),
        (["--save-forms", "f.json"], "Add --tune --on HOST"),
    ],
)
def test_versions_that_do_not_fit(tmp_path, capsys, asked, said):
    path = simam(tmp_path)
    assert app.run(["optimize", str(path), "-o", str(tmp_path / "out.onnx"), *asked]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out.onnx").exists()


FORMS = {
    "schema_version": 1,
    "edgeattn": "0.1.0",
    "target": "tensorrt",
    "place": {"title": "Jetson Orin Nano 8 GB", "device": "jetson-orin-nano-8gb",
              "runtime": "tensorrt", "version": "10.3.0", "power_mode": "15W"},
    "regions": [{"content": "0" * 64, "kind": "global-mean 32x40x40", "precision": "fp32",
                 "forms": {"region": "lowered", "gate": "negated"}, "trials": []}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "asked", "said"),
    [
        ({}, [], "of them with forms in"),
        ({}, ["--device", "jetson"], "another generation than TensorRT-RTX"),
        ({}, ["--device", "jetson-orin-nx-8gb"], "of another device, Jetson Orin Nano 8 GB"),
        ({"target": "onnxruntime"}, [], "forms for onnxruntime, and the target is tensorrt"),
        ({}, ["--tensorrt", "8.6"], "TensorRT 10.3.0, and the model is for 8.6"),
        ({}, ["--device", "jetson-xavier-nx"], "and the Jetson Xavier NX has 8.0.1, 8.2.1, 8.5.2"),
        ({"regions": None}, [], "holds no measured forms: regions"),
        ({"more": 1}, [], "holds no measured forms: more"),
        (
            {"regions": [{**FORMS["regions"][0], "forms": {"gate": "\u001b[2J"}}]},
            [],
            "is none: gate",
        ),
    ],
)
def test_measured_forms_of_a_file(tmp_path, capsys, change, asked, said):
    path, forms, out = simam(tmp_path), tmp_path / "forms.json", tmp_path / "out.onnx"
    forms.write_text(json.dumps(FORMS | change))
    words = ["optimize", str(path), "-o", str(out), "--no-simplify", "--forms", str(forms)]
    code = app.run([*words, *asked])
    both = " ".join("".join(capsys.readouterr()).split())
    assert said in both
    assert "\x1b[2J" not in both
    assert code == (0 if out.exists() else 2)
