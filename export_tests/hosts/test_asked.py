"""What a host says of a model, on a real sshd, with the stand-in for trtexec."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeattn.base.errors import InputError, MissingError
from edgeattn.graph.reading import read
from edgeattn.hosts.asked import asked
from edgeattn.hosts.visit import guests
from export_tests.engine.nets import small
from export_tests.hosts import trtexec


@pytest.fixture
def ask(sshd, monkeypatch):
    """Asks a host that plays a version, and sees to it that nothing is left there."""
    monkeypatch.setenv("EDGEATTN_SSH", sshd.ssh)

    def answers(path, version, dla_core=None, *, shapes=(), stages=None, **settings):
        on_stage = (lambda _: None) if stages is None else stages.append
        trtexec.install(sshd.path, version, **settings)
        with guests([sshd.address]) as (guest,), guest.visit() as visit:
            jetson = replace(visit, facts=replace(visit.facts, dla_cores=2))
            return asked(jetson, read(path), dla_core, shapes=dict(shapes), on_stage=on_stage)

    yield answers
    assert [one for one in sshd.left if one != ".ses"] == []


def verdicts(answers):
    return {name: one.verdict for name, one in answers.items()}


@pytest.mark.parametrize(
    "version",
    [
        pytest.param(one, marks=() if one == "10.3.0" else pytest.mark.slow)
        for one in trtexec.VERSIONS
    ],
)
def test_what_its_dla_runs(ask, tmp_path, version):
    small(tmp_path / "m.onnx")
    found = ask(tmp_path / "m.onnx", version, 0, dla_cores=2)
    assert found.refusal is None
    assert set(verdicts(found.parsed).values()) == {"yes"}
    assert verdicts(found.placed) == {
        "stem/Conv": "yes", "gate/GlobalAveragePool": "no", "gate/Sigmoid": "yes",
        "gate/Mul": "yes", "head/Conv": "yes",
    }  # fmt: skip
    pool = found.placed["gate/GlobalAveragePool"]
    assert pool.source.startswith(f"measured: TensorRT {version} on ")
    if version >= "8.4" or version.startswith("1"):
        assert pool.reason == "DLA cores do not support AVG Reduce operation"
    assert found.loadables == 2


@pytest.mark.slow
@pytest.mark.parametrize("version", trtexec.VERSIONS)
def test_what_its_parser_says(ask, tmp_path, version):
    small(tmp_path / "m.onnx", batch="N")
    # Nothing is built, which would last.
    found = ask(tmp_path / "m.onnx", version, lasts_s=60)
    assert found.refusal is None
    assert set(verdicts(found.parsed).values()) == {"yes"}
    assert found.placed == {}
    small(tmp_path / "m.onnx", extra="Foo")
    found = ask(tmp_path / "m.onnx", version)
    assert verdicts(found.parsed) == {"last/Foo": "no"}
    assert "Plugin not found" in found.refusal.reason


@pytest.mark.slow
def test_a_dla_takes_no_open_sizes_so_the_parser_alone_is_asked(ask, tmp_path):
    small(tmp_path / "m.onnx", batch="N")
    found = ask(tmp_path / "m.onnx", "10.3.0", 0, dla_cores=2)
    assert found.placed == {}
    assert set(verdicts(found.parsed).values()) == {"yes"}
    found = ask(tmp_path / "m.onnx", "10.3.0", 0, dla_cores=2, shapes={"x": (2, 3, 16, 16)})
    assert verdicts(found.placed)["stem/Conv"] == "yes"


@pytest.mark.slow
def test_what_goes_wrong(ask, tmp_path):
    small(tmp_path / "m.onnx")
    with pytest.raises(InputError, match="There is no DLA core 2"):
        ask(tmp_path / "m.onnx", "10.3.0", 2, dla_cores=2)
    for fails in ("memory", "killed"):
        with pytest.raises(MissingError, match="its memory ran out"):
            ask(tmp_path / "m.onnx", "8.5.2", 1, dla_cores=2, fails=fails)
    # What tactics take is not sent: only where layers run.
    stages = []
    ask(tmp_path / "m.onnx", "8.5.2", 1, dla_cores=2, lasts_s=0.5, stages=stages)
    assert any("build on" in one for one in stages)
    assert not any("Tactic" in one for one in stages)
    # It has none, whatever was thought: a refusal, and no word of where nodes run.
    found = ask(tmp_path / "m.onnx", "10.3.0", 1)
    assert "Cannot create DLA engine, 1 not available" in found.refusal.reason
    assert found.placed == {}
    assert set(verdicts(found.parsed).values()) == {"yes"}
