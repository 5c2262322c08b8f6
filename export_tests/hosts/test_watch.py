"""What a host does and draws while models run there; its sensors are files that are written."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from edgeattn.hosts import probe as probing
from edgeattn.hosts.address import addresses
from edgeattn.hosts.connection import Ran, Room, connect
from edgeattn.hosts.looks import Looks
from edgeattn.hosts.meters import Meter, total
from edgeattn.hosts.probe import PythonFacts
from edgeattn.hosts.quiet import (
    Processes,
    Seen,
    busy_ticks,
    cores_of_others,
    facts_of,
    warnings_of,
)
from edgeattn.hosts.watch import watch
from edgeattn.profiling.samples import energy_difference
from edgeattn.records.trace import Power
from export_tests.hosts import trees
from export_tests.sshd import Sshd

_JETSON = probing.read(
    "orin", "architecture\taarch64\nrelease\t# R36 (release), REVISION: 4.3,", asked=0
)
_RAIL = "sys/class/hwmon/hwmon3/curr1_input"
# As strict as the real one about its options, and it says what it is.
_TEGRASTATS = """#!/bin/sh
[ "$1" = --interval ] && [ "$#" = 2 ] || { echo "a stand-in for tegrastats knows --interval" >&2; exit 64; }
while :; do
  echo '11-29-2026 01:02:03 RAM 2448/7620MB (lfb 2x4MB) SWAP 0/3810MB (cached 0MB) CPU [0%@729,off]' \
    'EMC_FREQ 0%@2133 GR3D_FREQ 99%@[611] gpu@48.5C VDD_IN 4940mW/4940mW VDD_CPU_GPU_CV' \
    '1000mW/1000mW VDD_SOC 1400mW/1400mW (of a stand-in)'
  sleep 0.1
done
"""  # noqa: E501  # a line of a program, and one of tegrastats'

_NVIDIA_SMI = """#!/bin/sh
case "$*" in
  '-i 0 -lms 200 --format=csv,noheader,nounits --query-gpu='*) ;;
  *) echo "a stand-in for nvidia-smi knows no $*" >&2; exit 64 ;;
