"""`edgeattn place`: the sites that fit a budget, checked as a whole, and the command to export."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shlex
from concurrent.futures import ThreadPoolExecutor

import onnx
import pytest

from edgeattn.cli import app
from edgeattn.cli.groups import Asked
from edgeattn.cli.place import _exporting
from edgeattn.options.cast import CastOptions
from edgeattn.options.export import ExportOptions
from edgeattn.workflows import place as workflow

NET = '''
"""A small network: three residual blocks, the third narrower in its map."""

from torch import nn


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.act1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.act2 = nn.ReLU()

    def forward(self, x):
        y = self.bn2(self.conv2(self.act1(self.bn1(self.conv1(x)))))
        return self.act2(y + x)


def make():
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), Block(16), Block(16), nn.MaxPool2d(2), Block(16),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
    )
'''
SMALL = ["--shape", "1x3x32x32", "--no-simplify", "--threads", "1"]
PREDICTED = [*SMALL, "--device", "rk3588"]


@pytest.fixture
def net(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(NET)
    return f"{path}:make"


@pytest.fixture
def here(monkeypatch):
    """Makes sets in this process: starting others is another test's."""

    @contextlib.contextmanager
    def processes():
        with ThreadPoolExecutor(1) as executor:
            yield executor

    monkeypatch.setattr(workflow, "processes", processes)


def place(capsys, *arguments):
    code = app.run(["place", *arguments, "--json"])
    out = capsys.readouterr().out
    return code, json.loads(out) if out else None


@pytest.mark.slow
def test_the_set_keeps_the_budget_and_its_command_exports_it(capsys, here, net, tmp_path):
    saved, page, drawn = tmp_path / "p.json", tmp_path / "p.html", tmp_path / "p.svg"
    code, found = place(
        capsys, net, "-a", "simam", *PREDICTED, "--budget", "+16%", "-o", str(saved),
        "--report", str(page), "--figure", str(drawn),
    )  # fmt: skip
    assert code == 0
    assert json.loads(saved.read_text()) == found
    assert found["evidence"] == "predicted"
    sites = found["sites"]
    assert [one["path"] for one in sites] == ["1.attention", "2.attention", "4.attention"]
    alone = [one["alone"]["above_percent"] for one in sites]
    assert all(cost > 0 for cost in alone)
    chosen = found["chosen"]
    assert chosen["above_percent"] <= 16 < found["whole"]["above_percent"]
    assert [one["path"] for one in sites if one["is_chosen"]] == chosen["sites"]
    # What was exported takes what its model made without an export was predicted to take.
    tried = {tuple(one["sites"]): one for one in found["sets"]}
    assert tried[tuple(chosen["sites"])] == chosen
    assert len(tried) == len(found["sets"])
    beside = sum(one["beside_all_ms"] for one in sites)
    assert beside == pytest.approx(found["whole"]["above_ms"])
    assert found["plain"]["sites"] == []
    assert "2.attention" in page.read_text()
    assert drawn.is_file()
    assert found["export"] == shlex.join(
        ["edgeattn", "export", net, "--attention", "simam", "--shape", "1x3x32x32",
         "--no-simplify", "--target", "onnxruntime", "--at", found["at"]]
    )  # fmt: skip


@pytest.mark.slow
def test_what_is_to_be_typed_exports_exactly_these_sites(capsys, here, net, tmp_path):
    _, found = place(
        capsys, net, "-a", "se", *PREDICTED, "--budget", "+8%", "--attention-arg", "reduction=8",
        "--at", "block-end", "--precision", "fp16", "--opset", "18",
    )  # fmt: skip
    assert 0 < len(found["chosen"]["sites"]) < 3
    words = shlex.split(found["export"])[1:]
    assert app.run([*words, "-o", str(tmp_path / "out.onnx"), "--json"]) == 0
    manifest = json.loads(capsys.readouterr().out)
    assert [one["path"] for one in manifest["sites"]] == found["chosen"]["sites"]
    assert (manifest["options"]["target"], manifest["opset"]) == ("onnxruntime", 18)
    assert manifest["cast"]["precision"] == "fp16"


def test_what_is_to_be_typed_says_what_a_device_would_else_say():
    nothing = Asked(CastOptions, {"precision": None})
    export = ExportOptions(device="jetson-orin-nx-8gb", tensorrt="10.3")
    typed = _exporting("net", nothing, nothing, Asked(ExportOptions, {}), export)("last")
    assert typed == (
        "edgeattn export net --device jetson-orin-nx-8gb --tensorrt 10.3 --opset 17"
        " --precision fp32 --at last"
    )
    stock = dataclasses.replace(export, lower=False, opset=13)
    typed = _exporting("net", nothing, nothing, Asked(ExportOptions, {"no_lower": True}), stock)
    assert typed("") == "edgeattn export net --no-lower --opset 13"


