"""`--on`: a real sshd on loopback measures with a real ONNX Runtime; what fails leaves nothing."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
from onnx import helper

from edgeattn.cli import app
from export_tests import sshd as servers
from export_tests.cli.test_place import NET
from export_tests.hosts import trtexec
from export_tests.profiling.nets import residual
from export_tests.sshd import Sshd

QUICK = ["--limit", "0.3", "--threads", "1", "--no-marginal"]


@pytest.fixture(scope="module")
def simam(tmp_path_factory):
    return residual(tmp_path_factory.mktemp("nets") / 'it\'s a "net".onnx')


@pytest.fixture
def host(sshd: Sshd) -> Sshd:
    """A host whose python3 is this one, with its ONNX Runtime."""
    python = sshd.path / "python3"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return sshd


@pytest.fixture
def bare_host(sshd: Sshd) -> Iterator[Sshd]:
    """A second host, which can run nothing; the first one's config leads there too."""
    with tempfile.TemporaryDirectory(prefix="sshd-") as folder:
        other = servers.start(Path(folder))
        config = sshd.folder / "ssh_config"
        before = config.read_text()
        own = (
            f"IdentityFile {other.folder}/user_key\n  UserKnownHostsFile {other.folder}/known_hosts"
        )
        config.write_text(
            f"Host bare\n  HostName 127.0.0.1\n  Port {other.port}\n  {own}\n{before}"
        )
        yield other
        config.write_text(before)
        other.process.terminate()
        other.process.wait()


def run(capsys, *arguments):
    """Runs a command; gives its code, its JSON (None if there is none), and what else it said."""
    code = app.run([*arguments, "--json"])
    found = capsys.readouterr()
    return code, json.loads(found.out) if found.out else None, found.err


def test_a_host_measures(capsys, host, simam, tmp_path):
    out = tmp_path / "out.json"
    assert app.run(["profile", str(simam), "--on", host.address, *QUICK, "-o", str(out)]) == 0
    shown, found = capsys.readouterr().out, json.loads(out.read_text())
    assert "MEASURED  on " in shown
    assert f"({host.address})" in shown
    machine = found["trace"]["machine"]
    assert (found["evidence"], found["runtime"]) == ("measured", "onnxruntime")
    assert machine["host"] == host.address
    assert "by ONNX Runtime" in machine["title"]
    assert found["coverage"]["owned"] > 0.9
    if found["expected"] is None:  # of what is no x86
        assert "No prediction stands beside it" in found["notes"][-1]
    else:
        assert ("the interval holds" in shown) == found["expected"]["holds"]
    assert [one["path"] for one in found["sites"]] == ["layer1.0.attention", "layer2.0.attention"]
    assert host.left == []


@pytest.mark.slow
def test_openvino_of_a_host_measures(capsys, host, tmp_path):
    path = residual(tmp_path / "net.onnx")
    proto = onnx.load(path)
    helper.set_model_props(proto, {"edgeattn.forms": "tensorrt"})
    onnx.save(proto, path)
    on = ["--on", host.address, "--runtime", "openvino", "--no-marginal"]
    before = set((host.folder / "home").iterdir())  # other tests were there
    code, found, _ = run(capsys, "profile", str(path), *on, *QUICK)
    assert code == 0
    assert (found["evidence"], found["runtime"]) == ("measured", "openvino")
    assert "by OpenVINO 20" in found["trace"]["machine"]["title"]
    assert found["coverage"]["owned"] > 0.9
    assert found["warnings"][0].startswith("net.onnx was lowered for tensorrt, and is for openvino")
    assert host.left == []
    home = {one.name for one in set((host.folder / "home").iterdir()) - before}
    assert not home & {"intel", ".cache"}  # what counts users of runtimes is off


def test_two_names_of_a_host_are_measured_one_at_a_time(capsys, host, simam):
    on = ["--on", f"{host.address},orin"]
    code, found, said = run(capsys, "profile", str(simam), *on, *QUICK)
    assert code == 3
    assert "one at a time" in said
    assert "already, by another name" in found["failed"][0]["fact"]
    assert found["latency_ms"]["p50"] > 0
    assert host.left == []


def test_a_host_that_runs_nothing_is_told_before_others_are_measured(
    capsys, host, bare_host, simam
):
    on = ["--on", host.address, "--on", "bare"]
    code, found, said = run(capsys, "profile", str(simam), *on, *QUICK)
    assert code == found["error"]["exit_code"] == 3
    assert "devices probe bare" in said
    assert host.left == bare_host.left == []


