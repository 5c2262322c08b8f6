"""The GPU's clock while it measures, and what held it down: of NVIDIA's management library.

It is asked through `pynvml` where that is installed (nvidia-ml-py), and does without where it is
not, or where the device does not answer, as some of Jetson's do not.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable
from typing import Any, Final

# Clocks further apart than this have changed.
_STEADY: Final = 0.05
# The bits of nvmlClocksEventReasons that are not by design.
_REASONS: Final = {
    0x04: "its power limit",
    0x08: "a hardware slowdown",
    0x20: "its temperature",
    0x40: "its temperature, by hardware",
    0x80: "its power supply",
}


class Clocks:
    """What was seen of a GPU's clock, by one process or by several.

    Args:
        looks: The clock of each moment, in MHz, and the bits of what held it down.
    """

    def __init__(self, looks: Iterable[tuple[int, int]] = ()) -> None:
        self.looks = list(looks)

    @property
    def facts(self) -> dict[str, str]:
        """What was seen, in words."""
        if not self.looks:
            return {}
        low, high = min(self.looks)[0], max(self.looks)[0]
        return {"GPU clock": f"{low} MHz" if low == high else f"{low} to {high} MHz"}

    @property
    def warnings(self) -> list[str]:
        """Why a measurement meanwhile is not to be trusted."""
        found = []
        clocks = [clock for clock, _ in self.looks]
        if clocks and max(clocks) > min(clocks) * (1 + _STEADY):
            found.append(
                "The GPU's clock changed while this was measured:"
                f" {min(clocks)} to {max(clocks)} MHz. Lock it: nvidia-smi --lock-gpu-clocks=..."
            )
        seen = functools.reduce(operator.or_, (reasons for _, reasons in self.looks), 0)
        held = [reason for bit, reason in _REASONS.items() if seen & bit]
        if held:
            found.append(f"The GPU's clock was held down by {', '.join(held)}.")
        return found


class ClockWatch(Clocks):
    """Watches a GPU's clock; `look` now and then, while nothing is timed.

    Args:
        bus_id: Its PCI bus id.
    """

    def __init__(self, bus_id: str) -> None:
        super().__init__()
        self._nvml, self._device = _device(bus_id)

    def look(self) -> None:
        """Note the clock of this moment, and what holds it down."""
        if self._nvml is None:
            return
        try:
            clock = self._nvml.nvmlDeviceGetClockInfo(self._device, self._nvml.NVML_CLOCK_SM)
            # Older drivers and bindings know the older name only; both have it so far.
            reasons = self._nvml.nvmlDeviceGetCurrentClocksThrottleReasons(self._device)
        except self._nvml.NVMLError:
            self._nvml = None
        else:
            self.looks.append((int(clock), int(reasons)))


def _device(bus_id: str) -> tuple[Any, Any]:
    """Return the library and its handle of a GPU; None and None if it cannot be asked."""
    import importlib

    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return None, None
    try:
        nvml.nvmlInit()
        return nvml, nvml.nvmlDeviceGetHandleByPciBusId(bus_id.encode())
    except nvml.NVMLError:
        return None, None
