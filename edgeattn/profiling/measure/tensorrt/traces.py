"""Traces of TensorRT on this machine's GPU: of one engine, or of several in interleaved rounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from edgeattn.engine.gpu import local_gpu
from edgeattn.options.profile import Item, ProfileOptions, Stage
from edgeattn.profiling.assemble import BareModel, Found, FoundBare, Profiled, assemble
from edgeattn.profiling.measure.machine import now
from edgeattn.profiling.measure.tensorrt.run import (
    end_to_end,
    profile_kernels,
    time_models,
)
from edgeattn.profiling.predict.gpu.engine import machine_of
from edgeattn.profiling.route import Route
from edgeattn.profiling.sources.engines.source import EngineSource
from edgeattn.profiling.sources.memory import of_engine
from edgeattn.records.trace import Kernel, Machine


def measure(
    items: Sequence[Item],
    engines: Sequence[Path],
    sources: Sequence[EngineSource],
    options: ProfileOptions,
    route: Route,
    folder: Path,
    *,
    build: Callable[[Path, Path], Path],
    marginal: bool,
    on_stage: Stage,
) -> list[Profiled]:
    """Measure engines, those of a comparison in interleaved rounds.

    Args:
        items: The models.
        engines: The engine of each, its manifest beside it.
        sources: What is known of each.
        options: How they are run.
        route: The profile of the GPU that is here, if one was named.
        folder: Where an engine without sites may be built.
        build: Builds the engine of an ONNX file into a folder, and returns it.
        marginal: Measure each with its sites replaced by identity too, if its model is here.
        on_stage: Called with the name of each stage as it begins.

    Raises:
        InputError: An engine does not run, or its manifest does not belong to it.
        MissingError: The library, its version, or the GPU is not here.
    """
    timed = time_models(engines, options, on_progress=lambda said: on_stage(f"latency: {said}"))

    def find(place: int, item: Item) -> Found:
        source = sources[place]
        on_stage(f"kernels of {item.name} {place + 1}/{len(items)}")
        found = profile_kernels(engines[place], options, subject=source.subject)
        return Found(
            evidence="measured",
            runtime=source.plan.runtime,
            version=source.plan.version,
            machine=_machine(route, timed.facts, found.parts.kernels),
            known=replace(found.parts.known, sha256=source.sha256),
            kernels=found.parts.kernels,
            latency=timed.latency(place),
            windows=timed.windows,
            batch=timed.batch(place),
            memory=of_engine(source.plan.weights_bytes, source.plan.activations_bytes),
            generations=timed.generations,
            end_to_end=end_to_end(timed, place, found),
            warnings=[*timed.warnings, *timed.warnings_of(place)],
            notes=[*timed.notes_of(place), *found.notes, *source.notes],
            subject=source.subject,
            information=found.parts.information,
        )

    def find_bare(place: int, item: Item, _found: Found, bare: BareModel) -> FoundBare:
        on_stage(f"{item.name} without its sites")
        engine = build(bare.path, bare.path.with_name("engine"))
        kernels = profile_kernels(engine, options).parts.kernels
        if len(items) > 1:
            return FoundBare(kernels=kernels, difference=None)
        both = time_models((engine, engines[place]), options)
        return FoundBare(kernels=kernels, difference=both.difference(1, 0), warnings=both.warnings)

    return assemble(items, find, find_bare=find_bare if marginal else None, folder=folder)


def _machine(route: Route, facts: Mapping[str, str], kernels: Sequence[Kernel]) -> Machine:
    gpu = local_gpu()
    here = Machine(
        device="this-machine",
        title=gpu.name if gpu is not None else "GPU",
        facts={**facts, "measured": now()},
    )
    if route.device is None or route.point is None:
        return here
    known = machine_of(route.device, route.point, kernels, None)
    return known.model_copy(update={"title": here.title, "facts": here.facts})
