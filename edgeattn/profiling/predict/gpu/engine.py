"""Traces that are predicted: the kernels of a real engine or plan, on a device profile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeattn.devices.schema import DeviceProfile, OperatingPoint
from edgeattn.profiling.predict.gpu.predict import predict
from edgeattn.profiling.sources.engines.kernels import KernelTime, trace_kernels
from edgeattn.profiling.sources.engines.plans import Plan
from edgeattn.records.trace import EndToEnd, Kernel, Latency, Machine

if TYPE_CHECKING:
    from collections.abc import Mapping


class PredictedEngine:
    """What an engine is predicted to take on a device.

    Attributes:
        kernels: Its kernels.
        latency: Its latency.
        interval_ms: The bounds of that.
        end_to_end: What the reconciliation rests on.
    """

    def __init__(
        self,
        plan: Plan,
        device: DeviceProfile,
        point: OperatingPoint,
        macs: Mapping[str, int] | None,
    ) -> None:
        layers = plan.information.kernels
        found = predict(layers, device, point)
        times = [
            KernelTime(time_us=one.time_us, interval_us=(one.low_us, one.high_us), bound=one.bound)
            for one in found.kernels
        ]
        self.kernels = trace_kernels(plan.information, times, node_macs=macs)
        self.latency = Latency(p50=found.end_to_end_us / 1e3)
        self.interval_ms = (found.low_us / 1e3, found.high_us / 1e3)
        self.end_to_end = EndToEnd(
            latency_us=found.end_to_end_us, streams=len({layer.stream for layer in layers})
        )


def machine_of(
    device: DeviceProfile, point: OperatingPoint, kernels: Sequence[Kernel], not_for: str | None
) -> Machine:
    """Describe a device that is predicted for."""
    return Machine(
        device=device.name,
        title=device.title,
        power_mode=point.power_mode,
        bandwidth_gbps=point.bandwidth_gbps,
        cache_gbps=point.last_level_gbps,
        cache_bytes=device.last_level_cache_kib << 10,
        peak_tflops=peak_of(kernels, point),
        not_for=not_for,
        facts={
            "clock": f"{point.clock_mhz:g} MHz",
            "smallest kernel": f"{point.kernel_floor_us:g} µs",
            "last cache": f"{device.last_level_cache_kib} KiB",
            **({"SMs": str(point.sms)} if point.sms else {}),
            **({"guesses": ", ".join(device.guesses)} if device.guesses else {}),
        },
    )


def peak_of(kernels: Sequence[Kernel], point: OperatingPoint) -> float | None:
    """Return the peak of the precision that most MACs are computed in."""
    macs: Counter[str] = Counter()
    for kernel in kernels:
        macs[kernel.precision] += kernel.macs
    most = max(macs, key=lambda name: macs[name], default="fp32")
    peaks = {str(name): value for name, value in point.peak_tflops.items()}
    return peaks.get(most, peaks.get("fp32"))
