"""Measures a host's GPU for a calibration: generated networks, built and run by its trtexec."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from edgeattn.base.errors import InputError
from edgeattn.devices.schema import DeviceProfile
from edgeattn.hosts.trtexec.commands import Trtexec
from edgeattn.hosts.visit import Visit
from edgeattn.options.profile import Item, ProfileOptions, Stage
from edgeattn.profiling import samples
from edgeattn.profiling.calibration.networks import FLOOR, networks
from edgeattn.profiling.measure.hosts.trtexec import measure
from edgeattn.profiling.sources.trtexec.files import read_times
from edgeattn.records.trace import EndToEnd, Trace

# Turns of one engine go on no longer than that, if they do not agree before.
_LIMIT_S: Final = 20.0
# What an engine is called that is measured alone, and a run of it without a CUDA graph.
_ENGINE, _TIMES = "engine-0.engine", "launched.json"
_WARM_UP_MS, _RUNS, _LAUNCH_S = 200, 200, 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was measured on a host.

    Attributes:
        traces: Of each network that could be.
        notes: Those that could not, and why.
    """

    traces: Sequence[Trace]
    notes: Sequence[str]


def measure_engines(visit: Visit, device: DeviceProfile, folder: Path, on_stage: Stage) -> Measured:
    """Measure the networks of a calibration.

    Args:
        visit: The host.
        device: What it is believed to be.
        folder: Where files are written meanwhile.
        on_stage: Called with the name of each stage as it begins.

    Raises:
        InputError: None of them could be measured: says why the first could not.
        MissingError: The host has no trtexec, memory or space.
    """
    options = ProfileOptions(limit_s=_LIMIT_S)
    found, notes, first = [], [], None
    every = list(networks(device, folder))
    for place, network in enumerate(every):
        own = folder / f"{place}-{network.name}"
        own.mkdir()
        stage = f"network {place + 1}/{len(every)}, of {network.name}"
        try:
            (one,) = measure(
                [Item(path=network.path, name=f"calibration, {network.name}")],
                options,
                visit,
                own,
                marginal=False,
                on_stage=partial(_told, on_stage, stage),
            )
        except InputError as error:
            first = first or error
            notes.append(f"The network of {network.name} was not measured: {error.fact}")
            continue
        found.append(one.row.trace)
        if network.name == FLOOR:
            on_stage(f"{stage}: kernels that the host launches one by one")
            found.append(_launched_singly(visit, one.row.trace, own))
    if not found and first is not None:
        raise first
    return Measured(traces=found, notes=notes)


def _launched_singly(visit: Visit, trace: Trace, folder: Path) -> Trace:
    """Time the engine that was measured last without a CUDA graph: what launching takes the host.

    Raises:
        InputError: What trtexec wrote cannot be read.
        MissingError: The connection broke.
    """
    trtexec = Trtexec.of(visit.facts)
    command = trtexec.time_command(
        _ENGINE, _TIMES, shapes={}, warm_up_ms=_WARM_UP_MS, runs=_RUNS, cuda_graph=False
    )
    ran = visit.room.sh('exec "$@"', *command, limit_s=_LAUNCH_S)
    ran.check(f"trtexec on {visit.host.address} does not run the network of the floor")
    times = read_times(visit.room.get(_TIMES, folder / _TIMES), warm_up_ms=_WARM_UP_MS)
    latency = samples.latency(times.compute_ms)
    end_to_end = EndToEnd(
        latency_us=1e3 * latency.p50, enqueue_us=times.enqueue_us, cuda_graph=False
    )
    return trace.model_copy(
        update={
            "name": f"{trace.name}, without a CUDA graph",
            "latency_ms": latency,
            "end_to_end": end_to_end,
            "warnings": (),
        }
    )


def _told(on_stage: Stage, stage: str, said: str) -> None:
    on_stage(f"{stage}: {said}")
