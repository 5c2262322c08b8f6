"""The schema of device files: the hardware at its fastest, its power modes, its JetPacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, Self

from pydantic import model_validator

from edgeattn.base.errors import InputError
from edgeattn.base.nearest import did_you_mean, nearest
from edgeattn.base.versions import numbers
from edgeattn.devices.architecture import TENSORRT_RTX
from edgeattn.devices.efficiency import Efficiency, Peak
from edgeattn.devices.fields import (
    ComputeCapability,
    Count,
    Dlas,
    Gbps,
    Gib,
    Holds,
    Kib,
    Mhz,
    Microseconds,
    Opset,
    Table,
    Tflops,
    Traces,
    Version,
)

Kind = Literal["jetson", "gpu", "cpu"]

# What a model can be cast to.
_PRECISIONS: Final = ("fp32", "fp16", "int8")
# Bytes per clock that an SM gets out of L2. Its port is 64 wide; 3.0 TB/s (RTX 3090, 82 SMs) to
# 4.3 TB/s (A100, 108 SMs) is what the convolutions in NVIDIA's measured engines (docs/sources.md)
# take out of it, 21 to 28.
_L2_BYTES: Final = 32
# Clocks from asking for a piece of a product's operands to being done with it, where nothing
# overlaps: 0.36 µs at 1770 MHz is how much longer each further 64 input channels makes the 1x1
# convolutions of MobileNetV2 on a TITAN RTX (docs/sources.md), about three times L2's latency.
_LOAD_CLOCKS: Final = 640
# Which keys a device of each kind must have, and which it cannot.
_NEEDED: Final = {
    "jetson": ("compute_capability", "sms", "power_mode", "default_power_mode", "jetpack"),
    "gpu": ("compute_capability", "sms"),
    "cpu": ("cores",),
}
_REFUSED: Final = {
    "jetson": ("cores", "wake_us", "last_level_holds_us"),
    "gpu": ("cores", "dla_cores", "jetpack", "wake_us", "last_level_holds_us"),
    "cpu": (
        "compute_capability",
        "sms",
        "dla_cores",
        "enqueue_us",
        "load_us",
        "power_mode",
        "jetpack",
    ),
}


class PowerMode(Table):
    """A power mode: each has its own GPU clock, active SMs and memory clock.

    Attributes:
        memory_mhz: The cap on the memory clock (EMC); None if it is not capped.
    """

    name: str
    clock_mhz: Mhz
    sms: Count
    memory_mhz: Mhz | None = None


class JetPack(Table):
    """A JetPack release that serves the device: opset is the highest that its TensorRT parses."""

    l4t: str
    jetpack: str
    cuda: Version
    tensorrt: Version
    opset: Opset


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """The device in one power mode.

    Attributes:
        power_mode: Its name; "" if the device has none.
        clock_mhz: Clock of the GPU or the cores.
        sms: Active streaming multiprocessors, or None for a CPU.
        bandwidth_gbps: Memory bandwidth.
        last_level_gbps: Bandwidth of the last cache, or None if it is not known, as for a CPU.
        kernel_floor_us: What the smallest kernel adds.
        load_us: What one step of a product's loop waits, or None for a CPU.
        peak_tflops: Dense TFLOP/s, or TOP/s, by type.
    """

    power_mode: str
    clock_mhz: float
    sms: int | None
    bandwidth_gbps: float
    last_level_gbps: float | None
    kernel_floor_us: float
    load_us: float | None
    peak_tflops: dict[Peak, float]


class DeviceProfile(Table):
    """A device. Clock, SMs, peaks and bandwidth are its highest; `at` gives those of a mode.

    Attributes:
        name: The stem of its file, unless the file says another.
        compute_capability: Major and minor number, or None for a CPU.
        sms: Streaming multiprocessors, of a GPU.
        cores: Cores that compute, of a CPU; its figures are of as many threads.
        clock_mhz: Highest clock of the GPU or the cores.
        memory_mhz: The memory clock that gives `bandwidth_gbps`; needed if a mode caps it.
        memory_gib: What its memory holds, of the largest module that is called so; a Jetson's is
            the host's too. None if it is not known.
        bandwidth_gbps: Memory bandwidth.
        last_level_cache_kib: The last cache before memory: L2 on a GPU.
        last_level_holds_us: How long a CPU's last cache holds what is not touched; as long as there
            is room if not given. Whatever runs beside it, or on the same host, shares it.
        last_level_gbps: What can be read out of that cache. For a GPU, if not given: 32
            bytes per clock and SM. For a CPU, what the fastest kernels move while it holds all.
        kernel_floor_us: What the smallest kernel adds to the latency of a stream of kernels that
            wait for each other, launched as a CUDA graph. A profiler adds to it. In a power mode it
            grows as the clock falls.
        enqueue_us: What the host takes to launch one kernel of an engine, where it launches them
            one by one and not as a CUDA graph; it does not grow as the GPU's clock falls. If not
            given, the host is taken to keep ahead of the GPU.
        load_us: What one step of a product's loop waits for its operands where nothing else hides
            it. For a GPU, if not given: 640 clocks.
        wake_us: What waking a CPU's other threads adds to a kernel that all share; a guess if not
            given.
        peak_tflops: Dense TFLOP/s, or TOP/s, by type; a type without one is not faster than fp32.
        default_power_mode: The mode of a figure for which none was asked.
        power_mode: Its power modes.
        jetpack: The JetPack releases that serve it, the newest last.
        guesses: The keys, or tables of keys, that rest on no source.
        fitted_to: How many traces measured on such a device its figures were fitted to.
    """

    name: str
    title: str
    kind: Kind
    aliases: tuple[str, ...] = ()
    compute_capability: ComputeCapability | None = None
    sms: Count | None = None
    cores: Count | None = None
    clock_mhz: Mhz
    memory_mhz: Mhz | None = None
    memory_gib: Gib | None = None
    bandwidth_gbps: Gbps
    last_level_cache_kib: Kib
    last_level_holds_us: Holds | None = None
    last_level_gbps: Gbps | None = None
    dla_cores: Dlas = 0
    kernel_floor_us: Microseconds
    enqueue_us: Microseconds | None = None
    load_us: Microseconds | None = None
    wake_us: Microseconds | None = None
    peak_tflops: dict[Peak, Tflops]
    efficiency: Efficiency
    default_power_mode: str = ""
    power_mode: tuple[PowerMode, ...] = ()
    jetpack: tuple[JetPack, ...] = ()
    guesses: tuple[str, ...] = ()
    fitted_to: Traces = 0

    @property
    def newest_jetpack(self) -> JetPack | None:
        """The JetPack that is assumed if none is named, or None if this is no Jetson."""
        return self.jetpack[-1] if self.jetpack else None

    @property
    def tensorrt(self) -> str | None:
        """The TensorRT of that JetPack, or None if any may be installed."""
        return self.newest_jetpack.tensorrt if self.newest_jetpack else None

    @property
    def opset(self) -> int | None:
        """The highest opset that this TensorRT parses, or None if any may be installed."""
        return self.newest_jetpack.opset if self.newest_jetpack else None

    @property
    def precisions(self) -> tuple[str, ...]:
        """The precisions that have hardware of their own here."""
        return tuple(name for name in _PRECISIONS if name in self.peak_tflops)

    @property
    def runtimes(self) -> tuple[str, ...]:
        """The libraries whose engines it runs; none on a CPU."""
        if self.kind == "cpu":
            return ()
        takes_rtx = self.kind == "gpu" and self.compute_capability in TENSORRT_RTX
        return ("tensorrt", "tensorrt-rtx") if takes_rtx else ("tensorrt",)

    @property
    def whole(self) -> Self:
        """The device with what its file may leave out of a GPU."""
        if self.sms is None:
            return self
        cache = self.last_level_gbps or self.sms * self.clock_mhz * _L2_BYTES / 1e3
        load_us = self.load_us or _LOAD_CLOCKS / self.clock_mhz
        return self.model_copy(update={"last_level_gbps": cache, "load_us": load_us})

    def is_guess(self, key: str) -> bool:
        """Return whether a figure is a guess: its key as in `efficiency.bandwidth.pooling`."""
        return any(key == guess or key.startswith(f"{guess}.") for guess in self.guesses)

    def at(self, power_mode: str | None = None) -> OperatingPoint:
        """Return the clock, SMs, peaks, bandwidths and latencies in a power mode.

        Args:
            power_mode: Its name; None for the default.

        Raises:
            InputError: The device has no such mode.
        """
        chosen = self.default_power_mode if power_mode is None else power_mode
        if power_mode is None and not chosen:
            return self._point("", self.clock_mhz, self.sms, 1.0)
        mode = self._mode(chosen)
        memory = 1.0
        if mode.memory_mhz is not None and self.memory_mhz is not None:
            memory = mode.memory_mhz / self.memory_mhz
        return self._point(mode.name, mode.clock_mhz, mode.sms, memory)

    def _point(
        self, power_mode: str, clock_mhz: float, sms: int | None, memory: float
    ) -> OperatingPoint:
        """Scale the figures: what SMs do together by both, what takes clocks by the clock."""
        clock = clock_mhz / self.clock_mhz
        speed = clock * sms / self.sms if sms is not None and self.sms is not None else clock
        said = self.whole
        cache, load_us = said.last_level_gbps, said.load_us
        return OperatingPoint(
            power_mode=power_mode,
            clock_mhz=clock_mhz,
            sms=sms,
            bandwidth_gbps=self.bandwidth_gbps * memory,
            last_level_gbps=cache and cache * speed,
            kernel_floor_us=self.kernel_floor_us / clock,
            load_us=load_us and load_us / clock,
            peak_tflops={name: peak * speed for name, peak in self.peak_tflops.items()},
        )

    def _mode(self, name: str) -> PowerMode:
        modes = {mode.name: mode for mode in self.power_mode}
        if name in modes:
            return modes[name]
        if not modes:
            raise InputError(f"{self.title} has no power modes.", mend="Leave --power-mode out.")
        near = did_you_mean(nearest(name, modes, count=1))
        raise InputError(
            f"{self.title} has no power mode {name!r}.",
            mend=f"{near} It has {', '.join(modes)}.".strip(),
        )

    @model_validator(mode="after")
    def _check(self) -> Self:
        for key in _NEEDED[self.kind]:
            if not getattr(self, key):
                raise ValueError(f"{key} is missing, which a {self.kind} needs")
        for key in _REFUSED[self.kind]:
            if getattr(self, key):
                raise ValueError(f"{key} has no meaning for a {self.kind}")
        if "fp32" not in self.peak_tflops:
            raise ValueError("peak_tflops.fp32 is missing")
        if "other" not in self.efficiency.bandwidth:
            raise ValueError("efficiency.bandwidth.other is missing")
        self._check_modes()
        versions = [numbers(row.tensorrt) for row in self.jetpack]
        if versions != sorted(set(versions)):
            raise ValueError("jetpack must have the newest TensorRT last, and each once")
        for guess in self.guesses:
            self._check_guess(guess)
        return self

    def _check_modes(self) -> None:
        names = [mode.name for mode in self.power_mode]
        if len(set(names)) < len(names):
            raise ValueError("power_mode has one name twice")
        if (names or self.default_power_mode) and self.default_power_mode not in names:
            raise ValueError(f"default_power_mode must be one of {', '.join(names) or 'none'}")
        for place, mode in enumerate(self.power_mode):
            for key in ("clock_mhz", "sms", "memory_mhz"):
                limit, value = getattr(self, key), getattr(mode, key)
                if value is not None and (limit is None or value > limit):
                    top = "which is missing" if limit is None else f"{limit:g}"
                    raise ValueError(
                        f"power_mode[{place}].{key} is {value:g}, and must be at most the"
                        f" device's own {key}, {top}"
                    )

    def _check_guess(self, guess: str) -> None:
        said: Any = self.model_dump(exclude_unset=True)
        for part in guess.split("."):
            if not isinstance(said, dict) or part not in said:
                raise ValueError(f"guesses names {guess!r}, which is no key of this file")
            said = said[part]
