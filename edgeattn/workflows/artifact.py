"""What every command that writes an ONNX file checks before, and says of it after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeattn.base import files
from edgeattn.base.clock import Clock
from edgeattn.base.errors import InputError
from edgeattn.base.versions import versions
from edgeattn.graph.reading import opset_of
from edgeattn.graph.writing import describe
from edgeattn.legalise import OLDEST_TARGET
from edgeattn.records.engine import is_manifest

if TYPE_CHECKING:
    import onnx_ir as ir


def without_paths(options: Mapping[str, object]) -> dict[str, object]:
    """Return options as JSON has them: paths are text."""

    def plain(value: object) -> object:
        return str(value) if isinstance(value, Path) else value

    return {
        name: list(map(plain, value)) if isinstance(value, tuple) else plain(value)
        for name, value in options.items()
    }


def check_opset(opset: int) -> None:
    """Refuse an opset that cannot be written.

    Raises:
        InputError: Says which can.
    """
    from onnx import defs

    if opset < OLDEST_TARGET:
        raise InputError(
            f"Opset {opset} is not supported; the lowest is {OLDEST_TARGET}.",
            mend=f"Give --opset {OLDEST_TARGET} or higher.",
        )
    newest = defs.onnx_opset_version()
    if opset > newest:
        raise InputError(
            f"Opset {opset} is not known to the installed onnx; the highest is {newest}."
        )


def check_destination(destination: Path) -> Path:
    """Return the absolute path of an ONNX file to write, and refuse one that cannot be.

    Raises:
        InputError: It, or the manifest beside it, cannot be written.
    """
    destination = files.absolute(destination)
    if destination.suffix != ".onnx":
        raise InputError(f"The output {destination} must end in .onnx.")
    for path in files_of(destination):
        files.check_target(path)

    beside = destination.with_suffix(".json")
    if is_manifest(beside):
        raise InputError(
            f"{beside} is the manifest of an engine; it would be replaced.",
            mend="Write elsewhere with -o, or move the engine and its manifest.",
        )
    return destination


def files_of(onnx: Path) -> tuple[Path, ...]:
    """Return the files that may be written for a model: itself, its weights, its manifest."""
    return onnx, onnx.with_name(f"{onnx.name}.data"), onnx.with_suffix(".json")


def interface_of(model: ir.Model) -> dict[str, Any]:
    """Return what a manifest says of a model's inputs and outputs."""
    return {"inputs": describe(model.graph.inputs), "outputs": describe(model.graph.outputs)}


def header_of(model: ir.Model) -> dict[str, Any]:
    """Return what a manifest says of a model's header: its versions, inputs and outputs."""
    return {
        "opset": opset_of(model),
        "ir_version": int(model.ir_version),
        **interface_of(model),
    }


def hashes(paths: Iterable[Path]) -> dict[str, str]:
    """Return the SHA-256 of files, by path."""
    return {str(path): files.sha256(path) for path in paths}


def written_files(
    staging: Path, destination: Path, *, sources: Mapping[str, str], clock: Clock, command: str
) -> dict[str, Any]:
    """Return what a manifest says of the files that are written, and of how they came to be.

    Args:
        staging: The folder of all that is to land.
        destination: The ONNX file to be.
        sources: The hash of each file that it is made from.
        clock: What counted the seconds.
        command: The command line.
    """
    written = sorted(staging.iterdir())
    return {
        "onnx": destination.name,
        "sha256": {file.name: files.sha256(file) for file in written},
        "sources": sources,
        "size_bytes": sum(file.stat().st_size for file in written),
        "versions": versions(),
        "seconds": clock.seconds,
        "command": command,
    }
