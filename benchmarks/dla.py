"""What stays on a DLA: stock, lowered for TensorRT and for a DLA, by the rules of `support.dla`.

    python benchmarks/dla.py [--model resnet50 ...] [--attention se ...] [--shape 4x3x240x320 ...]

No device is asked: nodes are off, or unknown, by what is documented and what logs of devices show.
Exits 1 where a file for a DLA has nodes that are not sure to run there, changes between DLA and
GPU, or less than 80 dB, of an attention of which none is asked to be left.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import onnx_ir as ir
from lowering_cases import BACKBONES, Case, Form, Shelf, on_backbone, say
from lowering_table import Column, Table, mark, number

from edgeattn.graph import shapes
from edgeattn.parity import compare_files
from edgeattn.support.dla import DLA
from edgeattn.support.stretches import stretches

# Of these nothing is to be left off it; of the others what is left is counted.
_WHOLE: Final = ("se", "eca", "cam", "sam", "cbam", "ca", "bam", "nam", "fca", "gam")
_FORMS: Final = ("stock", "tensorrt", "dla")
_DLAS: Final = {"Orin": DLA("orin", "10.3", "fp16"), "Xavier": DLA("xavier", "8.5", "fp16")}
_LEAST_DB: Final = 80.0


def main() -> int:
    """Print the table, and return 1 where something that is asked is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", action="append", help="a backbone")
    parser.add_argument("--attention", action="append", help="an attention at its blocks' ends")
    parser.add_argument("--shape", action="append", help="the input's, such as 4x3x240x320")
    parser.add_argument("--folder", type=Path, default=Path(".benchmarks/dla"))
    asked = parser.parse_args()
    shelf, rows = Shelf(asked.folder), list[dict[str, Any]]()
    for shape in asked.shape or [""]:
        for model in asked.model or BACKBONES:
            for attention in asked.attention or ("se", "eca", "cam", "cbam", "ca"):
                case = on_backbone(model, attention)
                if shape:
                    sizes = tuple(map(int, shape.split("x")))
                    case = replace(case, name=f"{case.name}-{shape}", shape=sizes)
                rows += [_row(shelf, case, form) for form in _FORMS]
    table = Table(title="Off the DLA", columns=_columns(), rows=rows, notes=(str(__doc__),))
    print(table.to_markdown())
    return 0 if table.is_met else 1


def _columns() -> Sequence[Column]:
    return (
        Column(key="model", heading="model"),
        Column(key="form", heading="form"),
        Column(key="nodes", heading="nodes"),
        *(
            Column(key=f"{what}_{name}", heading=f"{what}, {name}")
            for name in _DLAS
            for what in ("off", "unknown", "changes")
        ),
        Column(key="sqnr_db", heading="dB", show=number(0)),
        Column(key="met", heading="met", show=mark),
    )


def _row(shelf: Shelf, case: Case, form: Form) -> dict[str, Any]:
    say(f"{case.name}, {form}")
    stock, path = shelf.file(case, "stock"), shelf.file(case, form)
    model = ir.load(path)
    if shapes.is_incomplete(model):
        shapes.infer(model)
    row: dict[str, Any] = {"model": case.name, "form": form, "nodes": len(model.graph)}
    is_met = True
    for name, dla in _DLAS.items():
        verdicts = {node: dla.takes(node).verdict for node in model.graph}
        off, unknown = (sum(v == said for v in verdicts.values()) for said in ("no", "unknown"))
        changes = stretches(model.graph, verdicts).changes
        is_met &= not (off or unknown or any(changes))
        said = str(changes[0]) if changes[0] == changes[1] else f"{changes[0]} to {changes[1]}"
        row |= {f"off_{name}": off, f"unknown_{name}": unknown, f"changes_{name}": said}
    row["sqnr_db"] = None if form == "stock" else compare_files(path, stock).outputs[0].sqnr_db
    is_whole = form == "dla" and case.attention in _WHOLE
    row["met"] = is_met and (row["sqnr_db"] or _LEAST_DB) >= _LEAST_DB if is_whole else None
    return row


if __name__ == "__main__":
    sys.exit(main())
