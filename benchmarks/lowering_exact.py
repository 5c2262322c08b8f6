"""Every lowered file against its stock file, both in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from lowering_cases import TARGETS, Case, Shelf, Target, content, say
from lowering_table import Column, Table, mark, number

_HOW: Final = (
    "The lowest SQNR and the largest relative difference, with ONNX Runtime's optimisations off"
    " and on; the reference is run with them off."
)


def exact_table(shelf: Shelf, cases: Sequence[Case]) -> Table:
    """Make the table: the lowest SQNR over ONNX Runtime's optimisations, off and on."""
    rows = [_row(shelf, case, target) for case in cases for target in TARGETS]
    return Table(
        title="Exactness: lowered against stock, float32, random weights",
        columns=(
            Column(key="model", heading="model"),
            Column(key="target", heading="target"),
            Column(key="sqnr_db", heading="SQNR, dB", show=number(0), absent="equal"),
            Column(key="max_rel", heading="max relative", show=lambda value: f"{value:.1e}"),
            Column(key="met", heading="passed", show=mark),
        ),
        rows=rows,
        notes=(_HOW,),
    )


def _row(shelf: Shelf, case: Case, target: Target) -> dict[str, Any]:
    from edgeattn.base.versions import version_of

    say(f"exactness: {case.name} for {target}")
    stock, lowered = shelf.file(case, "stock"), shelf.file(case, target)

    def compare() -> dict[str, Any]:
        from edgeattn.parity import compare_files

        report = compare_files(lowered, stock)
        (output,) = report.outputs
        # What is not finite is no JSON.
        sqnr_db = output.sqnr_db if output.sqnr_db is None else max(output.sqnr_db, -999.0)
        max_rel = min(output.max_rel, 999.0)
        return {"sqnr_db": sqnr_db, "max_rel": max_rel, "met": report.passed}

    key = f"{content(stock)} {content(lowered)} {version_of('onnxruntime')}"
    found = shelf.remembered(f"exact.{lowered.stem}", key, compare)
    return {"model": case.name, "target": target, **found}
