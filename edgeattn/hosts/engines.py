"""Engines on a host: its trtexec builds one of an ONNX file, tells of its layers, and runs it."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgeattn.base import files
from edgeattn.base.errors import InputError, MissingError
from edgeattn.engine import layers
from edgeattn.engine.libraries import TITLES, check_runtime, dotted
from edgeattn.engine.log import Log
from edgeattn.engine.runs_here import check_belongs, goes_on, goes_with
from edgeattn.engine.shapes import complete
from edgeattn.graph.reading import Source
from edgeattn.graph.writing import describe
from edgeattn.hosts.connection import LostError, Ran, Room
from edgeattn.hosts.machine import gpu_of
from edgeattn.hosts.probe import HostFacts
from edgeattn.hosts.trtexec.commands import Trtexec
from edgeattn.hosts.trtexec.said import MORE_MEMORY, UNPARSED, failed, log_of
from edgeattn.hosts.trtexec.tensors import as_bytes, read_outputs
from edgeattn.options.build import EngineOptions, Profile, Shapes
from edgeattn.options.precision import Precision
from edgeattn.records.engine import EngineManifest, read_manifest
from edgeattn.records.layers import LayerInformation
from edgeattn.runtimes.onnxruntime import Array

OnLine = Callable[[str], None]

# A large network takes an hour on a small board, and longer where it swaps.
_BUILD_S: Final = 6 * 3600.0
_RUN_S: Final = 1800.0
# What one file of text may hold: 25 million numbers of outputs.
_MOST_BYTES: Final = 1 << 28
_RUN: Final = 'exec "$@" 2>&1'
# It says so too where it could not parse.
_PARSE: Final = r""""$@" 2>&1 | sed -e '/Finish.* parsing network model/q' -e '/\[V\]/d'"""
# Of what it tells besides, only where layers run: the times of all tactics are too much to send.
_PLACE: Final = r"""{ "$@" 2>&1; echo $? >code; } | sed -e '/\[V\]/{' -e '/\[DlaLayer\]/b' \
  -e '/\[GpuLayer\]/b' -e '/Layers [Rr]unning on/b' -e '/Registering layer: /b' -e d -e '}'
