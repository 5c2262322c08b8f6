"""Models without added attention: ShuffleNetV2's shuffles, and models that must not get worse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from lowering_cases import SHUFFLENET, Case, Form, Shelf, all_met, say
from lowering_hidden import HOW, LOAD_COLUMNS, QUIET, TITLES, load_of, with_interval
from lowering_latency import Latencies, interval, measure
from lowering_plans import PRECISIONS, Figures, figures
from lowering_table import Column, Table, mark

_MOST_LATENCY: Final = 1.02
_MOVES: Final = ("Transpose", "Reshape", "Gather", "Slice", "Split", "Concat")
_ASKED_OF_SHUFFLES: Final = (
    "Asked: no Transpose or Reshape around a shuffle (one that only a mean over the map reads, or"
    " that has one position, is around none), fewer kernels and bytes, faster."
)
_NO_LATENCY: Final = {"load": "not measured", "quiet": None, "ratio": None}


def shuffle_table(shelf: Shelf, *, rounds: int, seconds: float, is_timed: bool) -> Table:
    """Make the table of ShuffleNetV2: what is left of its shuffles, and what they cost."""
    say(f"shufflenet: {SHUFFLENET.name}")
    stock = _shuffle_row(shelf, "stock")
    on_tensorrt = _shuffle_row(shelf, "tensorrt")
    on_tensorrt["met"] = all_met(
        (
            _is_free(on_tensorrt),
            *(
                on_tensorrt[p].kernels < stock[p].kernels
                and on_tensorrt[p].traffic_bytes < stock[p].traffic_bytes
                for p in PRECISIONS
            ),
        )
    )
    rows = [stock, on_tensorrt]
    for runtime in TITLES:
        row, faster = _shuffle_row(shelf, runtime), None
        if is_timed:
            files = [shelf.file(SHUFFLENET, form) for form in ("stock", runtime)]
            found = measure(files, rounds=rounds, seconds=seconds, runtime=runtime)
            latency = _latency(found)
            faster = latency["ratio"][2] < 1 if found.load.is_quiet else None
            row |= latency
        row["met"] = all_met((_is_free(row), faster))
        rows.append(row)
    return Table(
        title=f"{SHUFFLENET.source}, stock and lowered for each target",
        columns=(
            Column(key="form", heading="form"),
            Column(key="nodes", heading="nodes"),
            *(Column(key=move, heading=move) for move in _MOVES),
            *(Column(key=p, heading=f"kernels, MB in {p}", show=_plan_text) for p in PRECISIONS),
            Column(key="ratio", heading="latency / stock", show=_ratio_text),
            Column(key="met", heading="met", show=mark),
            *LOAD_COLUMNS,
        ),
        rows=[_plain_values(row) for row in rows],
        notes=(
            _ASKED_OF_SHUFFLES,
            HOW,
            QUIET,
        ),
    )


def never_table(
    shelf: Shelf, cases: Sequence[Case], *, rounds: int, seconds: float, is_timed: bool
) -> Table:
    """Make the table of models without attention: no more kernels, bytes and latency."""
    rows = []
    for case in cases:
        say(f"never: {case.name}")
        row: dict[str, Any] = {"model": case.name}
        row |= {f"{one}_{key}": value for one in TITLES for key, value in _NO_LATENCY.items()}
        marks: list[bool | None] = []
        for precision in PRECISIONS:
            stock, lowered = (figures(shelf, case, f, precision) for f in ("stock", "tensorrt"))
            row[f"{precision}_kernels"] = (stock.kernels, lowered.kernels)
            row[f"{precision}_mb"] = (stock.traffic_mb, lowered.traffic_mb)
            marks += [
                lowered.kernels <= stock.kernels,
                lowered.traffic_bytes <= stock.traffic_bytes,
            ]
        if is_timed:
            for runtime in TITLES:
                files = [shelf.file(case, form) for form in ("stock", runtime)]
                found = measure(files, rounds=rounds, seconds=seconds, runtime=runtime)
                latency = _latency(found)
                row |= {f"{runtime}_{key}": value for key, value in latency.items()}
                is_as_fast = latency["ratio"][0] <= _MOST_LATENCY
                marks.append(is_as_fast if found.load.is_quiet else None)
        else:
            marks.append(None)
        rows.append({**row, "met": all_met(marks)})
    return Table(
        title="Never worse: models without attention, stock → lowered",
        columns=(
            Column(key="model", heading="model"),
            *(
                column
                for p in PRECISIONS
                for column in (
                    Column(key=f"{p}_kernels", heading=f"kernels {p}", show=_change(0)),
                    Column(key=f"{p}_mb", heading=f"MB {p}", show=_change(2)),
                )
            ),
            *(
                column
                for one, title in TITLES.items()
                for column in (
                    Column(
                        key=f"{one}_ratio",
                        heading=f"{title}, latency / stock (≤ {_MOST_LATENCY})",
                        show=_ratio_text,
                    ),
                    *(replace(load, key=f"{one}_{load.key}") for load in LOAD_COLUMNS),
                )
            ),
            Column(key="met", heading="met", show=mark),
        ),
        rows=rows,
        notes=("Plans for target tensorrt, latency for each runtime's own.", HOW, QUIET),
    )


def _shuffle_row(shelf: Shelf, form: Form) -> dict[str, Any]:
    path = shelf.file(SHUFFLENET, form)
    counts, shuffling = _nodes(path)
    is_planned = form not in TITLES  # its file is for another runtime
    plans: dict[str, Figures | None] = {
        p: figures(shelf, SHUFFLENET, form, p) if is_planned else None for p in PRECISIONS
    }
    return {
        "form": "stock" if form == "stock" else f"lowered for {form}",
        "nodes": sum(counts.values()),
        **{move: counts[move] for move in _MOVES},
        "shuffling": shuffling,
        **plans,
        **_NO_LATENCY,
        "met": None,
    }


def _is_free(row: dict[str, Any]) -> bool:
    return bool(row["shuffling"] == 0)


def _nodes(path: Path) -> tuple[Counter[str], int]:
    """Count a file's nodes, and the Transposes and Reshapes that may belong to a shuffle."""
    import onnx_ir

    model = onnx_ir.load(path)
    counts = Counter(node.op_type for node in model.graph)
    shuffling = sum(
        1
        for node in model.graph
        if node.op_type in {"Transpose", "Reshape"} and not _is_of_mean(node)
    )
    return counts, shuffling


