"""The JSON beside an artifact: writing it, reading it, and telling whose it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

from edgeattn.base import documents, files
from edgeattn.base.errors import InputError
from edgeattn.records.base import SCHEMA_VERSION, Ordered

# So many files may lie between an ONNX file and its export.
_LONGEST_CHAIN: Final = 8


class Sidecar(Ordered):
    """What every command says of the artifact that it wrote.

    Attributes:
        onnx: The ONNX file, relative to the sidecar: the artifact, or what it was built from.
        sources: The hash of each file that the artifact was made from, by path.
        size_bytes: Its size, with the files that belong to it.
        versions: The versions of what made it.
        seconds: Wall-clock time per stage.
        command: The command that makes the same artifact again.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    onnx: str
    sources: dict[str, str]
    size_bytes: int
    options: dict[str, object]
    versions: dict[str, str]
    seconds: dict[str, float]
    command: str


def write(record: Sidecar, artifact: Path) -> None:
    """Write what there is to say of an artifact beside it, in a file that ends in `.json`."""
    text = record.model_dump_json(indent=2) + "\n"
    artifact.with_suffix(".json").write_text(text, encoding="utf-8")


def read(path: Path) -> dict[str, Any] | None:
    """Read a sidecar as plain JSON, or return None if it is no JSON object."""
    try:
        said = documents.read_json(path)
    except InputError:
        return None
    return said if isinstance(said, dict) else None


def read_beside(onnx: Path) -> dict[str, Any] | None:
    """Return what was written beside an ONNX file, or None if it is not of this very file."""
    said = read(onnx.with_suffix(".json"))
    try:
        belongs = (said or {})["sha256"][onnx.name] == files.sha256(onnx)
    except (OSError, KeyError, TypeError):
        return None
    return said if belongs else None


def chain(onnx: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield an ONNX file, and the files it was made from, with what was written beside each."""
    current: Path | None = onnx
    for _ in range(_LONGEST_CHAIN):
        said = None if current is None else read_beside(current)
        if current is None or said is None:
            return
        yield current, said
        sources = said.get("sources")
        named = sources if isinstance(sources, dict) else {}
        before = [Path(one) for one in named if one.endswith(".onnx")]
        current = _found(before[0], beside=current) if len(before) == 1 else None


def _found(source: Path, *, beside: Path) -> Path | None:
    """Return a source where it was, or else beside what was made of it."""
    near = beside.with_name(source.name)
    return next((one for one in (source, near) if one.is_file()), None)


def check_beside(onnx: Path) -> None:
    """Read what is beside an ONNX file for the error alone, where `read_beside` found nothing.

    Raises:
        InputError: Something is there, and it is no JSON that can be read.
    """
    beside = onnx.with_suffix(".json")
    if beside.exists():
        documents.read_json(beside)
