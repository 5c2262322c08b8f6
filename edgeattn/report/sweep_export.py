"""A sweep's rows for other programs: as CSV, or as Parquet with its sites.

What was measured and what was predicted stand in columns of their own.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgeattn.base.errors import InputError, MissingError, first_line
from edgeattn.records.sweep import SweepRow
from edgeattn.report.sweep import EVIDENCES, MEASURES, Sweep, hidden_us, to_show

if TYPE_CHECKING:
    import pyarrow as pa

# Fields that are written as they are, before and after those that tell how they were got.
_NAMED: Final = (
    "key", "model", "attention", "at", "opset", "precision", "target", "runtime", "device", "title",
    "power_mode", "options", "evidence",
)  # fmt: skip
_COUNTED: Final = (
    "params", "macs", "element_ops", "traffic_bytes", "kernels", "weights_bytes",
    "activations_bytes",
)  # fmt: skip
_INTEGERS: Final = frozenset({"opset", *_COUNTED})
# What a spreadsheet takes for the beginning of a formula, and runs.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def _bound(field: str, side: int) -> Callable[[SweepRow], float | None]:
    def read(row: SweepRow) -> float | None:
        bounds: tuple[float, float] | None = getattr(row, field)
        return None if bounds is None else bounds[side]

    return read


# Figures that are either measured or predicted, and how each is read.
_FIGURES: Final[dict[str, Callable[[SweepRow], float | None]]] = {
    "latency_ms": lambda row: row.latency_ms,
    "latency_low_ms": _bound("latency_interval_ms", 0),
    "latency_high_ms": _bound("latency_interval_ms", 1),
    "above_ms": lambda row: row.above_ms,
    "above_percent": lambda row: row.above_percent,
    "above_low_percent": _bound("above_interval_percent", 0),
    "above_high_percent": _bound("above_interval_percent", 1),
    "attention_us": lambda row: row.attention_us,
    "hidden_us": hidden_us,
    "energy_mj": lambda row: row.energy_mj,
}


def check_target(path: Path) -> None:
    """Refuse a file that cannot be written in the format of its name, before any work is done.

    Raises:
        InputError: Its name says no format that is written.
        MissingError: What writes it is not installed.
    """
    if path.suffix.lower() not in _WRITERS:
        raise InputError(
            f"--export {path} is neither a .csv nor a .parquet file.",
            mend="For example: --export sweep.csv",
        )
    if path.suffix.lower() == ".parquet":
        _pyarrow()


def write(found: Sweep, path: Path) -> None:
    """Write a sweep's rows, in the format that the file's name says.

    Raises:
        InputError: Its name says no format that is written.
        MissingError: What writes it is not installed.
    """
    check_target(path)
    _WRITERS[path.suffix.lower()](to_show(found), path)


def _columns(found: Sweep) -> dict[str, list[Any]]:
    """Return what both formats have, by column."""
    rows = found.rows
    columns: dict[str, list[Any]] = {name: [getattr(row, name) for row in rows] for name in _NAMED}
    for evidence in EVIDENCES:
        for name, read in _FIGURES.items():
            columns[f"{evidence}_{name}"] = [
                read(row) if row.evidence == evidence else None for row in rows
            ]
    columns |= {name: [getattr(row, name) for row in rows] for name in _COUNTED}
    columns |= {
        f"on_front_of_{name}": [name in front for front in found.front] for name in MEASURES
    }
    return columns


def _write_csv(found: Sweep, path: Path) -> None:
    columns = _columns(found) | {
        "sites": [len(row.sites) for row in found.rows],
        "versions": [json.dumps(row.versions, sort_keys=True) for row in found.rows],
        "notes": [" ".join(row.notes) for row in found.rows],
    }
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(map(_cells, zip(*columns.values(), strict=True)))


def _cells(values: Iterable[Any]) -> list[Any]:
    return [
        f"'{one}" if isinstance(one, str) and one.startswith(_FORMULA) else one for one in values
    ]


def _write_parquet(found: Sweep, path: Path) -> None:
    pa = _pyarrow()
    import pyarrow.parquet as pq

    site = pa.struct(
        [
            ("path", pa.string()),
            ("attention", pa.string()),
            ("shape", pa.list_(pa.int64())),
            ("time_us", pa.float64()),
            ("macs_us", pa.float64()),
            ("traffic_bytes", pa.int64()),
            ("launches", pa.int64()),
        ]
    )
    arrays = {
        name: pa.array(values, type=_type(pa, name)) for name, values in _columns(found).items()
    }
    rows = found.rows
    for evidence in EVIDENCES:
        sites = [
            [one.model_dump() for one in row.sites] if row.evidence == evidence else None
            for row in rows
        ]
        arrays[f"{evidence}_sites"] = pa.array(sites, type=pa.list_(site))
    versions = [list(row.versions.items()) for row in rows]
    arrays["versions"] = pa.array(versions, type=pa.map_(pa.string(), pa.string()))
    arrays["notes"] = pa.array([row.notes for row in rows], type=pa.list_(pa.string()))
    pq.write_table(pa.table(arrays), path)


def _type(pa: Any, name: str) -> pa.DataType:
    if name in _NAMED and name != "opset":
        return pa.string()
    if name.startswith("on_front"):
        return pa.bool_()
    return pa.int64() if name in _INTEGERS else pa.float64()


def _pyarrow() -> Any:
    try:
        import pyarrow as pa
    except ImportError as error:
        raise MissingError(
            f"pyarrow, which writes Parquet, does not load: {first_line(error)}.",
            mend="pip install 'edgeattn[parquet]', or write a .csv file.",
        ) from error
    return pa


_WRITERS: Final[dict[str, Callable[[Sweep, Path], None]]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
}