def _is_of_mean(node: Any) -> bool:
    """Return whether all that reads a node is a mean, or what it reads is one position."""
    users = {user.op_type for value in node.outputs for user in value.consumers()}
    shape = node.inputs[0].shape
    is_one_position = shape is not None and sum(size != 1 for size in shape) <= 1
    return is_one_position or (bool(users) and users <= {"ReduceMean", "GlobalAveragePool"})


def _latency(found: Latencies) -> dict[str, Any]:
    before, after = np.median(found.seconds, axis=0) * 1e3
    return {
        "ratio": interval(_ratio, found.seconds),
        "stock_ms": float(before),
        "lowered_ms": float(after),
        **load_of(found),
    }


def _ratio(seconds: np.ndarray) -> np.ndarray:
    ratio: np.ndarray = np.median(seconds[..., 1] / seconds[..., 0], axis=-1)
    return ratio


def _ratio_text(ratio: Sequence[float]) -> str:
    return with_interval(ratio, 3)


def _plan_text(plan: dict[str, Any]) -> str:
    return f"{plan['kernels']}, {plan['traffic_bytes'] / 1e6:.2f}"


def _plain_values(row: dict[str, Any]) -> dict[str, Any]:
    return {
        key: {"kernels": value.kernels, "traffic_bytes": value.traffic_bytes}
        if isinstance(value, Figures)
        else value
        for key, value in row.items()
    }


def _change(digits: int) -> Any:
    return lambda pair: " → ".join(f"{value:.{digits}f}" for value in pair)
