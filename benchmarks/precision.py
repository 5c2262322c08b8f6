"""How near half precision is to float32, for every attention on three backbones.

    python benchmarks/precision.py --work DIR [--backbone resnet18] [--attention simam]

Weights and statistics are drawn at random. Each model is exported and lowered, with the attention
at the end of every block, and cast with `edgeattn.precision`. Three figures stand in a row:

- SQNR of the cast file against the float32 one, in ONNX Runtime with each half value rounded,
  worst over outputs;
- the same for the stock conversion, which keeps nothing in float32; and what half can give at best
  where a network amplifies rounding: the SQNR of torch's float32 outputs against float64's, less
  the 78 dB of the 13 bits that half has fewer;
- with the input multiplied until values inside the statistics (or a softmax's input) pass 10^4:
  how many values that the cast model stores, or sums up, in half are beyond 65504 in float32, and
  whether its outputs are finite. The model is cast twice: after an audit of plain random inputs,
  and of inputs that large. What is beyond half is counted on the float32 model, because ONNX
  Runtime keeps some half values in float32.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

BACKBONES: Final = {
    "resnet18": "resnet18",
    "resnet50": "resnet50",
    "mobilenetv2": "timm:mobilenetv2_100",
}
STATISTIC: Final = 1e4
HALF_MAX: Final = 65504.0
HALF_COSTS_DB: Final = 78.0
_LARGEST_SCALE: Final = 1e4


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What was found of one model; NaN where nothing could be."""

    model: str
    sqnr_db: float
    stock_db: float
    floor_db: float
    kept: int
    nodes: int
    scale: float
    statistic: float
    stock_beyond: int
    plain_beyond: int
    first: str
    audited_kept: int
    audited_beyond: int
    finite: bool


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="where files are kept")
    parser.add_argument("--backbone", action="append", choices=list(BACKBONES))
    parser.add_argument("--attention", action="append")
    parser.add_argument("--size", type=int, default=224)
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    from edgeattn.attention.registry import ATTENTIONS
    from edgeattn.base.errors import EdgeattnError

    warnings.simplefilter("ignore")
    rows = []
    for backbone in asked.backbone or BACKBONES:
        for attention in asked.attention or ATTENTIONS:
            name = f"{backbone}-{attention}-{asked.size}"
            try:
                path = exported(asked.work / f"{name}.onnx", backbone, attention, asked.size)
                rows.append(row(path, asked.work))
            except EdgeattnError as error:
                print(f"{name:30} {str(error).splitlines()[0][:120]}", flush=True)
                continue
            print(line(rows[-1]), flush=True)
    (asked.work / "precision.json").write_text(
        json.dumps([dataclasses.asdict(one) for one in rows], indent=2)
    )
    worst = min(rows, key=lambda one: one.sqnr_db)
    print(f"{len(rows)} models, worst {worst.sqnr_db:.1f} dB ({worst.model})")
    sys.exit(any(one.sqnr_db < 40 or one.audited_beyond or not one.finite for one in rows))


def line(one: Row) -> str:
    """Write a row."""
    return (
        f"{one.model:26} {one.sqnr_db:5.1f} dB"
        f" (stock {one.stock_db:5.1f}, floor {one.floor_db:5.1f})"
        f" {one.kept:4}/{one.nodes:<4} float32 | x{one.scale:<5.4g} statistics {one.statistic:.2g},"
        f" beyond half: stock {one.stock_beyond}, plain audit {one.plain_beyond}"
        f" {one.first}, audited {one.audited_beyond} ({one.audited_kept} float32),"
        f" {'finite' if one.finite else 'INF OR NAN'}"
    )


def exported(path: Path, backbone: str, attention: str, size: int) -> Path:
    """Return the lowered float32 file of a model whose weights are random."""
    if path.exists() and path.with_suffix(".floor").exists():
        return path
    from safetensors.torch import save_model

    from edgeattn.models.build import build
    from edgeattn.options.export import ExportOptions
    from edgeattn.options.model import AttentionRequest, ModelRequest
    from edgeattn.parity import tolerance_of
    from edgeattn.parity.randomise import randomise
    from edgeattn.parity.rounding import rounding_floor
    from edgeattn.workflows.export import export

    # stn turns images, not maps; sk takes a convolution's place.
    at = None if attention in ("stn", "sk") else "block-end"
    request = ModelRequest(
        source=BACKBONES[backbone],
        attentions=(AttentionRequest(name=attention, at=at),),
        shapes=((1, 3, size, size),),
    )
    built = build(request)
    randomise(built.module, built.inputs, seed=1)
    found = rounding_floor(built.module, built.inputs, tolerance_of("fp32"))
    floor_db = min((one.sqnr_db for one in found if one.sqnr_db is not None), default=math.inf)
    path.with_suffix(".floor").write_text(str(floor_db))
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "random.safetensors"
        save_model(built.module, str(weights))
        export(dataclasses.replace(request, weights=weights), ExportOptions(), path)
    return path


