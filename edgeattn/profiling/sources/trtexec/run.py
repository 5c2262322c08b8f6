"""A run of trtexec's, anybody's and anywhere's, from the files that it exported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgeattn.profiling import samples
from edgeattn.profiling.sources.engines.layer_times import join
from edgeattn.profiling.sources.engines.parts import EngineParts, parts_of
from edgeattn.profiling.sources.model import Subject
from edgeattn.profiling.sources.trtexec.files import read_layers, read_profile, read_times
from edgeattn.records.trace import EndToEnd, Latency

_SUMMED: Final = (
    "No times were given (trtexec --exportTimes): the latency is the sum of the profile, which is"
    " above what the engine takes without a profiler."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrtexecRun:
    """What trtexec's files say of a run.

    Attributes:
        parts: Kernels, and what they came from.
        latency_ms: GPU compute, transfers left out.
        end_to_end: What the reconciliation rests on.
        warnings: Why the figures are not to be trusted.
        notes: What else a reader should know.
    """

    parts: EngineParts
    latency_ms: Latency
    end_to_end: EndToEnd
    warnings: tuple[str, ...]
    notes: tuple[str, ...]


def read_trtexec(
    layers: Path, profile: Path, times: Path | None = None, *, subject: Subject | None = None
) -> TrtexecRun:
    """Read what trtexec exported of a run.

    Args:
        layers: Layer information: of --exportLayerInfo, an engine's manifest, or a build log.
        profile: Of --exportProfile.
        times: Of --exportTimes; None where there is none, and the latency is the profile's sum.
        subject: The ONNX model that the engine was built from; None where it is not at hand.

    Raises:
        InputError: A file cannot be read, is something else, or they do not belong together: says
            how many layers match, and the first that does not.
    """
    parts = parts_of(join(read_layers(layers), read_profile(profile)), subject)
    notes = list(parts.notes)
    enqueue_us = None
    if times is None:
        latency = Latency(p50=sum(kernel.time_us for kernel in parts.kernels) / 1e3)
        notes.append(_SUMMED)
    else:
        found = read_times(times)
        latency, enqueue_us = samples.latency(found.compute_ms), found.enqueue_us
        if found.left_out:
            notes.append(f"{found.left_out} runs of trtexec's warm-up are left out.")
    return TrtexecRun(
        parts=parts,
        latency_ms=latency,
        end_to_end=EndToEnd(
            latency_us=1e3 * latency.p50, enqueue_us=enqueue_us, streams=parts.streams
        ),
        warnings=tuple(samples.engine_warnings(latency, enqueue_us)),
        notes=tuple(notes),
    )
