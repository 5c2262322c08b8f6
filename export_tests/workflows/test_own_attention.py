"""An author's own attention goes the whole way, and reports have it under its own name."""

import json
from pathlib import Path

import pytest

from edgeattn.base.files import sha256
from edgeattn.cli import app
from edgeattn.graph.reading import read
from edgeattn.options.export import ExportOptions
from edgeattn.options.model import AttentionRequest, ModelRequest
from edgeattn.options.profile import Item, ProfileOptions
from edgeattn.profiling.attribution import attribute
from edgeattn.workflows.export import export
from edgeattn.workflows.profile import profile

PAPERS = Path(__file__).parents[1] / "attention" / "papers.py"
MODEL = """
import torch
from torch import nn
class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(width, width, 3, 1, 1), nn.BatchNorm2d(width)
    def forward(self, x):
        return (self.norm(self.conv(x)) + x).relu()
class Net(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, 2, 1)
        self.blocks = Block(width)
        self.head = nn.Linear(width, 5)
    def forward(self, x):
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))
"""


@pytest.fixture
def net(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(MODEL)
    return f"{path}:Net"


def asked(net, *names, **how):
    own = tuple(AttentionRequest(name=f"{PAPERS}:{name}") for name in names)
    return ModelRequest(source=net, shapes=((1, 3, 12, 12),), attentions=own, **how)


@pytest.mark.slow
def test_two_of_ones_own_in_one_model(net, tmp_path):
    manifest = export(asked(net, "CBAM", "CoordAtt"), ExportOptions(), tmp_path / "a.onnx")
    assert manifest.parity.passed
    assert manifest.attentions == ("CBAM", "CoordAtt")
    assert [(site.attention, site.note) for site in manifest.sites] == [
        ("CBAM", "gate_channels=32"),
        ("CoordAtt", "inp=32, oup=32"),
    ]
    assert manifest.sources[str(PAPERS)] == sha256(PAPERS)
    code = PAPERS.read_text().splitlines()
    groups = [one for one in manifest.lines if one.attention == "CoordAtt"]
    lines = sorted((line for group in groups for line in group.lines), key=lambda one: one.line)
    assert [code[line.line - 1].strip() for line in lines] == [line.code for line in lines]
    assert [line.code.partition(" = ")[0] for line in lines] == [
        "y", "y", "a_h", "a_w", "return x * a_w * a_h"
    ]  # fmt: skip
    assert all(line.nodes and line.traffic_bytes for line in lines)
    known = {name for group in manifest.lines for name in group.nodes}
    at_sites = tuple(f"{one.path}{end}" for one in manifest.sites for end in "./")
    nodes = [node.name for node in read(tmp_path / "a.onnx").model.graph]
    assert known == {one for one in nodes if one.startswith(at_sites)}
    rules = {one.rule for one in manifest.rewrites}
    assert {rule for group in manifest.lines for rule in group.rules} == rules
    nearly = {f"{one.rule}: {one.reason}" for one in manifest.near_misses}
    assert {one for g in manifest.lines for line in g.lines for one in line.near_misses} == nearly
    (found,) = profile(
        [Item(path=tmp_path / "a.onnx", name="a")], ProfileOptions(limit_s=0.2, marginal=False)
    )
    attributed = attribute(found.row.trace)
    assert [one.lines.nodes for one in attributed.lines] == [
        one.nodes for one in manifest.lines if one.nodes
    ]
    of_lines = sum(one.sum.time_us for one in attributed.lines)
    assert of_lines == pytest.approx(attributed.attention.time_us)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["SELayer", "CoordAtt", "CBAM", "EMA", "GAM_Attention", "simam_module", "eca_layer", "ECA",
     "SpatialAttention", "MultiSpectralAttentionLayer", "MHSA", "Windowed", "FeatureSized",
     "C2Attention", "SpatialGroupEnhance", "SubSE", "SqueezeOfSize", "se_of_four"],
)  # fmt: skip
@pytest.mark.parametrize("is_open", [False, True])
def test_each_signature(net, tmp_path, name, is_open):
    options = ExportOptions(opset=13, dynamic_batch=is_open)
    manifest = export(asked(net, name), options, tmp_path / "a.onnx")
    assert manifest.parity.passed
    assert [site.attention for site in manifest.sites] == [name]


@pytest.mark.slow
def test_commands_that_take_a_model(net, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    own = [f"{PAPERS}:CBAM", f"{PAPERS}:EMA"]

    def run(*words):
        code = app.run([*words, "--shape", "1x3x12x12", "--json"])
        said = capsys.readouterr()
        assert code == 0, said.err
        return json.loads(said.out)

    names = ["Net", "Net-CBAM", "Net-EMA", "Net-se"]
    said = run("compare", net, "--attention", ",".join([*own, "se"]), "--keep", "kept",
               "--limit", "0.3", "--at", "block-end")  # fmt: skip
    assert [one["name"] for one in said["models"]] == names
    assert {one.stem for one in Path("kept").iterdir()} == {*names}
    said = run("profile", net, "--attention", own[0], "--limit", "0.3")
    assert {one["attention"] for one in said["sites"]} == {"CBAM"}
    assert {one["attention"] for one in said["lines"]} == {"CBAM"}
    assert run("parity", "kept/Net-CBAM.onnx", "--reference", net, "--attention", own[0])["passed"]
    said = run("compare", net, "--attention", own[0], "--stock", "--limit", "0.3")
    for one in said["models"][1:]:  # the lowered file is made from the stock one
        of_lines = sum(line["time_us"] for line in one["lines"])
        assert of_lines == pytest.approx(one["attention"]["time_us"], rel=1e-3)
    assert len(said["models"][1]["lines"]) > len(said["models"][2]["lines"])
    run("parity", net, "--ladder", "--attention", own[0])
    run("build", net, "--attention", own[0], "--compute-capability", "8.7", "--plan")
