"""`edgeattn list`."""

from __future__ import annotations

import json

from edgeattn.attention import registry
from edgeattn.cli import app


def test_attentions_as_json(edgeattn):
    run = edgeattn("list", "attentions", "--json")
    assert run.returncode == 0, run.stderr
    document = json.loads(run.stdout)
    assert [attention["name"] for attention in document] == registry.names()
    (se,) = [attention for attention in document if attention["name"] == "se"]
    assert "1709.01507" in se["paper"]
    assert {key: value for key, value in se["options"][0].items() if key != "help"} == {
        "name": "reduction",
        "type": "int",
        "default": 16,
    }


def test_attentions_for_people(edgeattn):
    run = edgeattn("list", "attentions")
    assert run.returncode == 0, run.stderr
    for name in registry.names():
        assert any(line.split()[:1] == [name] for line in run.stdout.splitlines()), name
    assert "reduction=16" in run.stdout


def test_models(edgeattn):
    run = edgeattn("list", "models", "resnet5*", "--json")
    assert run.returncode == 0, run.stderr
    document = json.loads(run.stdout)
    assert "resnet50" in str(document)
    assert "mobilenet" not in str(document)


def test_no_such_model_is_an_input_error(capsys):
    assert app.run(["list", "models", "no-such-*"]) == 2
    assert "no-such-*" in capsys.readouterr().err
