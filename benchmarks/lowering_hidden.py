"""The hidden cost on ONNX Runtime: latency above the plain model, stock against lowered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from lowering_cases import Shelf, all_met, on_backbone, say
from lowering_latency import (
    MOST_CORES_OF_OTHERS,
    MOST_VARIATION,
    THREADS,
    Latencies,
    interval,
    measure,
)
from lowering_table import MARKS, Column, Table, mark, number

# Issue 3, in per cent of the hidden cost.
_ASKED_ANYWHERE: Final = 25.0
_ASKED_OF: Final = {"ulsam": 70.0}
_ASKED_IN_THE_MEDIAN: Final = 50.0

HOW: Final = (
    f"ONNX Runtime on the CPU, {THREADS} threads that do not spin, batch 1, all files of a row in"
    " one process, in turns; medians over rounds, 95 % intervals by bootstrap of rounds."
)
QUIET: Final = (
    f"A row is quiet where other processes had at most {MOST_CORES_OF_OTHERS} cores and the"
    f" latency of its first file varied by at most {100 * MOST_VARIATION:g} %; of a row that is"
    " not, nothing is said to be met."
)
LOAD_COLUMNS: Final = (
    Column(key="load", heading="load"),
    Column(
        key="quiet",
        heading="quiet",
        show={True: "yes", False: "NOT QUIET", None: MARKS[None]}.__getitem__,
    ),
)


def load_of(latencies: Latencies) -> dict[str, Any]:
    """Return the values of the columns on the machine's load."""
    return {
        "load": str(latencies.load),
        "quiet": latencies.load.is_quiet,
        "rounds": len(latencies.seconds),
    }


def with_interval(found: Sequence[float], digits: int, unit: str = "") -> str:
    """Write a figure and its interval."""
    value, low, high = map(number(digits), found)
    return f"{value}{unit} [{low}, {high}]"


def hidden_table(
    shelf: Shelf,
    backbones: Sequence[str],
    attentions: Sequence[str],
    *,
    rounds: int,
    seconds: float,
) -> Table:
    """Make the table of hidden costs, and of how much of them lowering cuts."""
    rows = []
    for backbone in backbones:
        plain = shelf.file(on_backbone(backbone, "none"), "stock")
        for attention in attentions:
            case = on_backbone(backbone, attention)
            files = [plain, shelf.file(case, "stock"), shelf.file(case, "onnxruntime")]
            say(f"onnxruntime: {case.name}, up to {seconds:g} s")
            row = _row(files, asked=_ASKED_OF.get(attention, _ASKED_ANYWHERE), rounds=rounds,
                       seconds=seconds)  # fmt: skip
            rows.append({"backbone": backbone, "attention": attention, **row})
    rows.append(_summary(rows))
    return Table(
        title="ONNX Runtime: hidden cost, the latency above the plain model",
        columns=(
            Column(key="backbone", heading="model"),
            Column(key="attention", heading="attention"),
            Column(key="plain_ms", heading="plain, ms", show=number(2)),
            Column(key="stock_hidden_ms", heading="stock, ms above", show=number(2)),
            Column(key="lowered_hidden_ms", heading="lowered, ms above", show=number(2)),
            Column(key="cut_percent", heading="cut", show=_cut),
            Column(key="asked_percent", heading="asked", show=lambda asked: f"≥ {asked:g} %"),
            Column(key="met", heading="met", show=mark),
            *LOAD_COLUMNS,
        ),
        rows=rows,
        notes=(HOW, QUIET),
    )


def _row(files: list[Path], *, asked: float, rounds: int, seconds: float) -> dict[str, Any]:
    found = measure(files, rounds=rounds, seconds=seconds)
    cut = interval(_cut_percent, found.seconds)
    plain, stock, lowered = np.median(found.seconds, axis=0) * 1e3
    hidden = _hidden(found.seconds) * 1e3
    return {
        "plain_ms": float(plain),
        "stock_ms": float(stock),
        "lowered_ms": float(lowered),
        "stock_hidden_ms": float(hidden[0]),
        "lowered_hidden_ms": float(hidden[1]),
        "cut_percent": cut,
        "asked_percent": asked,
        "met": cut[0] >= asked if found.load.is_quiet else None,
        **load_of(found),
    }


def _hidden(seconds: np.ndarray) -> np.ndarray:
    """Return the median of each file's latency above the first's: f64[..., files - 1]."""
    above: np.ndarray = np.median(seconds[..., 1:] - seconds[..., :1], axis=-2)
    return above


def _cut_percent(seconds: np.ndarray) -> np.ndarray:
    hidden = _hidden(seconds)
    cut: np.ndarray = 100 * (1 - hidden[..., 1] / hidden[..., 0])
    return cut


def _summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the row of the median over all cases; no interval, since the cases are no sample."""
    median = float(np.median([row["cut_percent"][0] for row in rows]))
    is_quiet = bool(all_met(row["quiet"] for row in rows))
    return {
        "backbone": "median",
        "attention": f"of {len(rows)}",
        "plain_ms": None,
        "stock_hidden_ms": None,
        "lowered_hidden_ms": None,
        "cut_percent": (median,),
        "asked_percent": _ASKED_IN_THE_MEDIAN,
        "met": median >= _ASKED_IN_THE_MEDIAN if is_quiet else None,
        "load": "",
        "quiet": is_quiet,
    }


def _cut(cut: Sequence[float]) -> str:
    return f"{cut[0]:.0f} %" if len(cut) == 1 else with_interval(cut, 0, " %")