exit "$(cat code)"
"""
_LAYERS, _PROFILE, _OUTPUTS, _CACHE = "layers.json", "profile.json", "outputs.json", "tactics.cache"


@dataclass(frozen=True, slots=True, kw_only=True)
class Engines:
    """What builds and runs engines in a room of a host.

    Attributes:
        room: The room.
        trtexec: trtexec there.
        dla_core: The DLA core that they run on; None for the GPU.
    """

    room: Room
    trtexec: Trtexec
    dla_core: int | None = None

    @property
    def host(self) -> str:
        """What the host is called."""
        return str(self.room.host.address)

    def send(self, source: Source, name: str) -> None:
        """Copy an ONNX file there, and the files beside it that hold its weights.

        Raises:
            FullError: There is no space for them.
            RemoteError: What arrived is something else.
        """
        self.room.put(source.path, name)
        for path in source.data:
            inside = Path(os.path.relpath(path, source.path.parent))
            if inside.parent != Path():
                self.room.sh('mkdir -p "$1"', str(inside.parent), limit_s=60).check(
                    f"{inside.parent} cannot be made on {self.host}"
                )
            self.room.put(path, str(inside))

    def build(
        self,
        source: Source,
        engine: str,
        options: EngineOptions,
        *,
        precisions: Collection[Precision] = (),
        places: bool = False,
        log: Log,
        on_line: OnLine = lambda _: None,
    ) -> tuple[tuple[Profile, ...], list[str]]:
        """Build an engine.

        Args:
            source: The ONNX file.
            engine: What the engine is called there.
            options: How to build.
            precisions: What layers may compute in besides fp32, before TensorRT 10, or on a DLA
                before 11.
            places: Whether trtexec tells where layers run, and of which node each is.
            log: Where trtexec's messages go.
            on_line: Called with each line that trtexec prints.

        Returns:
            Its optimisation profiles, and notes for the user.

        Raises:
            InputError: trtexec does not take the file: quotes its message; or the shapes do not
                fit.
            MissingError: Memory or space there ran out.
        """
        profiles, notes = complete(options.profiles, open_inputs(source))
        self.send(source, "model.onnx")
        cache = options.timing_cache
        if cache is not None and cache.is_file():
            self.room.put(cache, _CACHE)
        command = self.trtexec.build_command(
            "model.onnx",
            engine,
            precisions=precisions,
            profiles=profiles,
            options=options,
            timing_cache="" if cache is None else _CACHE,
            verbose=places,
        )
        fact = f"{self.host} builds no engine of {source.path.name}"
        try:
            script = _PLACE if places else _RUN
            self._trtexec(command, fact, script, limit_s=_BUILD_S, log=log, on_line=on_line)
        except LostError as error:
            mend = f"{error.mend} Where memory runs out, a build may take all else along."
            raise LostError(error.fact, mend=f"{mend} {MORE_MEMORY}") from error
        if cache is not None:
            with files.scratch() as folder:
                files.write(cache, self.room.get(_CACHE, folder / _CACHE).read_bytes())
        return profiles, notes

    def layers(self, engine: str, shapes: Shapes, *, log: Log) -> LayerInformation | None:
        """Return the layers of an engine at some shapes; None where trtexec cannot tell them.

        Raises:
            MissingError: It was built elsewhere, or memory ran out.
            InputError: trtexec does not load it: quotes its message; or they cannot be read.
        """
        if not self.trtexec.has_layers:
            return None
        command = self.trtexec.profile_command(
            engine, _PROFILE, _LAYERS, shapes=shapes, warm_up_ms=0, runs=1
        )
        self._trtexec(command, f"{self.host} does not run the engine", limit_s=_RUN_S, log=log)
        with files.scratch() as folder:
            return layers.read(self.room.get(_LAYERS, folder / _LAYERS, most_bytes=_MOST_BYTES))

    def run(
        self,
        engine: str,
        source: Source,
        feeds: Mapping[str, Array],
        *,
        log: Log,
    ) -> dict[str, Array]:
        """Run an engine once.

        Args:
            engine: What it is called there.
            source: The ONNX file that it was built from, which says what it takes and gives.
            feeds: An array for each input, which is brought to the input's type.
            log: Where trtexec's messages go.

        Returns:
            The outputs, by name.

        Raises:
            MissingError: It was built elsewhere, or memory ran out.
            InputError: trtexec does not run it: quotes its message; or what it wrote cannot be
                read.
        """
        version = ".".join(map(str, self.trtexec.version))
        taken = describe(source.model.graph.inputs)
        given = {one.name: f"input{number}.bin" for number, one in enumerate(taken)}
        with files.scratch() as folder:
            for one in taken:
                path = folder / given[one.name]
                path.write_bytes(as_bytes(feeds[one.name].astype(one.dtype, copy=False), version))
                self.room.put(path, path.name)
        opened = [name for name, shape in open_inputs(source).items() if -1 in shape]
        shapes = {name: feeds[name].shape for name in opened}
        command = self.trtexec.infer_command(engine, given, _OUTPUTS, shapes=shapes)
        self._trtexec(command, f"{self.host} does not run the engine", limit_s=_RUN_S, log=log)
        with files.scratch() as folder:
            path = self.room.get(_OUTPUTS, folder / _OUTPUTS, most_bytes=_MOST_BYTES)
            kinds = {one.name: one.dtype for one in describe(source.model.graph.outputs)}
            return read_outputs(path.read_text(encoding="utf-8", errors="replace"), kinds)

    def parse(self, fact: str, *, report_dla: bool = False, log: Log) -> None:
        """Have the parser read the file that was sent, and build nothing.

        trtexec cannot be told so: it ends where nobody reads what it says next.

        Args:
            fact: What is tried, as in "orin does not take m.onnx".
            report_dla: Whether what does not run on the DLA is refused, by a version that can.
            log: Where trtexec's messages go.

        Raises:
            RefusedError: The parser does not take it: quotes its message.
            MissingError: Memory there ran out.
        """
        options = EngineOptions(dla_core=self.dla_core if report_dla else None)
        command = self.trtexec.build_command(
            "model.onnx", "model.engine", options=options, verbose=True, report_dla=report_dla
        )
        ran, own = self._ran(command, _PARSE, limit_s=_RUN_S, log=log)
        if ran.code or UNPARSED in own.errors or not own.starting_with("Finish"):
            raise failed(fact, own, ran.code, host=self.host)

    def _trtexec(
        self,
        command: Sequence[str],
        fact: str,
        script: str = _RUN,
        *,
        limit_s: float,
        log: Log,
        on_line: OnLine = lambda _: None,
    ) -> Ran:
        is_loading = any(one.startswith("--loadEngine") for one in command)
        dla = [] if self.dla_core is None or not is_loading else [f"--useDLACore={self.dla_core}"]
        ran, own = self._ran([*command, *dla], script, limit_s=limit_s, log=log, on_line=on_line)
        if ran.code:
            raise failed(fact, own, ran.code, host=self.host)
        return ran

    def _ran(
        self,
        command: Sequence[str],
        script: str,
        *,
        limit_s: float,
        log: Log,
        on_line: OnLine = lambda _: None,
    ) -> tuple[Ran, Log]:
        """Run a command by a script; return how it ended, and what it said."""
        lines = _Lines(on_line)
        try:
            ran = self.room.sh(script, *command, limit_s=limit_s, sink=lines)
        finally:
            own = log_of(lines.getvalue().decode(errors="replace"))
            log.messages += own.messages
        if ran.code:
            own.messages += log_of(ran.stderr).messages
        return ran, own


def check_engine(path: Path, facts: HostFacts, trtexec: Trtexec) -> EngineManifest:
    """Refuse an engine that does not run on a host, as far as is known without running it.

    Returns:
        Its manifest.

    Raises:
        InputError: There is no manifest that belongs to it, or it is a plan.
        MissingError: It was built with another library or version, or for another GPU.
    """
    manifest = read_manifest(path)
    check_belongs(path, manifest)
    built = f"{TITLES[check_runtime(manifest.runtime)]} {manifest.runtime_version}"
    mend = f"Build it there: edgeattn build MODEL.onnx --on {facts.address}"
    version = ".".join(map(str, trtexec.version))
    if manifest.runtime != "tensorrt" or not goes_with(manifest, version):
        raise MissingError(
            f"{path} was built with {built}, and {facts.address} has {trtexec.title}.", mend=mend
        )
    device = gpu_of(facts)
    have = None if device is None else device.compute_capability
    if have is not None and not goes_on(manifest, have):
        raise MissingError(
            f"{path} was built for compute capability {manifest.compute_capability}, and the"
            f" {facts.title} has {dotted(have)}.",
            mend=mend,
        )
    return manifest


def open_inputs(source: Source) -> dict[str, tuple[int, ...]]:
    """Return the shape of each input of a file, -1 where it is open."""
    return {
        one.name: tuple(size if isinstance(size, int) else -1 for size in one.shape)
        for one in describe(source.model.graph.inputs)
    }


def check_dla(dla_core: int | None, dla_cores: int, host: str) -> None:
    """Refuse a DLA core that a host has not.

    Raises:
        InputError: Says how many it has.
    """
    if dla_core is not None and dla_core >= dla_cores:
        cores = " or ".join(map(str, range(dla_cores)))
        raise InputError(
            f"There is no DLA core {dla_core} on {host}; it has {dla_cores or 'none'}.",
            mend=f"There is core {cores}." if cores else "Leave --dla out.",
        )


class _Lines(io.BytesIO):
    """Keeps what is written, and tells each line as it comes."""

    def __init__(self, on_line: OnLine) -> None:
        super().__init__()
        self._on_line, self._rest = on_line, b""

    def write(self, data: bytes, /) -> int:  # type: ignore[override]  # bytes are what comes
        *lines, self._rest = (self._rest + data).split(b"\n")
        for _, text in log_of(b"\n".join(lines).decode(errors="replace")).messages[-1:]:
            self._on_line(text)
        return super().write(data)
