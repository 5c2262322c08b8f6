"""ONNX Runtime and OpenVINO of a host's Python: measured as here, by a real sshd."""

from __future__ import annotations

import io
import sys
from dataclasses import replace

import numpy as np
import onnx
import psutil
import pytest

from edgeattn.base.errors import InputError, MissingError
from edgeattn.base.versions import version_of
from edgeattn.hosts.address import addresses
from edgeattn.hosts.connection import Room, connect
from edgeattn.hosts.onnxruntime import Bench, _too_new
from edgeattn.hosts.probe import PythonFacts, probe
from edgeattn.hosts.visit import Visit
from edgeattn.hosts.watch import Watch
from edgeattn.options.profile import Item, ProfileOptions
from edgeattn.profiling.attribution import attribute
from edgeattn.profiling.measure.hosts.onnxruntime import measure
from edgeattn.runtimes.onnxruntime import inputs_of, to_draw
from edgeattn.runtimes.runner import feeds
from export_tests.profiling.nets import residual

OPTIONS = ProfileOptions(threads=1, limit_s=0.3)


@pytest.fixture(scope="module")
def visit(_sshd):
    """A host whose Python is this one."""
    own = PythonFacts(
        path=sys.executable, version="3", onnxruntime="1", numpy="2", openvino="1", devices=("CPU",)
    )
    idle = Watch.idle
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEATTN_SSH", _sshd.ssh)
        patch.setattr(Watch, "idle", lambda watch: idle(watch, 0.1))
        with connect(addresses([_sshd.address])[0]) as host, host.stay() as room:
            yield Visit(host, replace(probe(host), pythons=(own,)), room)
    assert _sshd.left == []


@pytest.fixture
def sent(monkeypatch):
    """What is put there: names and sizes."""
    found, put = [], Room.put

    def noted(room, path, name):
        found.append((name, path.stat().st_size))
        return put(room, path, name)

    monkeypatch.setattr(Room, "put", noted)
    return found


def item(path):
    return Item(path=path, name=path.stem)


def measured(visit, folder, *paths, marginal=False, runtime="onnxruntime"):
    stages = []
    found = measure(
        [item(path) for path in paths], replace(OPTIONS, runtime=runtime), visit, folder,
        marginal=marginal, on_stage=stages.append,
    )  # fmt: skip
    return [one.row for one in found], stages


def test_a_model_is_measured_there(visit, sent, tmp_path):
    path = residual(tmp_path / "simam.onnx")
    (row,), _ = measured(visit, tmp_path, path, marginal=True)
    trace = row.trace
    assert (trace.evidence, trace.runtime, trace.name) == ("measured", "onnxruntime", "simam")
    assert "by ONNX Runtime" in trace.machine.title
    assert trace.machine.facts["other load"]
    assert 0 < trace.latency_ms.min <= trace.latency_ms.p50
    assert trace.machine.bandwidth_gbps > 0
    assert sum(one.macs for one in trace.kernels) == sum(node.macs for node in trace.nodes)
    found = attribute(trace)
    assert found.coverage_us["owned"] >= 0.95 * found.time_us
    assert trace.identity.replaced == ("layer1.0.attention", "layer2.0.attention")
    assert trace.identity.difference.rounds >= 15
    # The weights of the model without its sites are there already.
    whole = sum(size for name, size in sent if name != "runner.py")
    assert path.stat().st_size < whole < 1.2 * path.stat().st_size


@pytest.mark.slow
def test_both_runtimes_are_measured_there_in_the_same_rounds(visit, tmp_path):
    path = residual(tmp_path / "simam.onnx")
    items = [replace(item(path), runtime=one) for one in ("onnxruntime", "openvino")]
    how = replace(OPTIONS, runtime="onnxruntime,openvino")
    rows = measure(items, how, visit, tmp_path, marginal=False, on_stage=lambda _: None)
    first, second = (one.row.trace for one in rows)
    assert (first.runtime, second.runtime) == ("onnxruntime", "openvino")
    assert len(first.latency_ms.samples) == len(second.latency_ms.samples)
    assert second.runtime_version == version_of("openvino")
    assert f"OpenVINO {version_of('openvino')}, 1 thread" in second.machine.title
    assert any("computed on CPU in float32" in note for note in second.notes)
    found = attribute(second)
    assert found.coverage_us["owned"] >= 0.95 * found.time_us


def test_a_pair_is_run_in_turns_there(visit, tmp_path):
    plain = residual(tmp_path / "plain.onnx", "none")
    deep = residual(tmp_path / "deep.onnx", "none", blocks=6)
    (first, second), _ = measured(visit, tmp_path, plain, deep)
    assert first.difference is None
    assert second.difference.percent > 20
    assert second.difference.rounds == len(first.trace.latency_ms.samples)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_outputs_come_back(visit, tmp_path, runtime):
    path = residual(tmp_path / "a.onnx", "none")
    onnx_file = onnx.load(path)
    name = onnx_file.graph.input[0].name
    shape = [one.dim_value for one in onnx_file.graph.input[0].type.tensor_type.shape.dim]
    arrays = [np.random.default_rng(k).standard_normal(shape).astype(np.float32) for k in range(2)]
    with Bench(visit.room, visit.facts, [runtime]) as bench:
        found = bench.outputs(path, [{name: one} for one in arrays], runtime=runtime)
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for ours, array in zip(found, arrays, strict=True):
        np.testing.assert_allclose(ours[0], session.run(None, {name: array})[0], rtol=1e-4)


