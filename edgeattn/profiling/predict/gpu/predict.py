"""Predicts what the kernels of a TensorRT engine take on a device, none of which need be here.

    time = floor + (compute³ + latency³ + feeding³ + traffic³)^(1/3)

compute, latency and feeding are those of `tiles`; kernels that are no product have none.
Traffic is all that it moves by L2's bandwidth, or what of it is not in L2 (`cache`) by the
memory's, whichever is longer; of both, a kind of kernel reaches a part. The floor is what any
kernel of a CUDA graph takes (`DeviceProfile`). Without a graph a kernel starts no sooner than the
host, which launches one after the other, has come to it.

A time is what the kernel adds to the latency without a profiler, which itself adds 2 to 6 µs to
each kernel. Kernels of several streams overlap (`streams`).

Where TensorRT runs what TensorRT-RTX planned, activations may be passes by themselves, and there is
one stream (`passes`).

What it does badly, by benchmarks/prediction_gpu.py: layout copies of images (half to twice the
time), and the inside of regions and plugins, of which the bytes alone are known. Published times of
ResNets on an AGX Xavier and a T4 are up to 1.8 times what it predicts, and neither TensorRT's own
passes nor the host explain that; clocks that are not held may.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Literal

from edgeattn.base.errors import InputError
from edgeattn.devices.schema import DeviceProfile, OperatingPoint
from edgeattn.engine.libraries import Runtime
from edgeattn.engine.work import kind_of
from edgeattn.profiling.predict.gpu import interval
from edgeattn.profiling.predict.gpu.cache import found_in_cache
from edgeattn.profiling.predict.gpu.passes import as_tensorrt
from edgeattn.profiling.predict.gpu.streams import Task, schedule
from edgeattn.profiling.predict.gpu.tactic import read_tactic
from edgeattn.profiling.predict.gpu.tiles import Busy, busy, joined
from edgeattn.profiling.predict.gpu.traffic import Traffic, traffic_of
from edgeattn.profiling.sources.engines.kernels import KernelTime
from edgeattn.records.kinds import Kind
from edgeattn.records.layers import Kernel

Bound = Literal["compute", "traffic", "latency", "floor", "host"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What an engine is predicted to take.

    Attributes:
        kernels: What its kernels take while nothing runs beside them, in the order in which they
            were given; each bound by most of what it does: arithmetic, moving bytes (of memory, or
            of operands out of L2), waiting for them, the launch, or a host that launches it late.
        end_to_end_us: From the start of the first to the end of the last.
        low_us: It takes no less, in 19 cases of 20.
        high_us: It takes no more, in 19 cases of 20.
        shared_spread: The spread of the errors that all kernels share.
        launches: How many kernels the device runs for them: more where it runs a part of one by
            itself.
        enqueue_us: What the host takes to launch them one by one; None for a CUDA graph, or if that
            is not known.
    """

    kernels: tuple[KernelTime, ...]
    end_to_end_us: float
    low_us: float
    high_us: float
    shared_spread: float
    launches: int
    enqueue_us: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How an engine is run.

    Attributes:
        runtime: The library; None for TensorRT-RTX where the device runs that, else TensorRT.
        cuda_graph: Whether all kernels are launched as one CUDA graph; else the host launches them
            one by one.
    """

    runtime: Runtime | None = None
    cuda_graph: bool = True

    def is_tensorrt(self, device: DeviceProfile) -> bool:
        """Return whether it is TensorRT that runs a plan on a device."""
        return (self.runtime or device.runtimes[-1]) == "tensorrt"


BY_DEFAULT: Final = How()
#: Of an engine that was run: its layers are what it runs.
AS_LISTED: Final = How(runtime="tensorrt-rtx")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a kernel's time is made of, in µs, and its spread.

    Attributes:
        kind: Its kind.
        busy: What bounds a product, its traffic with memory left out.
        memory: Moving what is not in L2.
        cache: Moving all of it out of L2.
        floor: What any kernel takes.
        spread: Of its time.
    """

    kind: Kind
    busy: Busy
    memory: float
    cache: float
    floor: float
    spread: float

    @property
    def traffic(self) -> float:
        """Moving it, by the slower of both."""
        return max(self.memory, self.cache)

    @property
    def time(self) -> float:
        """What it takes by itself."""
        busy = self.busy
        return self.floor + joined(busy.compute, busy.latency, busy.feeding, self.traffic)

    @property
    def use(self) -> float:
        """The part of the GPU that it keeps from others."""
        return min(1.0, max(self.busy.ideal, self.traffic) / self.time)

    @property
    def bound(self) -> Bound:
        """What most of that goes to."""
        busy = self.busy
        work: dict[Bound, float] = {
            "compute": busy.compute,
            "traffic": max(self.traffic, busy.feeding),
            "latency": busy.latency,
        }
        longest = max(work, key=lambda name: work[name])
        return longest if self.time > 2 * self.floor else "floor"


