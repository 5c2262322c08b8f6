"""The machine while it measures: what else ran on it, its clocks, and whether it was throttled."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgeattn.hosts.quiet import MOST_CORES_OF_OTHERS, STEADY
from edgeattn.records.trace import Machine
from edgeattn.runtimes import runner

_CPU_TIMES: Final = ("user", "system", "children_user", "children_system")
_THROTTLES: Final = "/sys/devices/system/cpu/cpu*/thermal_throttle/*_throttle_count"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What the machine did during a span of time.

    Attributes:
        cores_of_others: CPU time of other processes and of a hypervisor, over wall-clock time.
        clock_mhz: Lowest and highest clock of a core that was seen; None if none is told.
        throttled: How often a core was throttled; None if that is not told.
    """

    cores_of_others: float
    clock_mhz: tuple[float, float] | None
    throttled: int | None


class Watch:
    """Watches the machine from when it is made; `look` now and then, while nothing is timed."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._busy_s, self._own_s = _busy_s(), _own_s()
        self._throttles = _throttles()
        self._clocks: list[float] = []
        self.look()

    def look(self) -> None:
        """Note the clocks of this moment."""
        import psutil

        try:
            found = psutil.cpu_freq()
        except (OSError, NotImplementedError, AttributeError):
            found = None
        if found is not None and found.current:
            self._clocks.append(float(found.current))

    def load(self) -> Load:
        """Return what the machine did since the watch was made."""
        self.look()
        wall_s = time.perf_counter() - self._began
        others_s = (_busy_s() - self._busy_s) - (_own_s() - self._own_s)
        throttles = _throttles()
        known = throttles is not None and self._throttles is not None
        return Load(
            cores_of_others=max(0.0, others_s / wall_s),
            clock_mhz=(min(self._clocks), max(self._clocks)) if self._clocks else None,
            throttled=(throttles or 0) - (self._throttles or 0) if known else None,
        )


def warnings_of(load: Load) -> list[str]:
    """Return why a measurement under a load is not to be trusted."""
    found = []
    if load.cores_of_others > MOST_CORES_OF_OTHERS:
        found.append(
            f"Other processes, or other guests of this host, had {load.cores_of_others:.2f} cores"
            " while this was measured."
        )
    if load.clock_mhz is not None and load.clock_mhz[1] > load.clock_mhz[0] * (1 + STEADY):
        low, high = load.clock_mhz
        found.append(f"The clock changed while this was measured: {low:.0f} to {high:.0f} MHz.")
    if load.throttled:
        found.append(f"The processor was throttled {load.throttled} times while this was measured.")
    return found


def _busy_s() -> float:
    """Return the seconds that cores were busy since the start, or were given to other guests."""
    import psutil

    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    # Linux counts a guest's time as the user's too.
    guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    return float(sum(times) - idle - guests)


def _own_s() -> float:
    import psutil

    process = psutil.Process()
    total = 0.0
    for one in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            # With those of its own that have ended.
            total += sum(getattr(one.cpu_times(), name, 0.0) for name in _CPU_TIMES)
    return total


def _throttles() -> int | None:
    """Return how often cores were throttled since the start; None if the system does not say."""
    counts = []
    for path in Path("/").glob(_THROTTLES.lstrip("/")):
        try:
            counts.append(int(path.read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue
    return sum(counts) if counts else None


def this_cpu(threads: int, facts: Mapping[str, str]) -> Machine:
    """Describe this machine's processor, with the bandwidths that copies reach here.

    Args:
        threads: Threads that compute.
        facts: What else is known.
    """
    return Machine(
        device="this-machine",
        title=f"{runner.cpu_name()}, {threads} threads",
        **runner.machine(threads),
        facts={**facts, "measured": now()},
    )


def now() -> str:
    """Return the time of day, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
