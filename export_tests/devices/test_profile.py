"""Finding a device, and what is said of a file that is none."""

from __future__ import annotations

import importlib.resources
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from edgeattn.base.errors import InputError
from edgeattn.devices.profile import find, names

FOLDER = importlib.resources.files("edgeattn.profiles")
GOOD = (FOLDER / "jetson-orin-nano-8gb.toml").read_text(encoding="utf-8")
JETPACK = GOOD[GOOD.index("[[jetpack]]") :]
GPU = (FOLDER / "rtx-3090.toml").read_text(encoding="utf-8")
CPU = (FOLDER / "rk3588.toml").read_text(encoding="utf-8")


KINDS = {
    "jetson": (
        "nano tx2 xavier-nx agx-xavier orin-nano-4gb orin-nano-8gb orin-nx-8gb orin-nx-16gb "
        "agx-orin-32gb agx-orin-64gb agx-thor-t5000"
    ),
    "gpu": (
        "titan-rtx rtx-3060-12gb rtx-3090 rtx-4060 rtx-4090 rtx-5090 a2 t4 l4 a100-80g-pcie "
        "h100-sxm h200"
    ),
    "cpu": "raspberry-pi-4 raspberry-pi-5 rk3588 generic-x86",
}


def test_the_devices_that_come_with_it():
    """Those of docs/sources.md, typed by hand."""
    expected = {
        f"jetson-{name}" if kind == "jetson" else name: kind
        for kind, devices in KINDS.items()
        for name in devices.split()
    }
    assert {name: find(name).kind for name in names()} == expected


@pytest.mark.parametrize("name", names())
def test_every_one_is_read_under_its_name_and_says_where_it_is_from(name):
    text = (FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    assert find(name).name == name
    assert re.match(r"# .*(docs/sources\.md|guess)", text)
    assert re.search("#.*[Gg]uess", text)


def test_they_are_installed_with_the_package():
    """Isolated: neither the current folder nor PYTHONPATH may be where they come from."""
    code = "from edgeattn.devices.profile import find; print(find('jetson').title)"
    run = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, cwd="/", check=False
    )
    assert run.stdout.strip() == "Jetson Orin Nano 8 GB", run.stderr


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("jetson", "jetson-orin-nano-8gb"),
        ("jetson-agx-orin", "jetson-agx-orin-64gb"),
        ("a100", "a100-80g-pcie"),
        ("rtx-3060", "rtx-3060-12gb"),
    ],
)
def test_aliases(alias, name):
    assert find(alias) == find(name)


def test_no_two_devices_share_an_alias():
    every = [*names(), *(alias for name in names() for alias in find(name).aliases)]
    assert len(set(every)) == len(every)


def test_an_exact_name_reads_one_file_only(monkeypatch):
    read = []
    loads = tomllib.loads
    monkeypatch.setattr(tomllib, "loads", lambda text: read.append(text) or loads(text))
    find("rtx-3090")
    assert len(read) == 1


@pytest.mark.parametrize(
    ("name", "offer"),
    [
        ("rtx3090", "rtx-3090"),
        ("Jetson", "jetson"),
        ("jetson-orin", "jetson-orin-nx"),
        ("zzzz", "edgeattn devices list"),
        ("", "edgeattn devices list"),
        ("__init__", "edgeattn devices list"),
    ],
)
def test_a_name_that_there_is_not(name, offer):
    with pytest.raises(InputError) as caught:
        find(name)
    assert repr(name) in caught.value.fact
    assert offer in caught.value.mend
    assert "See: edgeattn devices list" in caught.value.mend


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace("102.4", "90.5"))
    assert find(str(path)).bandwidth_gbps == 90.5
    assert find(str(path)).name == "mine"
    path.write_text('name = "bench"\n' + GOOD)
    assert find(str(path)).name == "bench"


def test_a_file_in_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(GPU)
    assert find("mine.toml") == find("./mine.toml")
    (tmp_path / "rtx-3090").mkdir()
    assert find("rtx-3090").name == "rtx-3090"