def predict(
    kernels: Sequence[Kernel],
    device: DeviceProfile,
    point: OperatingPoint,
    how: How = BY_DEFAULT,
) -> Prediction:
    """Predict what the kernels of one inference take.

    Args:
        kernels: Those of one optimisation profile, in the order of the engine.
        device: A GPU or a Jetson.
        point: One of its operating points: `device.at(power_mode)`.
        how: How they are run.

    Raises:
        InputError: The device is a CPU, or a kernel's shapes or types are not known.
    """
    if point.sms is None:
        raise InputError(
            f"{device.title} runs no TensorRT engine.",
            mend="Name a GPU or a Jetson: edgeattn devices list",
        )
    shared = _shared(kernels, device)
    run = list(as_tensorrt(kernels, device) if how.is_tensorrt(device) else enumerate(kernels))
    launches = [kernel for _, kernel in run]
    traffic = traffic_of(launches)
    parts = parts_of(launches, traffic, device, point)
    times = [one.time for one in parts]
    launch_us = None if how.cuda_graph else device.enqueue_us
    spans = schedule(
        [
            Task(
                stream=kernel.stream,
                time_us=one.time,
                use=one.use,
                after=frozenset(piece.source for piece in moved.reads if piece.source is not None),
            )
            for kernel, moved, one in zip(launches, traffic, parts, strict=True)
        ],
        launch_us or 0.0,
    )
    bounds: list[Bound] = [
        "host"
        if launch_us is not None and one.time < launch_us == start / (place + 1)
        else one.bound
        for place, (one, (start, _)) in enumerate(zip(parts, spans, strict=True))
    ]
    end = max((end for _, end in spans), default=0.0)
    spread = interval.of_many(times, [one.spread for one in parts])
    low, high = interval.bounds(end, spread, *shared)
    return Prediction(
        kernels=tuple(
            _summed([(part, bound) for _, part, bound in together], shared)
            for _, together in groupby(zip(run, parts, bounds, strict=True), lambda one: one[0][0])
        ),
        end_to_end_us=end,
        low_us=low,
        high_us=high,
        shared_spread=math.hypot(*shared),
        launches=len(run),
        enqueue_us=launch_us and launch_us * len(run),
    )


def _summed(parts: Sequence[tuple[Parts, Bound]], shared: Sequence[float]) -> KernelTime:
    """Return what a kernel takes, all that the device runs of it together, each with its bound."""
    time = sum(one.time for one, _ in parts)
    spread = max(one.spread for one, _ in parts)
    _, bound = max(parts, key=lambda pair: pair[0].time)
    return KernelTime(time_us=time, interval_us=interval.bounds(time, spread, *shared), bound=bound)


def parts_of(
    kernels: Sequence[Kernel],
    traffic: Sequence[Traffic],
    device: DeviceProfile,
    point: OperatingPoint,
) -> list[Parts]:
    """Return what the time of each kernel of an inference is made of.

    Args:
        kernels: The kernels.
        traffic: What each moves.
        device: A GPU or a Jetson.
        point: One of its operating points.
    """
    cached = found_in_cache(traffic, device.last_level_cache_kib * 1024)
    return [
        _parts(kernel, moved, held, device, point)
        for kernel, moved, held in zip(kernels, traffic, cached, strict=True)
    ]


def _parts(
    kernel: Kernel, moved: Traffic, held: float, device: DeviceProfile, point: OperatingPoint
) -> Parts:
    assert point.last_level_gbps is not None, "it is a GPU"
    kind = kind_of(kernel)
    reached = device.efficiency.of_bandwidth(kind)
    memory = (moved.size - held) / (reached * point.bandwidth_gbps * 1e3)
    cache = moved.size / (reached * point.last_level_gbps * 1e3)
    work = Busy()
    if moved.product is not None:
        work = busy(kernel, moved.product, read_tactic(kernel.tactic), device, point)
    return Parts(
        kind=kind,
        busy=work,
        memory=memory,
        cache=cache,
        floor=point.kernel_floor_us,
        spread=interval.KNOWN if _is_known(kind, moved) else interval.UNKNOWN,
    )


def _is_known(kind: Kind, moved: Traffic) -> bool:
    return moved.product is not None if kind == "matmul" else kind != "other"


def _shared(kernels: Sequence[Kernel], device: DeviceProfile) -> list[float]:
    """Return the spreads of the errors that all kernels share."""
    spreads = [interval.MODEL]
    if any("__my" in (kernel.tactic[:4], kernel.name[:4]) for kernel in kernels):
        spreads.append(interval.PLAN)
    is_guess = device.is_guess("kernel_floor_us") or device.is_guess("efficiency.compute")
    if is_guess and not device.fitted_to:
        spreads.append(interval.GUESS)
    return spreads
