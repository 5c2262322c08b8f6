"""Shows an engine, from its manifest or from what its library wrote. No GPU is needed."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from edgeattn.base import files
from edgeattn.base.errors import InputError, MissingError
from edgeattn.engine.apart import read_layers
from edgeattn.engine.gpu import local_gpu
from edgeattn.engine.layers import read
from edgeattn.engine.libraries import RUNTIMES, load
from edgeattn.records import sidecar
from edgeattn.records.engine import EngineManifest, Point, is_manifest, manifest_of, read_manifest
from edgeattn.records.layers import Binding, Kernel, LayerInformation

PointName = Literal["min", "opt", "max"]

_ENGINES: Final = (".engine", ".plan", ".trt")
_DIGITS: Final = 12  # of a hash, in messages


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A kernel as it is shown.

    Attributes:
        index: Its place in the engine.
        kernel: The kernel.
        precision: What it computes in; empty if it handles indices only.
        traffic_bytes: Bytes that it moves at the shapes that are shown, or None if they are open.
    """

    index: int
    kernel: Kernel
    precision: str
    traffic_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file that the engine was built from.

    Attributes:
        path: Its path, as the manifest has it.
        state: Whether it is the same as then, changed, or absent.
    """

    path: str
    state: Literal["same", "changed", "absent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What is known of an engine.

    Attributes:
        path: What was inspected.
        rows: The kernels, in the order of the engine.
        bindings: The engine's inputs and outputs.
        manifest: The engine's manifest, or None if it has none of edgeattn's.
        point: The shapes that the bytes are for, or None if the engine has fixed shapes.
        sources: What it was built from.
        faults: Where the engine is not what the manifest describes.
        notes: What the user should know.
    """

    path: str
    rows: tuple[Row, ...]
    bindings: tuple[Binding, ...]
    manifest: EngineManifest | None = None
    point: Point | None = None
    sources: tuple[SourceFile, ...] = ()
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def traffic_bytes(self) -> int | None:
        """Bytes that all kernels move, or None if shapes are open."""
        return traffic_of(self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """The sum over kernels that have something in common.

    Attributes:
        name: What they have in common.
        kernels: How many they are.
        traffic_bytes: Bytes that they move, or None if shapes are open.
    """

    name: str
    kernels: int
    traffic_bytes: int | None


def inspect(
    path: Path, *, profile: int | None = None, point: PointName | None = None
) -> Inspection:
    """Describe an engine.

    Args:
        path: An engine, its manifest, the JSON that `trtexec --exportLayerInfo` or an engine
            inspector wrote, or a build log of TensorRT-RTX.
        profile: The optimisation profile to show, the first by default.
        point: Which of its shapes to show, by default those that it is tuned for. All are the same
            if shapes are fixed.

    Returns:
        What is known of it; its `faults` are not raised.

    Raises:
        InputError: There is no such file, profile or point, or what is there cannot be read.
        MissingError: It is an engine without a manifest, and what could be asked is not here.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder.", mend="Give the engine that lies in it.")
    if path.suffix == ".onnx":
        raise InputError(
            f"{path} is an ONNX file, and no engine.",
            mend=f"Build one of it: edgeattn build {shlex.quote(str(path))}",
        )
    beside = path if path.suffix == ".json" else manifest_of(path)
    is_engine = path.suffix in _ENGINES
    if (is_engine or beside == path) and is_manifest(beside):
        manifest = read_manifest(beside)
        engine = path if is_engine else beside.with_name(manifest.engine)
        shown = _point(path, manifest, profile, point)
        return _of_manifest(path, manifest, engine, shown, home=beside.parent)
    information = _asked(path) if is_engine else read(path)
    information = information.of_profile(profile or information.profiles[0])
    rows = _rows(information, [_bytes_of(kernel) for kernel in information.kernels])
    note = "Shapes are open, so the bytes of some kernels are not known."
    return Inspection(
        path=str(path),
        rows=rows,
        bindings=information.bindings,
        notes=(note,) if traffic_of(rows) is None else (),
    )


def traffic_of(rows: Iterable[Row]) -> int | None:
    """Return the bytes that kernels move, or None if those of one are not known."""
    each = [row.traffic_bytes for row in rows]
    known = [traffic for traffic in each if traffic is not None]
    return sum(known) if len(known) == len(each) else None


def sums(rows: Iterable[Row], key: Callable[[Row], str]) -> list[Sum]:
    """Sum kernels up by a key, the most bytes first.

    Args:
        rows: The kernels.
        key: What to sum by.
    """
    members: dict[str, list[Row]] = {}
    for row in rows:
        members.setdefault(key(row), []).append(row)
    found = [
        Sum(name=name, kernels=len(own), traffic_bytes=traffic_of(own))
        for name, own in members.items()
    ]
    return sorted(found, key=lambda one: -(one.traffic_bytes or 0))


def _of_manifest(
    path: Path,
    manifest: EngineManifest,
    engine: Path,
    shown: Point | None,
    *,
    home: Path,
) -> Inspection:
    faults, notes = [], list(manifest.notes)
    if not engine.is_file():
        notes.append(f"The engine {engine} is not here; this is what its manifest says.")
    elif (digest := files.sha256(engine)) != manifest.sha256:
        faults.append(
            f"{engine} is not the engine that its manifest describes: its SHA-256 starts with"
            f" {digest[:_DIGITS]}, and the manifest says {manifest.sha256[:_DIGITS]}."
        )
    layers = manifest.layers.of_profile(0 if shown is None else shown.profile)
    each: Sequence[int | None] = [_bytes_of(kernel) for kernel in layers.kernels]
    if shown is not None:
        is_known = shown.traffic_bytes is not None
        each = shown.kernel_bytes if is_known else [None] * len(layers.kernels)
    if len(each) != len(layers.kernels):
        raise InputError(
            f"The manifest of {engine.name} has {len(layers.kernels)} kernels, and bytes of"
            f" {len(each)}: it does not belong to one engine.",
            mend="Build the engine again.",
        )
    return Inspection(
        path=str(path),
        manifest=manifest,
        rows=_rows(layers, each),
        bindings=layers.bindings,
        point=shown,
        sources=tuple(
            SourceFile(path=name, state=_state(name, digest, home))
            for name, digest in manifest.sources.items()
        ),
        faults=tuple(faults),
        notes=tuple(notes),
    )


def _rows(information: LayerInformation, each_bytes: Iterable[int | None]) -> tuple[Row, ...]:
    return tuple(
        Row(
            index=index,
            kernel=kernel,
            precision=information.precision(kernel),
            traffic_bytes=traffic_bytes,
        )
        for index, (kernel, traffic_bytes) in enumerate(
            zip(information.kernels, each_bytes, strict=True)
        )
    )


def _bytes_of(kernel: Kernel) -> int | None:
    if any(one.is_open or not one.dtype for one in kernel.tensors):
        return None
    return kernel.traffic_bytes


def _point(
    path: Path, manifest: EngineManifest, profile: int | None, point: PointName | None
) -> Point | None:
    wanted = (profile or 0, point or "opt")
    for one in manifest.points:
        if (one.profile, one.point) == wanted:
            return one
    # Fixed shapes are the smallest, the tuned and the largest ones.
    if not manifest.points and not profile:
        return None
    known = dict.fromkeys([one.profile for one in manifest.points] or [0])
    raise InputError(
        f"{path} has no optimisation profile {profile}.",
        mend=f"It has {', '.join(map(str, known))}.",
    )


def _state(name: str, digest: str, home: Path) -> Literal["same", "changed", "absent"]:
    """Compare a file with its hash; a manifest names it from its own folder, or from ours."""
    for place in (home / name, Path(name)):
        if place.is_file():
            return "same" if files.sha256(place) == digest else "changed"
    return "absent"


def _asked(path: Path) -> LayerInformation:
    """Read an engine itself, on its GPU, with whichever library takes it."""
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    refusals = []
    if local_gpu() is None:
        refusals.append("no GPU is here")
    for runtime in RUNTIMES if not refusals else ():
        try:
            library = load(runtime)
        except MissingError as error:
            refusals.append(error.fact.rstrip("."))
            continue
        try:
            return read_layers(path, library)
        except InputError as error:
            refusals.append(error.fact.rstrip("."))
    lacking = "has no manifest beside it"
    try:
        sidecar.check_beside(path)
    except InputError as error:
        lacking += f" that can be read ({error.fact.rstrip('.')})"
    raise MissingError(
        f"{path} {lacking}, and it cannot be asked itself: {'; '.join(refusals)}.",
        mend="Put the manifest beside it that edgeattn build wrote; or, on its GPU, inspect what"
        f" this writes: trtexec --loadEngine={shlex.quote(str(path))}"
        " --exportLayerInfo=layers.json",
    )