def row(path: Path, work: Path) -> Row:
    """Cast a file, and measure it."""
    import onnx_ir as ir

    from edgeattn.graph.reading import read
    from edgeattn.options.cast import CastOptions
    from edgeattn.precision.cast import cast_file
    from edgeattn.precision.half import prepare
    from edgeattn.precision.ranges import measure_ranges

    half = work / f"{path.stem}.half.onnx"
    record = cast_file(path, half, CastOptions(), gate=False)
    model = read(path).model
    prepare(model)
    kept = {one.node for one in record.kept}
    inside = [str(v.name) for node in model.graph if node.name in kept for v in node.outputs]
    inside += [str(n.inputs[0].name) for n in model.graph if n.op_type == "Softmax"]
    (name,) = (str(value.name) for value in model.graph.inputs)
    shape = model.graph.inputs[0].shape.numpy()
    x = np.random.default_rng(7).standard_normal(shape).astype(np.float32)

    def measured(scale: float) -> dict[str, float]:
        sizes, _ = measure_ranges(model, [{name: x * np.float32(scale)}])
        sums = {f"{value} (its sum)": one.max_sum or 0.0 for value, one in sizes.items()}
        return {value: one.max_abs for value, one in sizes.items()} | sums

    def beyond(kept: set[str]) -> list[str]:
        stored = [str(v.name) for n in model.graph if n.name not in kept for v in n.outputs]
        stored += [f"{value} (its sum)" for value in stored]
        return [value for value in stored if found.get(value, 0.0) > HALF_MAX]

    scale, found = scaled_up(measured, inside)
    large = x * np.float32(scale)
    data = work / f"{path.stem}.large.npy"
    np.save(data, large)
    again = work / f"{path.stem}.audited.onnx"
    options = CastOptions(calibration=str(data))
    audited = {one.node for one in cast_file(path, again, options, gate=False).kept}
    stock = work / f"{path.stem}.stock.onnx"
    ir.save(stock_half(path), stock)
    outside = beyond(kept)
    outputs = [*zip(run(path, large), run_half(again, large), strict=True)]
    return Row(
        model=path.stem,
        sqnr_db=min(one.sqnr_db or math.inf for one in record.parity.outputs),
        stock_db=min(sqnr_db(a, b) for a, b in zip(run(path, x), run_half(stock, x), strict=True)),
        floor_db=float(path.with_suffix(".floor").read_text()) - HALF_COSTS_DB,
        kept=len(kept),
        nodes=len(model.graph),
        scale=scale,
        statistic=max((found.get(value, 0.0) for value in inside), default=math.nan),
        stock_beyond=len(beyond(set())),
        plain_beyond=len(outside),
        first=outside[0] if outside else "",
        audited_kept=len(audited),
        audited_beyond=len(beyond(audited)),
        finite=all(np.isfinite(b[np.isfinite(a)]).all() for a, b in outputs),
    )


def scaled_up(ranges: Any, inside: list[str]) -> tuple[float, dict[str, float]]:
    """Return the smallest factor, to a fifth, at which a statistic passes 10^4."""
    low, high = 0.0, 1.0
    found = ranges(high)
    while max((found.get(n, 0.0) for n in inside), default=0.0) < STATISTIC:
        if high > (_LARGEST_SCALE if inside else 64):
            return high, found
        low, high = high, high * 4
        found = ranges(high)
    while low and high / low > 1.2:
        middle = math.sqrt(low * high)
        tried = ranges(middle)
        if max(tried.get(n, 0.0) for n in inside) < STATISTIC:
            low = middle
        else:
            high, found = middle, tried
    return high, found


def stock_half(path: Path) -> Any:
    """Return the converter's own cast."""
    import onnx
    import onnx_ir as ir
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = ir.from_proto(convert_float_to_float16(onnx.load(path), keep_io_types=True))
    model.graph.sort()
    return model


def run(path: Path, x: Any) -> list[Any]:
    """Run a file of one input."""
    from edgeattn.runtimes.onnxruntime import Session

    return Session(path).run([x])


def run_half(path: Path, x: Any) -> list[Any]:
    """Run a half-precision file of one input with each half value rounded."""
    from edgeattn.parity.emulate import write_emulated

    with tempfile.TemporaryDirectory() as folder:
        return run(write_emulated(path, Path(folder) / "emulated.onnx"), x)


def sqnr_db(want: Any, have: Any) -> float:
    """Return the signal to noise ratio; that of NaN is minus infinity."""
    exact = want.astype(np.float64)
    noise = float(np.sum((exact - have) ** 2))
    return 10 * math.log10(float(np.sum(exact**2)) / noise) if math.isfinite(noise) else -math.inf


if __name__ == "__main__":
    main()
