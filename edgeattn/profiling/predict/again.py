"""Predicts what was measured: of the very kernels that a trace has, on any device profile."""

from __future__ import annotations

from edgeattn.base.errors import InputError
from edgeattn.devices.schema import DeviceProfile
from edgeattn.profiling.predict.cpu import interval
from edgeattn.profiling.predict.cpu.machine import machine_of
from edgeattn.profiling.predict.cpu.model import predict_model
from edgeattn.profiling.predict.gpu.predict import predict
from edgeattn.records.trace import Expected, Trace

_AGAIN = "Profile the model again with this edgeattn: edgeattn profile MODEL -o TRACE.json"


def check(trace: Trace) -> None:
    """Refuse a trace of which nothing can be predicted.

    Raises:
        InputError: It was not measured, or does not say what its kernels are made of.
    """
    if trace.evidence != "measured":
        raise InputError(
            f"{trace.name} is a prediction itself.", mend="Give what was measured on the device."
        )
    if trace.runtime == "torch":
        raise InputError(
            f"{trace.name} was run by torch, which is predicted for no device.",
            mend="Profile the ONNX file.",
        )
    is_engine = trace.runtime != "onnxruntime"
    if is_engine and (trace.layers is None or not trace.layers.kernels):
        raise InputError(
            f"The trace of {trace.name} does not say what the layers of its engine are.",
            mend=f"{_AGAIN}; of trtexec's files, give those of --exportLayerInfo too.",
        )
    if not is_engine and not any(kernel.work for kernel in trace.kernels):
        raise InputError(
            f"The trace of {trace.name} does not say what its kernels do.", mend=f"{_AGAIN}."
        )


def expected(trace: Trace, device: DeviceProfile, power_mode: str | None = None) -> Expected:
    """Predict what was measured.

    Args:
        trace: What was measured, anywhere.
        device: What it is predicted for.
        power_mode: Its power mode; None for the default.

    Raises:
        InputError: Nothing can be predicted of it, the device has no such mode or not so many
            cores, or runs something else.
    """
    check(trace)
    point = device.at(power_mode)
    if trace.layers is not None:
        found = predict(trace.layers.kernels, device, point)
        times = [one.time_us for one in found.kernels]
        latency, low, high = found.end_to_end_us, found.low_us, found.high_us
    elif device.kind != "cpu":
        raise InputError(
            f"ONNX Runtime is predicted for CPUs, and {device.title} is none.",
            mend="Name a CPU: edgeattn devices list",
        )
    else:
        cpu = machine_of(device, point, trace.machine.threads)
        model = predict_model(trace.kernels, cpu, interval.shared(device))
        times = [one.time_us for one in model.kernels]
        latency, low, high = model.latency_us, model.low_us, model.high_us
    rest = len(trace.kernels) - len(times)  # what took time, and is no kernel
    return Expected(
        device=device.name,
        title=device.title,
        power_mode=point.power_mode,
        latency_ms=latency / 1e3,
        interval_ms=(low / 1e3, high / 1e3),
        kernels_us=(*times, *[0.0] * rest),
    )
