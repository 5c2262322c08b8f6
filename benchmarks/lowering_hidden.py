"""The hidden cost on a CPU: latency above the plain model, of stock, lowered and portable files."""

from __future__ import annotations

from collections.abc import Sequence
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
from lowering_table import Column, Table, mark, number

# What is to be cut at least, in per cent of the hidden cost.
_ASKED_ANYWHERE: Final = 25.0
_ASKED_OF: Final = {"ulsam": 70.0}
_ASKED_IN_THE_MEDIAN: Final = 50.0
# Per cent above the plain ResNet-50 at most, and what portable takes of stock's latency.
_ASKED_ABOVE: Final = {
    "se": 4.5, "eca": 4.0, "simam": 8.0, "sa": 9.5, "cbam": 8.0, "ulsam": 9.0,
}  # fmt: skip
_ASKED_OF_PORTABLE: Final = 1.02
TITLES: Final = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}

HOW: Final = (
    f"On the CPU, {THREADS} threads (ONNX Runtime's do not spin), float32, batch 1, all files of a"
    " row in one process, in turns; medians over rounds, 95 % intervals by bootstrap of rounds."
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
        show={True: "yes", False: "NOT QUIET"}.__getitem__,
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
    runtime: str,
    rounds: int,
    seconds: float,
) -> Table:
    """Make the table of hidden costs on a runtime, and of how much of them lowering cuts."""
    rows = []
    for backbone in backbones:
        plain = shelf.file(on_backbone(backbone, "none"), "stock")
        for attention in attentions:
            case = on_backbone(backbone, attention)
            files = [plain, *(shelf.file(case, form) for form in ("stock", runtime, "portable"))]
            say(f"{runtime}: {case.name}, up to {seconds:g} s")
            found = measure(files, rounds=rounds, seconds=seconds, runtime=runtime)
            row = {"backbone": backbone, "attention": attention, **_row(found)}
            if runtime == "onnxruntime":
                asked = _ASKED_OF.get(attention, _ASKED_ANYWHERE)
                row |= {"asked": f"cut ≥ {asked:g} %"}
                is_met = row["cut_percent"][0] >= asked
            else:
                asked = _ASKED_ABOVE[attention] if backbone == "resnet50" else row["stock"][0]
                row |= {"asked": f"lowered ≤ {asked:.1f} %"}
                is_met = row["lowered"][0] <= asked
            is_met &= row["portable_of_stock"][0] <= _ASKED_OF_PORTABLE
            row["met"] = is_met if found.load.is_quiet else None
            rows.append(row)
    if runtime == "onnxruntime":
        rows.append(_summary(rows))
    return Table(
        title=f"{TITLES[runtime]}: hidden cost, the latency above the plain model",
        columns=(
            Column(key="backbone", heading="model"),
            Column(key="attention", heading="attention"),
            Column(key="plain_ms", heading="plain, ms", show=number(2)),
            Column(key="stock", heading="stock, % above", show=_percent),
            Column(key="lowered", heading="lowered, % above", show=_percent),
            Column(key="portable", heading="portable, % above", show=_percent),
            Column(key="cut_percent", heading="cut", show=_cut),
            Column(key="lowered_of_stock", heading="lowered / stock", show=_ratio),
            Column(key="portable_of_stock", heading="portable / stock", show=_ratio),
            Column(key="asked", heading="asked"),
            Column(key="met", heading="met", show=mark),
            *LOAD_COLUMNS,
        ),
        rows=rows,
        notes=(HOW, f"Asked too: portable / stock ≤ {_ASKED_OF_PORTABLE}.", QUIET),
    )


def _row(found: Latencies) -> dict[str, Any]:
    """Return the figures of a plain file, a stock one, a lowered and a portable one."""
    row: dict[str, Any] = {"plain_ms": float(np.median(found.seconds[:, 0]) * 1e3)}
    for place, form in enumerate(("stock", "lowered", "portable")):
        row[form] = interval(
            lambda seconds, k=place: _above_percent(seconds)[..., k], found.seconds
        )
        if place:
            row[f"{form}_of_stock"] = interval(
                lambda s, k=place: np.median(s[..., 1 + k] / s[..., 1], axis=-1), found.seconds
            )
    return row | {"cut_percent": interval(_cut_percent, found.seconds), **load_of(found)}


def _above_percent(seconds: np.ndarray) -> np.ndarray:
    """Return what files take above the first, per cent of it: f64[..., files - 1]."""
    above: np.ndarray = 100 * _hidden(seconds) / np.median(seconds[..., :1], axis=-2)
    return above


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
        **dict.fromkeys(rows[0]),
        "backbone": "median",
        "attention": f"of {len(rows)}",
        "cut_percent": (median,),
        "asked": f"cut ≥ {_ASKED_IN_THE_MEDIAN:g} %",
        "met": median >= _ASKED_IN_THE_MEDIAN if is_quiet else None,
        "load": "",
        "quiet": is_quiet,
    }


def _percent(found: Sequence[float]) -> str:
    return with_interval(found, 1)


def _ratio(found: Sequence[float]) -> str:
    return with_interval(found, 3)


def _cut(cut: Sequence[float]) -> str:
    return f"{cut[0]:.0f} %" if len(cut) == 1 else with_interval(cut, 0, " %")