@pytest.mark.slow
def test_kept_sites_are_in_and_the_best_scores_go_first(capsys, here, net, tmp_path):
    scores = tmp_path / "scores.json"
    scores.write_text(json.dumps({"1.attention": 1, "2.*": 5.5}))
    code, found = place(
        capsys, net, "-a", "se", "--at", "block-end", *PREDICTED, "--budget", "+1ms",
        "--scores", str(scores), "--keep", "4.bn2",
    )  # fmt: skip
    assert code == 0
    assert [one["value"] for one in found["sites"]] == [1, 5.5, 0]
    assert [one["is_kept"] for one in found["sites"]] == [False, False, True]
    assert found["chosen"]["sites"] == ["1.attention", "2.attention", "4.attention"]
    assert found["at"] == "block-end"
    assert "Sites without a score stay out: 4.attention." in found["notes"]


@pytest.mark.slow
def test_a_set_is_made_as_an_export_with_its_places_makes_it(here, net, tmp_path):
    from edgeattn.options.model import AttentionRequest, ModelRequest
    from edgeattn.workflows.export import export
    from edgeattn.workflows.place_sets import base_of, made

    options = ExportOptions(target="onnxruntime", simplify=False)
    for name in ("cbam", "sk"):  # sk takes the place of a convolution: identity cannot
        request = ModelRequest(
            source=net, shapes=((1, 3, 32, 32),), attentions=(AttentionRequest(name=name),)
        )
        folder = tmp_path / name
        folder.mkdir()
        base = base_of(request, options, folder)
        assert (base.graph is None) == (name == "sk")
        made(base, [0, 2], folder / "set.onnx")
        export(base.at([0, 2]), options, folder / "exported.onnx")
        graphs = [onnx.load(folder / f"{one}.onnx").graph for one in ("set", "exported")]
        wires = [{v: f"{n.name}:{k}" for n in g.node for k, v in enumerate(n.output)}
                 for g in graphs]  # fmt: skip
        nodes = [
            [(n.name, n.op_type, *map(wires[k].get, n.input))
             for n in graph.node]
            for k, graph in enumerate(graphs)
        ]  # fmt: skip
        assert nodes[0] == nodes[1]


@pytest.mark.slow
def test_no_site_fits(capsys, here, net):
    code, found = place(capsys, net, "-a", "se", *PREDICTED, "--budget", "+0%")
    assert code == 1
    assert found["chosen"] is None
    assert found["export"] == found["at"] == ""
    assert len(found["sites"]) == 3


@pytest.mark.slow
def test_a_budget_that_is_exceeded_already(capsys, here, net):
    for arguments, said in (
        (["--budget", "0.001ms"], "The plain model takes 2.17 ms, and the budget is 0.001 ms."),
        (["--budget", "+0.1%", "--keep", "*"], "What --keep names takes 2."),
    ):
        assert app.run(["place", net, "-a", "simam", *PREDICTED, *arguments]) == 2
        assert said in capsys.readouterr().err


BAD = [
    (["--budget", "-5%"], "is negative"),
    (["--budget", "fast"], "--budget 'fast' is no limit.\nWrite 3%"),
    ([], "No budget is given.\nFor example: --budget +5%"),
    (["--budget", "5%", "--by", "parameter"], "nor parameters.\nDid you mean parameters"),
    (["--budget", "5%", "--runtime", "torch"], "for one runtime of ONNX files"),
    (["--budget", "5%", "--runtime", "onnxruntime,openvino"], "for one runtime of ONNX files"),
    (["--budget", "5%", "-a", "se"], "Several are named, and one is placed"),
    (["--budget", "5%", "--at", "layer1"], "this model has no place for 'layer1'"),
    (["--budget", "5%", "--figure", "x.pdf"], "neither an .svg nor a .png"),
    (["--budget", "5%", "--precision", "fp32,fp16"], "--precision names 2"),
    (["--budget", "5%", "--precision", "int8"], "int8 needs data to calibrate on"),
    (["--budget", "5%", "--opset", "99"], "Opset 99 is not known"),
    (["--budget", "5%", "--device", "jetsn"], "Did you mean jetson"),
    (["--budget", "5%", "--on", "a,b"], "--on names 2 hosts"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD)
def test_what_cannot_be_done_is_said(capsys, here, net, arguments, said):
    where = SMALL if "--runtime" in arguments else PREDICTED
    assert app.run(["place", net, "-a", "simam", *where, *arguments]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.slow
def test_measured_here_in_processes_of_their_own(capsys, net):
    code, found = place(
        capsys, net, "-a", "se", *SMALL[:2], "--threads", "1", "--limit", "0.3", "--budget", "+60%"
    )
    assert code == 0
    assert found["evidence"] == "measured"
    assert found["chosen"]["above_percent"] <= 60
    for one in found["sites"]:
        low, high = one["alone"]["above_interval_percent"]
        assert low <= one["alone"]["above_percent"] <= high
