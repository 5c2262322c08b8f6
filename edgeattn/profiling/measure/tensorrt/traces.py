"""Traces of TensorRT on the GPU of this machine: of one engine, or of several run in turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from edgeattn.engine.gpu import local_gpu
from edgeattn.options.profile import Item, ProfileOptions, Stage
from edgeattn.profiling.measure.machine import now
from edgeattn.profiling.measure.tensorrt.run import (
    RunOptions,
    end_to_end,
    profile_kernels,
    time_models,
)
from edgeattn.profiling.predict.gpu.engine import peak_of
from edgeattn.profiling.profiled import Profiled
from edgeattn.profiling.route import Route
from edgeattn.profiling.sources.bare import write_bare
from edgeattn.profiling.sources.engines.source import EngineSource
from edgeattn.records.trace import Kernel, Machine, SavedRow, Trace


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
    """Measure engines, those of a comparison in turns.

    Args:
        items: The models.
        engines: The engine of each, its manifest beside it.
        sources: What is known of each.
        options: How they are run.
        route: The profile of the GPU that is here, where one was named.
        folder: Where an engine without sites may be built.
        build: Builds the engine of an ONNX file into a folder, and returns it.
        marginal: Measure each with its sites replaced by identity too, where its model is here.
        on_stage: Called with the name of each stage as it begins.

    Raises:
        InputError: An engine does not run, or its manifest does not belong to it.
        MissingError: The library, its version, or the GPU is not here.
    """
    asked = RunOptions.of(options)
    rows: list[Profiled] = []
    timed = time_models(engines, asked, on_progress=lambda said: on_stage(f"latency: {said}"))
    for place, (item, source) in enumerate(zip(items, sources, strict=True)):
        on_stage(f"kernels of {item.name} {place + 1}/{len(items)}")
        found = profile_kernels(engines[place], asked, subject=source.subject)
        doubts = [*timed.warnings, *timed.doubts_of(place)]
        without = None
        if marginal and source.subject is not None and source.sites:
            on_stage(f"{item.name} without its sites")
            bare = write_bare(source.subject, folder / f"{place}-identity")
            engine = build(bare.path, folder / f"{place}-identity-engine")
            kernels = profile_kernels(engine, asked).parts.kernels
            difference = None
            if len(items) == 1:
                pair = time_models((engine, engines[place]), asked)
                difference = pair.difference(1, 0)
                doubts += pair.warnings
            without = bare.identity(kernels, difference)
        trace = Trace(
            name=item.name,
            variant=item.variant,
            model=item.model or str(item.path),
            sha256=source.sha256,
            evidence="measured",
            runtime=source.plan.runtime,
            runtime_version=source.plan.version,
            machine=_machine(route, timed.facts, found.parts.kernels),
            latency_ms=timed.latency(place),
            windows=timed.windows,
            end_to_end=end_to_end(timed, place, found),
            kernels=found.parts.kernels,
            nodes=found.parts.nodes,
            sites=found.parts.sites,
            params=found.parts.params,
            identity=without,
            warnings=tuple(dict.fromkeys(doubts)),
            notes=tuple(dict.fromkeys([*timed.notes_of(place), *found.notes, *source.notes])),
        )
        row = SavedRow(trace=trace, difference=timed.difference(place, 0) if place else None)
        rows.append(Profiled(row=row, information=found.parts.information))
    return rows


def _machine(route: Route, facts: Mapping[str, str], kernels: Sequence[Kernel]) -> Machine:
    gpu = local_gpu()
    name = gpu.name if gpu is not None else "GPU"
    if route.device is None or route.point is None:
        return Machine(device="this-machine", title=name, facts={**facts, "measured": now()})
    return Machine(
        device=route.device.name,
        title=name,
        power_mode=route.point.power_mode,
        bandwidth_gbps=route.point.bandwidth_gbps,
        cache_gbps=route.point.last_level_gbps,
        cache_bytes=route.device.last_level_cache_kib << 10,
        peak_tflops=peak_of(kernels, route.point),
        facts={**facts, "measured": now()},
    )
