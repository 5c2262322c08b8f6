"""Pages that speak of the code: docs/reference.md is current, CONTRIBUTING.md's recipe works."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest
import typer
import yaml

import edgeattn.attention
from edgeattn.attention import ours, registry
from edgeattn.cli import app, commands

ROOT = Path(__file__).parents[1]
MINE = '''
from torch import Tensor
from edgeattn.attention.base import Attention

class Mine(Attention):
    """A gate per channel.

    Args:
        channels: Channels C of the feature map.
        slope: Factor of the mean before the gate.
    """

    def __init__(self, channels: int, *, slope: float = 2.0) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        return x * (self.slope * x.mean((2, 3), keepdim=True)).sigmoid()
'''
NET = """
from torch import nn

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)

    def forward(self, x):
        return (x + self.norm(self.conv(x))).relu()

def make():
    return nn.Sequential(nn.Conv2d(3, 8, 3), Block())
"""


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_what_the_code_says(reference):
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page(), reference.MEND


def test_the_recipe_for_an_attention(reference, monkeypatch, tmp_path, capsys):
    """One file and one entry do: from the registry to the list, a proven export and the page."""
    (tmp_path / "mine.py").write_text(MINE)
    home = [*edgeattn.attention.__path__, str(tmp_path)]
    monkeypatch.setattr(edgeattn.attention, "__path__", home)
    recipe = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (entry,) = re.findall(r'`(_spec\("mine", .*\)),`', recipe)
    spec = eval(entry, vars(ours))
    monkeypatch.setattr(registry, "ATTENTIONS", {**registry.ATTENTIONS, spec.name: spec})
    (tmp_path / "net.py").write_text(NET)
    try:
        assert app.run(["list", "attentions", "--json"]) == 0
        listed = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
        assert listed["mine"]["place"] == "block-end"
        assert [option["name"] for option in listed["mine"]["options"]] == ["slope"]
        asked = f"{tmp_path}/net.py:make --attention mine --attention-arg slope=3 --no-simplify"
        asked += f" --shape 1x3x8x8 --json -o {tmp_path}/net.onnx"
        assert app.run(["export", *asked.split()]) == 0, capsys.readouterr().err
        written = json.loads(capsys.readouterr().out)
        assert [site["path"] for site in written["sites"]] == ["1.attention"]
        assert written["parity"]["passed"]
        page = reference.page()
    finally:
        sys.modules.pop("edgeattn.attention.mine", None)
    assert f"| `mine` | {spec.summary} | {spec.paper} | `block-end` |" in page
    assert "| `mine` | `slope` | float | `2.0` | Factor of the mean before the gate. |" in page


def test_workflows_for_servers_give_options_that_there_are():
    page = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    workflows = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert [list(yaml.safe_load(one)) for one in workflows] == [
        ["name", True, "jobs"],
        ["gate", "board"],
    ]
    command = re.compile(r"edgeattn (profile|compare) ((?:.|\n)*?)(?=\n *- |\n *[a-z]+:|\Z)")
    scripts = [one for text in workflows for one in command.findall(text)]
    assert len(scripts) == 4
    group = typer.main.get_command(commands.app)
    for name, arguments in scripts:
        params = group.commands[name].params
        known = {option for one in params for option in (*one.opts, *one.secondary_opts)}
        assert set(re.findall(r"--[\w-]+", arguments)) <= known, name
