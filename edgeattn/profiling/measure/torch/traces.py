"""Traces of torch in eager mode on this machine."""

from __future__ import annotations

from collections.abc import Sequence

from edgeattn.options.model import ModelRequest
from edgeattn.options.profile import ProfileOptions, Stage
from edgeattn.profiling import samples
from edgeattn.profiling.measure.machine import (
    cache_bandwidth_gbps,
    cpu_name,
    last_cache_bytes,
    memory_bandwidth_gbps,
    now,
)
from edgeattn.profiling.measure.torch.run import (
    RunOptions,
    end_to_end,
    profile_modules,
    time_models,
    version,
)
from edgeattn.profiling.profiled import Profiled
from edgeattn.records.trace import Machine, SavedRow, Trace


def measure(
    requests: Sequence[ModelRequest],
    names: Sequence[str],
    options: ProfileOptions,
    on_stage: Stage,
) -> list[Profiled]:
    """Measure models by torch, those of a comparison in turns.

    Args:
        requests: The models.
        names: What each is called.
        options: How they are run.
        on_stage: Called with the name of each stage as it begins.

    Raises:
        InputError: A model cannot be built, or does not run.
        MissingError: Weights are not here.
    """
    asked = RunOptions.of(options)
    timed = time_models(requests, asked, on_progress=lambda said: on_stage(f"latency: {said}"))
    gpu = timed.facts.get("GPU")
    on_stage("memory bandwidth")
    machine = Machine(
        device="this-machine",
        title=gpu or f"{cpu_name()}, {asked.threads} threads",
        bandwidth_gbps=None if gpu else memory_bandwidth_gbps(asked.threads),
        cache_gbps=None if gpu else cache_bandwidth_gbps(asked.threads),
        cache_bytes=None if gpu else last_cache_bytes(),
        threads=None if gpu else asked.threads,
        facts={**timed.facts, "measured": now()},
    )
    rows = []
    for place, (request, name) in enumerate(zip(requests, names, strict=True)):
        on_stage(f"modules of {name} {place + 1}/{len(requests)}")
        found = profile_modules(request, asked)
        latency = timed.latency(place)
        trace = Trace(
            name=name,
            model=found.source,
            sha256={},
            evidence="measured",
            runtime="torch",
            runtime_version=version(),
            machine=machine,
            latency_ms=latency,
            windows=timed.windows,
            end_to_end=end_to_end(latency, found),
            kernels=found.kernels,
            nodes=found.nodes,
            sites=found.sites,
            params=found.params,
            warnings=(*timed.warnings, *samples.doubts_of(latency)),
            notes=found.notes,
        )
        difference = timed.difference(place, 0) if place else None
        rows.append(Profiled(row=SavedRow(trace=trace, difference=difference)))
    return rows
