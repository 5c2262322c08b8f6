"""Which runtime a model is profiled by, and whether it is measured here or predicted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

from edgeattn.errors import InputError
from edgeattn.nearest import did_you_mean, nearest
from edgeattn.profiling.engine_source import ENGINES
from edgeattn.profiling.trace import Evidence, Runtime

if TYPE_CHECKING:
    from edgeattn.devices.schema import DeviceProfile, OperatingPoint
    from edgeattn.profiling.options import ProfileOptions

RUNTIMES: Final[tuple[Runtime, ...]] = get_args(Runtime)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How a model comes to its trace.

    Attributes:
        runtime: The runtime, or the family of it: `tensorrt` stands for either library.
        evidence: Whether it is measured or predicted.
        device: The device profile that was asked; None for this machine, or an engine's own.
        point: The device's operating point; None without a device.
    """

    runtime: Runtime
    evidence: Evidence
    device: DeviceProfile | None
    point: OperatingPoint | None


def choose(path: Path, options: ProfileOptions) -> Route:
    """Chooses the route of a file.

    ONNX Runtime measures an ONNX file here, where no device is named. A CPU's profile has ONNX
    Runtime predicted; a GPU's has TensorRT, measured where such a GPU is here, else predicted.

    Args:
        path: An ONNX file, an engine, or an engine's manifest.
        options: What is asked.

    Raises:
        InputError: A name is not known, or the file, the device and the runtime do not fit.
    """
    asked = _runtime(options.runtime)
    device, point = _device(options)
    is_engine = path.suffix != ".onnx"
    if asked == "torch":
        raise InputError(
            f"torch runs models, and {path} is a file.",
            mend="Name the model: edgeattn profile resnet50 --runtime torch",
        )
    if is_engine and asked == "onnxruntime":
        raise InputError(f"ONNX Runtime does not run {path}, an engine.")
    wants_cpu = asked == "onnxruntime" or (asked is None and not is_engine and _is_cpu(device))
    if wants_cpu:
        if device is not None and device.kind != "cpu":
            raise InputError(
                f"ONNX Runtime is predicted for CPUs, and {device.title} is a {device.kind}.",
                mend="Leave --runtime out, or name a CPU: edgeattn devices list",
            )
        if device is None and options.predict:
            raise InputError(
                "--predict needs a device to predict for.",
                mend="Measure this machine with: edgeattn devices calibrate -o mine.toml",
            )
        evidence: Evidence = "measured" if device is None else "predicted"
        return Route(runtime="onnxruntime", evidence=evidence, device=device, point=point)
    if device is not None and device.kind == "cpu":
        raise InputError(f"{device.title} runs no TensorRT engine.", mend="Give the ONNX file.")
    return Route(
        runtime=asked or "tensorrt",
        evidence="measured" if _is_here(device, options) else "predicted",
        device=device,
        point=point,
    )


def is_model(name: str) -> bool:
    """Whether a name is that of a model to export, and not of a file to profile."""
    return not name.endswith((".onnx", ".json", *ENGINES))


def _is_cpu(device: DeviceProfile | None) -> bool:
    return device is None or device.kind == "cpu"


def _runtime(name: str | None) -> Runtime | None:
    for runtime in RUNTIMES:
        if runtime == name:
            return runtime
    if name is None:
        return None
    raise InputError(
        f"There is no runtime {name!r}; there are {', '.join(RUNTIMES)}.",
        mend=did_you_mean(nearest(name, RUNTIMES, count=1)),
    )


def _device(options: ProfileOptions) -> tuple[DeviceProfile | None, OperatingPoint | None]:
    if options.device is None:
        if options.power_mode is not None:
            raise InputError("--power-mode is a device's.", mend="Add --device NAME.")
        return None, None
    from edgeattn.devices.profile import find

    device = find(options.device)
    return device, device.at(options.power_mode)


def _is_here(device: DeviceProfile | None, options: ProfileOptions) -> bool:
    """Whether a GPU is in this machine that may be the one that is asked."""
    if options.predict:
        return False
    from edgeattn.engine.gpu import local_gpu

    gpu = local_gpu()
    return gpu is not None and (
        device is None or gpu.compute_capability == device.compute_capability
    )
