"""What would and would not work on a host, and how to mend it; nothing is changed there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

from edgeattn.base.errors import MissingError
from edgeattn.devices import profile
from edgeattn.hosts.probe import PYTHON_RUNTIMES, HostFacts, PythonRuntime, as_in_profile
from edgeattn.hosts.trtexec.commands import Trtexec
from edgeattn.records.trace import RUNTIMES

# Less than the first is short; nothing can be done with less than the second.
_SHORT_BYTES, _NO_BYTES = 2 << 30, 200 << 20
_LITTLE_BYTES: Final = 1 << 30
_CLOCK_OFF_S: Final = 120.0
# The mode of Super configurations that caps nothing, which not every profile has.
_UNCAPPED: Final = "MAXN_SUPER"

State = Literal["works", "limited", "absent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Whether something works there; `mend` says how to change what can be changed."""

    title: str
    state: State
    detail: str
    mend: str = ""


def checks(facts: HostFacts) -> tuple[Check, ...]:
    """Say what would and would not work on a host, and how to mend it."""
    found = (
        _connection(facts), _trtexec(facts), *(_python(facts, one) for one in PYTHON_RUNTIMES),
        _mode(facts), _power(facts), _memory(facts), _disk(facts), _clock(facts), _profile(facts),
    )  # fmt: skip
    return tuple(one for one in found if one is not None)


def _connection(facts: HostFacts) -> Check | None:
    if not facts.lacks:
        return None
    detail = f"there is no {', '.join(facts.lacks)}, which every run needs"
    return Check(
        title="tools",
        state="absent",
        detail=detail,
        mend="They come with coreutils and util-linux, and with most builds of busybox.",
    )


def _trtexec(facts: HostFacts) -> Check:
    title = "measure by trtexec"
    if facts.trtexec_fault:
        mend = "Run it there by hand: do its libraries belong to it?"
        return Check(title=title, state="absent", detail=facts.trtexec_fault, mend=mend)
    if facts.trtexec is None:
        mend = "sudo apt install libnvinfer-bin, there (or nvidia-jetpack: all of it)."
        if facts.l4t is None:
            mend = "TensorRT is NVIDIA's: without a GPU of theirs, ONNX Runtime measures."
        return Check(title=title, state="absent", detail="there is no trtexec", mend=mend)
    detail = f"TensorRT {facts.tensorrt}, {facts.trtexec}"
    try:
        trtexec = Trtexec.of(facts)
    except MissingError as error:
        return Check(title=title, state="absent", detail=error.fact, mend=error.mend)
    if not trtexec.has_layers:
        detail += "; it tells no layer information: kernels are matched by name"
        return Check(title=title, state="limited", detail=detail, mend="JetPack 4.6.1 has 8.2.")
    if facts.opset is not None:
        detail += f", which parses opsets up to {facts.opset}"
        mend = f"Export with --opset {facts.opset} or lower."
        return Check(title=title, state="works", detail=detail, mend=mend)
    return Check(title=title, state="works", detail=detail)


def _python(facts: HostFacts, runtime: PythonRuntime) -> Check:
    title, python = f"measure by {RUNTIMES[runtime]}", facts.python(runtime)
    if python is not None:
        detail = f"{python.version_of(runtime)}, of {python.path} ({python.version})"
        if runtime == "openvino":
            detail += f"; its devices: {', '.join(python.devices)}"
        return Check(title=title, state="works", detail=detail)
    broken = [one for one in facts.pythons if one.fault_of(runtime)]
    if broken:
        detail = f"{broken[0].path}: {broken[0].fault_of(runtime)}"
        mend = f"Try it there: {broken[0].path} -c 'import numpy, {runtime}'"
        return Check(title=title, state="absent", detail=detail, mend=mend)
    if not facts.pythons:
        return Check(title=title, state="absent", detail="there is no Python 3")
    path = facts.pythons[0].path
    mend = (
        f"{path} -m pip install --user {runtime}, there. Where pip refuses that: {path} -m venv"
        f" ~/edgeattn, then ~/edgeattn/bin/pip install {runtime}; it is found there."
    )
    detail = "no Python there has it, with numpy"
    return Check(title=title, state="absent", detail=detail, mend=mend)


