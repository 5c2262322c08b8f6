"""Traces of ONNX files, here or elsewhere: of one model, or of several in interleaved rounds."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from edgeattn.graph.writing import save
from edgeattn.options.profile import Item, ProfileOptions, Stage, pairs_of
from edgeattn.profiling import samples
from edgeattn.profiling.assemble import BareModel, Found, FoundBare, Profiled, assemble
from edgeattn.profiling.measure.machine import now, this_cpu
from edgeattn.profiling.measure.onnxruntime import run as onnxruntime
from edgeattn.profiling.measure.openvino import run as openvino
from edgeattn.profiling.measure.place import HERE, Place
from edgeattn.profiling.measure.profiled import ProfiledModel
from edgeattn.profiling.measure.times import time_models
from edgeattn.profiling.sources.memory import of_graph
from edgeattn.profiling.sources.model import Subject
from edgeattn.records.trace import EndToEnd, Machine, Runtime
from edgeattn.runtimes.openvino import CPU
from edgeattn.runtimes.openvino import version as openvino_version
from edgeattn.runtimes.runner import cpu_name

#: Takes a model through a runtime's profiler.
_KERNELS: Final[Mapping[Runtime, Callable[..., ProfiledModel]]] = {
    "onnxruntime": onnxruntime.profile_kernels,
    "openvino": openvino.profile_kernels,
}
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
    """Measure models here; see `measure_at`."""
    versions: dict[Runtime, str] = {
        "onnxruntime": onnxruntime.version(),
        "openvino": openvino_version(),
    }
    machine = _machine(options, on_stage)
    return measure_at(HERE, machine, versions, items, subjects, options, folder, on_stage)


def _machine(options: ProfileOptions, on_stage: Stage) -> Machine:
    facts = {"processor": cpu_name(), "system": platform.platform()}
    device = (options.openvino_device or CPU).upper()
    if device != CPU and options.runtimes == ("openvino",):  # how fast it moves bytes is not known
        title = f"{cpu_name()}, OpenVINO's {device}"
        return Machine(device="this-machine", title=title, facts={**facts, "measured": now()})
    on_stage("memory bandwidth")
    return this_cpu(options.threads or HERE.cores, facts)


def measure_at(
    place: Place,
    machine: Machine,
    versions: Mapping[Runtime, str],
    items: Sequence[Item],
    subjects: Sequence[Subject],
    options: ProfileOptions,
    folder: Path,
    on_stage: Stage,
) -> list[Profiled]:
    """Measure models, each by its runtime, those of a comparison in interleaved rounds.

    Args:
        place: Where.
        machine: What that is.
        versions: The version there of each runtime.
        items: The models.
        subjects: What is known of each.
        options: How they are run.
        folder: Where their files may be written.
        on_stage: Called with the name of each stage as it begins.

    Raises:
        InputError: A runtime does not load one of them, or fails while it runs.
    """
    bandwidths = (machine.bandwidth_gbps or 0, machine.cache_gbps or 0)
    copies = [_COPIES.format("here" if place is HERE else "there", *bandwidths)]
    if machine.bandwidth_gbps is None:
        copies = []
    paths = [runnable(subject, folder / str(model)) for model, subject in enumerate(subjects)]
    own = [options.of(item) for item in items]
    by = [runtime_of(one) for one in own]
    timed = time_models(
        paths,
        options,
        runtimes=by,
        own=own,
        pairs=pairs_of(items),
        place=place,
        on_progress=lambda said: on_stage(f"latency: {said}"),
    )

    def find(model: int, item: Item) -> Found:
        subject, latency = subjects[model], timed.latency(model)
        on_stage(f"kernels of {item.name} {model + 1}/{len(items)}")
        found = _KERNELS[by[model]](
            paths[model], subject.model, subject.macs, own[model], place=place
        )
        return Found(
            evidence="measured",
            runtime=by[model],
            version=versions[by[model]],
            machine=machine,
            known=subject,
            kernels=found.kernels,
            latency=latency,
            end_to_end=EndToEnd(latency_us=1e3 * latency.p50, profiled_us=found.profiled_us),
            windows=timed.windows,
            generations=timed.generations,
            power=timed.powers[model] if timed.powers else None,
            memory=of_graph(subject).model_copy(update=found.memory),
            warnings=[*timed.warnings, *samples.warnings_of(latency)],
            notes=[*found.notes, *copies, *subject.notes],
            subject=subject,
        )

    def find_bare(model: int, item: Item, _found: Found, bare: BareModel) -> FoundBare:
        on_stage(f"{item.name} without its sites")
        macs = subjects[model].macs
        kernels = _KERNELS[by[model]](bare.path, bare.model, macs, own[model], place=place).kernels
        if len(items) > 1:  # the plain model is run beside it
            return FoundBare(kernels=kernels, difference=None)
        both = time_models(
            (bare.path, paths[model]),
            own[model],
            runtimes=[by[model]] * 2,
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


def runtime_of(options: ProfileOptions) -> Runtime:
    """Return what runs an ONNX file: ONNX Runtime where nothing is asked."""
    return "openvino" if options.runtime == "openvino" else "onnxruntime"


def runnable(subject: Subject, folder: Path) -> Path:
    """Return the file to run: the user's own, or one in which every node has a name."""
    if subject.is_as_written:
        return subject.path
    folder.mkdir()
    path = folder / subject.path.name
    save(subject.model.clone(), path, external=True)
    return path
