"""Compares the whole `edgeattn export` with a script that only calls torch.onnx.export.

    python benchmarks/export_overhead.py [--model resnet50] [--rounds 5]

The two run in turn, in fresh processes, edgeattn compiled as pip does it where it installs. Printed
are the medians, and the medians of the pairwise ratios: of wall-clock times, of processor time, and
of peak memory: of the largest single process, and of all processes together (sampled every 20 ms).
Also the start of `edgeattn --help` against `import typer`.
"""

from __future__ import annotations

import argparse
import compileall
import importlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

STOCK = """
import sys
import edgeattn.base.torchvision_ops as ops
ops.declare_missing_operators()  # the stock script would not start here without it
import timm, torch
model = timm.create_model(sys.argv[1]).eval()
torch.onnx.export(model, (torch.randn(1, 3, 224, 224),), sys.argv[2], dynamo=True)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run: seconds, and peak resident memory in MiB."""

    wall_s: float
    cpu_s: float
    largest_mib: float
    together_mib: float


def main() -> int:
    """Run both in turn and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--attention", default="none")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    edgeattn = Path(sys.executable).parent / "edgeattn"
    for package in ("edgeattn", "edgeattn.cli"):
        compileall.compile_dir(importlib.import_module(package).__path__[0], quiet=2)
    with tempfile.TemporaryDirectory() as folder:
        ours = [
            str(edgeattn),
            "export",
            arguments.model,
            "--attention",
            arguments.attention,
            "-o",
            f"{folder}/ours.onnx",
        ]
        stock = [sys.executable, "-c", STOCK, arguments.model, f"{folder}/stock.onnx"]
        pairs = [(_run(ours), _run(stock)) for _ in range(arguments.rounds + 1)][1:]
    _print("edgeattn export / torch.onnx.export", pairs)
    help_pairs = [
        (_run([str(edgeattn), "--help"]), _run([sys.executable, "-c", "import typer"]))
        for _ in range(2 * arguments.rounds + 1)
    ][1:]
    _print("edgeattn --help / import typer", help_pairs)
    return 0


def _print(title: str, pairs: list[tuple[Run, Run]]) -> None:
    print(title)
    for field, unit in (
        ("wall_s", "s"),
        ("cpu_s", "s"),
        ("largest_mib", "MiB"),
        ("together_mib", "MiB"),
    ):
        ours = [getattr(run, field) for run, _ in pairs]
        stock = [getattr(run, field) for _, run in pairs]
        ratios = [a / b for a, b in zip(ours, stock, strict=True)]
        print(
            f"  {field:13} {statistics.median(ours):8.2f} {unit} / {statistics.median(stock):8.2f}"
            f" {unit}  ratio {statistics.median(ratios):.2f}"
            f"  ({min(ratios):.2f} to {max(ratios):.2f}, {len(pairs)} pairs)"
        )


def _run(command: list[str]) -> Run:
    import os

    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = [0.0]
    stop = threading.Event()
    watcher = threading.Thread(target=_watch, args=(process.pid, peak, stop))
    watcher.start()
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - began
    stop.set()
    watcher.join()
    if status:
        sys.exit(f"{' '.join(command)} failed")
    return Run(
        wall_s=wall_s,
        cpu_s=usage.ru_utime + usage.ru_stime,
        largest_mib=usage.ru_maxrss / 1024,
        together_mib=max(peak[0], 1e-3),
    )


def _watch(pid: int, peak: list[float], stop: threading.Event) -> None:
    while not stop.wait(0.02):
        total = sum(_resident_mib(member) for member in _family(pid))
        peak[0] = max(peak[0], total)


def _family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(member for child in children for member in _family(int(child)))]


def _resident_mib(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 2**20
    except (OSError, IndexError):
        return 0.0


if __name__ == "__main__":
    sys.exit(main())
