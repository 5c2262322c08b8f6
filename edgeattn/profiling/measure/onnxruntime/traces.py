"""Traces of ONNX Runtime on this machine: of one model, or of several that are run in turns."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from edgeattn.graph.writing import save
from edgeattn.options.profile import Item, ProfileOptions, Stage
from edgeattn.profiling import samples
from edgeattn.profiling.measure.machine import (
    cache_bandwidth_gbps,
    cpu_name,
    last_cache_bytes,
    memory_bandwidth_gbps,
    now,
)
from edgeattn.profiling.measure.onnxruntime.run import (
    RunOptions,
    profile_kernels,
    time_models,
    version,
)
from edgeattn.profiling.measure.rounds import Timed
from edgeattn.profiling.profiled import Profiled
from edgeattn.profiling.sources.bare import write_bare
from edgeattn.profiling.sources.model import Subject
from edgeattn.records.trace import EndToEnd, Identity, Machine, SavedRow, Trace

_COPIES: Final = (
    "Floors rest on the bandwidths that copies reached here: memory {:.1f} GB/s, last cache {:.1f}."
)


def measure(
    items: Sequence[Item], subjects: Sequence[Subject], options: ProfileOptions, on_stage: Stage
) -> list[Profiled]:
    """Measure models by ONNX Runtime, those of a comparison in turns.

    Args:
        items: The models.
        subjects: What is known of each.
        options: How they are run.
        on_stage: Called with the name of each stage as it begins.

    Raises:
        InputError: ONNX Runtime does not load one of them, or fails while it runs.
    """
    asked = RunOptions.of(options)
    on_stage("memory bandwidth")
    machine = _machine(asked)
    rows = []
    with tempfile.TemporaryDirectory(prefix="edgeattn-profile-") as scratch:
        paths = [
            runnable(subject, Path(scratch) / str(place)) for place, subject in enumerate(subjects)
        ]
        timed = time_models(paths, asked, on_progress=lambda said: on_stage(f"latency: {said}"))
        for place, (item, subject) in enumerate(zip(items, subjects, strict=True)):
            on_stage(f"kernels of {item.name} {place + 1}/{len(items)}")
            macs = {node.name: node.macs for node in subject.nodes}
            found = profile_kernels(paths[place], subject.model, macs, asked)
            without, doubts = None, timed.warnings
            if subject.sites and options.marginal is not False:
                on_stage(f"{item.name} without its sites")
                folder = Path(scratch) / f"{place}-identity"
                is_alone = len(items) == 1
                without, more = _identity(subject, paths[place], folder, asked, on_stage, is_alone)
                doubts += more
            latency = timed.latency(place)
            doubts += samples.doubts_of(latency)
            trace = Trace(
                name=item.name,
                variant=item.variant,
                model=item.model or str(subject.path),
                sha256=subject.sha256,
                evidence="measured",
                runtime="onnxruntime",
                runtime_version=version(),
                machine=machine,
                latency_ms=latency,
                windows=timed.windows,
                end_to_end=EndToEnd(latency_us=1e3 * latency.p50, profiled_us=found.profiled_us),
                kernels=found.kernels,
                nodes=subject.nodes,
                sites=subject.sites,
                params=subject.params,
                identity=without,
                warnings=tuple(dict.fromkeys(doubts)),
                notes=_notes(subject, machine),
            )
            difference = timed.difference(place, 0) if place else None
            rows.append(Profiled(row=SavedRow(trace=trace, difference=difference)))
    return rows


def runnable(subject: Subject, folder: Path) -> Path:
    """Return the file to run: the user's own, or one in which every node has a name."""
    if subject.is_as_written:
        return subject.path
    folder.mkdir()
    path = folder / subject.path.name
    save(subject.model.clone(), path, external=True)
    return path


def _identity(
    subject: Subject,
    path: Path,
    folder: Path,
    options: RunOptions,
    on_stage: Stage,
    is_alone: bool,
) -> tuple[Identity, list[str]]:
    """Profile a model with its sites replaced by identity.

    Args:
        subject: The model.
        path: The file of it that is run.
        folder: Where the other is written; it is made.
        options: How they are run.
        on_stage: Called with the name of each stage as it begins.
        is_alone: Run the two in turns as well: no plain model is run beside it.

    Returns:
        What was found, and what makes it doubtful.
    """
    bare = write_bare(subject, folder)
    macs = {node.name: node.macs for node in subject.nodes}
    found = profile_kernels(bare.path, bare.model, macs, options)
    timed: Timed | None = None
    if is_alone:
        timed = time_models(
            (bare.path, path),
            options,
            on_progress=lambda said: on_stage(f"with and without its sites: {said}"),
        )
    if timed is None:
        return bare.identity(found.kernels, None), []
    doubts = [f"With and without sites: {one}" for one in timed.warnings]
    return bare.identity(found.kernels, timed.difference(1, 0)), doubts


def _machine(options: RunOptions) -> Machine:
    import platform

    name = cpu_name()
    return Machine(
        device="this-machine",
        title=f"{name}, {options.threads} threads",
        bandwidth_gbps=memory_bandwidth_gbps(options.threads),
        cache_gbps=cache_bandwidth_gbps(options.threads),
        cache_bytes=last_cache_bytes(),
        threads=options.threads,
        facts={"processor": name, "system": platform.platform(), "measured": now()},
    )


def _notes(subject: Subject, machine: Machine) -> tuple[str, ...]:
    notes = [_COPIES.format(machine.bandwidth_gbps or 0, machine.cache_gbps or 0)]
    if subject.sites:
        notes.append(f"Sites were found {subject.sites_by}.")
    return tuple(notes)
