"""Calibrates this machine: runs single operators in ONNX Runtime, and writes a device file of it.

What is run is in `cases`, how in `runs`, what is made of it in `fit`. No network is run, so
predictions of networks are not fitted to any.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from edgeattn.base import files
from edgeattn.base.errors import InputError
from edgeattn.base.legible import legible
from edgeattn.base.versions import own_version, versions
from edgeattn.devices import profile
from edgeattn.devices.schema import DeviceProfile
from edgeattn.options.calibrate import CalibrationOptions
from edgeattn.profiling.calibration.cpu import device_of
from edgeattn.profiling.calibration.file import written
from edgeattn.profiling.calibration.fit import fit
from edgeattn.profiling.calibration.runs import run_cases
from edgeattn.profiling.measure.machine import Load, now, warnings_of
from edgeattn.profiling.measure.place import HERE, Place
from edgeattn.runtimes.runner import cpu_name, last_cache_kib, usable_cores

_SUFFIX: Final = ".toml"
# Where the system says nothing.
_COMMON_MHZ: Final = 2000
_COMMON_KIB: Final = 4096
_HOW: Final = {
    "cores": "threads that computed; all figures are of as many",
    "clock_mhz": "no prediction rests on it",
    "bandwidth_gbps": "weights that no cache holds, read by a product of one row",
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Processor:
    """A processor that is calibrated.

    Attributes:
        name: What it calls itself.
        title: What it is measured on, in words.
        runtime: The version of ONNX Runtime there.
        cores: The cores that may be used.
        cache_kib: Its last cache; None if the system does not say.
        clock_mhz: Its clock; None if the system does not say.
    """

    name: str
    title: str
    runtime: str
    cores: int
    cache_kib: int | None
    clock_mhz: float | None = None


def this_processor() -> Processor:
    """Return this machine's."""
    name = cpu_name()
    return Processor(
        name=name,
        title=name,
        runtime=versions()["onnxruntime"],
        cores=usable_cores(),
        cache_kib=last_cache_kib(),
    )


def calibrate(
    options: CalibrationOptions,
    processor: Processor | None = None,
    *,
    place: Place = HERE,
    on_stage: Callable[[str], None] = lambda _: None,
) -> Calibration:
    """Measure a processor.

    Args:
        options: How.
        processor: What is known of it; None for this machine's.
        place: Where it is.
        on_stage: Called with the name of each stage as it begins.

    Raises:
        InputError: There are not so many cores, or ONNX Runtime fails.
    """
    processor = processor or this_processor()
    threads = options.threads or processor.cores
    if threads > processor.cores:
        raise InputError(
            f"--threads asks for {threads}, and a process may run on {processor.cores} cores.",
            mend=f"Ask for at most {processor.cores}.",
        )
    found = run_cases(threads, options.seconds, processor.cache_kib, place=place, on_stage=on_stage)
    load = found.load
    if load is not None and load.clock_mhz is not None:
        processor = replace(processor, clock_mhz=load.clock_mhz[1])
    figures = fit(found.samples, threads, found.floor_us)
    told = device_of(figures, _blank(options, processor), is_whole=True)
    header = [legible(line) for line in _header(threads, processor, load)]
    text = written(told.device, name=options.name, header=header, how={**told.how, **_HOW})
    device = DeviceProfile.model_validate({"name": "this-machine", **tomllib.loads(text)})
    warnings = () if load is None else tuple(warnings_of(load))
    return Calibration(device=device, text=text, warnings=warnings)


def _blank(options: CalibrationOptions, processor: Processor) -> DeviceProfile:
    """Return a processor with what the system says of it; all else is measured."""
    said = {"clock_mhz": processor.clock_mhz, "last_level_cache_kib": processor.cache_kib}
    common = {"clock_mhz": _COMMON_MHZ, "last_level_cache_kib": _COMMON_KIB}
    return DeviceProfile.model_validate(
        {
            "name": "this-machine",
            "title": options.title or legible(processor.name),
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


def _header(threads: int, processor: Processor, load: Load | None) -> list[str]:
    made_by = f"edgeattn {own_version()}, ONNX Runtime {processor.runtime}"
    words = f"{threads} thread{'s' if threads > 1 else ''}"
    lines = [
        f"{processor.title}, {words}, measured on {now()}",
        f"by `edgeattn devices calibrate` ({made_by}):",
        "single operators, in interleaved rounds; means of those in which little else ran.",
    ]
    if load is not None:
        lines.append(f"Other processes had {load.cores_of_others:.2f} cores meanwhile.")
    return lines
