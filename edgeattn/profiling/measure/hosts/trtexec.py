"""Traces of engines on a host, measured by its trtexec: latency, and each kernel's time.

Engines are built first, of ONNX files, or taken as they are. Kernels come from a run with the
profiler, latency from runs without it: a process of trtexec for each turn, with the engine that
was saved. The turns of several engines are put together in rounds, whose order changes, until
windows of them agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from edgeattn.base.errors import InputError
from edgeattn.hosts.machine import gpu_of, machine_of
from edgeattn.hosts.probe import HostFacts
from edgeattn.hosts.trtexec.commands import Trtexec
from edgeattn.hosts.visit import Visit
from edgeattn.hosts.watch import watch
from edgeattn.options.profile import Item, ProfileOptions, Stage
from edgeattn.profiling import samples
from edgeattn.profiling.assemble import BareModel, Found, FoundBare, Profiled, assemble
from edgeattn.profiling.measure.hosts.engines import Bench
from edgeattn.profiling.measure.hosts.turns import profiled, timed
from edgeattn.profiling.measure.machine import now
from edgeattn.profiling.predict.gpu.engine import machine_of as known_machine
from edgeattn.records.trace import EndToEnd, Kernel, Machine


def measure(
    items: Sequence[Item],
    options: ProfileOptions,
    visit: Visit,
    folder: Path,
    *,
    marginal: bool,
    on_stage: Stage,
) -> list[Profiled]:
    """Measure models on a host, those of a comparison in interleaved rounds.

    Args:
        items: The models: ONNX files, engines, or manifests of engines.
        options: How they are run.
        visit: The host.
        folder: Where files are written meanwhile.
        marginal: Measure each with its sites replaced by identity too, if its model is here.
        on_stage: Called with the name of each stage as it begins.

    Raises:
        InputError: A file cannot be read, does not fit, or trtexec does not take it: quotes it.
        MissingError: The host has no trtexec, memory or space, or an engine is of elsewhere.
    """
    bench = Bench(visit=visit, trtexec=Trtexec.of(visit.facts), options=options, folder=folder)
    engines = []
    for place, item in enumerate(items):
        on_stage(f"build {item.name}" if item.path.suffix == ".onnx" else f"send {item.name}")
        engines.append(bench.engine(item.path, f"engine-{place}"))
    with watch(visit.room, visit.facts) as watched:
        on_stage("idle")
        watched.idle()
        kernels = []
        for place, engine in enumerate(engines):
            on_stage(f"kernels of {items[place].name} {place + 1}/{len(items)}")
            kernels.append(profiled(bench, engine))
        found = timed(
            bench,
            engines,
            lambda said: on_stage(f"latency: {said}"),
            expected_ms=[_sum_ms(parts.kernels) for parts, _ in kernels],
        )
        powers = [found.power(place, watched) for place in range(len(items))]
        seen, warned = watched.facts(), watched.warnings()

        def find(place: int, _item: Item) -> Found:
            engine, (parts, notes) = engines[place], kernels[place]
            latency, enqueue_us = found.latency(place), found.enqueue_us(place)
            known = engine.known or parts.known
            return Found(
                evidence="measured",
                runtime="tensorrt",
                version=".".join(map(str, bench.trtexec.version)),
                machine=_machine(visit.facts, parts.kernels, seen),
                known=replace(parts.known, sha256=known.sha256),
                kernels=parts.kernels,
                latency=latency,
                windows=found.windows,
                end_to_end=EndToEnd(
                    latency_us=1e3 * latency.p50,
                    enqueue_us=enqueue_us,
                    streams=parts.streams,
                    cuda_graph=found.is_graph(place),
                ),
                rounds_ms=found.samples_ms[place],
                generations=found.generations,
                power=powers[place],
                batch=engine.batch,
                memory=engine.memory,
                warnings=[
                    *found.warnings, *warned,
                    *samples.engine_warnings(latency, enqueue_us, is_graph=found.is_graph(place)),
                ],
                notes=[*found.notes_of(place), *notes, *known.notes, *engine.notes],
                subject=engine.subject,
                information=parts.information,
            )  # fmt: skip

        def find_bare(place: int, item: Item, _found: Found, bare: BareModel) -> FoundBare:
            on_stage(f"{item.name} without its sites")
            engine = bench.engine(bare.path, f"engine-{place}-identity")
            without = profiled(bench, engine)
            plain = without[0].kernels
            if len(items) > 1:
                return FoundBare(kernels=plain, difference=None)
            expected_ms = [_sum_ms(plain), _sum_ms(kernels[place][0].kernels)]
            both = timed(bench, [engine, engines[place]], expected_ms=expected_ms)
            return FoundBare(
                kernels=plain, difference=both.difference(1, 0), warnings=both.warnings
            )

        return assemble(items, find, find_bare=find_bare if marginal else None, folder=folder)


def _sum_ms(kernels: Sequence[Kernel]) -> float:
    return sum(kernel.time_us for kernel in kernels) / 1e3


def _machine(facts: HostFacts, kernels: Sequence[Kernel], seen: Mapping[str, str]) -> Machine:
    """Describe a host, with the peaks and bandwidths of its GPU's profile where it has one."""
    here = machine_of(facts, "trtexec")
    here = here.model_copy(update={"facts": {**here.facts, **seen, "measured": now()}})
    device = gpu_of(facts)
    try:
        point = None if device is None else device.at(facts.power_mode)
    except InputError:  # a mode of its owner's own
        point = None
    if device is None or point is None:
        return here
    own = {name: getattr(here, name) for name in ("device", "title", "power_mode", "facts")}
    return known_machine(device, point, kernels, None).model_copy(update=own)
