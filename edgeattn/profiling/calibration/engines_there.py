"""Measures a host's GPU for a calibration: generated networks, built and run by its trtexec."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from edgeattn.base.errors import InputError
from edgeattn.devices.schema import DeviceProfile
from edgeattn.hosts.visit import Visit
from edgeattn.options.profile import Item, ProfileOptions, Stage
from edgeattn.profiling.calibration.networks import networks
from edgeattn.profiling.measure.hosts.trtexec import measure
from edgeattn.records.trace import Trace

# Turns of one engine go on no longer than that, if they do not agree before.
_LIMIT_S: Final = 20.0


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
    if not found and first is not None:
        raise first
    return Measured(traces=found, notes=notes)


def _told(on_stage: Stage, stage: str, said: str) -> None:
    on_stage(f"{stage}: {said}")
