"""Reads saved reports: what `profile` and `compare` wrote, and traces alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeattn.base import documents
from edgeattn.base.errors import InputError
from edgeattn.records.trace import SCHEMA_VERSION as TRACE_VERSION
from edgeattn.records.trace import SavedRow
from edgeattn.report.content import SCHEMA_VERSION

_AGAIN = "Make it again: edgeattn profile MODEL -o TRACE.json"


def read_saved(paths: Sequence[Path]) -> list[SavedRow]:
    """Read the traces of files, in their order.

    Raises:
        InputError: A file is not there, is cut off, is something else, or of another schema.
    """
    return [row for path in paths for row in _rows(path)]


def _rows(path: Path) -> list[SavedRow]:
    document = _document(path)
    artifact = document.get("artifact")
    if artifact == "trace":
        found: list[Any] = [{"trace": document}]
    elif artifact == "profile":
        against = document.get("against")
        found = [] if against is None else [{"trace": against.get("trace")}]
        found.append(_row(document))
    elif artifact == "comparison":
        found = [_row(one) for one in document.get("models", ())]
    else:
        raise InputError(f"{path} is no trace of edgeattn's.", mend=_AGAIN)
    rows: list[SavedRow] = documents.checked(
        list[SavedRow], found, f"{path} cannot be read as a trace", mend=_AGAIN
    )
    return rows


def _row(one: dict[str, Any]) -> dict[str, Any]:
    return {
        "trace": one.get("trace"),
        "difference": one.get("difference"),
        "energy": one.get("energy_difference"),
    }


def _document(path: Path) -> dict[str, Any]:
    document = documents.read_json(path)
    if not isinstance(document, dict):
        raise InputError(f"{path} is no trace of edgeattn's.", mend=_AGAIN)
    version = document.get("schema_version")
    known = TRACE_VERSION if document.get("artifact") == "trace" else SCHEMA_VERSION
    # The traces in reports of version 1 are those of version 2.
    if version not in range(1, known + 1):
        raise InputError(
            f"{path} has schema version {version!r}, and this edgeattn reads {known}.",
            mend="Make it again, or use the edgeattn that wrote it.",
        )
    return document
