"""Reads what trtexec exports, of any version: layer information, per-layer profile, times.

Layer information is `{"Layers": [...], ...}`. A profile is a list whose first element counts the
runs, `[{"count": 100}, {"name", "timeMs", "averageMs", "medianMs", "percentage"}, ...]`, the median
since TensorRT 8.5. Times are a list of runs, whose compute is `computeMs` in all versions. trtexec
writes names as they are, separators that JSON does not allow included.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from edgeattn.base import documents
from edgeattn.base.errors import InputError
from edgeattn.engine import layers
from edgeattn.records.layers import LayerInformation

#: What trtexec exports.
What = Literal["layers", "profile", "times"]
_WRITTEN_BY: Final[dict[What, str]] = {
    "layers": "--exportLayerInfo",
    "profile": "--exportProfile",
    "times": "--exportTimes",
}
_AGAIN: Final = "Export it again with trtexec."
# trtexec's warm-up, which the times of TensorRT 7 and 8 begin with.
_WARM_UP_MS: Final = 200.0
_FEWEST: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """Layer information, as it is written.

    Attributes:
        information: Its kernels and bindings.
        rows: Name and kind of every layer, those that are no work included; None if the file
            leaves these out.
    """

    information: LayerInformation
    rows: tuple[tuple[str, str], ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A layer in a profile, and what it takes: the median of runs, or their mean."""

    name: str
    time_us: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """The runs that trtexec timed.

    Attributes:
        compute_ms: GPU compute of each, without transfers.
        enqueue_us: What the host took to enqueue one, the median; None if it is not written.
        left_out: Runs at the beginning that were its warm-up.
    """

    compute_ms: tuple[float, ...]
    enqueue_us: float | None
    left_out: int


class _Row(BaseModel):
    model_config = ConfigDict(strict=True)

    name: str
    time_ms: float | None = Field(None, alias="timeMs", ge=0, allow_inf_nan=False)
    average_ms: float | None = Field(None, alias="averageMs", ge=0, allow_inf_nan=False)
    median_ms: float | None = Field(None, alias="medianMs", ge=0, allow_inf_nan=False)


class _Run(BaseModel):
    model_config = ConfigDict(strict=True)

    compute_ms: float = Field(alias="computeMs", ge=0, allow_inf_nan=False)
    start_ms: float | None = Field(None, alias="startComputeMs", allow_inf_nan=False)
    enqueue_from_ms: float | None = Field(None, alias="startEnqMs", allow_inf_nan=False)
    enqueue_to_ms: float | None = Field(None, alias="endEnqMs", allow_inf_nan=False)


def told(path: Path) -> What | None:
    """Return which of trtexec's files one is; None if it is none, or no JSON.

    Raises:
        InputError: It cannot be read as text.
    """
    try:
        return _what(documents.parse_json(documents.read_text(path), str(path), is_foreign=True))
    except InputError:
        documents.read_text(path)  # says what is wrong with the file itself
        return None


def read_layers(path: Path) -> Listed:
    """Read layer information.

    Args:
        path: As `engine.layers.read` takes it.

    Raises:
        InputError: It is something else, or cannot be read.
    """
    document = _parsed(path, given_as="layers", must_be_json=False)
    information = layers.read(path)
    rows = None
    if isinstance(document, dict) and "Layers" in document:
        rows = tuple((str(one["Name"]), str(one["LayerType"])) for one in document["Layers"])
    return Listed(information=information, rows=rows)


def read_profile(path: Path) -> tuple[Entry, ...]:
    """Read a per-layer profile.

    Raises:
        InputError: It is something else, or cannot be read.
    """
    document = _parsed(path, given_as="profile")
    head, *rest = document
    runs = head.get("count") if isinstance(head, dict) else None
    rows = _checked(path, list[_Row], rest if runs is not None else document)
    if not rows:
        raise InputError(f"{path} lists no layer.", mend="Profile it again: it did not run.")
    return tuple(Entry(name=row.name, time_us=_time_us(path, row, runs)) for row in rows)


def read_times(path: Path, *, warm_up_ms: float = _WARM_UP_MS) -> Times:
    """Read the runs that trtexec timed.

    Args:
        path: Of --exportTimes.
        warm_up_ms: Of --warmUp.

    Raises:
        InputError: It is something else, or cannot be read.
    """
    document = _parsed(path, given_as="times")
    runs: list[_Run] = _checked(path, list[_Run], document)
    kept = [run for run in runs if run.start_ms is None or run.start_ms >= warm_up_ms]
    if len(kept) < _FEWEST:  # it was run without a warm-up, or hardly at all
        kept = runs
    if not any(run.compute_ms for run in kept):
        raise InputError(f"{path} has no run that took any time.", mend=_AGAIN)
    enqueued = [
        1e3 * (run.enqueue_to_ms - run.enqueue_from_ms)
        for run in kept
        if run.enqueue_from_ms is not None and run.enqueue_to_ms is not None
    ]
    return Times(
        compute_ms=tuple(run.compute_ms for run in kept),
        enqueue_us=statistics.median(enqueued) if enqueued else None,
        left_out=len(runs) - len(kept),
    )


def _time_us(path: Path, row: _Row, runs: Any) -> float:
    if row.median_ms is not None:
        return 1e3 * row.median_ms
    if row.average_ms is not None:
        return 1e3 * row.average_ms
    if row.time_ms is not None and isinstance(runs, int) and runs > 0:
        return 1e3 * row.time_ms / runs
    raise InputError(f"{path} does not say what {row.name!r} takes.")


def _parsed(path: Path, *, given_as: What, must_be_json: bool = True) -> Any:
    """Read JSON that is what it is given as; None for what is no JSON, where it need not be."""
    text = documents.read_text(path)
    mend = f"Write it again with trtexec {_WRITTEN_BY[given_as]}: the file may be cut off."
    try:
        document = documents.parse_json(text, str(path), mend=mend, is_foreign=True)
    except InputError:
        if must_be_json:
            raise
        return None
    found = _what(document)
    if found == given_as or (found is None and not must_be_json):
        return document
    raise InputError(
        f"{path} is "
        + (f"what trtexec {_WRITTEN_BY[found]} writes" if found else "nothing that trtexec writes")
        + f", and is given as --{given_as}.",
        mend=f"--{given_as} takes what trtexec {_WRITTEN_BY[given_as]} writes.",
    )


def _what(document: Any) -> What | None:
    """Return which of trtexec's files a document is; None if it is none."""
    if isinstance(document, dict):
        is_manifest = isinstance(document.get("layers"), dict)
        return "layers" if is_manifest or "Layers" in document else None
    if not isinstance(document, list) or not all(isinstance(one, dict) for one in document):
        return None
    keys = {key for one in document for key in one}
    if "computeMs" in keys:
        return "times"
    return "profile" if keys & {"count", "averageMs", "medianMs"} else None


def _checked(path: Path, kind: Any, document: Any) -> Any:
    fact = f"{path} cannot be read"
    return documents.checked(kind, document, fact, counted_in="entry", mend=_AGAIN)