# Text that takes another's place in a good file, and what is to be said of it.
BAD = {
    "a key that there is not": (GOOD, "sms = 8\nclock", "sm = 8\nclock", ["sm is no key", "sms"]),
    "a key in another unit": (
        GOOD,
        "bandwidth_gbps = 102.4",
        "bandwidth_mbps = 102400",
        ["bandwidth_gbps is missing", "bandwidth_mbps is no key", "Did you mean bandwidth_gbps?"],
    ),
    "a key lacks": (GOOD, "clock_mhz = 1020\nmemory", "memory", ["clock_mhz is missing"]),
    "a key lacks in a mode": (GOOD, 'name = "25W"\n', "", ["power_mode[1].name is missing"]),
    "a key lacks that its kind needs": (GPU, "sms = 82\n", "", ["sms is missing", "a gpu needs"]),
    "negative": (
        GOOD,
        "bandwidth_gbps = 102.4",
        "bandwidth_gbps = -102.4",
        ["bandwidth_gbps is -102.4", "from 0.5 to 50000, in GB/s"],
    ),
    "zero": (
        GOOD,
        "sms = 8\nclock_mhz = 1020\nm",
        "sms = 0\nclock_mhz = 1020\nm",
        ["sms is 0", "whole number from 1"],
    ),
    "a part of an SM": (GPU, "sms = 82", "sms = 82.5", ["sms is 82.5", "whole number"]),
    "a unit in the text": (
        GOOD,
        "bandwidth_gbps = 102.4",
        'bandwidth_gbps = "102.4 GB/s"',
        ["bandwidth_gbps is '102.4 GB/s'", "must be a number", "in GB/s"],
    ),
    "MB/s": (GOOD, "bandwidth_gbps = 102.4", "bandwidth_gbps = 102400.0", ["102400", "in GB/s"]),
    "GHz": (GPU, "clock_mhz = 1695", "clock_mhz = 1.695", ["clock_mhz is 1.695", "in MHz"]),
    "bytes": (GPU, "cache_kib = 6144", "cache_kib = 6291456", ["last_level_cache_kib is 6291456"]),
    "percent": (GPU, "compute = 0.75", "compute = 75", ["efficiency.compute is 75", "0.01 to 1"]),
    "a part that is none": (GPU, "depthwise = 0.2", "depthwise = 0", ["efficiency.depthwise is 0"]),
    "a wait of a CPU": (
        CPU,
        "clock_mhz = 2400",
        "load_us = 0.5\nclock_mhz = 2400",
        ["load_us has no meaning for a cpu"],
    ),
    "not a number": (GPU, "clock_mhz = 1695", "clock_mhz = nan", ["clock_mhz is nan"]),
    "endless": (GPU, "kernel_floor_us = 2.5", "kernel_floor_us = inf", ["is inf", "in µs"]),
    "yes": (GPU, "sms = 82", "sms = true", ["sms is True", "whole number"]),
    "a kind that there is not": (
        GPU,
        'kind = "gpu"',
        'kind = "tpu"',
        ["kind is 'tpu'", "'jetson'"],
    ),
    "no kind": (GPU, 'kind = "gpu"', "", ["kind is missing"]),
    "a number for a capability": (GPU, '"8.6"', "8.6", ["compute_capability is 8.6", '"8.7"']),
    "a capability without a point": (GPU, '"8.6"', '"sm_86"', ["compute_capability is 'sm_86'"]),
    "a precision that there is not": (
        GPU,
        "int8 = 285",
        "int9 = 285",
        ["peak_tflops.int9", "'int8'"],
    ),
    "no peak in fp32": (GPU, "fp32 = 35.6\n", "", ["peak_tflops.fp32 is missing"]),
    "no bandwidth for the others": (
        GPU,
        "other = 0.85",
        "",
        ["efficiency.bandwidth.other is missing"],
    ),
    "a kind of kernel that there is not": (
        GPU,
        "pooling = 0.8",
        "pools = 0.8",
        ["efficiency.bandwidth.pools", "'pooling'"],
    ),
    "a version that is none": (GOOD, '"10.3"', '"ten"', ["jetpack[2].tensorrt is 'ten'", '"10.3"']),
    "the newest JetPack not last": (
        GOOD,
        '"8.5.2"',
        '"10.20"',
        ["jetpack", "newest TensorRT last"],
    ),
    "an opset out of bounds": (GOOD, "opset = 24", "opset = 240", ["jetpack[3].opset is 240"]),
    "a mode faster than the device": (
        GOOD,
        "clock_mhz = 918",
        "clock_mhz = 1918",
        ["power_mode[1].clock_mhz is 1918", "at most the device's own clock_mhz, 1020"],
    ),
    "a mode with more SMs": (GOOD, "sms = 4", "sms = 9", ["power_mode[3].sms is 9", ", 8"]),
    "a cap on a memory clock that is not said": (
        GOOD,
        "memory_mhz = 3199  # EMC of the Super modes\n",
        "",
        ["power_mode[0].memory_mhz is 3199", "which is missing"],
    ),
    "two modes of one name": (GOOD, '"25W"', '"7W"', ["power_mode has one name twice"]),
    "a default that is no mode": (
        GOOD,
        'mode = "15W"',
        'mode = "16W"',
        ["default_power_mode must be one of MAXN_SUPER, 25W"],
    ),
    "a GPU with JetPack": (
        GPU,
        "[peak_tflops]",
        f"{JETPACK}\n[peak_tflops]",
        ["jetpack has no meaning for a gpu"],
    ),
    "a table for an array": (
        GOOD,
        'aliases = ["jetson", "jetson-orin-nano"]',
        'aliases = "jetson"',
        ["aliases is 'jetson'", "must be an array"],
    ),
    "a number for a table": (
        GPU,
        "[efficiency]\ncompute = 0.75\ndepthwise = 0.2\n\n[efficiency.bandwidth]",
        "[[efficiency]]",
        ["efficiency is", "must be a table"],
    ),
    "a number for text": (GPU, 'title = "GeForce RTX 3090"', "title = 3090", ["title is 3090"]),
    "a guess at a key that is not there": (
        GPU,
        '"efficiency.bandwidth.pooling"',
        '"kernel_floor"',
        ["guesses names 'kernel_floor'"],
    ),
    "no TOML": (GPU, "sms = 82", "sms 82", ["is no TOML", "line 5"]),
    "nothing": (GPU, GPU, "", ["title is missing", "clock_mhz is missing"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files(tmp_path, case):
    text, old, new, said = BAD[case]
    assert text.count(old) >= 1, "the case does not fit the file any more"
    path = tmp_path / "bad.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        find(str(path))
    message = str(caught.value)
    for words in (str(path), *said):
        assert words in message
    assert "pydantic" not in message
    assert "Value error" not in message
    assert "Input should" not in message
    compared = re.search(r"Compare with (\S+)", caught.value.mend)
    assert compared
    assert Path(compared[1]).is_file()


def test_every_fault_is_told_at_once(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(GPU.replace("sms = 82", "sms = -1").replace("936", "0"))
    with pytest.raises(InputError, match="describes no device") as caught:
        find(str(path))
    assert "sms is -1" in caught.value.fact
    assert "bandwidth_gbps is 0" in caught.value.fact


@pytest.mark.parametrize("data", [b"title = '\xff'", b"\x00", b"a = " + b"[" * 50_000])
def test_bytes_that_are_no_toml(tmp_path, data):
    path = tmp_path / "bad.toml"
    path.write_bytes(data)
    with pytest.raises(InputError, match="is no TOML"):
        find(str(path))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="There is no file") as caught:
        find(str(tmp_path / "rtx-309.toml"))
    assert "Did you mean rtx-3090" in caught.value.mend


def test_a_folder(tmp_path):
    (tmp_path / "mine.toml").mkdir()
    for place in (tmp_path / "mine.toml", f"{tmp_path}{os.sep}"):
        with pytest.raises(InputError, match="is a folder"):
            find(str(place))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(GPU)
    path.chmod(0)
    with pytest.raises(InputError, match=r"mine\.toml"):
        find(str(path))


def test_reading_costs_no_heavy_library():
    code = (
        "import sys\nfrom edgeattn.devices.profile import find\nfind('jetson')\n"
        "print([n for n in ('torch', 'onnx', 'onnx_ir', 'numpy', 'rich', 'typer')"
        " if n in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False
    )
    assert run.stdout.strip() == "[]", run.stderr
