"""Engines on a host by its trtexec: a real sshd, and a stand-in for trtexec."""

from __future__ import annotations

import itertools
import shutil
import statistics
import subprocess
import time
from dataclasses import replace

import numpy as np
import onnx
import pytest

from edgeattn.base.errors import InputError, MissingError
from edgeattn.base.worker import SlowError
from edgeattn.hosts import probe
from edgeattn.hosts.address import addresses
from edgeattn.hosts.connection import FullError, connect
from edgeattn.hosts.trtexec.commands import Trtexec
from edgeattn.hosts.visit import Visit
from edgeattn.hosts.watch import Watch
from edgeattn.options.profile import Item, ProfileOptions
from edgeattn.profiling.attribution import attribute
from edgeattn.profiling.measure.hosts import trtexec, turns
from edgeattn.profiling.measure.hosts.trtexec import measure
from edgeattn.profiling.sources.trtexec.files import Times
from export_tests.engine.nets import small
from export_tests.hosts.trtexec import MEASURED, install

OPTIONS = ProfileOptions(limit_s=0.1)
NAMES = ['stem/a"b\\c', 'gate/d", "e" ]', "gate/f\x1eg\x1f", "gate/h}i,{", "head/j\\nk"]


@pytest.fixture
def there(sshd, monkeypatch):
    """Visits a host whose trtexec is the stand-in of a version; nothing is left when that ends."""
    monkeypatch.setattr(Watch, "idle", lambda *_: None)
    for name, small_one in (("_WARM_UP_MS", 1), ("_MOST", 100), ("_PROFILED_S", 0)):
        monkeypatch.setattr(turns, name, small_one)
    with connect(addresses([sshd.address])[0]) as host:
        with host.stay() as room:

            def visit(version, **settings):
                path = str(install(sshd.path, version, **settings))
                facts = probe.read("orin", "", asked=0.0)
                return Visit(host, replace(facts, tensorrt=version, trtexec=path), room)

            yield visit
        assert sshd.left == []


@pytest.fixture
def measured(there, tmp_path):
    def measured(version, *paths, marginal=False, options=OPTIONS, **settings):
        folder = tmp_path / "meanwhile"
        folder.mkdir(exist_ok=True)
        items = [Item(path=path, name=path.stem) for path in paths]
        visit = there(version, **settings)
        return [
            one.row
            for one in measure(
                items, options, visit, folder, marginal=marginal, on_stage=lambda _: None
            )
        ]

    return measured


def played_us(trace):
    """What the stand-in makes of kernels: what they took, less what profiling added there."""
    return sum(kernel.time_us for kernel in trace.kernels) * 0.258301 / 0.355921


@pytest.mark.parametrize("version", ["8.0.1", "10.3.0"])
def test_an_onnx_file_is_built_profiled_and_timed_there(tmp_path, measured, version):
    path = small(tmp_path / "a.onnx", batch="n")
    model = onnx.load(path)
    for node, name in zip(model.graph.node, NAMES, strict=True):
        node.name = name
    onnx.save(model, path)
    (row,) = measured(version, path)
    trace = row.trace
    assert (trace.evidence, trace.runtime) == ("measured", "tensorrt")
    assert trace.runtime_version == version
    assert trace.machine.title.endswith(f", TensorRT {version.removesuffix('.0')}, by trtexec")
    # In the names of 8.0's layers, or in metadata: unescaped all the same.
    assert [kernel.nodes for kernel in trace.kernels] == [(name,) for name in NAMES]
    assert trace.latency_ms.p50 == pytest.approx(played_us(trace) / 1e3, rel=0.01)
    assert trace.windows == 3
    assert trace.end_to_end.enqueue_us == pytest.approx(10.0, rel=0.05)
    (gate,) = attribute(trace).sites
    assert gate.site.path == "gate"
    assert any("CUDA graph" in note and "processes of trtexec" in note for note in trace.notes)
    by_name = [note for note in trace.notes if "matched to the model's nodes by name" in note]
    assert len(by_name) == (version == "8.0.1")
    assert (trace.kernels[0].traffic_bytes is None) == (version == "8.0.1")
    assert any("The batch is open, and is taken as 1" in note for note in trace.notes)


@pytest.mark.slow
@pytest.mark.parametrize("version", ["8.2.1", "8.5.2", "8.6.2", "10.16.2", "11.1.0"])
def test_every_version(tmp_path, measured, version):
    a, b = small(tmp_path / "a.onnx"), small(tmp_path / "b.onnx", size=8)
    first, second = measured(version, a, b, marginal=True)
    assert second.difference.rounds >= 6
    # One file at two sizes: the stand-in has the same kernels for both.
    low, high = second.difference.ci95
    assert -1 < low <= high < 1
    for row in (first, second):
        assert row.trace.identity.replaced == ("gate",)
        assert len(row.trace.identity.kernels) == 2


