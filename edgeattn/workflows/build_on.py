"""Build on a host: its trtexec builds the engine there, and what was built is fetched."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from edgeattn.base.errors import InputError
from edgeattn.engine.build import Built, check
from edgeattn.engine.layer_log import memory_bytes
from edgeattn.engine.libraries import Library
from edgeattn.engine.log import Log
from edgeattn.engine.target import Target
from edgeattn.graph.precision import precisions_of
from edgeattn.graph.reading import Source
from edgeattn.hosts.connection import Room
from edgeattn.hosts.engines import Engines, check_dla
from edgeattn.hosts.machine import gpu_of, machine_of
from edgeattn.hosts.probe import HostFacts
from edgeattn.hosts.trtexec.commands import Trtexec
from edgeattn.hosts.trtexec.said import RefusedError, capability_of
from edgeattn.hosts.visit import Guest, guests
from edgeattn.options.build import EngineOptions
from edgeattn.options.precision import Precision
from edgeattn.records.layers import LayerInformation
from edgeattn.workflows.build import Builder, BuildOptions

_NO_LAYERS = (
    "{} told nothing of the engine's layers: what its kernels are, what they compute in and what"
    " they move is not known."
)
#: What the engine is called there: a name of the user's may be anything.
_ENGINE = "built.engine"
#: Of a host whose GPU is not known before trtexec says it.
_UNKNOWN = (0, 0)


@contextlib.contextmanager
def builder_on(
    address: str,
    asked: EngineOptions,
    *,
    on_stage: Callable[[str], None] = lambda _: None,
) -> Iterator[tuple[Target, Builder, int | None]]:
    """Connect to a host that is to build an engine, for as long as the block lasts.

    Args:
        address: The host, as `--on` has it.
        asked: What its library is asked.
        on_stage: Called with the name of each stage as it begins.

    Yields:
        What is built for there, what `build.build` is to build it by, and the highest opset that
        is parsed there, None if that is not known.

    Raises:
        InputError: Its library has not what is asked.
        MissingError: The host cannot be reached, or has no trtexec that can be used.
    """
    with guests([address], on_stage) as (guest,):
        trtexec = Trtexec.of(guest.facts)
        target = target_of(guest.facts, trtexec)
        check(target.library, replace(asked, workspace_mib=None))  # trtexec always had it
        check_dla(asked.dla_core, guest.facts.dla_cores, address)
        yield target, _Builder(guest=guest, trtexec=trtexec), guest.facts.opset


def target_of(facts: HostFacts, trtexec: Trtexec) -> Target:
    """Return what is built for where a host builds for itself."""
    device = gpu_of(facts)
    capability = None if device is None else device.compute_capability
    version = ".".join(map(str, trtexec.version))
    return Target(
        library=Library(runtime="tensorrt", module=None, version=version),
        compute_capability=capability or _UNKNOWN,
        device=device,
        plan_for=None,
        reason=f"TensorRT {version} is on the host that it was built on.",
    )


def flags_of(source: Source, asked: Precision) -> set[Precision]:
    """Return the precisions that a weakly typed network is allowed: its own, and one asked for."""
    return {*precisions_of(source.model), asked} - {"fp32"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Builder:
    """Builds on a host, in a room for as long as that takes."""

    guest: Guest
    trtexec: Trtexec

    def __call__(
        self,
        network: Source,
        engine: Path,
        options: BuildOptions,
        log: Log,
        on_stage: Callable[[str], None],
    ) -> Built:
        """Build an engine, and fetch it; see `build.Builder`."""
        with self.guest.visit() as visit:
            return self._built(visit.room, network, engine, options.engine, log, on_stage)

    def _built(
        self,
        room: Room,
        network: Source,
        engine: Path,
        asked: EngineOptions,
        log: Log,
        on_stage: Callable[[str], None],
    ) -> Built:
        engines = Engines(room=room, trtexec=self.trtexec, dla_core=asked.dla_core)
        on_stage(f"sending {network.path.name} to {engines.host}")
        try:
            profiles, notes = engines.build(
                network,
                _ENGINE,
                asked,
                precisions=flags_of(network, asked.precision),
                log=log,
                on_line=lambda line: on_stage(f"build on {engines.host}: {line}"),
            )
        except RefusedError as error:
            highest = self.guest.facts.opset
            if highest is None or network.opset <= highest:
                raise
            mend = (
                f"{self.trtexec.title} takes opset {highest} at most, and the file has"
                f" {network.opset}: edgeattn optimize IN.onnx -o OUT.onnx --opset {highest}"
            )
            raise RefusedError(error.fact, mend=f"{mend}\n{error.mend}") from error
        activation_bytes, weights_bytes = memory_bytes("\n".join(log.starting_with("Total ")))
        capability = capability_of(log)
        on_stage(f"fetching the engine from {engines.host}")
        room.get(_ENGINE, engine)
        on_stage(f"layers on {engines.host}")
        information = None
        try:
            information = engines.layers(_ENGINE, profiles[0].opt if profiles else {}, log=log)
        except RefusedError:
            raise
        except InputError as error:  # no reason to build for an hour again
            notes.append(f"The layer information cannot be read: {error.fact}")
        if information is None:
            information = LayerInformation(kernels=(), bindings=(), form="json")
            notes.append(_NO_LAYERS.format(self.trtexec.title))
        return Built(
            information=information,
            profiles=profiles,
            activation_bytes=activation_bytes,
            weights_bytes=weights_bytes,
            notes=(*room.notes, *notes),
            is_at_opt=True,
            compute_capability=capability,
            machine=machine_of(self.guest.facts, "trtexec"),
        )