esac
[ "${6#*=}" = power.draw,clocks.sm,clocks.max.sm,utilization.gpu,temperature.gpu ] || exit 64
echo 'a stand-in for nvidia-smi'
while echo '65.50, 1575, 1590, 98, 61'; do sleep 0.1; done
"""


def _uptime(room: Room) -> float:
    return float(room.sh("read -r up _ </proc/uptime; echo $up", limit_s=5).text)


class _Here:
    """A folder of this machine, in the place of one on a host: scripts run by another shell."""

    def __init__(self, folder: Path, shell: list[str]) -> None:
        self.folder, self._shell = folder, shell

    def _command(self, script: str, *arguments: str) -> list[str]:
        return [*self._shell, "-c", script, "sh", *arguments]

    def sh(self, script: str, *arguments: str, limit_s: float) -> Ran:
        command = self._command(script, *arguments)
        ran = subprocess.run(
            command, cwd=self.folder, capture_output=True, timeout=limit_s, check=False
        )
        return Ran(code=ran.returncode, stdout=ran.stdout, stderr=ran.stderr.decode())

    def talk(self, script: str, *arguments: str) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        command = self._command(script, *arguments)
        return subprocess.Popen(command, cwd=self.folder, stdin=pipe, stdout=pipe)

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()


@pytest.fixture
def here(request: pytest.FixtureRequest, tmp_path: Path) -> Room:
    """A folder, and a shell."""
    (tmp_path / "room").mkdir()
    return cast("Room", _Here(tmp_path / "room", getattr(request, "param", ["dash"])))


def test_a_watch_by_ssh(sshd: Sshd, tmp_path: Path) -> None:
    """What is watched is a host; and nothing is left there."""
    root = trees.lay(trees.AGX_ORIN, tmp_path)
    python = PythonFacts(path=sys.executable, version="3")
    facts = dataclasses.replace(_JETSON, pythons=(python,))
    with (
        connect(addresses([sshd.address])[0]) as host,
        host.stay() as room,
        watch(room, facts, root=str(root)) as found,
    ):
        began = _uptime(room)
        time.sleep(0.5)
        drawn = found.power([(began, _uptime(room))], 100)
        assert drawn is not None
        assert drawn.readings >= 4  # ten a second, where a Python ticks
        assert drawn.rail == "VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0"
        assert drawn.mean_w == pytest.approx(30)
        assert "other load" in found.facts()
    assert sshd.left == []
    assert (
        subprocess.run(["pgrep", "-f", str(root)], check=False, capture_output=True).stdout == b""
    )


@pytest.mark.parametrize(
    "here", [["dash"], ["busybox", "sh"]], ids=["dash", "busybox"], indirect=True
)
def test_power_by_hwmon(here: Room, tmp_path: Path) -> None:
    """What is drawn while it runs is told from what is drawn anyway, and the rail is named."""
    root = trees.lay(trees.ORIN_NX, tmp_path)
    with watch(here, _JETSON, root=str(root)) as found:
        found.idle(0.6)
        (root / _RAIL).write_text("3000\n")  # of 5 V: 15 W, after 5 W
        (root / "sys/class/thermal/thermal_zone1/temp").write_text("81000\n")
        time.sleep(0.3)
        began = _uptime(here)
        time.sleep(0.5)
        ended = _uptime(here)
        drawn = found.power([(began, ended)], 100)
        assert drawn is not None
        assert (drawn.rail, drawn.covers, drawn.source) == ("VDD_IN", "the whole module", "hwmon")
        assert drawn.mean_w == pytest.approx(15)
        assert drawn.idle_w == pytest.approx(5)
        assert drawn.energy_mj == pytest.approx(150 * (ended - began))
        assert drawn.above_idle_mj == pytest.approx(100 * (ended - began))
        assert drawn.rounds_mj == pytest.approx([drawn.energy_mj])
        assert drawn.rails_w["VDD_CPU_GPU_CV"] == pytest.approx(10)
        facts = found.facts()
        assert "cores before" in facts["other load"]
        assert facts["power"] == "VDD_IN, the whole module; by hwmon"
        assert facts["temperature"].startswith("gpu 47 °C before, 81 at most")
        assert any("read" in one and "times only" in one for one in found.warnings())
    time.sleep(0.3)
    assert here.sh(f"pgrep -f '{tmp_path} *$'", limit_s=5).text == ""


def test_power_by_tegrastats(here: Room, tmp_path: Path) -> None:
    """Where no rail is a file, tegrastats tells it; and it ends with the watch."""
    program = tmp_path / "usr/bin/tegrastats"
    program.parent.mkdir(parents=True)
    program.write_text(_TEGRASTATS)
    program.chmod(0o755)
    with watch(here, _JETSON, root=str(tmp_path)) as found:
        began = _uptime(here)
        time.sleep(0.4)
        ended = _uptime(here)
        drawn = found.power([(began, ended)], [10])
        assert drawn is not None
        assert (drawn.rail, drawn.source) == ("VDD_IN", "tegrastats")
        assert drawn.mean_w == pytest.approx(4.94)
        assert (drawn.idle_w, drawn.above_idle_mj) == (None, None)
        assert found.facts()["GPU clock"] == "611 MHz (611 to 611)"
    time.sleep(0.3)
    assert here.sh(f"pgrep -f {tmp_path}/[u]sr", limit_s=5).text == ""


def test_power_of_a_card(here: Room, tmp_path: Path) -> None:
    """nvidia-smi tells what a GPU on a card draws; RAPL adds the processor."""
    root = trees.lay(trees.GPU_BOX | {"usr/bin/nvidia-smi": _NVIDIA_SMI}, tmp_path)
    facts = dataclasses.replace(_JETSON, l4t=None, gpu="NVIDIA T4", architecture="x86_64")
    with watch(here, facts, root=str(root)) as found:
        began = _uptime(here)
        time.sleep(0.5)
        (root / "sys/class/powercap/intel-rapl:0/energy_uj").write_text("22345678\n")
        time.sleep(0.6)
        ended = _uptime(here)
        drawn = found.power([(began, ended)], 100)
        assert drawn is not None
        assert drawn.rail == "card + package-0"
        assert drawn.covers == "the GPU's card and the processor, without memory"
        assert drawn.source == "RAPL and nvidia-smi"
        assert drawn.rails_w["card"] == pytest.approx(65.5)
        assert drawn.rails_w["package-0"] == pytest.approx(10 / (ended - began), rel=0.5)
        assert found.facts()["GPU clock"] == "1575 MHz (1575 to 1575), of 1590 that its mode allows"
        assert found.facts()["temperature"] == "GPU 61 °C before, 61 at most, 61 after"


def test_no_power(here: Room, tmp_path: Path) -> None:
    """A board that tells nothing is watched all the same, and so it is said."""
    with watch(here, _JETSON, root=str(tmp_path)) as found:
        assert found.power([(0.0, 1e9)], 10) is None
        assert found.facts()["power"].startswith("not to be had")
        assert "other load" in found.facts()


@pytest.mark.parametrize(
    ("rails", "rail", "covers"),
    [
        (["VDD_SOC", "VDD_IN"], "VDD_IN", "the whole module"),
        (["POM_5V_IN", "POM_5V_GPU", "POM_5V_CPU"], "POM_5V_IN", "the whole module"),
        (
            ["VDDQ_VDD2_1V8AO", "VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"],
            "VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0",
            "the whole module",
        ),
        (
            ["GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"],
            "GPU + CPU + SOC + CV + VDDRQ + SYS5V",
            "the whole module",
        ),
        (["VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0", "VIN"], "VIN", "the whole board"),
        (["package-0", "package-1"], "package-0 + package-1", "the processor alone"),
        (["VDD_A", "VDD_B"], "VDD_A + VDD_B", "every rail"),
    ],
)
def test_the_rail_of_all(rails: list[str], rail: str, covers: str) -> None:
    """The rail that feeds all others is taken, else those that together are all."""
    found = total(rails)
    assert str(found) == rail
    assert found is not None
    assert found.covers.startswith(covers)


def test_tegrastats_lines() -> None:
    """Both ways of writing a rail are read, and memory is none."""
    found = Looks()
    found.add(
        "t 10.00 RAM 1200/3956MB (lfb 1x2MB) SWAP 0/1978MB IRAM 0/252kB(lfb 252kB) GR3D_FREQ 99%"
        " POM_5V_IN 2532/2532 POM_5V_GPU 0/0 POM_5V_CPU 405/405\n"
        "t 10.25 GPU 1234mW/1234mW CPU 311mW/311mW SOC -3mW/933mW\n"
        "t nan VDD_IN 1mW/1mW\nt 10.5\nf 10.6 1 2 3\nc 10.7 cpu x\n\x00\n"
    )
    assert [dict(one) for _, one in found.power] == [
        {"POM_5V_IN": 2.532, "POM_5V_GPU": 0.0, "POM_5V_CPU": 0.405},
        {"GPU": 1.234, "CPU": 0.311, "SOC": -0.003},
    ]
    assert [time_s for time_s, _ in found.power] == [10.0, 10.25]


def test_a_counter_that_begins_anew() -> None:
    """RAPL counts energy up to a bound, and from nothing again."""
    meter = Meter.of_counter([0.0, 1.0, 2.0, 3.0], [80.0, 95.0, 10.0, 25.0], 100.0)
    assert meter.energy_j(0.0, 3.0) == pytest.approx(45)
    assert meter.energy_j(1.2, 2.8) is None  # of one reading
    assert meter.energy_j(0.5, 2.5) == pytest.approx(30)


def test_what_was_not_read_is_not_told() -> None:
    """Outside of what was read, and in a gap of it, nobody knows what was drawn."""
    meter = Meter([0.0, 1.0, 2.0, 9.0, 10.0], watts=[4.0, 4.0, 5.0, 6.0, 6.0])
    assert meter.energy_j(0.0, 1.5) == pytest.approx(6)  # and what was read later says nothing
    assert meter.energy_j(8.5, 9.5) == pytest.approx(6)
    for span in ((1.5, 5.0), (10.0, 13.0), (-3.0, 1.0), (1.0, 1.0), (4.0, 4.5), (9.2, 9.7)):
        assert meter.energy_j(*span) is None
    assert Meter([]).energy_j(0.0, 1.0) is None


def _seen(columns: Sequence[str], looks: str, **more: object) -> Seen:
    found = Looks()
    found.columns("\n".join(f"column\t{one}\t/f\t0" for one in columns))
    found.add(looks)
    of = {
        "idle": (),
        "ran": ((10.0, 20.0),),
        "before": Processes(),
        "after": Processes(time_s=30.0),
    }
    return Seen(looks=found, **{**of, **more})  # type: ignore[arg-type]  # what a test gives


def _clock(*mhz: float, load: int = 900, most: float = 918) -> Seen:
    columns = ["gpu_hz\tgpu", "gpu_most_hz\tgpu", "gpu_load\tgpu", "cpu_khz\t0"]
    looks = "".join(
        f"s {11 + place}.00 {one * 1e6:.0f} {most * 1e6:.0f} {load} {1e6 + place * 5e5:.0f}\n"
        for place, one in enumerate(mhz)
    )
    return _seen(columns, looks)


def test_clocks() -> None:
    """The clock of what computes counts: the GPU's where it is busy, else the processors'."""
    assert warnings_of(_clock(918, 918, 910), _JETSON) == []
    (moved,) = warnings_of(_clock(306, 918, 918), _JETSON)
    assert moved.startswith("The GPU's clock changed while this was measured: 306 to 918 MHz.")
    (low,) = warnings_of(_clock(612, 612), _JETSON)
    assert low.startswith("The GPU ran at 612 MHz, where its mode allows 918.")
    (of_cpu,) = warnings_of(_clock(306, 918, load=3), _JETSON)
    assert of_cpu.startswith("The CPU's clock changed while this was measured: 1000 to 1500 MHz.")
    pc = probing.read("pc", "architecture\tx86_64", asked=0)
    turbo = _seen(["cpu_khz\t0", "cpu_most_khz\t0"], "s 11.00 3500000 4900000\n")
    assert warnings_of(turbo, pc) == []
    assert facts_of(_clock(918, 918), _JETSON)["GPU clock"] == (
        "918 MHz (918 to 918), of 918 that its mode allows"
    )


@pytest.mark.parametrize(
    ("kind", "before", "ran", "words"),
    [
        ("cooling\tcpufreq-cpu0", "0", "2", "cpufreq-cpu0 was in state 2"),
        ("overcurrents\toc1_event_cnt", "3", "5", "2 over-current events"),
        ("throttles\tpackage", "3", "4", "1 thermal events"),
        ("raspberry_throttled\tget_throttled", "0", "50005", "its voltage was too low"),
        ("raspberry_throttled\tget_throttled", "50000", "50000", None),
        ("cooling\tcpufreq-cpu0", "2", "0", None),
    ],
)
def test_throttling(kind: str, before: str, ran: str, words: str | None) -> None:
    """What held it back while it ran is said, and what did before is not."""
    seen = _seen([kind], f"s 5.00 {before}\ns 15.00 {ran}\n")
    found = " ".join(warnings_of(seen, _JETSON))
    assert words in found if words else found == ""
    assert facts_of(seen, _JETSON)["throttled"] != "no" if words else True


def test_others() -> None:
    """Processes that are not ours are named; ours are those below our sshd, and the kernel's."""
    lines = [
        "uptime 50 {} 100", "process 1 0 9 systemd", "process 2 0 0 kthreadd",
        "process 3 2 {} nvgpu", "process 10 1 9 sshd", "process 20 10 9 sshd-session",
        "process 30 20 {} sshd-session", "process 40 30 {} sh", "process 50 40 0 sh",
        "process 60 30 {} trtexec", "process 70 1 {} gnome-shell", "process nan 1 1 x", "",
        "uptime 1 nan inf", "process 80 1 1e999 x", "process 90", "uptime",
        "process 91 1 " + "9" * 99,
    ]  # fmt: skip
    first = Processes.read([line.format(10) if "{}" in line else line for line in lines])
    after = Processes.read([line.format(1010) if "{}" in line else line for line in lines])
    assert cores_of_others(first, after)["gnome-shell"] == pytest.approx(10 / 1000)
    assert set(cores_of_others(first, after)) == {"systemd", "sshd", "gnome-shell"}
    after.all[70] = (1, 51_010.0, "gnome-shell")
    seen = _seen([], "", before=first, after=after)
    (warning,) = warnings_of(seen, _JETSON)
    assert warning == ("Other processes had 0.51 cores while this was measured: gnome-shell 0.51.")


