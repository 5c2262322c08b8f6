"""Traces of torch in eager mode on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from edgeattn.options.model import ModelRequest
from edgeattn.options.profile import Item, ProfileOptions, Stage
from edgeattn.profiling import samples
from edgeattn.profiling.assemble import Found, Profiled, assemble
from edgeattn.profiling.measure.machine import now, this_cpu
from edgeattn.profiling.measure.torch.run import (
    RunOptions,
    profile_modules,
    time_models,
    version,
)
from edgeattn.records.trace import EndToEnd, Machine, Memory


def measure(
    requests: Sequence[ModelRequest],
    names: Sequence[str],
    options: ProfileOptions,
    on_stage: Stage,
) -> list[Profiled]:
    """Measure models by torch, those of a comparison in interleaved rounds.

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
    on_stage("memory bandwidth")
    is_on_gpu = "GPU" in timed.facts
    machine = _gpu(timed.facts) if is_on_gpu else this_cpu(asked.threads, timed.facts)

    def find(place: int, item: Item) -> Found:
        on_stage(f"modules of {item.name} {place + 1}/{len(requests)}")
        found, latency = profile_modules(requests[place], asked), timed.latency(place)
        return Found(
            evidence="measured",
            runtime="torch",
            version=version(),
            machine=machine,
            model=found.source,
            known=found,
            kernels=found.kernels,
            latency=latency,
            windows=timed.windows,
            batch=found.batch,
            memory=Memory(weights_bytes=found.weights_bytes, activations_bytes=None),
            generations=timed.generations,
            end_to_end=EndToEnd(
                latency_us=1e3 * latency.p50,
                profiled_us=found.profiled_us,
                enqueue_us=found.enqueue_us,
            ),
            warnings=[*timed.warnings, *samples.warnings_of(latency)],
            notes=found.notes,
        )

    return assemble([Item(path=Path(), name=name) for name in names], find)


def _gpu(facts: Mapping[str, str]) -> Machine:
    return Machine(device="this-machine", title=facts["GPU"], facts={**facts, "measured": now()})
