"""An engine is built in a process of its own: a crash is told, its log kept, and it is ended."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgeattn.base.errors import InputError
from edgeattn.engine import apart
from edgeattn.engine.build import build_engine
from edgeattn.engine.libraries import load
from edgeattn.engine.log import Log
from edgeattn.options.build import EngineOptions, Profile
from export_tests.engine.nets import small

trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx has wheels for x86-64 only")
RTX = load("tensorrt-rtx")
SM86 = (8, 6)
OPEN = EngineOptions(
    profiles=(
        Profile(
            **{
                point: {"x": (batch, 3, 16, 16)}
                for point, batch in (("min", 1), ("opt", 2), ("max", 4))
            }
        ),
    )
)


@pytest.mark.parametrize("options", [EngineOptions(), OPEN])
def test_it_is_what_is_built_in_this_process(tmp_path, options):
    batch = "batch" if options.profiles else 1
    path = small(tmp_path / "m.onnx", batch=batch)
    logs = Log(), Log()
    seen = []
    engines = [tmp_path / name for name in ("a.engine", "b.engine")]
    here = build_engine(path, RTX, SM86, options, engine=engines[0], log=logs[0])
    there = apart.build(
        path,
        RTX,
        SM86,
        options,
        engine=engines[1],
        log=logs[1],
        on_progress=lambda *step: seen.append(step),
    )
    assert there.information.bindings == here.information.bindings
    assert len(there.information.kernels) == len(here.information.kernels)
    assert (there.profiles, there.notes) == (here.profiles, here.notes)
    assert all(path.stat().st_size > 1000 for path in engines)
    parsed = [log.starting_with("Parsing node: ") for log in logs]
    assert parsed[0] == parsed[1] != []
    assert seen
    assert seen[-1][0] <= seen[-1][1]


def test_a_parser_is_asked_alone(tmp_path):
    assert apart.refusals(small(tmp_path / "m.onnx"), RTX) == ()
    (one,) = apart.refusals(small(tmp_path / "n.onnx", extra="Foo"), RTX)
    assert (one.node, one.op_type) == ("last/Foo", "Foo")
    assert "Plugin not found" in one.reason


def test_one_process_builds_plan_after_plan(tmp_path):
    path = small(tmp_path / "m.onnx")
    apart.build(path, RTX, SM86)
    (waiting,) = apart._waiting
    apart.build(path, RTX, SM86)
    assert apart._waiting == [waiting]
    apart.build(path, RTX, SM86, engine=tmp_path / "m.engine")
    assert apart._waiting == []
    assert waiting.process.returncode is not None


def test_one_that_was_ended_while_it_waited_is_replaced(tmp_path):
    path = small(tmp_path / "m.onnx")
    apart.build(path, RTX, SM86)
    apart._waiting[0].process.kill()
    apart._waiting[0].process.wait()
    assert apart.build(path, RTX, SM86).information.kernels


def product(path):
    """Writes a product of floats, which TensorRT-RTX does not build for Turing."""
    weight = np.random.default_rng(3).standard_normal((8, 4)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w"], ["y"], name="fc/Gemm")],
        "product",
        [helper.make_tensor_value_info("x", 1, [1, 8])],
        [helper.make_tensor_value_info("y", 1, [1, 4])],
        [numpy_helper.from_array(weight, "w")],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def test_a_build_that_failed_leaves_the_next_alone(tmp_path):
    path, refused = small(tmp_path / "m.onnx"), product(tmp_path / "p.onnx")
    clean = apart.build(path, RTX, SM86).information
    with pytest.raises(InputError, match="FP32 GEMM is not supported"):
        apart.build(refused, RTX, (7, 5))
    assert apart.build(path, RTX, SM86).information == clean


CRASHING = """
import json, os, pathlib, sys, time
from edgeattn.base.worker import serve

def do(job):
    said = pathlib.Path(__file__).with_suffix(".txt").read_text().splitlines()
    lines = [json.dumps(line.split(" ", 1)) for line in said[1:]]
    pathlib.Path(job["log"]).write_text("\\n".join([*lines, '["VERB']))
    by = int(said[0])
    if not by:
        time.sleep(60)
    os.kill(os.getpid(), by)

if __name__ == "__main__":
    sys.exit(serve(do))
"""


@pytest.fixture
def crashing(tmp_path, monkeypatch):
    """Stands a program in the builder's place that says some messages, and ends by a signal."""

    def arrange(by, *messages):
        (tmp_path / "crashing.py").write_text(CRASHING)
        (tmp_path / "crashing.txt").write_text("\n".join([str(by), *messages]))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setattr(apart, "_PROCESS", "crashing")
        monkeypatch.setattr(apart, "_waiting", [])

    return arrange


PARSING = "VERBOSE Parsing node: layer.att/Attention [Attention]"
PARSED = "VERBOSE layer.att/Attention [Attention] outputs: [y -> (1, 2)[FLOAT]], "


@pytest.mark.parametrize(
    ("by", "messages", "said", "mend"),
    [
        (11, [PARSING], r"crashed \(SIGSEGV\) at layer.att/Attention \(Attention\)", "layer.att"),
        (
            6,
            [PARSING, PARSED],
            r"crashed \(SIGABRT\) while it built the engine",
            "edgeattn optimize",
        ),
        (8, [], r"crashed \(SIGFPE\) while it built the engine", "--opset 17"),
        (11, ["ERROR Error Code 2: no tactic"], "last error: Error Code 2: no tactic", "optimize"),
        (11, ["ERROR out of memory"], "last error: out of memory", "Free some memory"),
        (9, [PARSING], "did not end: .* SIGKILL", "memory enough"),
    ],
)
def test_a_crash_is_told_with_its_node(tmp_path, crashing, by, messages, said, mend):
    path = small(tmp_path / "m.onnx")
    crashing(by, *messages)
    log = Log()
    with pytest.raises(InputError, match=said) as caught:
        apart.build(path, RTX, SM86, log=log)
    assert mend in caught.value.mend
    assert "report" not in str(caught.value)
    assert log.text.count("\n") == len(messages)
    assert apart._waiting == []


def test_one_that_takes_too_long_is_given_up(tmp_path, crashing):
    path = small(tmp_path / "m.onnx")
    crashing(0)
    with pytest.raises(InputError, match=r"did not end within 0\.2 s"):
        apart.build(path, RTX, SM86, limit_s=0.2)
    assert apart._waiting == []


def test_an_engine_that_crashes_its_library_is_told(tmp_path, crashing):
    (tmp_path / "a.engine").write_bytes(b"x")
    crashing(11)
    with pytest.raises(InputError, match=r"crashed \(SIGSEGV\) while it read this engine"):
        apart.read_layers(tmp_path / "a.engine", RTX)
