"""Which runtime a file is profiled by, and whether it is measured here or predicted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from edgeattn.base.errors import InputError
from edgeattn.base.nearest import did_you_mean, nearest
from edgeattn.devices.profile import find
from edgeattn.devices.schema import DeviceProfile, OperatingPoint
from edgeattn.engine.gpu import local_gpu
from edgeattn.engine.libraries import dotted
from edgeattn.options.profile import ProfileOptions
from edgeattn.profiling.sources.engines.source import ENGINES
from edgeattn.records.engine import EngineManifest, read_manifest
from edgeattn.records.trace import RUNTIMES, Evidence, Runtime
from edgeattn.runtimes.openvino import check_installed, check_precision

_ALL_DEVICES: Final = "see: edgeattn devices list"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What a file is profiled by, and on what.

    Attributes:
        runtime: The runtime; `tensorrt` stands for either library.
        evidence: Whether it is measured or predicted.
        device: The device profile that was asked, or is an engine's own; None for this machine.
        point: The device's operating point; None without a device.
    """

    runtime: Runtime
    evidence: Evidence
    device: DeviceProfile | None
    point: OperatingPoint | None


def choose(path: Path, options: ProfileOptions) -> Route:
    """Choose the route of a file.

    ONNX Runtime measures an ONNX file here, or OpenVINO if it is asked, where no device is named. A
    CPU's profile has ONNX Runtime predicted; a GPU's has TensorRT, measured where such a GPU is
    here, else predicted.

    Args:
        path: An ONNX file, an engine, or an engine's manifest.
        options: What is asked.

    Raises:
        InputError: A name is not known, or the file, the device and the runtime do not fit; or an
            engine has no manifest.
    """
    asked = _runtime(options.runtime)
    found = named_device(options)
    if asked == "torch":
        raise InputError(
            f"torch runs models, and {path} is a file.",
            mend="Name the model: edgeattn profile resnet50 --runtime torch",
        )
    if path.suffix != ".onnx":
        return _of_engine(path, asked, found, options)
    is_cpu = found.device is None or found.device.kind == "cpu"
    if asked == "openvino":
        return replace(found, runtime="openvino", evidence="measured")
    if asked == "onnxruntime" or (asked is None and is_cpu):
        return _of_onnxruntime(found, options)
    if found.device is not None and found.device.kind == "cpu":
        raise InputError(
            f"{found.device.title} runs no TensorRT engine.", mend="Leave --runtime out."
        )
    evidence = _evidence(found.device, options)
    if evidence == "predicted" and found.device is None:
        raise InputError(
            f"No device is named that {path} is to be predicted for, and no GPU is here.",
            mend=f"Add --device NAME; {_ALL_DEVICES}",
        )
    return replace(found, runtime=asked or "tensorrt", evidence=evidence)


def check_runtimes(options: ProfileOptions) -> None:
    """Refuse runtimes that there are not, and what OpenVINO cannot do here, before any work.

    Raises:
        InputError: There is no such runtime; or OpenVINO is to be predicted, or a device of its is
            named for another.
        MissingError: OpenVINO is not installed, or has no such device.
    """
    for name in options.runtimes:
        _runtime(name)
    options.check_openvino()
    if "openvino" not in options.runtimes:
        return
    if options.device is not None or options.predict:
        raise InputError(
            "OpenVINO is measured on this machine, and predicted for none.",
            mend="Leave --device and --predict out; --openvino-device names a device of OpenVINO.",
        )
    check_installed()
    if options.openvino_device is not None:
        check_precision("f32", device=options.openvino_device)


def named_device(options: ProfileOptions) -> Route:
    """Return the device that is asked, in its power mode; runtime and evidence are still open.

    Raises:
        InputError: There is no such device or power mode.
    """
    if options.device is None:
        if options.power_mode is not None:
            raise InputError("--power-mode is a device's.", mend="Add --device NAME.")
        return Route(runtime="tensorrt", evidence="measured", device=None, point=None)

    device = find(options.device)
    return Route(
        runtime="tensorrt",
        evidence="measured",
        device=device,
        point=device.at(options.power_mode),
    )


def is_model(name: str) -> bool:
    """Return whether a name is that of a model to export, and not of a file to profile."""
    return not name.endswith((".onnx", ".json", *ENGINES))


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


def _of_onnxruntime(found: Route, options: ProfileOptions) -> Route:
    if found.device is not None and found.device.kind != "cpu":
        raise InputError(
            f"ONNX Runtime is predicted for CPUs, and {found.device.title} is a"
            f" {found.device.kind}.",
            mend=f"Leave --runtime out, or name a CPU; {_ALL_DEVICES}",
        )
    if found.device is None and options.predict:
        raise InputError(
            "--predict needs a device to predict for.",
            mend=f"Add --device NAME; {_ALL_DEVICES}. This machine's own is written by edgeattn"
            " devices calibrate -o mine.toml, and is --device mine.toml.",
        )
    evidence: Evidence = "measured" if found.device is None else "predicted"
    return replace(found, runtime="onnxruntime", evidence=evidence)


def _of_engine(path: Path, asked: Runtime | None, found: Route, options: ProfileOptions) -> Route:
    if asked in ("onnxruntime", "openvino"):
        raise InputError(f"{RUNTIMES[asked]} does not run {path}, an engine.")
    manifest = read_manifest(path)
    runtime: Runtime = "tensorrt-rtx" if manifest.runtime == "tensorrt-rtx" else "tensorrt"
    if asked not in (None, runtime):
        raise InputError(f"{path} was built by {runtime}; {asked} does not run it.")
    if _runs_here(manifest, found.device, options):
        return replace(found, runtime="tensorrt", evidence="measured")
    own = manifest.device or manifest.not_for
    if found.device is None and own is not None:
        found = named_device(replace(options, device=own))
    if found.device is None:
        raise InputError(
            f"{path} does not run here, and no device is named that it is to be predicted for.",
            mend=f"Add --device NAME; {_ALL_DEVICES}",
        )
    if found.device.kind == "cpu":
        raise InputError(
            f"{found.device.title} runs no TensorRT engine.", mend="Give the ONNX file."
        )
    return replace(found, runtime="tensorrt", evidence="predicted")


def _runs_here(
    manifest: EngineManifest, device: DeviceProfile | None, options: ProfileOptions
) -> bool:
    """Return whether the GPU that an engine is for is in this machine, and asked for."""
    gpu = local_gpu()
    return (
        manifest.not_for is None
        and gpu is not None
        and dotted(gpu.compute_capability) == manifest.compute_capability
        and _evidence(device, options) == "measured"
    )


def _evidence(device: DeviceProfile | None, options: ProfileOptions) -> Evidence:
    """Return whether a GPU is in this machine that may be the one that is asked."""
    if options.predict:
        return "predicted"

    gpu = local_gpu()
    is_here = gpu is not None and (
        device is None or gpu.compute_capability == device.compute_capability
    )
    return "measured" if is_here else "predicted"
