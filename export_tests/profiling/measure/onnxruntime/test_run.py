"""ONNX Runtime, measured: for real, on small networks, in processes of their own."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import numpy as np
import onnx
import onnx_ir as ir
import psutil
import pytest

from edgeattn.base.errors import InputError
from edgeattn.base.worker import Talk
from edgeattn.options.profile import Item, ProfileOptions
from edgeattn.profiling.attribution import attribute
from edgeattn.profiling.measure.onnxruntime.run import profile_kernels
from edgeattn.profiling.measure.place import HERE, Place
from edgeattn.profiling.measure.times import time_models
from edgeattn.profiling.measure.traces import runnable
from edgeattn.profiling.owners import find_owners
from edgeattn.profiling.sources.model import read_subject
from edgeattn.records.kinds import kind_of
from edgeattn.records.trace import Power
from edgeattn.runtimes import runner
from edgeattn.runtimes.onnxruntime import inputs_of, to_draw
from edgeattn.workflows.profile import profile
from export_tests.profiling.nets import residual
from export_tests.runtimes.test_runner import oldest

RUN = ProfileOptions(threads=1, limit_s=0.3)
OPTIONS = ProfileOptions(threads=1, limit_s=0.3)


def item(path):
    return Item(path=path, name=path.stem)


@pytest.fixture(scope="module")
def attended(tmp_path_factory):
    """A network with SimAM, profiled once."""
    path = residual(tmp_path_factory.mktemp("nets") / "simam.onnx")
    stages = []
    (found,) = profile([item(path)], OPTIONS, command="edgeattn profile", on_stage=stages.append)
    return found.row.trace, stages


def test_the_trace(attended):
    trace, _ = attended
    assert (trace.evidence, trace.runtime, trace.name) == ("measured", "onnxruntime", "simam")
    assert trace.command == "edgeattn profile"
    assert trace.machine.threads == 1
    assert 1 < trace.machine.bandwidth_gbps < 1000
    assert [site.attention for site in trace.sites] == ["simam", "simam"]
    latency = trace.latency_ms
    assert 0 < latency.min <= latency.p50 <= latency.p90 <= latency.p99 <= latency.max
    assert latency.p50 == pytest.approx(np.median(latency.samples))
    assert trace.windows >= 3
    assert all(node.site for node in trace.nodes if "attention" in node.name)


def test_what_it_takes_of_memory(attended):
    trace, _ = attended
    found = trace.memory
    assert found.planned_by == "graph"
    assert found.at in {node.name for node in trace.nodes}
    # What ONNX Runtime takes is rounded up, and all of it is of this process.
    assert found.activations_bytes / 2 < found.arena_bytes
    assert 0 < found.resident_bytes <= found.peak_bytes
    assert trace.batch == 1


def test_its_kernels(attended):
    trace, _ = attended
    assert all(one.time_us >= 0 for one in trace.kernels)
    assert sum(one.macs for one in trace.kernels) == sum(node.macs for node in trace.nodes)
    reorders = [one for one in trace.kernels if one.op.startswith("Reorder")]
    assert reorders
    assert all(one.kind == "shuffle" and not one.nodes for one in reorders)
    for one in trace.kernels:
        if one.op in {"ReduceMean", "Relu", "Mul", "Sub"}:
            assert one.kind == kind_of(one.op)
    (fc,) = [one for one in trace.kernels if one.op == "Gemm"]
    # What it reads, what it writes, and its weights, packed beforehand or not.
    assert fc.traffic_bytes == 4 * (32 + 10 + 10 * 32 + 10)


def test_the_attribution_owns_it_all(attended):
    trace, _ = attended
    found = attribute(trace)
    assert found.coverage_us["owned"] >= 0.95 * found.time_us
    assert found.attention.params == 0
    assert found.attention.macs == 0
    assert found.attention.time_us > 0
    assert found.attention.hidden_cost_factor is None


def test_what_it_is_without_its_sites(attended):
    trace, stages = attended
    identity = trace.identity
    assert identity.replaced == ("layer1.0.attention", "layer2.0.attention")
    assert identity.kept == {}
    assert identity.difference.rounds >= 15
    assert not [one for one in identity.kernels if any("attention" in n for n in one.nodes)]
    costs = [one.cost for one in attribute(trace).sites]
    assert all(cost.marginal_us is not None for cost in costs)
    assert any(stage.startswith("with and without its sites: window 1") for stage in stages)


def test_a_pair_is_run_in_turns(tmp_path):
    plain = residual(tmp_path / "plain.onnx", "none")
    deep = residual(tmp_path / "deep.onnx", "none", blocks=6)
    first, second = (one.row for one in profile([item(plain), item(deep)], OPTIONS))
    assert first.difference is None
    assert second.difference.p50_ms > 0
    assert second.difference.percent > 20
    low, high = second.difference.ci95
    assert low <= second.difference.percent <= high
    assert second.difference.rounds == len(first.trace.latency_ms.samples)
    assert second.trace.identity is None


def test_nodes_without_names_are_attributed_all_the_same(tmp_path):
    path = residual(tmp_path / "a.onnx", with_manifest=False)
    model = onnx.load(path)
    for node in model.graph.node:
        node.name = ""
    onnx.save(model, path)
    subject = read_subject(path)
    assert len(subject.sites) == 2
    assert not subject.is_as_written
    named = runnable(subject, tmp_path / "named")
    kernels = profile_kernels(named, subject.model, {}, RUN, once=True).kernels
    owned = find_owners(kernels, {node.name: node for node in subject.nodes})
    assert {one.status for one in owned} == {"owned"}
    assert {one.site for one in owned} == {"", *(site.path for site in subject.sites)}


INSIDE = {
    "branch": """
        sum = ReduceSum <keepdims = 0> (x)
        zero = Constant <value_float = 0.0> ()
        flag = Greater (sum, zero)
        y = If (flag) <
            then_branch = yes () => (float[1, 8, 16, 16] a) { s = Sin (x) a = Cos (s) },
            else_branch = no () => (float[1, 8, 16, 16] b) { c = Cos (x) b = Sin (c) }
        >
    """,
    "loop": """
        turns = Constant <value = int64 {6}> ()
        go = Constant <value = bool {1}> ()
        y = Loop (turns, go, x) <
            body = one (int64 i, bool on, float[1, 8, 16, 16] a)
                => (bool still, float[1, 8, 16, 16] b)
            { still = Identity (on) s = Sin (a) b = Cos (s) }
        >
    """,
}


@pytest.mark.parametrize("name", INSIDE)
def test_what_is_inside_of_a_branch_or_a_loop_counts_once(name, tmp_path):
    text = f"""
    <ir_version: 8, opset_import: ["" : 17]>
    net (float[1, 8, 16, 16] x) => (float[1, 8, 16, 16] y) {{ {INSIDE[name]} }}
    """
    path = tmp_path / "net.onnx"
    onnx.save(onnx.parser.parse_model(text), path)
    subject = read_subject(path)
    named = runnable(subject, tmp_path / "named")
    found = profile_kernels(named, subject.model, {}, RUN)
    assert {"Sin", "Cos", name.replace("branch", "If").title()} <= {k.op for k in found.kernels}
    total = sum(kernel.time_us for kernel in found.kernels)
    assert total <= 1.5 * found.profiled_us  # medians of parts, against the median of the whole
    owned = find_owners(found.kernels, {node.name: node for node in subject.nodes})
    assert {one.status for one in owned} == {"owned"}
    (row,) = profile(
        [item(path)],
        ProfileOptions(device="generic-x86"),
        command="edgeattn profile",
        on_stage=lambda _: None,
    )
    assert row.row.trace.kernels


def test_one_run_is_enough_for_shapes(tmp_path):
    path = residual(tmp_path / "a.onnx", "none")
    found = profile_kernels(path, ir.load(path), {}, RUN, once=True)
    assert found.kernels
    assert all(one.traffic_bytes for one in found.kernels)


def test_each_window_of_a_model_has_a_process_of_its_own(tmp_path):
    path = residual(tmp_path / "a.onnx", "none")
    found = time_models([path], RUN)
    assert len(found.generations) == found.windows >= 3
    assert len(found.samples_ms[0]) == sum(found.generations) <= 50 * found.windows
    assert found.latency(0).p50 > 0


def failing(path):
    """Loads, and fails while it runs: a Gather out of bounds."""
    model = ir.from_onnx_text(
        '<ir_version: 8, opset_import: ["" : 17]>\n'
        "g (float[1,4] x) => (float[1,1] y) <int64[1] i = {7}> { z = Relu(x)\n"
        " n = NonZero(z)\n s = Shape(n)\n e = Gather<axis=0>(s, i)\n"
        " c = Cast<to=1>(e)\n y = Add(x, c) }"
    )
    ir.save(model, path)
    return path


def test_a_model_that_fails_while_it_runs(tmp_path):
    with pytest.raises(InputError, match="fails while it runs"):
        time_models([failing(tmp_path / "a.onnx")], RUN)


def test_of_a_pair_one_fails(tmp_path):
    plain = residual(tmp_path / "plain.onnx", "none")
    with pytest.raises(InputError, match="fails while it runs"):
        time_models([plain, failing(tmp_path / "a.onnx")], RUN)


def test_a_process_that_ends_is_named(tmp_path):
    path = residual(tmp_path / "a.onnx", "none")
    asked = to_draw(inputs_of(path), batch=1, seed=0)
    model = {"path": str(path), "name": "a.onnx", "inputs": asked, "limit_s": None}
    window = {"task": "window", "fewest": 2, "most": 2, "seconds": 0}
    with HERE.runner("measured") as runner:
        runner.ask({"task": "time", "models": [model] * 2, "threads": 1, "warm_up": [1, 0]})
        children = psutil.Process(runner.process.pid).children()
        assert len(children) == 2
        rows = runner.ask(window | {"renew": True})["rows"]
        assert min(map(min, rows)) > 0
        assert not any(one.is_running() for one in children)
        assert runner.ask(window | {"only": 1})["runs"] == 4
        psutil.Process(runner.process.pid).children()[0].kill()
        with pytest.raises(InputError, match=r"The process that ran a\.onnx was ended by SIGKILL"):
            runner.ask(window)


def test_one_model_alone_gets_a_new_process_too(tmp_path):
    path = residual(tmp_path / "a.onnx", "none")
    asked = to_draw(inputs_of(path), batch=1, seed=0)
    model = {"path": str(path), "name": "a.onnx", "inputs": asked, "limit_s": None}
    window = {"task": "window", "fewest": 2, "most": 2, "seconds": 0}
    with HERE.runner("measured") as runner:
        runner.ask({"task": "time", "models": [model], "threads": 1, "warm_up": [1, 0]})
        process, seen = psutil.Process(runner.process.pid), []
        for renew in (False, True, True):
            found = runner.ask(window | {"renew": renew})
            assert (len(found["rows"]), found["runs"]) == (2, 2)
            seen.append([one.pid for one in process.children()])
    assert list(map(len, seen)) == [0, 1, 1]
    assert seen[1] != seen[2]


def test_a_file_that_onnxruntime_does_not_load(tmp_path):
    path = residual(tmp_path / "a.onnx", "none")
    model = onnx.load(path)
    model.graph.node[0].op_type, model.graph.node[0].domain = "NoSuch", "com.microsoft"
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    onnx.save(model, path)
    with pytest.raises(InputError, match="cannot load"):
        time_models([path], RUN)


class Played(Place):
    """This machine, whose power is told, and whose runner another Python may run."""

    tells_power = True

    def __init__(self, python=sys.executable):
        self.python, self.asked = python, []

    def runner(self, does):
        pipe = subprocess.PIPE
        process = subprocess.Popen([self.python, runner.__file__], stdin=pipe, stdout=pipe)
        return Talk(process, does=does)

    def power(self, spans, runs):
        self.asked.append((spans, runs))
        return POWER.model_copy(update={"runs": sum(runs)})


POWER = Power(
    rail="VDD_IN", covers="all", source="hwmon", mean_w=1.0, idle_w=None, energy_mj=1.0,
    above_idle_mj=None, rounds_mj=(), seconds=1.0, runs=1, readings=1,
)  # fmt: skip


@pytest.mark.slow
def test_power_is_seen_while_one_model_runs_alone(tmp_path):
    path, place = residual(tmp_path / "a.onnx", "none"), Played()
    alone = time_models([path], RUN, place=place)
    ((spans, runs),) = place.asked
    assert len(spans) == alone.windows
    assert alone.powers[0].runs == sum(runs) >= 15
    del place.asked[:]
    pair = time_models([path, path], RUN, place=place)
    assert len(pair.powers) == len(place.asked) == 2
    turns = sorted(span for spans, _ in place.asked for span in spans)
    assert len(turns) >= 6
    assert all(a[0] < a[1] <= b[0] for a, b in itertools.pairwise(turns))
    assert time_models([path, path], RUN, place=place, with_power=False).powers == ()


LIE = """
import json, sys
for said in {said!r}:
    sys.stdin.readline()
    print(said, flush=True)
