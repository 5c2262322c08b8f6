"""What is on a host: read from trees that were written from documented facts, not recorded."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from pathlib import Path

import pytest

from edgeattn.cli import app
from edgeattn.hosts import connection
from edgeattn.hosts import probe as probing
from edgeattn.hosts.checks import Check, checks
from edgeattn.hosts.probe import HostFacts
from export_tests.hosts import trees
from export_tests.hosts.trees import lay
from export_tests.sshd import Sshd

_SHELLS = (["dash"], ["busybox", "sh"])


def ask(tree: dict[str, str], root: Path, shell: list[str] = _SHELLS[0]) -> HostFacts:
    """Point the script at a tree."""
    lay(tree, root)
    before = sorted(root.rglob("*"))
    command = [*shell, "-c", probing.script(), "sh", str(root)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert sorted(root.rglob("*")) == before  # nothing was written
    return probing.read("orin", ran.stdout, asked=time.time())


def said(facts: HostFacts, title: str) -> Check:
    return next(one for one in checks(facts) if one.title == title)


@pytest.mark.parametrize("shell", _SHELLS, ids=["dash", "busybox"])
def test_an_orin_nano(tmp_path: Path, shell: list[str]) -> None:
    """All that is there of JetPack 6.2 is said, by whatever shell."""
    facts = ask(trees.ORIN_NANO, tmp_path, shell)
    assert (facts.device, facts.title) == ("jetson-orin-nano-8gb", "Jetson Orin Nano 8 GB")
    assert (facts.l4t, facts.jetpack, facts.cuda) == ("36.4.3", "6.2", "12.6.11")
    assert (facts.tensorrt, facts.opset) == ("10.3.0", 20)
    assert facts.trtexec == f"{tmp_path}/usr/src/tensorrt/bin/trtexec"
    assert facts.power_mode == "15W"
    assert facts.power_modes == {0: "15W", 1: "25W", 2: "MAXN_SUPER"}
    assert facts.clocks_mhz == {"GPU": 306.0, "CPU 0": 1510.4}
    assert facts.temperatures_c == {"cpu": 48.5, "gpu": 47.0}
    assert facts.rails == ("VDD_IN by hwmon", "VDD_CPU_GPU_CV by hwmon", "VDD_SOC by hwmon")
    assert 7.9e9 < facts.memory_bytes < 8.1e9
    assert facts.system == "Ubuntu 22.04.5 LTS"
    assert facts.words("trtexec") == (
        "Jetson Orin Nano 8 GB, JetPack 6.2, TensorRT 10.3, 15W, by trtexec"
    )
    assert facts.words("ONNX Runtime 1.23.2") == (
        "Jetson Orin Nano 8 GB, JetPack 6.2, 15W, by ONNX Runtime 1.23.2"
    )
    assert said(facts, "measure by trtexec").state == "works"
    assert "--opset 20" in said(facts, "measure by trtexec").mend
    assert "sudo nvpmodel -m 2" in said(facts, "power mode").mend
    assert "pip install" in said(facts, "measure by ONNX Runtime").mend


@pytest.mark.parametrize(
    ("tree", "device", "jetpack", "tensorrt", "mode"),
    [
        (trees.NANO, "jetson-nano", "4.6.1", "8.2.1", "5W"),
        (trees.AGX_XAVIER, "jetson-agx-xavier", "4.6", "8.0.1", "15W"),
        (trees.ORIN_NX, "jetson-orin-nx-16gb", "5.1.2", "8.5.2", "15W"),
        (trees.AGX_ORIN, "jetson-agx-orin-64gb", "6.1", None, None),
        (trees.THOR, "jetson-agx-thor-t5000", "7.0-7.1", "10.13.3", None),
        (trees.RASPBERRY_PI, "raspberry-pi-5", None, None, None),
        (trees.ROCK, "rk3588", None, None, None),
        (trees.X86, "generic-x86", None, None, None),
        (trees.GPU_BOX, "rtx-3090", None, "10.16.0", None),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_other_boards(
    tmp_path: Path,
    tree: dict[str, str],
    device: str,
    jetpack: str | None,
    tensorrt: str | None,
    mode: str | None,
) -> None:
    """Part numbers, names, memory and GPUs say which of our device profiles a board is."""
    facts = ask(tree, tmp_path)
    found = (facts.device, facts.jetpack, facts.tensorrt, facts.power_mode)
    assert found == (device, jetpack, tensorrt, mode)


@pytest.mark.parametrize(
    ("model", "compatible", "gib", "device", "is_near"),
    [
        ("", "nvidia,p3768-0000+p3767-0004", 3.3, "jetson-orin-nano-4gb", False),
        ("Clara", "699-13767-0000-300", 15.3, "jetson-orin-nx-16gb", False),
        ("Seeed reComputer J4011", "nvidia,p3767-0001", 7.4, "jetson-orin-nx-8gb", False),
        (
            "NVIDIA Jetson Orin Nano on a board of somebody's",
            "",
            3.3,
            "jetson-orin-nano-4gb",
            False,
        ),
        ("NVIDIA Jetson Orin NX of somebody's", "", 15.3, "jetson-orin-nx-16gb", False),
        ("NVIDIA Jetson AGX Orin of somebody's", "", 29.9, "jetson-agx-orin-32gb", False),
        ("", "nvidia,p3737-0000+p3701-0008", 61, "jetson-agx-orin-64gb", True),
        ("Jetson", "nvidia,p3448-0003", 1.9, "jetson-nano", True),
        ("NVIDIA Jetson AGX Thor", "nvidia,p3834-0000", 61, "jetson-agx-thor-t5000", True),
        ("quill", "nvidia,p2771-0000", 7.7, "jetson-tx2", False),
        ("Raspberry Pi 4 Model B Rev 1.4", "brcm,bcm2711", 3.8, "raspberry-pi-4", False),
        ("Raspberry Pi 500", "raspberrypi,500\0brcm,bcm2712", 7.9, "raspberry-pi-5", False),
        ("Orange Pi 5", "rockchip,rk3588s", 7.7, "rk3588", False),
        ("BeagleBone", "ti,am335x", 0.5, None, False),
    ],
)
def test_variants(
    tmp_path: Path, model: str, compatible: str, gib: float, device: str | None, is_near: bool
) -> None:
    """A module whose profile is only near says so; a board that is no module keeps its name."""
    tree = {
        "proc/device-tree/model": f"{model}\0",
        "proc/device-tree/compatible": f"{compatible}\0",
        "proc/meminfo": f"MemTotal: {round(gib * 1024**2)} kB\n",
    }
    lay(tree, tmp_path)
    lines = [f"model\t{model}", "compatible\t" + compatible.replace("\0", " ")]
    lines += [f"memory-kib\t{round(gib * 1024**2)}", "architecture\taarch64"]
    facts = probing.read("orin", "\n".join(lines), asked=0)
    assert facts.device == device
    assert bool(facts.notes) == is_near
    assert said(facts, "device profile").state == (
        "limited" if is_near else "works" if device else "absent"
    )


def test_what_does_not_work_is_said_with_its_mend(tmp_path: Path) -> None:
    """A program that is there and dies is told from one that is not there."""
    nano = ask(trees.NANO, tmp_path / "nano")
    check = said(nano, "measure by ONNX Runtime")
    assert "numpy kills it: an illegal instruction" in check.detail
    assert "OPENBLAS_CORETYPE" in check.detail
    assert said(nano, "power mode").mend.endswith("sudo nvpmodel -m 0")
    xavier = ask(trees.AGX_XAVIER, tmp_path / "xavier")
    assert "matched by name" in said(xavier, "measure by trtexec").detail
    assert xavier.rails == ("those of tegrastats",)
    assert said(xavier, "measure by ONNX Runtime").detail == "there is no Python 3"
    broken = ask(trees.ORIN_NX, tmp_path / "nx")
    assert broken.trtexec is None
    assert "libnvinfer.so.8" in said(broken, "measure by trtexec").detail
    python = broken.python("onnxruntime")
    assert python is not None
    assert python.onnxruntime == "1.19.2"
    pi = ask(trees.RASPBERRY_PI, tmp_path / "pi")
    assert said(pi, "measure by trtexec").state == "absent"
    assert said(pi, "power").detail == "not to be had: no rail can be read"
    assert pi.words("ONNX Runtime 1.2") == "Raspberry Pi 5 Model B Rev 1.0, by ONNX Runtime 1.2"
    box = ask(trees.GPU_BOX, tmp_path / "box")
    assert box.words("trtexec") == "NVIDIA GeForce RTX 3090, TensorRT 10.16, by trtexec"
    assert box.rails == ("package-0 by RAPL", "card by nvidia-smi")


def test_openvino_is_told_from_onnxruntime() -> None:
    """What one Python lacks, or dies of, says nothing of another, nor of the other runtime."""
    lines = [
        "architecture\tx86_64",
        "python\t/usr/bin/python3", "python-version\t3.12.3", "python-numpy\t2.2",
        "python-onnxruntime\t1.23.2", "python-trying\topenvino", "python-ended\t132",
        "python\t/home/me/ov/bin/python3", "python-version\t3.11.2", "python-numpy\t2.2",
        "python-devices\tCPU GPU.0", "python-openvino\t2026.4.1-22982-e213a147257-releases",
        "python-ended\t0",
    ]  # fmt: skip
    facts = probing.read("box", "\n".join(lines), asked=0)
    assert said(facts, "measure by ONNX Runtime").detail == "1.23.2, of /usr/bin/python3 (3.12.3)"
    assert said(facts, "measure by OpenVINO").detail == (
        "2026.4.1, of /home/me/ov/bin/python3 (3.11.2); its devices: CPU, GPU.0"
    )
    assert facts.python("onnxruntime", "openvino") is None  # in the same rounds they cannot run
    alone = probing.read("box", "\n".join(lines[:7]), asked=0)
    assert "openvino kills it: an illegal" in said(alone, "measure by OpenVINO").detail
    assert said(alone, "measure by ONNX Runtime").state == "works"
    none = said(probing.read("box", "\n".join(lines[:4]), asked=0), "measure by OpenVINO")
    assert none.mend.startswith("/usr/bin/python3 -m pip install --user openvino, there.")


@pytest.mark.parametrize(
    ("modes", "mode", "mend"),
    [
        (["MAXN_SUPER", "10W", "40W"], "MAXN_SUPER", None),
        (["MAXN_SUPER", "10W", "40W"], "40W", "-m 0"),
        (["MAXN", "MODE_10W", "MODE_25W"], "MODE_25W", "-m 0"),
        (["MAXN", "MODE_10W"], "MAXN", None),
        (["MAXN", "MINE"], "MINE", None),  # of which nothing is known
    ],
)
def test_the_fastest_mode(modes: list[str], mode: str, mend: str | None) -> None:
    """A mode is called slow only where it is known to be."""
    lines = [
        "architecture\taarch64", "compatible\tnvidia,p3767-0000",
        "release\t# R36 (release), REVISION: 4.3,", f"nvpmodel\tNV Power Mode: {mode}",
        *(f"power-mode\t{number} {one}" for number, one in enumerate(modes)),
    ]  # fmt: skip
    found = said(probing.read("orin", "\n".join(lines), asked=0), "power mode")
    assert found.state == ("limited" if mend else "works")
    assert found.mend.endswith(mend or "")


def test_what_a_host_says_is_not_trusted() -> None:
    """Whatever it prints is bounded, and commands no terminal."""
    text = "\n".join(
        [
            "architecture\taarch64",
            "model\t\x1b[2J" + "x" * 100_000,
            "cores\t-5",
            "memory-kib\t" + "9" * 400,
            "clock\tnever",
            "python\t/usr/bin/python3",
            "python-version\t\x1b]0;owned\x07",
            "python-ended\t²",
            "power-mode\t² z",
            "power-mode\t" + "9" * 390 + " z",
            "column\tgpu_hz\tnan\tinf",
            "column\tmillidegrees",
            "power-mode\tx y",
            "nvpmodel\tNV Power Mode: ",
            "trtexec-says\tTensorRT v" + "1" * 300,
            *["package\t" + "y" * 50] * 10_000,
            "free-kib\t1",
        ]
    )
    facts = probing.read("orin", text, asked=0)
    assert facts.model.startswith("\\x1b[2Jxxx")
    assert len(facts.model) < 500
    assert (facts.cores, facts.memory_bytes, facts.clock_off_s) == (1, 0, 0)
    assert facts.pythons[0].version == "\\x1b]0;owned\\x07"
    assert facts.clocks_mhz == {}
    assert facts.power_mode is None
    assert checks(facts)


@pytest.mark.slow  # ten seconds
def test_a_program_that_hangs(tmp_path: Path) -> None:
    """It is ended after a while, and all else is said."""
    hangs = {"usr/sbin/nvpmodel": "#!/bin/sh\nsleep 100\n"}
    began = time.monotonic()
    facts = ask(trees.ORIN_NANO | hangs, tmp_path)
    assert time.monotonic() - began < 20
    assert facts.power_mode is None
    assert facts.tensorrt == "10.3.0"
    assert said(facts, "power mode").state == "limited"


def test_short_disk_and_wrong_clock() -> None:
    """Both are said, and neither stops anything."""
    text = "architecture\taarch64\nfree-kib\t1000000\nclock\t1000000\nlacks\tflock"
    facts = probing.read("orin", text, asked=2_000_000)
    assert said(facts, "disk").state == "limited"
    assert said(facts, "clock").detail.startswith("1,000,000 s behind ours")
    assert "flock" in said(facts, "tools").detail


def test_a_host_by_ssh(sshd: Sshd, capsys: pytest.CaptureFixture[str]) -> None:
    """One round trip tells what is on this very machine; one that is not there is told too."""
    assert app.run(["devices", "probe", sshd.address, "127.0.0.1:1", "--json"]) == 3
    here, gone = json.loads(capsys.readouterr().out)
    assert here["memory_bytes"] > 1 << 28
    assert here["pythons"]
    assert here["checks"]
    assert "127.0.0.1:1" in gone["error"]
    assert sshd.left == []


def test_for_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is printed says each fact once, and each mend below."""
    facts = ask(trees.ORIN_NANO, tmp_path)
    monkeypatch.setattr(connection, "connect", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(probing, "probe", lambda _: facts)
    assert app.run(["devices", "probe", "orin"]) == 0
    out = capsys.readouterr().out
    assert "6.2 (L4T 36.4.3)" in out
    assert "15W, of 15W (0), 25W (1), MAXN_SUPER (2)" in out
    assert "15W, and MAXN_SUPER is faster" in out
    assert "power mode: What is measured is of 15W." in out
