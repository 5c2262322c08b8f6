"""Traces of ONNX Runtime, here or elsewhere: of one model, or of several in interleaved rounds."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from edgeattn.graph.writing import save
from edgeattn.options.profile import Item, ProfileOptions, Stage
from edgeattn.profiling import samples
from edgeattn.profiling.assemble import BareModel, Found, FoundBare, Profiled, assemble
from edgeattn.profiling.measure.machine import this_cpu
from edgeattn.profiling.measure.onnxruntime.run import (
    profile_kernels,
    version,
)
from edgeattn.profiling.measure.place import HERE, Place
from edgeattn.profiling.measure.times import time_models
from edgeattn.profiling.sources.model import Subject
from edgeattn.records.trace import EndToEnd, Machine
from edgeattn.runtimes.runner import cpu_name

_COPIES: Final = (
    "Floors rest on the bandwidths that copies reached {}: memory {:.1f} GB/s, last cache {:.1f}."
)


def measure(
    items: Sequence[Item],
    subjects: Sequence[Subject],
    options: ProfileOptions,
    folder: Path,
    on_stage: Stage,
) -> list[Profiled]:
    """Measure models by ONNX Runtime here; see `measure_at`."""
    on_stage("memory bandwidth")
    facts = {"processor": cpu_name(), "system": platform.platform()}
    machine = this_cpu(options.threads or HERE.cores, facts)
    return measure_at(HERE, machine, version(), items, subjects, options, folder, on_stage)


def measure_at(
    place: Place,
    machine: Machine,
    runtime_version: str,
    items: Sequence[Item],
    subjects: Sequence[Subject],
    options: ProfileOptions,
    folder: Path,
    on_stage: Stage,
) -> list[Profiled]:
    """Measure models by ONNX Runtime, those of a comparison in interleaved rounds.

    Args:
        place: Where.
        machine: What that is.
        runtime_version: The version of ONNX Runtime there.
        items: The models.
        subjects: What is known of each.
        options: How they are run.
        folder: Where their files may be written.
        on_stage: Called with the name of each stage as it begins.

    Raises:
        InputError: ONNX Runtime does not load one of them, or fails while it runs.
    """
    bandwidths = (machine.bandwidth_gbps or 0, machine.cache_gbps or 0)
    copies = _COPIES.format("here" if place is HERE else "there", *bandwidths)
    paths = [runnable(subject, folder / str(model)) for model, subject in enumerate(subjects)]
    timed = time_models(
        paths, options, place=place, on_progress=lambda said: on_stage(f"latency: {said}")
    )

    def find(model: int, item: Item) -> Found:
        subject, latency = subjects[model], timed.latency(model)
        on_stage(f"kernels of {item.name} {model + 1}/{len(items)}")
        found = profile_kernels(paths[model], subject.model, subject.macs, options, place=place)
        return Found(
            evidence="measured",
            runtime="onnxruntime",
            version=runtime_version,
            machine=machine,
            known=subject,
            kernels=found.kernels,
            latency=latency,
            end_to_end=EndToEnd(latency_us=1e3 * latency.p50, profiled_us=found.profiled_us),
            windows=timed.windows,
            power=timed.powers[model] if timed.powers else None,
            warnings=[*timed.warnings, *samples.warnings_of(latency)],
            notes=[copies, *subject.notes],
            subject=subject,
        )

    def find_bare(model: int, item: Item, _found: Found, bare: BareModel) -> FoundBare:
        on_stage(f"{item.name} without its sites")
        macs = subjects[model].macs
        kernels = profile_kernels(bare.path, bare.model, macs, options, place=place).kernels
        if len(items) > 1:  # the plain model is run beside it
            return FoundBare(kernels=kernels, difference=None)
        both = time_models(
            (bare.path, paths[model]),
            options,
            place=place,
            with_power=False,
            on_progress=lambda said: on_stage(f"with and without its sites: {said}"),
        )
        return FoundBare(
            kernels=kernels,
            difference=both.difference(1, 0),
            warnings=[f"With and without sites: {one}" for one in both.warnings],
        )

    without = None if options.marginal is False else find_bare
    return assemble(items, find, find_bare=without, folder=folder)


def runnable(subject: Subject, folder: Path) -> Path:
    """Return the file to run: the user's own, or one in which every node has a name."""
    if subject.is_as_written:
        return subject.path
    folder.mkdir()
    path = folder / subject.path.name
    save(subject.model.clone(), path, external=True)
    return path
