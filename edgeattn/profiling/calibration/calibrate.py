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
from edgeattn.profiling.calibration.file import Facts, written
from edgeattn.profiling.calibration.fit import fit, read_samples
from edgeattn.profiling.measure.machine import Load, now, warnings_of
from edgeattn.runtimes.runner import cpu_name, last_cache_kib, usable_cores

_PROCESS: Final = "edgeattn.profiling.calibration.process"
_SUFFIX: Final = ".toml"


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
    processor = cpu_name()
    words = f"{threads} thread{'s' if threads > 1 else ''}"
    facts = Facts(
        name=options.name,
        title=options.title or processor,
        clock_mhz=load.clock_mhz[1] if load.clock_mhz else None,
        cache_kib=cache_kib,
        header=_header(processor, words, load),
    )
    text = written(figures, facts)
    device = DeviceProfile.model_validate({"name": "this-machine", **tomllib.loads(text)})
    return Calibration(device=device, text=text, warnings=tuple(warnings_of(load)))


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


def _header(processor: str, words: str, load: Load) -> list[str]:
    known = versions()
    made_by = f"edgeattn {known['edgeattn']}, ONNX Runtime {known['onnxruntime']}"
    return [
        f"{processor}, {words}, measured on {now()}",
        f"by `edgeattn devices calibrate` ({made_by}):",
        "single operators, in interleaved rounds; means of those in which little else ran.",
        f"Other processes had {load.cores_of_others:.2f} cores meanwhile.",
    ]
