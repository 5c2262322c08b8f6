"""Whether a host was quiet while it measured: clocks that moved, heat, what others did there."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edgeattn.base.legible import legible
from edgeattn.hosts.looks import Looks, number

if TYPE_CHECKING:
    from edgeattn.hosts.probe import HostFacts

#: Cores that other processes had, and above which a figure is not to be trusted.
MOST_CORES_OF_OTHERS: Final = 0.1
#: Clocks further apart than this have changed.
STEADY: Final = 0.05
# A GPU that is less busy than this does not compute what is measured; one that is more busy than
# the other before anything runs computes for others. In thousandths, as the driver has it.
_GPU_IDLES, _GPU_OF_OTHERS = 200.0, 50.0
# Bits of a Raspberry Pi's get_throttled.
_RASPBERRY: Final = {
    1: "its voltage was too low",
    2: "its clock was capped",
    4: "it was throttled",
    8: "it was held back for its temperature",
}
# What /proc/stat counts as idle: its fourth and fifth number.
_IDLE: Final = slice(3, 5)
_KERNEL: Final = 2  # the process whose children are the kernel's own
_SSH: Final = ("sshd", "dropbear")
# Those that had most are named: so many, if they had so much.
_MOST_NAMED, _NAMED = 3, 0.01


@dataclass(slots=True)
class Processes:
    """What every process has had of the processors by some moment.

    Attributes:
        own: The process that looked.
        time_s: When, in seconds of uptime.
        ticks_per_s: Clock ticks in a second.
        all: Of each process its parent, what it has had in clock ticks, and its name.
    """

    own: int = 0
    time_s: float = 0.0
    ticks_per_s: float = 100.0
    all: dict[int, tuple[int, float, str]] = field(default_factory=dict)

    @classmethod
    def read(cls, lines: Sequence[str]) -> Processes:
        """Read what the script's `processes` says."""
        found = cls()
        for line in lines:
            kind, *words = line.split()[:5] or [""]
            values = [number(word) for word in words[:3]]
            if len(values) < 3 or None in values:
                continue
            first, second, third = (one or 0.0 for one in values)
            if kind == "uptime":
                found.own, found.time_s, found.ticks_per_s = int(first), second, max(1.0, third)
            elif kind == "process" and len(words) > 3:
                found.all[int(first)] = (int(second), third, legible(words[3]))
        return found

    def ours(self) -> set[int]:
        """Return the processes that this connection started: all below its sshd, and the kernel's.

        What the kernel does by threads of its own, it does mostly for what is measured.
        """
        chain = [self.own]
        while (parent := self.all.get(chain[-1], (0, 0.0, ""))[0]) > 1 and parent not in chain:
            chain.append(parent)
        serving = [one for one in chain if self.all.get(one, (0, 0.0, ""))[2].startswith(_SSH)]
        # The user's, and the one with root's rights above it; not the one that listens.
        roots = {serving[0] if serving else chain[-1], _KERNEL}
        if len(serving) > 1 and self.all[serving[1]][0] > 1:
            roots.add(serving[1])
        ours = set(roots)
        while more := {one for one, said in self.all.items() if said[0] in ours} - ours:
            ours |= more
        return ours


def busy_ticks(line: str) -> tuple[float, float] | None:
    """Read what the script's `moment` says: the uptime, and the clock ticks that were busy."""
    time_s, *ticks = [number(word) for word in line.split()[:9]] or [None]
    known = [one for one in ticks if one is not None]
    if time_s is None or len(known) < _IDLE.stop or len(known) < len(ticks):
        return None
    return time_s, sum(known) - sum(known[_IDLE])