def test_weights_beside_the_model_are_sent_once(visit, sent, tmp_path):
    path = residual(tmp_path / "a b.onnx", "none")
    model = onnx.load(path)
    whole = path.stat().st_size
    onnx.save(model, tmp_path / "twin.onnx")
    beside = {"location": "it's weights.bin", "size_threshold": 0}
    onnx.save(model, path, save_as_external_data=True, **beside)
    with Bench(visit.room, visit.facts) as bench:
        there = bench.send(path)
        data = visit.room.read(f"{there.split('/')[-2]}/{beside['location']}")
        assert data == (tmp_path / beside["location"]).read_bytes()
        assert sum(size for name, size in sent if name != "runner.py") >= whole
        del sent[:]
        there = bench.send(tmp_path / "twin.onnx")
        data = visit.room.read(f"{there.split('/')[-2]}/{there.split('/')[-1]}")
        assert data == (tmp_path / "twin.onnx").read_bytes()
        assert sum(size for _, size in sent) < whole / 5
        assert bench.send(path) == bench.send(path)


@pytest.mark.parametrize("said", [
    "x.cc:1 Opset 22 is under development. Official support for domain ai.onnx is till opset 15.",
    "x.cc:129 Unsupported model IR version: 10, max supported IR version: 8",
])  # fmt: skip
def test_what_is_too_new_is_said(said):
    error = InputError(f"ONNX Runtime cannot load m/a.onnx: [ONNXRuntimeError] : 1 : FAIL : {said}")
    found = _too_new(error, "1.10.0 on orin")
    assert found.fact.startswith("m/a.onnx has ")
    assert "and ONNX Runtime 1.10.0 on orin takes" in found.fact
    opset = 15 if "Opset" in said else 18
    assert f"edgeattn optimize m/a.onnx --opset {opset} " in found.mend
    other = InputError("Something else.")
    assert _too_new(other, "1.10.0 on orin") is other


def test_a_file_that_is_too_new_there(visit, tmp_path):
    path = residual(tmp_path / "a.onnx", "none")
    model = onnx.load(path)
    model.ir_version = 99
    onnx.save(model, path)
    there = visit.room.put(path, "new.onnx")
    spec = {"path": there, "name": "a.onnx", "inputs": {"seed": 0, "draw": []}, "limit_s": None}
    job = {"task": "time", "threads": 1, "warm_up": [1, 0], "models": [spec]}
    with (
        Bench(visit.room, visit.facts) as bench,
        bench.start("measured") as talk,
        pytest.raises(InputError, match=r"a\.onnx has IR version 99, and ONNX Runtime"),
    ):
        talk.ask(job)


def test_where_no_python_has_onnxruntime(visit, tmp_path):
    pythons = tuple(replace(one, onnxruntime=None) for one in visit.facts.pythons)
    with pytest.raises(MissingError, match="has onnxruntime and numpy") as caught:
        Bench(visit.room, replace(visit.facts, pythons=pythons))
    assert "-m pip install --user onnxruntime" in caught.value.mend


def test_numpy_that_draws_otherwise_is_sent_its_inputs(visit, tmp_path, monkeypatch):
    asked = to_draw(inputs_of(residual(tmp_path / "a.onnx", "none")), batch=1, seed=3)
    with Bench(visit.room, visit.facts) as bench:
        assert bench.inputs(asked) == asked
        other = asked | {"seed": 4}
        monkeypatch.setattr("edgeattn.runtimes.runner.digest", lambda _: "another")
        ((name, there),) = bench.inputs(other)["files"].items()
        data = visit.room.read("/".join(there.split("/")[-2:]))
    assert np.array_equal(np.load(io.BytesIO(data)), feeds(other)[name])


def test_a_runner_that_dies_is_named(visit, sshd):
    def runners():
        found = psutil.Process(sshd.process.pid).children(recursive=True)
        return [one for one in found if "runner.py" in " ".join(one.cmdline()[-2:])]

    with Bench(visit.room, visit.facts) as bench, bench.start("ran") as talk:
        talk.ask({"task": "about"})
        runners()[-1].kill()
        with pytest.raises(InputError, match=r"The process that ran on .* was ended by SIGKILL"):
            talk.ask({"task": "about"})
    with Bench(visit.room, visit.facts) as bench, bench.start("ran") as talk:
        runners()[-1].kill()
        with pytest.raises(InputError, match="was ended by SIGKILL") as caught:
            talk.ask({"task": "about"})
    assert "memory" in caught.value.mend
    assert not runners()
