"""Takes YOLO models with attention the whole way: parity, optimize, cast, plan, at every opset.

    python benchmarks/yolo.py
    python benchmarks/yolo.py --models yolo11n --attentions none,cbam --opsets 17 --size 640

Models are built from Ultralytics' YAML files, with random weights and an open batch; attention
stands after each stage of the backbone. Prints what failed, and a line for each model; ends with 1
if anything did.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EDGEATTN = Path(sys.executable).with_name("edgeattn")


def main() -> int:
    """Go through all that is asked, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="yolov8n,yolo11n,yolo11s")
    parser.add_argument("--attentions", default="none,cbam,simam,sa,ca,ema")
    parser.add_argument("--opsets", default="13,17,20")
    parser.add_argument("--size", type=int, default=64)
    asked = parser.parse_args()
    lists = (str(asked.models), str(asked.attentions), str(asked.opsets))
    failed = 0
    for model, attention, opset in itertools.product(*(one.split(",") for one in lists)):
        began = time.perf_counter()
        fault = _whole_way(model, attention, opset, int(asked.size))
        failed += bool(fault)
        seconds = time.perf_counter() - began
        verdict = f"{fault or 'passed'} ({seconds:.0f} s)"
        print(f"{model:10} {attention:8} {opset:3} {verdict}", flush=True)
    return int(failed > 0)


def _whole_way(model: str, attention: str, opset: str, size: int) -> str:
    """Take one model the whole way; return what failed, "" if nothing."""
    shape = f"1x3x{size}x{size}"
    place = [] if attention == "none" else ["--at", "backbone"]
    with tempfile.TemporaryDirectory() as folder:
        stock, lowered, half = (
            str(Path(folder) / f"{name}.onnx") for name in ("stock", "lowered", "half")
        )
        asked = [f"ultralytics:{model}.yaml", "-a", attention, *place, "--shape", shape]
        asked += ["--opset", opset, "--dynamic-batch", "--no-lower"]
        # Every step stands on the one before.
        for name, arguments in {
            "export": ["export", *asked, "-o", stock],
            "optimize": ["optimize", stock, "-o", lowered],
            "cast": ["cast", lowered, "--precision", "fp16", "-o", half],
            "plan": ["build", half, "--plan", "--opt-shapes", f"images:{shape}"],
        }.items():
            where = ["-o", folder] if name == "plan" else []
            done = subprocess.run(
                [EDGEATTN, *arguments, *where], capture_output=True, text=True, check=False
            )
            if done.returncode:
                return f"{name}: {' '.join((done.stderr or done.stdout).split())[-300:]}"
    return ""


if __name__ == "__main__":
    sys.exit(main())
