"""`edgeattn parity --on` and `build --on`, on a real sshd, with the stand-in for trtexec."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys

import pytest

from edgeattn.base import files
from edgeattn.hosts import probe, visit
from export_tests.engine.nets import small
from export_tests.hosts import trees, trtexec


@pytest.fixture
def host(sshd):
    """Plays a version of trtexec on a host, and sees to it that nothing is left there."""

    def play(version="10.3.0", **settings):
        trtexec.install(sshd.path, version, **settings)
        return sshd.address

    yield play
    assert [one for one in sshd.left if one != ".ses"] == []  # ONNX Runtime's own


def behind(sshd, command):
    """Has a shell command run behind every run of trtexec."""
    program = sshd.path / "trtexec"
    program.rename(sshd.path / "played")
    program.write_text(f'#!/bin/sh\n"${{0%/*}}"/played "$@" || exit\n{command}\n')
    program.chmod(0o755)


def states(run):
    return {one["rung"]: one["state"] for one in json.loads(run.stdout)["rungs"]}


@pytest.mark.slow
def test_the_engine_on_the_device_against_the_file(edgeattn, host, tmp_path):
    small(tmp_path / "m.onnx")
    run = edgeattn("parity", "m.onnx", "--on", host("8.5.2"), "--precision", "fp16", "--json")
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout)
    assert states(run) == {"engine": "passed"}  # a flag asks for fp16, and no cast
    (comparison,) = said["rungs"][0]["comparisons"]
    assert (comparison["against"], said["rungs"][0]["precision"]) == ("onnx", "fp16")
    assert 106 < comparison["outputs"][0]["sqnr_db"] < 130  # of six digits
    assert "TensorRT 8.5.2, by trtexec" in said["machine"]["title"]
    assert said["machine"]["facts"]["tensorrt"] == "8.5.2"
    assert any("six significant digits" in note for note in said["notes"])


def test_an_engine_of_another_function_falls_and_is_named(edgeattn, host, tmp_path):
    small(tmp_path / "m.onnx")
    run = edgeattn("parity", "m.onnx", "--on", host(alters="head.weight"))
    assert run.returncode == 1, run.stderr
    assert "the first rung that falls: engine, at y\n" in run.stdout
    assert "engine fell: It differs from onnx" in run.stdout


@pytest.mark.slow
@pytest.mark.parametrize("version", trtexec.VERSIONS)
def test_every_batch_on_every_version(edgeattn, host, tmp_path, version):
    small(tmp_path / "m.onnx", batch="N")
    ask = ["parity", "m.onnx", "--on", host(version), "--precision", "fp16", "--json"]
    run = edgeattn(*ask)
    assert run.returncode == 0, run.stderr
    cast = {} if version < "9.9" and not version.startswith("1") else {"cast": "passed"}
    assert states(run) == {**cast, "engine": "passed"}
    assert json.loads(run.stdout)["rungs"][-1]["comparisons"][0]["runs"] == 4


@pytest.mark.slow
def test_from_the_torch_model_up(edgeattn, host, tmp_path):
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "def make():\n"
        "    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())\n"
    )
    model = ["net.py:make", "--shape", "1x3x12x12", "-a", "se", "--at", "1", "--seed", "1"]
    model += ["--attention-arg", "reduction=2"]
    run = edgeattn("parity", *model, "--on", host(), "--precision", "fp16", "--json")
    assert run.returncode == 0, run.stderr
    assert list(states(run).items()) == [
        (one, "passed") for one in ("onnx", "lowered", "cast", "engine")
    ]
    assert edgeattn("export", *model, "-o", "m.onnx").returncode == 0
    reference = ["--reference", *model]
    run = edgeattn("parity", "m.onnx", *reference, "--on", host("8.2.1"), "--json")
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["start"] == "torch"
    assert list(states(run).items()) == [("onnx", "passed"), ("engine", "passed")]
    run = edgeattn("parity", "m.onnx", "--ladder", "--on", host("11.1.0"), "--json")
    assert list(states(run)) == ["lowered", "engine"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("[ ! -f outputs.json ] || truncate -s -400 outputs.json", "cut off|cannot be read"),
        ("rm -f outputs.json", "cannot be fetched"),
    ],
)
def test_outputs_that_are_not_whole_are_an_error_and_no_fall(
    edgeattn, host, sshd, tmp_path, command, said
):
    small(tmp_path / "m.onnx")
    address = host()
    behind(sshd, command)
    run = edgeattn("parity", "m.onnx", "--on", address)
    assert run.returncode == 2
    assert re.search(said, run.stderr)


@pytest.mark.slow
def test_what_arrives_as_something_else_is_an_error(edgeattn, host, sshd, tmp_path):
    small(tmp_path / "m.onnx")
    address = host()
    broken = sshd.path / "sha256sum"
    broken.write_text("#!/bin/sh\necho 0000  -\n")
    broken.chmod(0o755)
    for command in ("parity", "build"):
        run = edgeattn(command, "m.onnx", "--on", address)
        assert run.returncode == 2
        assert "arrived on" in run.stderr
        assert "as something else" in run.stderr
    assert {one.name for one in tmp_path.iterdir()} == {"m.onnx"}


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize(
    ("runtime", "title"), [("onnxruntime", "ONNX Runtime"), ("openvino", "OpenVINO")]
)
def test_a_host_without_tensorrt_runs_the_file_by_its_python(
    edgeattn, sshd, tmp_path, precision, runtime, title
):
    small(tmp_path / "m.onnx", batch="N")
    python = sshd.path / "python3"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    ask = ["--precision", precision, *(["--calibration", "random"] if precision == "int8" else [])]
    ask += [] if runtime == "onnxruntime" else ["--runtime", runtime]
    run = edgeattn("parity", "m.onnx", "--on", sshd.address, *ask, "--json")
    assert run.returncode == 0, run.stderr
    cast = {} if precision == "fp32" else {"cast": "passed"}
    assert states(run) == {**cast, runtime: "passed"}
    said = json.loads(run.stdout)
    assert said["rungs"][-1]["precision"] == precision
    assert said["rungs"][-1]["comparisons"][0]["runs"] == 4
    assert f"by {title}" in said["machine"]["title"]


@pytest.mark.slow
@pytest.mark.parametrize("version", ["8.5.2", "10.3.0"])
def test_int8_is_in_the_file_for_every_version(edgeattn, host, sshd, tmp_path, version):
    small(tmp_path / "m.onnx")
    address = host(version)
    asked = tmp_path / "asked"
    behind(sshd, f'echo "$@" >>{asked}')
    ask = ["--precision", "int8", "--calibration", "random"]
    run = edgeattn("parity", "m.onnx", "--on", address, *ask, "--json")
    assert run.returncode == 0, run.stderr
    assert states(run) == {"cast": "passed", "engine": "passed"}
    assert ("--int8" in asked.read_text()) == version.startswith("8")


@pytest.fixture
def board(monkeypatch, tmp_path_factory, sshd):
    """Has what is said of the host be what an Orin Nano says, but for where trtexec is."""
    root = tmp_path_factory.mktemp("board")
    trees.lay(trees.ORIN_NANO, root)
    command = ["sh", "-c", probe.script(), "sh", str(root)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    facts = probe.read(sshd.address, text, asked=0)
    path = str(sshd.path / "trtexec")
    monkeypatch.setattr(visit, "probe", lambda _: dataclasses.replace(facts, trtexec=path))


@pytest.mark.usefixtures("board")
def test_an_engine_is_built_there_and_fetched(edgeattn, host, tmp_path):
    small(tmp_path / "m.onnx")
    ask = ["build", "m.onnx", "--on", host(), "--precision", "fp16", "-o", "x.engine", "--json"]
    run = edgeattn(*ask, "--log", "log.txt")
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout)
    assert said["sha256"] == files.sha256(tmp_path / "x.engine")
    assert (said["runtime"], said["runtime_version"]) == ("tensorrt", "10.3.0")
    assert said["compute_capability"] == "8.7"
    title = "Jetson Orin Nano 8 GB, JetPack 6.2, TensorRT 10.3, 15W, by trtexec"
    assert said["machine"]["title"] == title
    assert said["machine"]["power_mode"] == "15W"
    assert said["machine"]["facts"]["l4t"] == "36.4.3"
    assert said["device"] == "jetson-orin-nano-8gb"
    assert said["onnx"] == "m-fp16.onnx"
    assert said["sources"]["m-fp16.onnx"] == files.sha256(tmp_path / "m-fp16.onnx")
    assert said["precision"]["built"]["fp16"] == said["kernels"] > 0
    assert said["traffic_bytes"] > 0
    assert trtexec.SAYS in (tmp_path / "log.txt").read_text()
    names = {"x.engine", "x.json", "m.onnx", "m-fp16.onnx", "m-fp16.json", "log.txt"}
    assert {one.name for one in tmp_path.iterdir()} == names


@pytest.mark.slow
@pytest.mark.parametrize("version", trtexec.VERSIONS)
def test_builds_of_every_version_and_the_engine_against_its_file(edgeattn, host, tmp_path, version):
    small(tmp_path / "m.onnx", batch="N")
    shapes = ["--min-shapes", "x:1x3x16x16", "--opt-shapes", "x:2x3x16x16"]
    shapes += ["--max-shapes", "x:4x3x16x16", "-o", "x.engine", "--workspace", "64", "--json"]
    address = host(version)
    run = edgeattn("build", "m.onnx", "--on", address, *shapes, "--timing-cache", "t.cache")
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout)
    assert (tmp_path / "t.cache").read_bytes()
    assert [one["shapes"]["x"][0] for one in said["points"]] == [1, 2, 4]
    if version == "8.0.1":
        assert said["kernels"] is said["traffic_bytes"] is None
        assert any("told nothing of the engine's layers" in note for note in said["notes"])
        for ask in (["inspect", "x.engine", "--diff", "x.engine"],
                    ["profile", "x.engine", "--device", "jetson-nano"]):  # fmt: skip
            refused = edgeattn(*ask)
            assert refused.returncode == 2
            assert "says nothing of its kernels" in refused.stderr
    else:
        assert said["points"][1]["traffic_bytes"] == said["traffic_bytes"] > 0
    assert edgeattn("inspect", "x.engine").returncode == 0
    run = edgeattn("parity", "x.engine", "--on", address, "--json")
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout)
    assert len(said["cases"]) == 3
    assert "by trtexec" in said["machine"]["title"]
    run = edgeattn("parity", "x.engine", "--on", host(version, spoils=0.3))
    assert run.returncode == 1


@pytest.mark.slow
@pytest.mark.usefixtures("board")
def test_into_a_folder_it_is_named_after_its_gpu(edgeattn, host, tmp_path):
    small(tmp_path / "m.onnx")
    assert edgeattn("build", "m.onnx", "--on", host(), "-o", ".").returncode == 0
    assert (tmp_path / "m.sm87.engine").is_file()
    run = edgeattn("parity", "m.sm87.engine", "--on", host())
    assert run.returncode == 0, run.stderr
    manifest = tmp_path / "m.sm87.json"
    manifest.write_text(manifest.read_text().replace('"8.7"', '"7.2"'))
    run = edgeattn("parity", "m.sm87.engine", "--on", host())
    assert run.returncode == 3
    assert "built for compute capability 7.2, and the Jetson Orin Nano 8 GB has 8.7" in run.stderr


@pytest.mark.slow
def test_layers_that_cannot_be_read_cost_no_engine(edgeattn, host, sshd, tmp_path):
    small(tmp_path / "m.onnx")
    address = host()
    behind(sshd, "[ ! -f layers.json ] || echo '{' >layers.json")
    run = edgeattn("build", "m.onnx", "--on", address, "-o", "x.engine", "--json")
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout)
    assert said["kernels"] is None
    assert any("layer information cannot be read" in note for note in said["notes"])
    assert said["sha256"] == files.sha256(tmp_path / "x.engine")


@pytest.mark.slow
def test_an_engine_of_elsewhere_is_refused(edgeattn, host, tmp_path):
    small(tmp_path / "m.onnx")
    assert edgeattn("build", "m.onnx", "--on", host("8.5.2"), "-o", "x.engine").returncode == 0
    run = edgeattn("parity", "x.engine", "--on", host("10.3.0"))
    assert run.returncode == 3
    assert "was built with TensorRT 8.5.2, and" in run.stderr
    assert "has TensorRT 10.3.0" in run.stderr
    assert "edgeattn build MODEL.onnx --on" in run.stderr
    run = edgeattn("parity", "x.engine", "--on", host("8.5.2", capability="7.2"))
    assert run.returncode == 3
    assert "built for compute capability 8.7, and the GPU of" in run.stderr
    manifest = tmp_path / "x.json"
    manifest.write_text(manifest.read_text().replace('"tensorrt"', '"tensorrt-rtx"'))
    run = edgeattn("parity", "x.engine", "--on", host("8.5.2"))
    assert run.returncode == 3
    assert "was built with TensorRT-RTX 8.5.2" in run.stderr


@pytest.mark.slow
@pytest.mark.parametrize("fails", ["killed", "memory"])
def test_a_death_for_memory_says_so(edgeattn, host, tmp_path, fails):
    small(tmp_path / "m.onnx")
    run = edgeattn("build", "m.onnx", "--on", host(fails=fails), "--log", "log.txt")
    assert run.returncode == 3
    assert "its memory ran out" in run.stderr
    assert "swap" in run.stderr
    assert {one.name for one in tmp_path.iterdir()} == {"m.onnx", "log.txt"}


@pytest.mark.slow
def test_what_trtexec_refuses_is_told_in_its_words(edgeattn, host, tmp_path):
    small(tmp_path / "m.onnx")
    run = edgeattn("build", "m.onnx", "--on", host(fails="space"))
    assert run.returncode == 3
    assert "its disk is full" in run.stderr
    run = edgeattn("build", "m.onnx", "--on", host("8.5.2"), "--optimization-level", "1")
    assert run.returncode == 2
    assert "TensorRT 8.5.2 has no --optimization-level: it came with 8.6" in run.stderr
    run = edgeattn("build", "m.onnx", "--on", host(), "--dla", "0", "--precision", "fp16")
    assert run.returncode == 2
    assert "There is no DLA core 0 on" in run.stderr


@pytest.mark.slow
def test_an_operator_that_trtexec_does_not_know_falls_and_is_told(edgeattn, host, tmp_path):
    small(tmp_path / "m.onnx", extra="Mine")
    run = edgeattn("build", "m.onnx", "--on", host("8.2.1"))
    assert run.returncode == 2
    assert "Plugin not found" in run.stderr
    assert "TensorRT 8.2.1 takes opset 13 at most, and the file has 17" in run.stderr
    assert {one.name for one in tmp_path.iterdir()} == {"m.onnx"}


def test_no_trtexec_is_a_missing_thing(edgeattn, sshd, tmp_path):
    small(tmp_path / "m.onnx")
    run = edgeattn("build", "m.onnx", "--on", sshd.address)
    assert run.returncode == 3
    assert "There is no trtexec on" in run.stderr


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (["build", "m.onnx", "--device", "jetson-orin-nano-8gb"], "--on takes neither --device"),
        (["build", "m.onnx", "--runtime", "tensorrt"], "--on takes neither --device"),
        (["build", "m.onnx", "--plan"], "--on takes neither --device"),
        (["build", "m.onnx", "--on", "two"], "--on names 2 hosts"),
        (["parity", "m.onnx", "n.onnx"], "neither a second file"),
        (["parity", "m.onnx", "--max-rel", "1"], "nor --max-rel"),
        (["parity", "m.onnx", "--target", "onnxruntime"], "Add --ladder"),
        (["parity", "m.onnx", "-a", "se"], "without --reference MODEL"),
        (["parity", "m.onnx", "--min-sqnr", "60"], "none is asked for"),
        (["parity", "n.onnx"], "There is no file n.onnx"),
        (["build", "n.onnx"], "There is no file n.onnx"),
    ],
)
def test_what_does_not_fit_together_is_refused(edgeattn, tmp_path, ask, said):
    small(tmp_path / "m.onnx")
    run = edgeattn(*ask, "--on", "nowhere.invalid")
    assert run.returncode == 2
    assert said in run.stderr
