"""The manifest of an engine: the JSON beside it that says what was built, of what, and for what."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from edgeattn.base import documents, files
from edgeattn.base.errors import InputError
from edgeattn.records import sidecar
from edgeattn.records.base import Frozen
from edgeattn.records.layers import LayerInformation
from edgeattn.records.trace import Machine


class Mismatch(Frozen):
    """A kernel that was built in another precision than was asked."""

    kernel: str
    built: str
    nodes: tuple[str, ...]


class Precision(Frozen):
    """What was asked, and what was built.

    Attributes:
        asked: The precision of the ONNX file, or the one that was asked of a weakly typed network.
        built: How many kernels compute in each precision; those that handle no numbers count
            nowhere.
        kept: How many nodes the file keeps in a higher precision, as its cast recorded.
        mismatches: The kernels that were built in a higher precision without a node that is kept.
    """

    asked: str
    built: dict[str, int]
    kept: int
    mismatches: tuple[Mismatch, ...]


class Point(Frozen):
    """The engine at one point of an optimisation profile.

    Attributes:
        profile: The profile's number.
        point: Which of its shapes.
        shapes: The shapes of the inputs.
        traffic_bytes: Bytes that all kernels move at these shapes; None if it is not known.
        kernel_bytes: Bytes that each kernel moves, in the order of the layers; empty likewise.
    """

    profile: int
    point: Literal["min", "opt", "max"]
    shapes: dict[str, tuple[int, ...]]
    traffic_bytes: int | None
    kernel_bytes: tuple[int, ...]


class EngineManifest(sidecar.Sidecar):
    """What `edgeattn build` says of an engine.

    Attributes:
        engine: The file, relative to the manifest.
        sha256: The hash of the engine file.
        runtime: The library: `tensorrt` or `tensorrt-rtx`.
        runtime_version: Its version.
        runtime_reason: Why it was taken.
        compute_capability: What the engine was built for.
        device: The device profile that was asked.
        machine: What it was built on, where that was a host: its kind, JetPack, power mode.
        not_for: Where the engine is a plan only: the device that it must not be taken to.
        kernels: How many kernels do work; None where the library tells nothing of them.
        traffic_bytes: Bytes that they move, each input, constant and output once, at the tuned
            shapes of the first profile; None if it is not known.
        weights_bytes: Device memory of the weights, as the library says it.
        activation_bytes: Device memory that it needs while it runs, as the library says it.
        points: The bytes at every point of every optimisation profile; empty for fixed shapes.
        layers: The kernels of every profile, at its tuned shapes.
    """

    ORDER = (
        "schema_version artifact engine sha256 size_bytes onnx sources runtime runtime_version"
        " runtime_reason compute_capability device machine not_for precision kernels traffic_bytes"
        " weights_bytes activation_bytes points layers options versions seconds notes command"
        " manifest"
    )

    artifact: Literal["engine"] = "engine"
    engine: str
    sha256: str
    runtime: str
    runtime_version: str
    runtime_reason: str
    compute_capability: Annotated[str, Field(pattern=r"^\d{1,3}\.\d{1,3}$")]
    device: str | None
    machine: Machine | None = None
    not_for: str | None
    precision: Precision
    kernels: int | None
    traffic_bytes: int | None
    weights_bytes: int | None
    activation_bytes: int | None
    points: tuple[Point, ...]
    layers: LayerInformation
    notes: tuple[str, ...]
    manifest: str


def manifest_of(engine: Path) -> Path:
    """Return the path of the manifest beside an engine.

    It is `OUT.json` beside `OUT.engine`, and `OUT.engine.json` where `OUT.json` is something
    else's: `edgeattn export` writes one of that name beside `OUT.onnx`.
    """
    usual = engine.with_suffix(".json")
    return engine.with_name(f"{engine.name}.json") if _is_others(usual) else usual


def is_manifest(path: Path) -> bool:
    """Return whether a file says that it is the manifest of an engine, valid or not."""
    return (sidecar.read(path) or {}).get("artifact") == "engine"


def _is_others(path: Path) -> bool:
    return path.exists() and not is_manifest(path)


def read_manifest(path: Path) -> EngineManifest:
    """Read the manifest of an engine.

    Args:
        path: The manifest, or the engine that it stands beside.

    Raises:
        InputError: There is none, or it is the manifest of something else.
    """
    manifest = path if path.suffix == ".json" else manifest_of(path)
    if not manifest.exists() and path.with_suffix(".json").exists():
        manifest = path.with_suffix(".json")  # something else's, and it will say so
    if not manifest.exists():
        files.check_is_file(path)
        raise InputError(
            f"There is no manifest {manifest} of {path}.",
            mend="edgeattn build writes it beside the engine; keep them together.",
        )
    mend = "Build the engine again, or give the manifest that was written with it."
    found: EngineManifest = documents.checked(
        EngineManifest,
        documents.read_json(manifest, mend=mend),
        f"{manifest} is no manifest of an engine",
        mend=mend,
    )
    return found
