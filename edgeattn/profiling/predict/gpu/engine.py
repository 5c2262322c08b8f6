"""Traces that are predicted: the kernels of a real engine or plan, on a device profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from edgeattn.devices.efficiency import Peak
from edgeattn.devices.schema import DeviceProfile, OperatingPoint
from edgeattn.profiling.predict.gpu.predict import AS_LISTED, BY_DEFAULT, How, Prediction, predict
from edgeattn.profiling.predict.gpu.rate import PEAKS
from edgeattn.profiling.sources.engines.kernels import trace_kernels
from edgeattn.profiling.sources.engines.plans import Plan
from edgeattn.records.trace import Kernel, Machine


def predict_engine(
    plan: Plan,
    device: DeviceProfile,
    point: OperatingPoint,
    macs: Mapping[str, int] | None,
    how: How = BY_DEFAULT,
) -> tuple[Prediction, tuple[Kernel, ...]]:
    """Predict what an engine takes on a device, as a whole and by its kernels.

    Args:
        plan: The engine.
        device: The device.
        point: Its operating point.
        macs: Multiply-accumulates of each node; None if they are not known.
        how: How it is run; an engine of TensorRT's own runs as it is listed.
    """
    if plan.runtime == "tensorrt":
        how = replace(how, runtime=AS_LISTED.runtime)
    found = predict(plan.information.kernels, device, point, how)
    return found, trace_kernels(plan.information, found.kernels, node_macs=macs)


def machine_of(
    device: DeviceProfile, point: OperatingPoint, kernels: Sequence[Kernel], not_for: str | None
) -> Machine:
    """Describe a device that is predicted for."""
    peak, peak_tflops = peak_of(kernels, point)
    return Machine(
        device=device.name,
        title=device.title,
        power_mode=point.power_mode,
        bandwidth_gbps=point.bandwidth_gbps,
        cache_gbps=point.last_level_gbps,
        cache_bytes=device.last_level_cache_kib << 10,
        peak_tflops=peak_tflops,
        peak_precision=peak,
        not_for=not_for,
        facts={
            "clock": f"{point.clock_mhz:g} MHz",
            "smallest kernel": f"{point.kernel_floor_us:g} µs",
            "last cache": f"{device.last_level_cache_kib} KiB",
            **({"SMs": str(point.sms)} if point.sms else {}),
            **({"guesses": ", ".join(device.guesses)} if device.guesses else {}),
        },
    )


def peak_of(kernels: Sequence[Kernel], point: OperatingPoint) -> tuple[Peak, float]:
    """Return the fastest precision that any MACs are computed in, and its peak in TFLOP/s.

    What is fp32 may be computed in TF32 where the device has that, as TensorRT does by default.
    """
    peaks = point.peak_tflops
    found = {PEAKS.get(one.precision, "fp32") for one in kernels if one.macs} or {"fp32"}
    usable = {"tf32" if one == "fp32" and "tf32" in peaks else one for one in found}
    known: set[Peak] = {one for one in usable if one in peaks} or {"fp32"}
    fastest = max(sorted(known), key=lambda one: peaks[one])
    return fastest, peaks[fastest]
