"""The runner: what it is written in, and that old Pythons run it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeattn.runtimes import runner

FILE = Path(runner.__file__)


def oldest() -> str:
    """The oldest Python 3 of this machine, from 3.6 on."""
    found = {}
    folders = [Path("/usr/bin"), *Path.home().glob(".pyenv/versions/3.*/bin")]
    for minor in range(6, sys.version_info.minor + 1):
        for folder in folders:
            found.setdefault((folder / f"python3.{minor}").is_file() and minor, folder)
    minor = min(one for one in found if one) if any(found) else None
    return sys.executable if minor is None else str(found[minor] / f"python3.{minor}")


def asked(python, *jobs):
    """Run jobs in a runner, and return what it said, and its exit code."""
    lines = "\n".join(map(json.dumps, jobs))
    ran = subprocess.run([python, FILE], check=False, input=lines, capture_output=True, text=True)
    assert "Traceback" not in ran.stderr, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()], ran.returncode


def test_it_is_written_in_what_python_36_takes():
    command = [sys.executable, "-c", "import vermin; vermin.main()", "-vv", "--no-tips"]
    command += ["--target=3.6-", "--eval-annotations", str(FILE)]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout


def test_the_oldest_python_here_runs_it(tmp_path):
    part = tmp_path / "part"
    part.write_bytes(b"0123456789")
    whole = b"3456" + b"89" + b"0"
    job = {
        "task": "join",
        "path": str(tmp_path / "whole"),
        "parts": [[str(part), 3, 4], [str(part), 8, 2], [str(part), 0, 1]],
        "sha256": hashlib.sha256(whole).hexdigest(),
    }
    said, code = asked(oldest(), job, job | {"sha256": "0"})
    assert (tmp_path / "whole").read_bytes() == whole
    assert said[0] == {"result": {}}
    assert "is not what was sent" in said[1]["error"]["fact"]
    assert code == 2


def test_where_there_is_no_onnxruntime_it_says_so():
    said, code = asked(oldest(), {"task": "about"})
    if code == 0:
        pytest.skip("it has onnxruntime")
    assert code == 3
    assert "has no " in said[0]["missing"]["fact"]
    assert "-m pip install onnxruntime" in said[0]["missing"]["mend"]


def test_weights_are_left_out_and_the_rest_stays():
    large, small = np.arange(1000, dtype=np.float32), np.arange(4, dtype=np.int64)
    floats = helper.make_tensor("floats", TensorProto.FLOAT, [700], np.ones(700, np.float32))
    nodes = [helper.make_node("Relu", ["x"], ["y"], name="a" * 300)]
    weights = [numpy_helper.from_array(large, "l"), numpy_helper.from_array(small, "s"), floats]
    graph = helper.make_graph(nodes, "g", [], [], weights)
    model = helper.make_model(graph, producer_name="p")
    found = onnx.ModelProto.FromString(runner.without_weights(model.SerializeToString()))
    assert len(found.SerializeToString()) < 1000
    kept = found.graph.initializer
    assert [(one.name, list(one.dims)) for one in kept] == [
        ("l", [1000]),
        ("s", [4]),
        ("floats", [700]),
    ]
    assert numpy_helper.to_array(kept[1]).tolist() == small.tolist()
    for one in (found, model):
        del one.graph.initializer[:]
    assert found == model


def test_outputs_are_written_for_each_run(tmp_path):
    graph = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["y"]), helper.make_node("Abs", ["x"], ["z"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info(one, TensorProto.FLOAT, ["n", 2]) for one in "yz"],
    )
    opsets = [helper.make_opsetid("", 17)]
    path = tmp_path / "a.onnx"
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=opsets), path)
    given = []
    for run, batch in enumerate((1, 3)):
        array = np.random.default_rng(run).standard_normal((batch, 2)).astype(np.float32)
        np.save(tmp_path / f"{run}.npy", array)
        given.append({"files": {"x": str(tmp_path / f"{run}.npy")}})
    model = {"path": str(path), "name": "a.onnx", "inputs": given[0], "limit_s": None}
    job = {"task": "outputs", "model": model, "inputs": given, "optimise": False}
    said, _ = asked(sys.executable, job | {"folder": str(tmp_path / "out")})
    files = [["0-0.npy", "0-1.npy"], ["1-0.npy", "1-1.npy"]]
    assert said == [{"result": {"files": files, "precision": ""}}]
    assert np.array_equal(np.load(tmp_path / "out/1-0.npy"), -array)
    assert np.array_equal(np.load(tmp_path / "out/1-1.npy"), abs(array))
