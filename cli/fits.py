"""How a fit of a device profile looks: what was found, how sure that is, and how it does."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from edgeattn.report.grid import table
from edgeattn.report.units import milliseconds

if TYPE_CHECKING:
    from rich.console import Console

    from edgeattn.profiling.calibration.learn import Learned, Tried
    from edgeattn.records.trace import Expected


def fit_document(learned: Learned) -> dict[str, Any]:
    """Return a fit as `--json` says it."""
    return {
        "start": learned.start.name,
        "figures": [dataclasses.asdict(one) for one in learned.fitted.figures],
        "traces": [
            {
                "name": one.trace.name,
                "measured_ms": one.trace.latency_ms.p50,
                **{
                    name: None if found is None else _predicted(one, found)
                    for name, found in (
                        ("before", one.before),
                        ("after", one.after),
                        ("from_the_others", one.left_out),
                    )
                },
            }
            for one in learned.tried
        ],
        "outliers": [
            {"trace": trace, "kernel": kernel} for trace, kernel in learned.fitted.outliers
        ],
    }


def _predicted(one: Tried, found: Expected) -> dict[str, Any]:
    from edgeattn.profiling.calibration.learn import error

    return {
        "latency_ms": found.latency_ms,
        "interval_ms": found.interval_ms,
        "error": error(one, found),
        "holds": _holds(one, found),
    }


def _holds(one: Tried, found: Expected) -> bool:
    low, high = found.interval_ms
    return low <= one.trace.latency_ms.p50 <= high


def print_fit(console: Console, learned: Learned) -> None:
    """Print what was found, and how each trace is predicted with it."""
    figures = table("figure", "before", "fitted", "±", "kernels", "", right=range(1, 5))
    for figure in learned.fitted.figures:
        figures.add_row(
            figure.key,
            "" if figure.before is None else f"{figure.before:.4g}",
            f"{figure.after:.4g}",
            "" if figure.spread is None else f"{100 * figure.spread:.0f} %",
            str(figure.kernels or ""),
            "" if figure.is_known else "not told by these traces",
        )
    console.print(figures)
    console.print()
    left_out = ("from the others", "%", "interval") if len(learned.tried) > 1 else ()
    columns = ("measured", "before", "%", "fitted", "%", *left_out)
    tried = table("trace", *columns, right=range(1, 1 + len(columns)))
    for one in learned.tried:
        row = [one.trace.name, milliseconds(one.trace.latency_ms.p50)]
        row += [*_cells(one, one.before), *_cells(one, one.after)]
        if one.left_out is not None:
            low, high = one.left_out.interval_ms
            verdict = "holds" if _holds(one, one.left_out) else "DOES NOT HOLD"
            interval = f"{milliseconds(low)} … {milliseconds(high)} {verdict}"
            row += [*_cells(one, one.left_out), interval]
        tried.add_row(*row)
    console.print(tried)


def _cells(one: Tried, found: Expected) -> list[str]:
    from edgeattn.profiling.calibration.learn import error

    return [milliseconds(found.latency_ms), f"{100 * error(one, found):+.1f}"]
