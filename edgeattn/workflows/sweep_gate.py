"""Gate of sweeps: whether rows keep a limit, above plain models or what another sweep found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from edgeattn.base.errors import InputError
from edgeattn.profiling.gate import Check, Gate, Limit
from edgeattn.profiling.predict.difference import difference
from edgeattn.records.store import read_basis, read_rows
from edgeattn.records.sweep import SweepRow
from edgeattn.records.trace import Difference
from edgeattn.workflows.gate import APART

_PLAIN: Final = "plain"


def gate(
    rows: Sequence[SweepRow],
    paths: Sequence[Path],
    limit: Limit,
    *,
    baseline: Path | None = None,
    is_strict: bool = False,
    errors: Mapping[str, str] = MappingProxyType({}),
) -> Gate:
    """Judge the rows of a sweep.

    Args:
        rows: The rows.
        paths: The files that they are of, where more is known of them.
        limit: What they may take.
        baseline: What another sweep found of the same models at the same places; None to compare
            each with the plain model, where the limit is of a difference.
        is_strict: Whether not to be able to tell counts as to fail.
        errors: Why other jobs failed, which is to fail, by what they are called.

    Raises:
        InputError: Nothing is compared with anything.
    """
    if limit.is_of_two and baseline is not None:
        return _against(rows, paths, limit, baseline, is_strict=is_strict, errors=errors)
    checks = []
    for row in rows:
        bounds = limit.bounds(row)
        if bounds is not None:
            against = _PLAIN if limit.is_of_two else ""
            verdict = limit.verdict(bounds)
            checks.append(Check(model=row.label, against=against, found=bounds, verdict=verdict))
    if not checks and not errors:
        raise InputError(
            f"--fail-above {limit} is of what a row takes above the plain model, and none has any.",
            mend="Add an attention, --baseline SWEEP.db, or a limit in all: --fail-above 8ms",
        )
    return Gate(limit=limit, checks=tuple(checks), errors=errors, is_strict=is_strict)


def _against(
    rows: Sequence[SweepRow],
    paths: Sequence[Path],
    limit: Limit,
    baseline: Path,
    *,
    is_strict: bool,
    errors: Mapping[str, str],
) -> Gate:
    before, _ = read_rows(baseline)
    by_coordinates = {row.coordinates: row for row in before}
    checks, new = [], []
    for row in rows:
        other = by_coordinates.get(row.coordinates)
        if other is None:
            new.append(row.label)
            continue
        above = _difference(row, other, paths, baseline)
        figures = row.model_copy(
            update={
                "above_ms": above.p50_ms,
                "above_percent": above.percent,
                "above_interval_percent": above.bounds,
            }
        )
        bounds = limit.bounds(figures)
        assert bounds is not None, "it is compared with something"
        note = APART if row.evidence == "measured" else ""
        verdict = limit.verdict(bounds)
        checks.append(
            Check(model=row.label, against=baseline.name, found=bounds, verdict=verdict, note=note)
        )
    if not checks and not errors:
        raise InputError(
            f"{baseline} has none of these models at these places.",
            mend="Rows are compared by model, attention, place, opset, precision, target, runtime"
            " and device: give the file of a sweep of the same plan.",
        )
    return Gate(
        limit=limit,
        checks=tuple(checks),
        new=tuple(new),
        errors=errors,
        is_strict=is_strict,
    )


def _difference(
    row: SweepRow, other: SweepRow, paths: Sequence[Path], baseline: Path
) -> Difference:
    """Return what a row takes above the same of another sweep.

    Predicted rows differ by their kernels. Those that were measured were not run together: the
    interval has the spreads of both, which are independent, as normal errors of logarithms.
    """
    if row.evidence == "predicted":
        now, before = read_basis(paths, row.key), read_basis([baseline], other.key)
        if now is None or before is None:
            raise InputError(
                f"Nothing tells by how much {row.label} differs: its kernels are not here.",
                mend="Give the files of sweeps (.db), and not what was printed of them.",
            )
        return difference(
            now.kernels, now.latency_ms, before.kernels, before.latency_ms, now.shared_spread
        )
    ratio = row.latency_ms / other.latency_ms
    interval = None
    if row.latency_interval_ms is not None and other.latency_interval_ms is not None:
        sides = []
        for side in (0, 1):
            ours = math.log(row.latency_interval_ms[side] / row.latency_ms)
            theirs = math.log(other.latency_interval_ms[1 - side] / other.latency_ms)
            sides.append(math.hypot(ours, theirs))
        interval = (100 * (ratio * math.exp(-sides[0]) - 1), 100 * (ratio * math.exp(sides[1]) - 1))
    return Difference(
        p50_ms=row.latency_ms - other.latency_ms,
        percent=100 * (ratio - 1),
        ci95=interval,
        rounds=0,
    )
