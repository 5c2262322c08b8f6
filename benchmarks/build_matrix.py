"""Builds a backbone with every attention, in every precision, for every architecture; no GPU.

    python benchmarks/build_matrix.py --work DIR [--model resnet50] [--attention se ...]
        [--precision fp32 fp16 int8] [--capability 7.5 8.0 8.6 8.9 12.0] [--json FILE]

Each engine is built by `edgeattn build` of one ONNX file, which is exported once and cast once;
int8 is calibrated on random data, because what counts here is what is built. For each it is checked
that the command ends with 0, that its kernels and bytes are those of an independent reading of the
log, and that the bytes of the kernels add up to the manifest's. A cell that ends with 1 says how
many kernels the audit of precision names.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import subprocess
import sys
from pathlib import Path

PRECISIONS = ("fp32", "fp16", "int8")
CAPABILITIES = ("7.5", "8.0", "8.6", "8.9", "12.0")
BYTES = {"Float": 4, "Half": 2, "Int8": 1, "Int32": 4, "Int64": 8, "Bool": 1}
IDLE = re.compile(r"LayerType: (signal|wait|shape_call)")


def main() -> int:
    """Build all, print a row for each model and precision, and end with 1 if one fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--attention", nargs="*", default=None)
    parser.add_argument("--precision", nargs="*", default=PRECISIONS)
    parser.add_argument("--capability", nargs="*", default=CAPABILITIES)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    rows, failures = [], 0
    print(f"{'model':28}{'':6}" + "".join(f"{name:>26}" for name in asked.capability))
    for attention in asked.attention or ["none", *attentions()]:
        stem = asked.model if attention == "none" else f"{asked.model}-{attention}"
        fp32 = asked.work / f"{stem}.onnx"
        if not fp32.exists():
            edgeattn("export", asked.model, "-a", attention, "-o", str(fp32))
        for precision in asked.precision:
            source = cast(fp32, precision)
            cells = [built(source, precision, capability) for capability in asked.capability]
            rows += [{"model": stem, "precision": precision, **cell} for cell in cells]
            failures += sum(cell["error"] != "" for cell in cells)
            told = [
                cell["error"][:24]
                or f"{cell['kernels']} kernels {cell['traffic_bytes'] / 1e6:.1f} MB"
                for cell in cells
            ]
            print(f"{stem:28}{precision:6}" + "".join(f"{text:>26}" for text in told), flush=True)
    print(f"{len(rows)} engines, {failures} failures")
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1))
    return 1 if failures else 0


def attentions() -> list[str]:
    """Return the names of all attentions of edgeattn."""
    listed = json.loads(edgeattn("list", "attentions", "--json").stdout)
    return [one["name"] for one in listed if not one["name"].startswith("timm-")]


def cast(fp32: Path, precision: str) -> Path:
    """Cast a file, once."""
    if precision == "fp32":
        return fp32
    path = fp32.with_name(f"{fp32.stem}-{precision}.onnx")
    if not path.exists():
        data = ["--calibration", "random", "--samples", "8"] if precision == "int8" else []
        edgeattn("cast", str(fp32), "--precision", precision, *data, "-o", str(path))
    return path


def built(source: Path, precision: str, capability: str) -> dict[str, object]:
    """Build an engine, check its figures, and return them."""
    log = source.with_suffix(".log")
    asked = ["--compute-capability", capability, "--precision", precision, "--log", str(log)]
    run = edgeattn("build", str(source), *asked, "-o", str(source.parent), "--json", check=False)
    row: dict[str, object] = {"compute_capability": capability, "error": ""}
    if run.returncode not in (0, 1):
        return row | {"error": f"exit {run.returncode}: {run.stderr.strip()[-200:]}"}
    said = json.loads(run.stdout)
    if run.returncode:
        wrong = len(said["precision"]["mismatches"])
        row["error"] = f"exit 1: {wrong} of {said['kernels']} differ"
    kernels, moved = independent(log.read_text())
    total = sum(tensor_bytes(kernel) for kernel in said["layers"]["kernels"])
    if not (said["kernels"], said["traffic_bytes"]) == (kernels, moved) == (kernels, total):
        row["error"] = f"{said['kernels']} {said['traffic_bytes']}, log {kernels} {moved} {total}"
    Path(said["engine"]).unlink()
    keys = ("kernels", "traffic_bytes", "weights_bytes", "activation_bytes", "precision")
    return row | {key: said[key] for key in keys} | {"build_s": said["seconds"]["build"]}


def independent(log: str) -> tuple[int, int]:
    """Read kernels and bytes from a log, by a few lines of its own."""
    listed = log.partition("Layers:\n")[2].partition("\n\nI/O Tensors:")[0]
    lines = [line for line in listed.splitlines() if not IDLE.search(line)]
    found = re.findall(r"Dimensions: \[([\d,]*)\][^{}]*Datatype: (\w+)", "\n".join(lines))
    return len(lines), sum(
        math.prod(int(size) for size in sizes.split(",") if size) * BYTES[kind]
        for sizes, kind in found
    )


def tensor_bytes(kernel: dict[str, list[dict[str, object]]]) -> int:
    """Add up the bytes of a kernel's tensors, as the manifest lists them."""
    bits = {"fp32": 32, "fp16": 16, "int8": 8, "int32": 32, "int64": 64, "bool": 8}
    return sum(
        math.prod(tensor["shape"]) * bits[str(tensor["dtype"])] // 8
        for kind in ("inputs", "constants", "outputs")
        for tensor in kernel[kind]
    )


def edgeattn(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own."""
    program = [str(Path(sys.executable).parent / "edgeattn"), *arguments]
    run = subprocess.run(program, capture_output=True, text=True, check=False)
    if check and run.returncode:
        raise SystemExit(f"{' '.join(program)}\n{run.stderr}")
    return run


if __name__ == "__main__":
    sys.exit(main())
