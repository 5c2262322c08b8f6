"""Reads what `profile`, `compare`, `sweep`, `place` and `check` saved, and traces alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeattn.base.documents import checked, read_json
from edgeattn.base.errors import InputError
from edgeattn.records import check, place, store
from edgeattn.records.check import Checked
from edgeattn.records.place import Placement
from edgeattn.records.sweep import SweepRow
from edgeattn.records.trace import SCHEMA_VERSION as TRACE_VERSION
from edgeattn.records.trace import SavedRow
from edgeattn.report import sweep
from edgeattn.report.content import SCHEMA_VERSION, Report, report_of
from edgeattn.report.sweep import Sweep, sweep_of

_AGAIN = "Make it again: edgeattn profile MODEL -o TRACE.json"
#: What stands alone, and how it is called.
_ALONE: dict[str, tuple[type[Placement | Checked], str]] = {
    "placement": (Placement, "sites for a budget"),
    "check": (Checked, "a model for a device"),
}
_VERSIONS = {
    "trace": TRACE_VERSION,
    sweep.ARTIFACT: sweep.SCHEMA_VERSION,
    "placement": place.SCHEMA_VERSION,
    "check": check.SCHEMA_VERSION,
}


def read_report(paths: Sequence[Path], *, command: str) -> Report | Sweep | Placement | Checked:
    """Read files, all of sweeps or none, as one report; what `place` or `check` found, alone.

    Args:
        paths: The files.
        command: The command that makes the report.

    Raises:
        InputError: A file is not there, is cut off, is something else, or of another schema; or
            some are of sweeps, and some are not.
    """
    documents = [None if _is_store(path) else _document(path) for path in paths]
    for path, document in zip(paths, documents, strict=True):
        artifact = "" if document is None else str(document.get("artifact"))
        if artifact not in _ALONE:
            continue
        kind, of = _ALONE[artifact]
        if len(paths) > 1:
            raise InputError(f"{path} is of {of}, and stands alone.", mend="Make a report of each.")
        found: Placement | Checked = checked(kind, document, f"{path} cannot be read")
        return found
    swept = [one is None or one.get("artifact") == sweep.ARTIFACT for one in documents]
    files = list(zip(paths, documents, strict=True))
    if not any(swept):
        return report_of(
            [r for path, one in files for r in _rows(path, one or {})], command=command
        )
    if not all(swept):
        raise InputError(
            f"{paths[swept.index(True)]} is of a sweep, and {paths[swept.index(False)]} is not.",
            mend="Make a report of each.",
        )
    rows: dict[str, SweepRow] = {}
    failed: dict[str, str] = {}
    for path, one in files:
        of_one, reasons = store.read_rows(path) if one is None else _sweep(path, one)
        rows = {row.key: row for row in of_one} | rows
        failed = reasons | failed
    return sweep_of(list(rows.values()), failed, command=command)


def read_saved(paths: Sequence[Path]) -> list[SavedRow]:
    """Read the traces of files, in their order.

    Raises:
        InputError: A file is not there, is cut off, is something else, or of another schema.
    """
    return [row for path in paths for row in _rows(path, _document(path))]


def _is_store(path: Path) -> bool:
    return path.suffix == ".db" or store.is_store(path)


def _sweep(path: Path, document: dict[str, Any]) -> tuple[list[SweepRow], dict[str, str]]:
    """Return the rows of a sweep that was saved as JSON, and why jobs failed."""
    fact = f"{path} cannot be read as a sweep"
    rows: list[SweepRow] = checked(list[SweepRow], document.get("rows"), fact)
    failed: list[dict[str, str]] = checked(list[dict[str, str]], document.get("failed"), fact)
    return rows, {one.get("job", ""): one.get("fact", "") for one in failed}


def _rows(path: Path, document: dict[str, Any]) -> list[SavedRow]:
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
    rows: list[SavedRow] = checked(
        list[SavedRow], found, f"{path} cannot be read as a trace", mend=_AGAIN
    )
    return rows


def _row(one: dict[str, Any]) -> dict[str, Any]:
    return {
        "trace": one.get("trace"),
        "difference": one.get("difference"),
        "energy": one.get("energy_difference"),
        "by_batch": one.get("batch_difference"),
    }


def _document(path: Path) -> dict[str, Any]:
    document = read_json(path)
    if not isinstance(document, dict):
        raise InputError(f"{path} is no trace of edgeattn's.", mend=_AGAIN)
    version = document.get("schema_version")
    known = _VERSIONS.get(str(document.get("artifact")), SCHEMA_VERSION)
    # The traces in reports of version 1 are those of version 2.
    if version not in range(1, known + 1):
        raise InputError(
            f"{path} has schema version {version!r}, and this edgeattn reads {known}.",
            mend="Make it again, or use the edgeattn that wrote it.",
        )
    return document