@pytest.mark.slow
def test_a_comparison_on_a_host(capsys, host, tmp_path):
    page = tmp_path / "page.html"
    code, found, _ = run(
        capsys, "compare", "squeezenet1_1", "--attention", "se", "--stock", "--shape", "1x3x64x64",
        "--on", host.address, *QUICK, "--report", str(page),
    )  # fmt: skip
    assert code == 0
    assert [one["variant"] for one in found["models"]] == ["plain", "stock", "lowered"]
    assert all(one["difference"]["rounds"] for one in found["models"][1:])
    assert all(one["difference"]["ci95"] for one in found["models"][1:])
    assert host.address in page.read_text(encoding="utf-8")
    assert host.left == []


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--on", "-oProxyCommand=touch${IFS}/tmp/pwned"], 2, "no host"),
        (["--on", "a b"], 2, "no host"),
        (["--on", "nowhere.invalid"], 3, "There is no host"),
        (["--on", "127.0.0.1:1"], 3, "takes no SSH connection"),
        (["--on", "bare"], 3, "no trtexec and no Python"),
        (["--on", "bare", "--runtime", "tensorrt"], 3, "no trtexec"),
        (["--on", "bare", "--runtime", "onnxruntime"], 3, "no Python with onnxruntime"),
        (["--on", "bare", "--runtime", "openvino"], 3, "no Python with openvino"),
        (["--on", "bare", "--openvino-device", "GPU"], 2, "and not --runtime openvino"),
        (["--on", "bare", "--runtime", "torch"], 2, "not to be had on a host"),
        (["--on", "bare", "--predict"], 2, "--predict predicts"),
        (["--on", "bare", "--no-cuda-graph"], 2, "--no-cuda-graph is for what is predicted"),
    ],
)
def test_what_cannot_be(capsys, bare_host, simam, arguments, code, said):
    assert run(capsys, "profile", str(simam), *arguments, *QUICK)[::2] == (code, _Holds(said))
    assert bare_host.left == []


def test_threads_are_not_trtexecs(capsys, sshd, simam):
    trtexec.install(sshd.path, "10.3.0")
    code, _, said = run(capsys, "profile", str(simam), "--on", sshd.address, "--threads", "2")
    assert (code, said) == (2, _Holds("--threads is for ONNX Runtime"))
    assert sshd.left == []


def test_files_of_trtexec_are_of_no_host(capsys, tmp_path):
    code, _, said = run(capsys, "profile", "--profile", str(tmp_path / "x.json"), "--on", "a")
    assert code == 2
    assert "leave --on out" in said


class _Holds(str):
    """A text that equals any that holds it."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and str(self) in other


@pytest.mark.slow
def test_both_runtimes_of_a_host_are_compared(capsys, host):
    code, found, said = run(
        capsys, "compare", "squeezenet1_1", "--attention", "se", "--shape", "1x3x64x64",
        "--on", host.address, "--runtime", "onnxruntime,openvino", *QUICK,
    )  # fmt: skip
    assert code == 0, said
    by = [one["runtime"] for one in found["models"]]
    assert by == ["onnxruntime", "onnxruntime", "openvino", "openvino"]
    assert not any("was lowered for" in one for each in found["models"] for one in each["warnings"])
    assert host.left == []


@pytest.mark.slow
def test_attention_is_placed_by_what_a_host_measures(capsys, host, tmp_path):
    net = tmp_path / "net.py"
    net.write_text(NET)
    code, found, said = run(
        capsys, "place", f"{net}:make", "-a", "se", "--shape", "1x3x32x32", "--on", host.address,
        "--limit", "0.3", "--threads", "1", "--budget", "+90%", "--keep", "1.*",
    )  # fmt: skip
    assert code == 0, said
    assert (found["evidence"], found["device"]) == ("measured", host.address)
    assert "1.attention" in found["chosen"]["sites"]
    assert host.left == []


@pytest.mark.slow
def test_batches_are_measured_there(capsys, host, simam, tmp_path):
    proto = onnx.load(simam)
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del proto.graph.value_info[:]
    onnx.save(proto, tmp_path / "open.onnx")
    code, found, _ = run(
        capsys, "profile", str(tmp_path / "open.onnx"), "--batches", "1,4", "--on", host.address,
        *QUICK,
    )  # fmt: skip
    assert code == 0
    one, four = found["models"]
    assert (one["batch"], four["batch"]) == (1, 4)
    assert four["memory"]["activations_bytes"] == 4 * one["memory"]["activations_bytes"]
    assert four["memory"]["arena_bytes"] > one["memory"]["arena_bytes"] > 0
    assert found["curves"][0]["points"][1]["gain_interval"] is not None
