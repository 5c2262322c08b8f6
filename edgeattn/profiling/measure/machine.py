"""The machine while it measures: what else ran on it, its clocks, and whether it was throttled."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgeattn.hosts.quiet import MOST_CORES_OF_OTHERS, STEADY
from edgeattn.records.trace import Machine

_THROTTLES: Final = "/sys/devices/system/cpu/cpu*/thermal_throttle/*_throttle_count"
_LARGE_BYTES: Final = 128 << 20
# More than a core has for itself, and less than it has of the last cache, mostly.
_SMALL_BYTES: Final = 1 << 20
_CACHES: Final = "sys/devices/system/cpu/cpu0/cache/index*"
_UNITS: Final = {"K": 1, "M": 1024, "G": 1024 * 1024}
_COPIES: Final = 6
# A CPU's model is under one of these, by architecture and kernel.
_NAMES: Final = ("model name", "Hardware", "Model")


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


def cpu_name() -> str:
    """Return the processor's name, as the system has it."""
    said: Mapping[str, str] = {}
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        said = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    except OSError:
        pass
    named = next((said[name] for name in _NAMES if said.get(name)), "")
    return named or platform.processor() or platform.machine()


def usable_cores() -> int:
    """Return the cores that this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS, nor on Windows
        return os.cpu_count() or 1


def memory_bandwidth_gbps(threads: int) -> float:
    """Measure what the memory gives when all threads copy arrays larger than any last cache."""
    return _copied_gbps(_LARGE_BYTES, threads, times=1)


def cache_bandwidth_gbps(threads: int) -> float:
    """Measure what the last cache gives when all threads copy arrays larger than their own."""
    return _copied_gbps(_SMALL_BYTES, threads, times=_LARGE_BYTES // _SMALL_BYTES // 4)


def last_cache_kib(root: Path = Path("/")) -> int | None:
    """Return the size of the processor's last cache, as Linux tells it; None elsewhere."""
    found: dict[int, int] = {}
    for cache in root.glob(_CACHES):
        try:
            level = int((cache / "level").read_text(encoding="ascii"))
            size = re.fullmatch(r"(\d+)([KMG])", (cache / "size").read_text("ascii").strip())
        except (OSError, ValueError):
            continue
        if size:
            found[level] = int(size[1]) * _UNITS[size[2]]
    return found[max(found)] if found else None


def last_cache_bytes() -> int | None:
    """Return the same in bytes."""
    kib = last_cache_kib()
    return None if kib is None else 1024 * kib


def _copied_gbps(array_bytes: int, threads: int, *, times: int) -> float:
    """Return bytes read and written when all threads copy, in GB/s.

    The best of several copies counts: it is a bound that a floor is taken from. What a write reads
    beforehand is not counted.
    """
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    arrays = [
        (np.zeros(array_bytes, np.uint8), np.ones(array_bytes, np.uint8)) for _ in range(threads)
    ]

    def copy(pair: tuple[Any, Any]) -> None:
        for _ in range(times):
            np.copyto(*pair)

    best_s = float("inf")
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(_COPIES):
            began = time.perf_counter()
            list(pool.map(copy, arrays))
            best_s = min(best_s, time.perf_counter() - began)
    return 2 * array_bytes * times * threads / best_s / 1e9


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
    running = [process, *process.children(recursive=True)]
    own = process.cpu_times()
    total = float(own.children_user + own.children_system)  # of those that have ended
    for one in running:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = one.cpu_times()
            total += times.user + times.system
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
        title=f"{cpu_name()}, {threads} threads",
        bandwidth_gbps=memory_bandwidth_gbps(threads),
        cache_gbps=cache_bandwidth_gbps(threads),
        cache_bytes=last_cache_bytes(),
        threads=threads,
        facts={**facts, "measured": now()},
    )


def now() -> str:
    """Return the time of day, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