def cores_of_others(before: Processes, after: Processes) -> dict[str, float]:
    """Return the processor time of each process that is not ours, over what has passed.

    Processes that came and went meanwhile are not seen.
    """
    ours, seconds = after.ours(), after.time_s - before.time_s
    found: dict[str, float] = {}
    for process, (_, ticks, name) in after.all.items():
        if process not in ours and seconds > 0:
            had = before.all.get(process, (0, 0.0, ""))[1]
            cores = max(0.0, ticks - had) / after.ticks_per_s / seconds
            found[name] = found.get(name, 0.0) + cores
    return dict(sorted(found.items(), key=lambda one: -one[1]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Everything that was seen of a host.

    Attributes:
        looks: Its power, clocks, temperatures and load.
        idle: When nothing of ours ran, in seconds of uptime.
        ran: When models ran.
        before: Its processes before they did.
        after: The same afterwards.
        busy_before: Processors that were busy while nothing of ours ran; None if not known.
    """

    looks: Looks
    idle: tuple[tuple[float, float], ...]
    ran: tuple[tuple[float, float], ...]
    before: Processes
    after: Processes
    busy_before: float | None = None

    def values(self, kind: str, spans: Sequence[tuple[float, float]]) -> dict[str, list[float]]:
        """Return what was seen of a kind of file in spans of time, by label."""
        found: dict[str, list[float]] = {}
        for began_s, ended_s in spans:
            for label, value in self.looks.between(kind, began_s, ended_s):
                found.setdefault(label, []).append(value)
        return found

    @property
    def while_ran(self) -> tuple[tuple[float, float], ...]:
        """When models ran; everything from the first look on, if nobody said when."""
        return self.ran or ((self.before.time_s, self.after.time_s),)

    @property
    def whole(self) -> tuple[tuple[float, float], ...]:
        """From the first look to the last."""
        return ((0.0, math.inf),)


@dataclass(frozen=True, slots=True)
class _Clock:
    """A clock while models ran: of what, its lowest, its median, its highest and its bound."""

    title: str
    mhz: tuple[float, ...]
    most_mhz: float | None


def _clock(seen: Seen, host: HostFacts) -> _Clock | None:
    """Return the clock of what computes: the GPU's, or the fastest processors'."""
    if (host.l4t or host.gpu) and (gpu := seen.values("gpu_hz", seen.while_ran)):
        loads = [
            one for values in seen.values("gpu_load", seen.while_ran).values() for one in values
        ]
        if not loads or statistics.median(loads) >= _GPU_IDLES:
            label = next((one for one in gpu if "gpc" in one), next(iter(gpu)))
            most = seen.values("gpu_most_hz", seen.whole).get(label)
            return _Clock(
                "GPU", tuple(one / 1e6 for one in gpu[label]), max(most) / 1e6 if most else None
            )
    if cpu := seen.values("cpu_khz", seen.while_ran):
        label = max(cpu, key=lambda one: max(cpu[one]))
        most = seen.values("cpu_most_khz", seen.whole).get(label)
        return _Clock(
            "CPU", tuple(one / 1e3 for one in cpu[label]), max(most) / 1e3 if most else None
        )
    return None


def warnings_of(seen: Seen, host: HostFacts) -> list[str]:
    """Return why what was measured is not to be trusted."""
    return [
        *_of_clock(seen, host),
        *(f"The host was throttled while this was measured: {one}." for one in _throttled(seen)),
        *_of_others(seen),
    ]


def _of_clock(seen: Seen, host: HostFacts) -> Iterator[str]:
    clock = _clock(seen, host)
    if clock is None:
        return
    low, high = min(clock.mhz), max(clock.mhz)
    pin = " sudo jetson_clocks pins it, there." if host.l4t else ""
    if host.gpu and clock.title == "GPU":
        pin = " sudo nvidia-smi -lgc pins it, there."
    # What a PC allows one core is more than all may have.
    is_turbo = host.architecture.startswith(("x86", "i686")) and clock.title == "CPU"
    if high > low * (1 + STEADY):
        yield (
            f"The {clock.title}'s clock changed while this was measured: {low:.0f} to"
            f" {high:.0f} MHz.{pin}"
        )
    elif not is_turbo and clock.most_mhz and clock.most_mhz > high * (1 + STEADY):
        yield (
            f"The {clock.title} ran at {high:.0f} MHz, where its mode allows"
            f" {clock.most_mhz:.0f}.{pin}"
        )


def _throttled(seen: Seen) -> Iterator[str]:
    """Say how a host was throttled while models ran."""
    for label, states in seen.values("cooling", seen.while_ran).items():
        if max(states) > 0:
            yield f"{label} was in state {max(states):.0f}"
    for kind, what in (("overcurrents", "over-current"), ("throttles", "thermal")):
        for label, counts in seen.values(kind, seen.whole).items():
            if counts[-1] > counts[0]:
                yield f"{counts[-1] - counts[0]:.0f} {what} events ({label})"
    for states in seen.values("raspberry_throttled", seen.while_ran).values():
        for bit, what in _RASPBERRY.items():
            if any(int(state) & bit for state in states):
                yield what


def _of_others(seen: Seen) -> Iterator[str]:
    others = cores_of_others(seen.before, seen.after)
    if sum(others.values()) > MOST_CORES_OF_OTHERS:
        most = [f"{name} {cores:.2f}" for name, cores in others.items() if cores >= _NAMED]
        yield (
            f"Other processes had {sum(others.values()):.2f} cores while this was measured:"
            f" {', '.join(most[:_MOST_NAMED])}."
        )
    busy = seen.busy_before
    if busy is not None and busy > MOST_CORES_OF_OTHERS:
        yield f"{busy:.2f} cores were busy before anything of ours ran."
    loads = [one for values in seen.values("gpu_load", seen.idle).values() for one in values]
    if loads and statistics.median(loads) > _GPU_OF_OTHERS:
        yield (
            f"The GPU was busy before anything of ours ran: {statistics.median(loads) / 10:.0f} %"
            " of the time."
        )


def facts_of(seen: Seen, host: HostFacts) -> dict[str, str]:
    """Return what is known of a host while models ran, in words."""
    found: dict[str, str] = {}
    if clock := _clock(seen, host):
        low, high = min(clock.mhz), max(clock.mhz)
        most = f", of {clock.most_mhz:.0f} that its mode allows" if clock.most_mhz else ""
        found[f"{clock.title} clock"] = (
            f"{statistics.median(clock.mhz):.0f} MHz ({low:.0f} to {high:.0f}){most}"
        )
    temperatures = seen.values("millidegrees", seen.whole)
    if temperatures:
        label = max(temperatures, key=lambda one: max(temperatures[one]))
        first, last, most_mc = (
            temperatures[label][0], temperatures[label][-1], max(temperatures[label]),
        )  # fmt: skip
        found["temperature"] = (
            f"{label.removesuffix('-thermal')} {first / 1e3:.0f} °C before, {most_mc / 1e3:.0f} at"
            f" most, {last / 1e3:.0f} after"
        )
    throttled = list(_throttled(seen))
    kinds = ("cooling", "overcurrents", "throttles", "raspberry_throttled")
    if throttled or any(seen.values(kind, seen.whole) for kind in kinds):
        found["throttled"] = "; ".join(throttled) or "no"
    before = seen.busy_before
    others = sum(cores_of_others(seen.before, seen.after).values())
    said = "" if before is None else f"{before:.2f} cores before, "
    return {**found, "other load": f"{said}{others:.2f} cores of others while models ran"}