def built(folder, *flags):
    """Builds an engine as somebody else would, by the stand-in of 10.3."""
    small(folder / "m.onnx", batch="n")
    shapes = [f"--{one}Shapes=x:2x3x16x16" for one in ("min", "opt", "max")]
    path = folder / "mine.engine"
    command = [install(folder, "10.3.0"), f"--onnx={folder}/m.onnx", f"--saveEngine={path}"]
    subprocess.run([*command, *shapes, *flags], check=True, capture_output=True)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("detail", ["detailed", "none"])
def test_an_engine_is_taken_as_it_is(tmp_path, measured, detail):
    path = built(tmp_path, f"--profilingVerbosity={detail}")
    (row,) = measured("10.3.0", path)
    notes = " ".join(row.trace.notes)
    assert len(row.trace.kernels) == 5
    assert list(row.trace.sha256) == [str(path)]
    assert "mine.engine has no manifest" in notes
    assert ("built without details of its layers" in notes) == (detail == "none")


def test_an_engine_of_elsewhere_is_refused(tmp_path, measured):
    path = built(tmp_path)
    with pytest.raises(InputError, match="no manifest, which says what its inputs are called"):
        measured("10.3.0", path, options=ProfileOptions(batch=2))
    with pytest.raises(MissingError, match="built with another version of TensorRT than 127"):
        measured("8.5.2", path)
    with pytest.raises(MissingError, match=r"compute capability 8\.7, and the GPU of .* has 7\.2"):
        measured("10.3.0", path, capability="7.2")


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"fails": "killed"}, MissingError, r"its memory ran out: it was killed \(signal 9\)"),
        ({"fails": "space"}, MissingError, "its disk is full"),
        ({"measured": MEASURED[0]}, InputError, "was not built from .*a.onnx"),
    ],
)
def test_what_fails_there_says_so(tmp_path, measured, settings, error, said):
    with pytest.raises(error, match=said):
        measured("8.5.2", small(tmp_path / "a.onnx"), **settings)


def test_an_operator_that_it_does_not_take_is_named(tmp_path, measured):
    with pytest.raises(InputError, match=r"While parsing node number 5 \[Foo.*\n.*Plugin not f"):
        measured("8.5.2", small(tmp_path / "a.onnx", extra="Foo"))


def test_what_hangs_is_ended_there(tmp_path, measured, monkeypatch):
    monkeypatch.setattr(turns, "_LIMIT_S", 1.0)
    with pytest.raises(SlowError, match="did not end within 1 s"):
        measured("8.5.2", small(tmp_path / "a.onnx"), fails="hangs")
    for _ in range(50):
        listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
        if not any("hangs" in line and "engine-0" in line for line in listed.stdout.splitlines()):
            return
        time.sleep(0.1)
    raise AssertionError(listed.stdout)


def test_what_is_cut_off_for_space_says_so(tmp_path, there, monkeypatch):
    visit = there("8.5.2")
    monkeypatch.setattr(turns, "_LEAST_SPACE_KIB", 1 << 60)
    bench = bench_of(visit, tmp_path)

    def reader():
        raise InputError("It is cut off.")

    with pytest.raises(FullError, match="has no space: what trtexec wrote is cut off"):
        turns._read(bench, reader)


def bench_of(visit, folder):
    trtexec = Trtexec.of(visit.facts)
    return turns.Bench(visit=visit, trtexec=trtexec, options=OPTIONS, folder=folder)


def test_the_machine_is_the_board_with_its_profile_s_bandwidth():
    facts = probe.read("orin", "", asked=0.0)
    nano = replace(
        facts,
        title="Jetson Orin Nano 8 GB",
        device="jetson-orin-nano-8gb",
        jetpack="6.2",
        tensorrt="10.3.0",
        power_mode="15W",
    )
    machine = trtexec._machine(nano, [], {"temperature": "50 °C"})
    title = "Jetson Orin Nano 8 GB, JetPack 6.2, TensorRT 10.3, 15W, by trtexec"
    assert (machine.title, machine.device) == (title, "jetson-orin-nano-8gb")
    assert machine.bandwidth_gbps is not None
    assert machine.facts["temperature"] == "50 °C"
    # Of a mode that its profile does not know, nothing is known; nor of a processor's profile.
    for other in (replace(nano, power_mode="mine"), replace(nano, device="raspberry-pi-5")):
        assert trtexec._machine(other, [], {}).bandwidth_gbps is None


