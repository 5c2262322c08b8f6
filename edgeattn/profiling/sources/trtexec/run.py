"""A run of trtexec's, anybody's and anywhere's, from the files that it exported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from edgeattn.base import files
from edgeattn.profiling import samples
from edgeattn.profiling.assemble import Found
from edgeattn.profiling.sources.engines.layer_times import by_name, join
from edgeattn.profiling.sources.engines.parts import EngineParts, parts_of
from edgeattn.profiling.sources.model import Subject
from edgeattn.profiling.sources.trtexec.files import read_layers, read_profile, read_times
from edgeattn.records.trace import EndToEnd, Latency, Machine

_UNKNOWN: Final = "a device that was not named"
_NO_LAYERS: Final = "No layers were given (trtexec --exportLayerInfo): times stand by the names of"
_NAMES_ALONE: Final = f"{_NO_LAYERS} layers, and belong to no module."
_BY_NAME: Final = f"{_NO_LAYERS} layers, and are matched to the model's nodes by these."
_SUMMED: Final = (
    "No times were given (trtexec --exportTimes): the latency is the sum of the profile, which is"
    " above what the engine takes without a profiler."
)


def read_kernels(
    layers: Path | None, profile: Path, *, subject: Subject | None = None
) -> EngineParts:
    """Read what trtexec exported of kernels.

    Args:
        layers: As `read_trtexec` has it.
        profile: Of --exportProfile.
        subject: The ONNX model that the engine was built from; None if it is not at hand.

    Raises:
        InputError: As `read_trtexec`.
    """
    listed = None if layers is None else read_layers(layers)
    entries = read_profile(profile)
    joined = by_name(entries) if listed is None else join(listed, entries)
    return parts_of(joined, subject)


def read_trtexec(
    layers: Path | None, profile: Path, times: Path | None = None, *, subject: Subject | None = None
) -> Found:
    """Read what trtexec exported of a run.

    Args:
        layers: Layer information: of --exportLayerInfo, an engine's manifest, or a build log; None
            if there is none, and times stand by name alone.
        profile: Of --exportProfile.
        times: Of --exportTimes; None if there is none, and the latency is the profile's sum.
        subject: The ONNX model that the engine was built from; None if it is not at hand.

    Raises:
        InputError: A file cannot be read, is something else, or they do not belong together: says
            how many layers match, and the first that does not.
    """
    parts = read_kernels(layers, profile, subject=subject)
    notes = [*parts.notes]
    if layers is None:
        notes = [_NAMES_ALONE if subject is None else _BY_NAME]
    enqueue_us = None
    if times is None:
        latency = Latency(p50=sum(kernel.time_us for kernel in parts.kernels) / 1e3)
        notes.append(_SUMMED)
    else:
        found = read_times(times)
        latency, enqueue_us = samples.latency(found.compute_ms), found.enqueue_us
        if found.left_out:
            notes.append(f"{found.left_out} runs of trtexec's warm-up are left out.")
    paths = [path for path in (layers, profile, times) if path is not None]
    return Found(
        evidence="measured",
        runtime="tensorrt",
        version="",
        machine=Machine(device="unknown", title=_UNKNOWN),
        known=replace(parts.known, sha256={str(path): files.sha256(path) for path in paths}),
        kernels=parts.kernels,
        latency=latency,
        end_to_end=EndToEnd(
            latency_us=1e3 * latency.p50, enqueue_us=enqueue_us, streams=parts.streams
        ),
        warnings=samples.engine_warnings(latency, enqueue_us),
        notes=notes,
        information=parts.information,
    )