def _mode(facts: HostFacts) -> Check | None:
    """Say whether the power mode is the fastest that the device has."""
    if facts.l4t is None:
        return None
    title = "power mode"
    if facts.power_mode is None:
        detail = "nvpmodel does not tell it to this user"
        mend = "What is measured is of the mode that is set: see it by sudo nvpmodel -q, there."
        return Check(title=title, state="limited", detail=detail, mend=mend)
    best = _fastest(facts)
    if best is None or best[1] == facts.power_mode:
        return Check(title=title, state="works", detail=facts.power_mode)
    return Check(
        title=title,
        state="limited",
        detail=f"{facts.power_mode}, and {best[1]} is faster",
        mend=f"What is measured is of {facts.power_mode}. For the other, there: sudo nvpmodel -m"
        f" {best[0]}",
    )


def _fastest(facts: HostFacts) -> tuple[int, str] | None:
    """Return the number and the name of the fastest mode; None if it, or our own, is not known."""
    device = profile.find(facts.device) if facts.device else None
    speeds = {one.name: one.clock_mhz * one.sms for one in device.power_mode} if device else {}
    speeds.setdefault(_UNCAPPED, math.inf)
    named = {number: as_in_profile(one, device) for number, one in facts.power_modes.items()}
    known = [(speeds[name], number, name) for number, name in named.items() if name in speeds]
    if not known or facts.power_mode not in speeds:
        return None
    _, number, name = max(known, key=lambda one: (one[0], one[2] == facts.power_mode))
    return number, name


def _power(facts: HostFacts) -> Check:
    if facts.rails:
        return Check(title="power", state="works", detail=", ".join(facts.rails))
    detail = "not to be had: no rail can be read"
    mend = ""
    if facts.architecture.startswith(("x86", "i686")):
        mend = (
            "RAPL, where a processor has it, is root's, there:"
            " sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj"
        )
    return Check(title="power", state="absent", detail=detail, mend=mend)


def _memory(facts: HostFacts) -> Check | None:
    free = facts.memory_free_bytes
    if free >= _LITTLE_BYTES:
        return None
    return Check(
        title="memory",
        state="limited",
        detail=f"{free / 1e9:.1f} GB of {facts.memory_bytes / 1e9:.1f} GB to be had: builds of"
        " engines may die",
        mend="End what runs there; a desktop, for one: sudo systemctl isolate multi-user",
    )


def _disk(facts: HostFacts) -> Check:
    free = facts.disk_free_bytes
    detail = f"{free / 1e9:.1f} GB free in {facts.folder}"
    if free >= _SHORT_BYTES:
        return Check(title="disk", state="works", detail=detail)
    mend = "Free some space there, or have its login set TMPDIR to a folder with space."
    return Check(
        title="disk", state="limited" if free >= _NO_BYTES else "absent", detail=detail, mend=mend
    )


def _clock(facts: HostFacts) -> Check:
    off = facts.clock_off_s
    if abs(off) <= _CLOCK_OFF_S:
        return Check(title="clock", state="works", detail="agrees with ours")
    return Check(
        title="clock",
        state="limited",
        detail=f"{abs(off):,.0f} s {'ahead of' if off > 0 else 'behind'} ours; times are taken from"
        " its uptime",
        mend="sudo timedatectl set-ntp true, there: else apt and https may fail.",
    )


def _profile(facts: HostFacts) -> Check:
    title = "device profile"
    if facts.device is None:
        mend = f"edgeattn devices calibrate --on {facts.address} writes one."
        return Check(title=title, state="absent", detail="none is of this board", mend=mend)
    detail = " ".join([facts.device, *(f"({note})" for note in facts.notes)])
    return Check(title=title, state="limited" if facts.notes else "works", detail=detail)