def times(*computes_ms):
    return Times(compute_ms=computes_ms, enqueue_us=5.0, left_out=0)


def test_turns_are_interleaved_in_changing_order(monkeypatch):
    order, runs, generator = [], [], np.random.default_rng(0)

    def turn(_bench, engine, count):
        order.append(engine)
        runs.append(count)
        ms = {"a": 1.0, "b": 1.1}[engine] * (1 + 0.002 * generator.random())
        return turns.Turn(
            times=times(ms, ms * 1.001), is_graph=engine == "a", span_s=None, runs=count
        )

    monkeypatch.setattr(turns, "_turn", turn)

    class Bench:
        options = ProfileOptions(limit_s=1.0)

    found = turns.timed(Bench, ["a", "b"])
    rounds = [tuple(order[at : at + 2]) for at in range(0, len(order), 2)]
    assert {("a", "b"), ("b", "a")} == set(rounds)
    assert all(set(one) == {"a", "b"} for one in rounds)
    assert found.generations == (1,) * len(rounds) == (1,) * 8
    assert found.agree
    difference = found.difference(1, 0)
    low, high = difference.ci95
    assert low < 10.0 < high
    assert high - low < 1.0
    # The first turn of each is short, for nobody knows yet what a run takes.
    assert runs[:2] == [20, 20]
    assert set(runs[2:]) <= set(range(880, 1001))
    assert len(found.latency(0).samples) == 2 * len(rounds)
    assert found.enqueue_us(0) == 5.0
    assert "without a CUDA graph, which cannot be captured" in found.notes_of(1)[0]


def test_turns_of_one_go_on_until_they_agree(monkeypatch):
    told = itertools.chain([1.0, 1.3, 1.1, 1.2], itertools.repeat(1.0))

    def turn(_bench, _engine, count):
        return turns.Turn(times=times(next(told)), is_graph=True, span_s=None, runs=count)

    monkeypatch.setattr(turns, "_turn", turn)

    class Bench:
        options = ProfileOptions(limit_s=1.0)

    found = turns.timed(Bench, ["a"])
    assert found.windows == 7
    assert found.samples_ms == ((1.0, 1.3, 1.1, 1.2, 1.0, 1.0, 1.0),)
    assert found.latency(0).samples == found.samples_ms[0]
    assert statistics.median(found.latency(0).samples) == 1.0


def test_power_is_asked_for_the_spans_of_turns_that_are_known():
    class Watched:
        def power(self, spans, runs):
            return spans, runs

    def turn(span_s, runs):
        return turns.Turn(times=times(1.0), is_graph=True, span_s=span_s, runs=runs)

    found = turns.TimedTurns(
        samples_ms=((1.0,), (1.0,)),
        windows=3,
        agree=True,
        turns=((turn((1.0, 2.0), 7), turn(None, 8), turn((5.0, 6.0), 9)), (turn(None, 1),)),
    )
    assert found.power(0, Watched()) == ([(1.0, 2.0), (5.0, 6.0)], [7, 9])
    assert found.power(1, Watched()) is None


def test_when_a_turn_ran_is_known(tmp_path, there):
    visit = there("8.5.2")
    small(tmp_path / "a.onnx")
    bench = bench_of(visit, tmp_path)
    before_s = float(visit.room.sh("cat /proc/uptime", limit_s=9).text.split()[0])
    found = turns._turn(bench, bench.engine(tmp_path / "a.onnx", "e"), 50)
    began_s, ended_s = found.span_s
    assert found.runs == len(found.times.compute_ms) == 50
    assert ended_s - began_s == pytest.approx(sum(found.times.compute_ms) / 1e3, rel=0.01)
    assert before_s < ended_s < before_s + 60


@pytest.mark.parametrize("shell", ["dash", "busybox sh", "bash --posix"])
def test_the_script_of_a_turn_is_any_shells(shell):
    if shutil.which(shell.split()[0]) is None:
        pytest.skip(f"no {shell} here")
    said = "echo one; echo ' [I] Starting inference'; echo 'a  \\\\ b'; kill -9 $$"
    command = [*shell.split(), "-c", turns._TURN, "sh", "sh", "-c", said]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    one, up, starting, spaced, *_, ended = done.stdout.splitlines()
    assert (one, starting, spaced, ended) == (
        "one",
        " [I] Starting inference",
        "a  \\ b",
        "ended 137",
    )
    assert float(up.removeprefix("uptime ")) > 0
