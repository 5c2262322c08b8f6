"""How much of each model's time, and of its plan's bytes, is owned: for each attention.

    python benchmarks/coverage.py --work DIR [--backbone resnet18] [--runtime openvino]

For each attention, at the end of every block or where its paper puts it: the part of ONNX Runtime's
and OpenVINO's time whose kernels one module owns, and the part of the bytes of a TensorRT-RTX plan
for sm_86, of the file as torch writes it and of the one that is lowered for that runtime. Asked:
95 % of ONNX Runtime's time, 98 % of OpenVINO's, 90 % of the bytes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

import edgeattn
from edgeattn.attention.registry import ATTENTIONS

ASKED: Final = {"onnxruntime": 0.95, "openvino": 0.98, "tensorrt": 0.90}
_PUBLISHED: Final = frozenset({"bam", "da", "nonlocal", "sk", "stn"})


def main() -> int:
    """Print the table, and end with 1 if less is owned than asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--runtime", choices=ASKED, help="this one only")
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    runtimes = [asked.runtime] if asked.runtime else [*ASKED]
    columns = [(runtime, form) for runtime in runtimes for form in ("stock", "lowered")]
    print(f"{'attention':10}" + "".join(f"{f'{r} {f}':>22}" for r, f in columns), flush=True)
    is_met = True
    for attention in ATTENTIONS:
        stock = _stock(asked.work, asked.backbone, attention)
        parts = [
            _owned(stock if form == "stock" else _lowered(stock, runtime), runtime)
            for runtime, form in columns
        ]
        is_met &= all(part >= ASKED[r] for part, (r, _) in zip(parts, columns, strict=True))
        print(f"{attention:10}" + "".join(f"{part:22.1%}" for part in parts), flush=True)
    return 0 if is_met else 1


def _stock(folder: Path, backbone: str, attention: str) -> Path:
    path = folder / f"{backbone}-{attention}.onnx"
    if not path.exists():
        at = None if attention in _PUBLISHED else "block-end"
        request = edgeattn.AttentionRequest(name=attention, at=at)
        model = edgeattn.ModelRequest(source=backbone, attentions=(request,))
        edgeattn.export_model(model, edgeattn.ExportOptions(lower=False), path)
    return path


def _lowered(stock: Path, runtime: str) -> Path:
    path = stock.with_name(f"{stock.stem}-{runtime}.onnx")
    if not path.exists():
        edgeattn.optimize_model(stock, edgeattn.OptimizeOptions(target=runtime), path)
    return path


def _owned(path: Path, runtime: str) -> float:
    """Return the part that is owned: of time measured here, or of a plan's bytes."""
    device = "rtx-3090" if runtime == "tensorrt" else None
    by = runtime if device is None else None
    options = edgeattn.ProfileOptions(device=device, runtime=by, marginal=False, limit_s=2)
    item = edgeattn.ProfileItem(path=path, name=path.stem)
    (found,) = edgeattn.profile_model([item], options)
    book = edgeattn.attribute(found.row.trace)
    if device is None:
        return book.coverage_us["owned"] / book.time_us
    return book.coverage_bytes["owned"] / book.whole.traffic_bytes


if __name__ == "__main__":
    sys.exit(main())
