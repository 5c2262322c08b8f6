"""The GPU's clock while it measures, and what held it down: of NVIDIA's management library.

It is asked through `pynvml` where that is installed (nvidia-ml-py), and does without where it is
not, or where the device does not answer, as some of Jetson's do not.
"""

from __future__ import annotations

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


class ClockWatch:
    """Watches a GPU's clock; `look` now and then, while nothing is timed.

    Args:
        bus_id: Its PCI bus id.
    """

    def __init__(self, bus_id: str) -> None:
        self._nvml, self._device = _device(bus_id)
        self._clocks_mhz: list[int] = []
        self._reasons = 0

    def look(self) -> None:
        """Note the clock of this moment, and what holds it down."""
        if self._nvml is None:
            return
        try:
            clock = self._nvml.nvmlDeviceGetClockInfo(self._device, self._nvml.NVML_CLOCK_SM)
            self._clocks_mhz.append(int(clock))
            # Older drivers and bindings know the older name only; both have it so far.
            self._reasons |= self._nvml.nvmlDeviceGetCurrentClocksThrottleReasons(self._device)
        except self._nvml.NVMLError:
            self._nvml = None

    @property
    def facts(self) -> dict[str, str]:
        """What was seen, in words."""
        if not self._clocks_mhz:
            return {}
        low, high = min(self._clocks_mhz), max(self._clocks_mhz)
        return {"GPU clock": f"{low} MHz" if low == high else f"{low} to {high} MHz"}

    @property
    def warnings(self) -> list[str]:
        """Why a measurement meanwhile is not to be trusted."""
        found = []
        clocks = self._clocks_mhz
        if clocks and max(clocks) > min(clocks) * (1 + _STEADY):
            found.append(
                "The GPU's clock changed while this was measured:"
                f" {min(clocks)} to {max(clocks)} MHz. Lock it: nvidia-smi --lock-gpu-clocks=..."
            )
        held = [reason for bit, reason in _REASONS.items() if self._reasons & bit]
        if held:
            found.append(f"The GPU's clock was held down by {', '.join(held)}.")
        return found


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
