"""Predicts what was measured: of the very kernels that a trace has, on any device profile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from edgeattn.base.errors import EdgeattnError, InputError
from edgeattn.devices.profile import find, titled
from edgeattn.devices.schema import DeviceProfile
from edgeattn.hosts.probe import HostFacts
from edgeattn.profiling.assemble import Profiled
from edgeattn.profiling.predict.cpu import interval
from edgeattn.profiling.predict.cpu.machine import machine_of
from edgeattn.profiling.predict.cpu.model import predict_model
from edgeattn.profiling.predict.gpu.predict import AS_LISTED, predict
from edgeattn.profiling.sources.engines.plans import Plan
from edgeattn.records.layers import Kernel as Layer
from edgeattn.records.trace import Expected, Runtime, Trace

_AGAIN: Final = "Profile the model again with this edgeattn: edgeattn profile MODEL -o TRACE.json"
_MOST_ELEMENTS: Final = 1 << 40
_NO_DEVICE: Final = (
    "No prediction stands beside it: no device profile is known of {}. Name the nearest with"
    " --device, or make one: edgeattn devices calibrate."
)
_NONE: Final = "No prediction stands beside it: {}"
_OTHER_MODE: Final = "{} has no power mode {!r}: the prediction is for {}."
_OF_A_PLAN: Final = (
    "The device did not tell the layers of its engine: the prediction is of what TensorRT-RTX plans"
    " for the model."
)


def profile_of(facts: HostFacts, runtime: Runtime) -> DeviceProfile | None:
    """Return the device profile of what runs models on a host; None if none is known.

    Args:
        facts: What is on the host.
        runtime: What runs them there.
    """
    found = None if facts.device is None else find(facts.device)
    if runtime != "onnxruntime" and (found is None or found.kind == "cpu"):
        return titled(facts.gpu)  # a card in a machine
    return found


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
    if trace.runtime == "openvino":
        raise InputError(
            f"{trace.name} was run by OpenVINO, which is predicted for no device.",
            mend=f"Predict its ONNX file in ONNX Runtime: edgeattn profile {trace.model} --device"
            " NAME",
        )
    if trace.latency_ms.p50 <= 0:
        raise InputError(f"The trace of {trace.name} says that it took no time.")
    is_engine = trace.runtime != "onnxruntime"
    if is_engine and (trace.layers is None or not trace.layers.kernels):
        raise InputError(
            f"The trace of {trace.name} does not say what the layers of its engine are.",
            mend=f"{_AGAIN}; of trtexec's files, give those of --exportLayerInfo too.",
        )
    if trace.layers is not None:
        _check_layers(trace, trace.layers.kernels)
    if not is_engine and not any(kernel.work for kernel in trace.kernels):
        raise InputError(
            f"The trace of {trace.name} does not say what its kernels do.", mend=f"{_AGAIN}."
        )


def _check_layers(trace: Trace, layers: Sequence[Layer]) -> None:
    """Refuse layers that are none of the kernels', or that no device holds."""
    if len(layers) > len(trace.kernels):
        raise InputError(
            f"The trace of {trace.name} has {len(layers)} layers, and times of"
            f" {len(trace.kernels)} kernels."
        )
    for layer in layers:
        for tensor in layer.tensors:
            if tensor.elements > _MOST_ELEMENTS:
                raise InputError(f"{tensor.name} of {trace.name} is larger than any memory.")


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
        how = replace(AS_LISTED, cuda_graph=not trace.end_to_end.is_launched_singly)
        found = predict(trace.layers.kernels, device, point, how)
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


def beside(
    found: Profiled,
    device: DeviceProfile | None,
    power_mode: str | None = None,
    *,
    plan: Callable[[], Plan | None] = lambda: None,
) -> Profiled:
    """Set a prediction beside a model that was measured; a note where there can be none.

    Args:
        found: What was measured on a device.
        device: Its profile; None if none is known.
        power_mode: The mode that it ran in; None for what the trace says.
        plan: Returns the plan of the model, where the device did not tell what its engine is made
            of; None if there is none.
    """
    trace = _beside(found.row.trace, device, power_mode, plan)
    return replace(found, row=found.row.model_copy(update={"trace": trace}))


def _beside(
    trace: Trace,
    device: DeviceProfile | None,
    power_mode: str | None,
    plan: Callable[[], Plan | None],
) -> Trace:
    if device is None:
        return _noted(trace, _NO_DEVICE.format(trace.machine.title))
    mode = power_mode or trace.machine.power_mode or None
    notes = []
    if mode is not None and mode not in {one.name for one in device.power_mode}:
        if device.power_mode:
            other = device.default_power_mode
            notes.append(_OTHER_MODE.format(device.title, mode, other))
        mode = None
    try:
        own = None
        if trace.runtime == "tensorrt" and (trace.layers is None or not trace.layers.kernels):
            own = plan()
        if own is None:
            told = expected(trace, device, mode)
        else:
            told = _of_plan(own, device, mode)
            notes.append(_OF_A_PLAN)
    except EdgeattnError as error:
        return _noted(trace, _NONE.format(error.fact))
    return _noted(trace.model_copy(update={"expected": told}), *notes)


def _noted(trace: Trace, *notes: str) -> Trace:
    return trace.model_copy(update={"notes": (*trace.notes, *notes)})


def _of_plan(plan: Plan, device: DeviceProfile, mode: str | None) -> Expected:
    point = device.at(mode)
    found = predict(plan.information.kernels, device, point)
    return Expected(
        device=device.name,
        title=device.title,
        power_mode=point.power_mode,
        latency_ms=found.end_to_end_us / 1e3,
        interval_ms=(found.low_us / 1e3, found.high_us / 1e3),
        kernels_us=(),
    )
