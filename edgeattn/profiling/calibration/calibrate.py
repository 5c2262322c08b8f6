"""Calibrates this machine: runs single operators in ONNX Runtime, and writes a device file of it.

What is run is in `cases`, how in `process`, what is made of it in `fit`. No network is run, so
predictions of networks are not fitted to any.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgeattn.base import files
from edgeattn.base.errors import InputError
from edgeattn.base.versions import versions
from edgeattn.base.worker import ask
from edgeattn.devices import profile
from edgeattn.devices.schema import DeviceProfile
from edgeattn.options.calibrate import CalibrationOptions
from edgeattn.profiling.calibration.cpu import device_of
from edgeattn.profiling.calibration.file import written
from edgeattn.profiling.calibration.fit import fit, read_samples
from edgeattn.profiling.measure.machine import Load, now, warnings_of
from edgeattn.runtimes.runner import cpu_name, last_cache_kib, usable_cores

_PROCESS: Final = "edgeattn.profiling.calibration.process"
_SUFFIX: Final = ".toml"
# Where the system says nothing.
_COMMON_MHZ: Final = 2000
_COMMON_KIB: Final = 4096
_HOW: Final = {
    "cores": "threads that computed; all figures are of as many",
    "clock_mhz": "no prediction rests on it",
    "bandwidth_gbps": "weights of 96 MiB, read by a product of one row",
    "last_level_cache_kib": "as the system says, or a guess",
    "last_level_holds_us": "an eighth of it, read again after pauses",
    "last_level_gbps": "what the fastest operator moves",
    "kernel_floor_us": "small nodes of several operators, in a chain, not profiled",
    "wake_us": "small kernels on all threads, above their share of the time on one",
    "peak_tflops.fp32": "what the fastest class of layers reaches",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A machine's figures.

    Attributes:
        device: They as a profile.
        text: They as a file.
        warnings: Why they are not to be trusted.
    """

    device: DeviceProfile
    text: str
    warnings: tuple[str, ...]


def calibrate(
    options: CalibrationOptions, *, on_stage: Callable[[str], None] = lambda _: None
) -> Calibration:
    """Measure this machine's processor.

    Args:
        options: How.
        on_stage: Called with the name of each stage as it begins.

    Raises:
        InputError: There are not so many cores, or ONNX Runtime fails.
    """
    cores = usable_cores()
    threads = options.threads or cores
    if threads > cores:
        raise InputError(
            f"--threads asks for {threads}, and this process may run on {cores} cores.",
            mend=f"Ask for at most {cores}.",
        )
    cache_kib = last_cache_kib()
    job = {"threads": threads, "seconds": options.seconds, "cache_kib": cache_kib}
    found = ask(_PROCESS, job, does="calibrated", on_progress=lambda said: on_stage(said["stage"]))
    load = Load(**found["load"])
    figures = fit(read_samples(found), threads, found["node_us"][str(threads)])
    told = device_of(figures, _blank(options, load.clock_mhz, cache_kib), is_whole=True)
    text = written(
        told.device, name=options.name, header=_header(threads, load), how={**told.how, **_HOW}
    )
    device = DeviceProfile.model_validate({"name": "this-machine", **tomllib.loads(text)})
    return Calibration(device=device, text=text, warnings=tuple(warnings_of(load)))


def _blank(
    options: CalibrationOptions, clock_mhz: tuple[float, float] | None, cache_kib: int | None
) -> DeviceProfile:
    """Return this machine with what the system says of it; all else is measured."""
    said = {"clock_mhz": clock_mhz and clock_mhz[1], "last_level_cache_kib": cache_kib}
    common = {"clock_mhz": _COMMON_MHZ, "last_level_cache_kib": _COMMON_KIB}
    return DeviceProfile.model_validate(
        {
            "name": "this-machine",
            "title": options.title or cpu_name(),
            "kind": "cpu",
            "cores": 1,
            "bandwidth_gbps": 1.0,
            "kernel_floor_us": 1.0,
            "peak_tflops": {"fp32": 1.0},
            "efficiency": {"compute": 1.0, "bandwidth": {"other": 1.0}},
            **{key: value or common[key] for key, value in said.items()},
            "guesses": [key for key, value in said.items() if value is None],
        }
    )


def file_of(name: str) -> Path:
    """Return the file that is written where none is named: after the processor."""
    stem = re.sub(r"[^a-z0-9]+", "-", (name or cpu_name()).lower()).strip("-")
    return Path(f"{stem or 'this-machine'}{_SUFFIX}")


def check_file(path: Path) -> None:
    """Refuse a file that cannot be written, or that is something else than a device's.

    Raises:
        InputError: It is so.
    """
    if path.suffix != _SUFFIX:
        raise InputError(f"{path} is no name of a device file.", mend=f"Name it {path.stem}.toml")
    files.check_target(path)
    if path.exists():
        try:
            profile.find(str(path.absolute()))
        except InputError as error:
            raise InputError(
                f"{path} is there already, and is no device file.", mend="Name another with -o."
            ) from error


def write(calibration: Calibration, path: Path) -> None:
    """Write the device file, in the place of one that is there."""
    files.write(path, calibration.text)


def _header(threads: int, load: Load) -> list[str]:
    known = versions()
    made_by = f"edgeattn {known['edgeattn']}, ONNX Runtime {known['onnxruntime']}"
    words = f"{threads} thread{'s' if threads > 1 else ''}"
    return [
        f"{cpu_name()}, {words}, measured on {now()}",
        f"by `edgeattn devices calibrate` ({made_by}):",
        "single operators, in interleaved rounds; means of those in which little else ran.",
        f"Other processes had {load.cores_of_others:.2f} cores meanwhile.",
    ]