def test_a_host_that_was_busy_before() -> None:
    """Load and a busy GPU before anything runs are said."""
    looks = "".join(f"s {up}.00 700\n" for up in range(2, 6))
    seen = _seen(["gpu_load\tgpu"], looks, idle=((1.5, 5.5),), busy_before=1.0)
    found = warnings_of(seen, _JETSON)
    assert found == [
        "1.00 cores were busy before anything of ours ran.",
        "The GPU was busy before anything of ours ran: 70 % of the time.",
    ]
    assert facts_of(seen, _JETSON)["other load"].startswith("1.00 cores before")
    assert busy_ticks("10.5 100 0 20 900 50 1 2 3 0 0") == (10.5, 126.0)
    assert busy_ticks("cpu") is busy_ticks("") is busy_ticks("1 nan 1 1 1 1") is None


def _power(*rounds_mj: float | None, rail: str = "VDD_IN") -> Power:
    return Power(
        rail=rail, covers="the whole module", source="hwmon", mean_w=5, idle_w=4, energy_mj=50,
        above_idle_mj=10, rounds_mj=rounds_mj, seconds=9, runs=10, readings=36,
    )  # fmt: skip


def test_the_energy_of_pairs() -> None:
    """The difference of what was run by turns has an interval; of what was not, there is none."""
    found = energy_difference(_power(60, 61, 59, 60), _power(50, 51, 49, 50))
    assert found is not None
    assert (found.mj, found.rounds) == (10, 4)
    assert found.percent == pytest.approx(20)
    assert found.ci95[0] <= found.percent <= found.ci95[1]
    gaps = energy_difference(_power(60, None, 61, 62, 63), _power(50, 51, None, 52, 53))
    assert gaps is not None
    assert (gaps.mj, gaps.rounds) == (10, 3)
    ours = _power(60, 61, 60)
    for other in (_power(50), _power(50, None, 51), _power(50, 51, 50, rail="POM_5V_IN"), None):
        assert energy_difference(ours, other) is None
