"""The figures of a GPU that are solved for, and how they hang together.

Each is a sum of x, in logarithms: efficiencies of all types move together, and each a little by
itself; so do the kinds of kernels with the bandwidth.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edgeattn.devices.efficiency import Efficiency
from edgeattn.devices.schema import DeviceProfile

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

#: The figures that all kernels have, or all engines.
ALWAYS: Final = ("kernel_floor_us", "last_level_gbps", "load_us")
# Spreads of what a start says, as standard deviations of the logarithm: of a guess, and of what
# rests on something.
_GUESS: Final = 0.4
_SOURCED: Final = 0.2
# What one type, or one kind of kernel, may differ by from the others.
_BY_ITSELF: Final = 0.2
# No part of a peak is less.
_LEAST_PART: Final = 0.01


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of a device that are solved for.

    Attributes:
        keys: Their keys.
        sums: f64[keys, x]: which x the logarithm of each is the sum of. The last x are what the
            profiler adds to the kernels of each engine.
        trusted: The spread of each x.
    """

    keys: tuple[str, ...]
    sums: Array
    trusted: Array

    @classmethod
    def of(
        cls,
        start: DeviceProfile,
        kinds: Collection[str],
        types: Collection[str],
        added: Sequence[float],
    ) -> Figures:
        """Return those that some kernels tell of.

        Args:
            start: What is believed of the device.
            kinds: The kinds of the kernels.
            types: What their efficiency is of: a type, depthwise, or "".
            added: How sure it is what a profiler adds to the kernels of each engine.
        """
        import numpy as np

        kinds = {*start.efficiency.bandwidth, *kinds}
        parts: dict[str, tuple[str, ...]] = {key: (key,) for key in ALWAYS}
        parts["efficiency.compute"] = ("efficiency.compute",)
        for one in sorted({*types} - {"", "depthwise"}):
            parts[f"efficiency.types.{one}"] = ("efficiency.compute", f"efficiency.types.{one}")
        if "depthwise" in types:
            parts["efficiency.depthwise"] = ("efficiency.depthwise",)
        for kind in sorted(kinds):
            key = f"efficiency.bandwidth.{kind}"
            parts[key] = ("efficiency.bandwidth", key)
        names = list(dict.fromkeys(name for names in parts.values() for name in names))
        sums = np.zeros((len(parts), len(names) + len(added)))
        for row, own in enumerate(parts.values()):
            for name in own:
                sums[row, names.index(name)] = 1
        trusted = [_trusted(name, start) for name in names]
        trusted += added
        return cls(tuple(parts), sums, np.array(trusted))

    def row(self, key: str) -> Array:
        """Return which x a figure is the sum of; none for no figure."""
        found: Array = self.sums[self.keys.index(key)] if key in self.keys else self.sums[0] * 0
        return found

    def values(self, device: DeviceProfile) -> dict[str, float]:
        """Return what each is."""
        return {key: _value(device, key) for key in self.keys}

    def moved(
        self, start: DeviceProfile, x: Array, *, without: Collection[str] = ()
    ) -> DeviceProfile:
        """Return a device with its figures moved, but for those that it shall not say."""
        by = dict(zip(self.keys, self.sums @ x, strict=True))
        found: dict[str, Any] = {"efficiency": start.efficiency.model_dump()}
        for key, more in by.items():
            *tables, last = key.split(".")
            table = found
            for name in tables:
                table = table[name]
            value = _value(start, key) * math.exp(more)
            table[last] = min(1.0, max(_LEAST_PART, value)) if tables else value
            if key in without:
                table[last] = None
        for name in ("types", "bandwidth"):
            parts = found["efficiency"][name]
            found["efficiency"][name] = {
                one: part for one, part in parts.items() if part is not None
            }
        return start.model_copy(update=found | {"efficiency": Efficiency(**found["efficiency"])})


def said_by(device: DeviceProfile) -> set[str]:
    """Return the figures that a file says itself."""
    efficiency = device.efficiency
    return {
        *(key for key in ALWAYS if getattr(device, key) is not None),
        "efficiency.compute",
        *(f"efficiency.types.{one}" for one in efficiency.types),
        *(f"efficiency.bandwidth.{kind}" for kind in efficiency.bandwidth),
        *(["efficiency.depthwise"] if efficiency.depthwise is not None else []),
    }


def _value(device: DeviceProfile, key: str) -> float:
    said = device.efficiency
    _, _, name = key.rpartition(".")
    if key in ALWAYS:
        return float(getattr(device, key))
    if key.startswith("efficiency.types."):
        return {str(one): part for one, part in said.types.items()}.get(name, said.compute)
    if key.startswith("efficiency.bandwidth."):
        parts = {str(kind): part for kind, part in said.bandwidth.items()}
        return parts.get(name, parts["other"])
    return said.compute if name == "compute" else said.depthwise or said.compute


def _trusted(name: str, start: DeviceProfile) -> float:
    """Return how far a figure of the start is trusted."""
    if name.count(".") > 1:
        return _BY_ITSELF
    # What no profile says follows from the clock, as on another GPU.
    is_guess = name in ("last_level_gbps", "load_us") or start.is_guess(name)
    return (
        _GUESS if is_guess or any(one.startswith(f"{name}.") for one in start.guesses) else _SOURCED
    )