"""


@pytest.mark.parametrize("said", [
    ['{"result": {"ms": [NaN]}}'],
    ['{"result": {"ms": "1"}}'],
    ['{"result": {"ms": [1]}}', '{"result": {"rows": [[1, 2]], "span": [0, 1], "runs": 1}}'],
    ['{"result": {"ms": [1]}}', '{"result": {"rows": [[-1]], "span": [0, 1], "runs": 1}}'],
    ['{"result": {"ms": [1]}}', '{"result": {"rows": [[Infinity]], "span": [0, 1], "runs": 1}}'],
    ['{"error": {"fact": ["no"]}}'],
    ["[" * 100_000],
    ['{"result": 3}'],
])  # fmt: skip
def test_a_runner_that_lies_is_refused(said, tmp_path, monkeypatch):
    lie = tmp_path / "lie.py"
    lie.write_text(LIE.format(said=said))
    monkeypatch.setattr(runner, "__file__", str(lie))
    with pytest.raises(InputError):
        time_models([residual(tmp_path / "a.onnx", "none")], RUN, place=Played())


@pytest.mark.slow
def test_the_oldest_python_here_measures_with_what_pypi_has_for_it(tmp_path):
    """Python 3.6 gets onnxruntime 1.10, which tells no shapes and keeps weights in its graph."""
    home = tmp_path / "python"
    subprocess.run([oldest(), "-m", "venv", home], check=True)
    python = str(home / "bin/python")
    for wanted in (["-U", "pip<22"], ["onnxruntime>=1.10", "numpy"]):
        command = [python, "-m", "pip", "install", "-q", *wanted]
        got = subprocess.run(command, check=False, env={**os.environ, "PIP_CONSTRAINT": ""})
        if got.returncode:
            pytest.skip("pip has no onnxruntime for it")
    path = residual(tmp_path / "a.onnx", with_manifest=False)
    model = onnx.load(path)
    model.opset_import[0].version = 15
    onnx.save(model, path)
    subject = read_subject(path)
    there, here = (
        profile_kernels(path, subject.model, subject.macs, RUN, place=place).kernels
        for place in (Played(python), HERE)
    )
    assert sum(one.macs for one in there) == sum(one.macs for one in here)
    assert sum(one.traffic_bytes for one in there) == sum(one.traffic_bytes for one in here)
    owned = find_owners(there, {node.name: node for node in subject.nodes})
    assert {one.status for one in owned} == {"owned"}
    pair = time_models([path, path], RUN, place=Played(python))
    assert abs(pair.difference(1, 0).percent) < 25
