"""Traces that are predicted: the kernels of a real engine or plan, on a device profile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from edgeattn.devices.schema import DeviceProfile, OperatingPoint
from edgeattn.profiling.predict.gpu.predict import Prediction, predict
from edgeattn.profiling.sources.engines.kernels import trace_kernels
from edgeattn.profiling.sources.engines.plans import Plan
from edgeattn.records.trace import Kernel, Machine


def predict_engine(
    plan: Plan, device: DeviceProfile, point: OperatingPoint, macs: Mapping[str, int] | None
) -> tuple[Prediction, tuple[Kernel, ...]]:
    """Predict what an engine takes on a device, as a whole and by its kernels.

    Args:
        plan: The engine.
        device: The device.
        point: Its operating point.
        macs: Multiply-accumulates of each node; None if they are not known.
    """
    found = predict(plan.information.kernels, device, point)
    return found, trace_kernels(plan.information, found.kernels, node_macs=macs)


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
