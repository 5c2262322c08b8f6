"""Times `edgeattn sweep`: wide against one after another, and again once all is done.

    python benchmarks/sweep.py [--models A,B] [--attentions A,B] [--devices A,B]
        [--precisions fp32,fp16] [--shape 1x3x224x224] [--rounds 1] [--alone commands|worker|none]

By turns, in fresh processes and new files: the sweep as it is (a process a core), and one after
another: its exports and builds as the commands that a script would give (`export` in each
precision, `profile` of that for each device, all of one generation of TensorRT), or the sweep with
one worker. Printed are seconds, the median
ratio, and what the same sweep takes again, when nothing is left to do. Both ways must give the same
latencies.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

EDGEATTN = [sys.executable, "-P", "-c", "from edgeattn.cli.app import main; main()"]


def run(*arguments: str) -> Any:
    """Run a command, and return its JSON."""
    found = subprocess.run([*EDGEATTN, *arguments, "--json"], capture_output=True, check=True)
    return json.loads(found.stdout)


def sweep(asked: argparse.Namespace, output: Path, *more: str) -> tuple[float, dict[Any, float]]:
    """Run a sweep, and return its seconds and the latency of each row."""
    began = time.perf_counter()
    found = run(
        "sweep", "--model", asked.models, "--attention", asked.attentions, "--device",
        asked.devices, "--precision", asked.precisions, "--shape", asked.shape, "-o", str(output),
        *more,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    return seconds, {
        (row["model"], row["attention"], row["precision"], row["device"]): row["latency_ms"]
        for row in found["rows"]
    }


def commands(asked: argparse.Namespace, folder: Path) -> tuple[float, dict[Any, float]]:
    """Give a command for each export and each prediction, one after another."""
    began = time.perf_counter()
    found = {}
    for model in asked.models.split(","):
        for attention in ("", *asked.attentions.split(",")):
            how = ["--attention", attention] if attention else []
            for precision in asked.precisions.split(","):
                path = folder / f"{model}-{attention}-{precision}.onnx"
                made = ["--precision", precision, "--shape", asked.shape, "-o", str(path)]
                run("export", model, *how, *made)
                for device in asked.devices.split(","):
                    told = run("profile", str(path), "--device", device, "--no-marginal")
                    trace = told["trace"]
                    found[model, attention, precision, device] = trace["latency_ms"]["p50"]
                path.unlink()
    return time.perf_counter() - began, found


def main() -> None:
    """Time what is asked, and print a line for each turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="resnet18,mobilenetv2")
    parser.add_argument("--attentions", default="se,eca,simam,cbam")
    parser.add_argument("--devices", default="jetson,jetson-orin-nx-16gb,jetson-agx-orin-64gb,l4")
    parser.add_argument("--precisions", default="fp32,fp16")
    parser.add_argument("--shape", default="1x3x224x224")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--alone", choices=("commands", "worker", "none"), default="worker")
    asked = parser.parse_args()
    ratios = []
    for turn in range(asked.rounds):
        with tempfile.TemporaryDirectory() as text:
            folder = Path(text)
            wide_s, rows = sweep(asked, folder / "wide.db")
            again_s, same = sweep(asked, folder / "wide.db")
            assert same == rows
            print(f"round {turn + 1}: {len(rows)} rows in {wide_s:.1f} s, again {again_s:.2f} s")
            if asked.alone == "none":
                continue
            if asked.alone == "worker":
                alone_s, others = sweep(asked, folder / "one.db", "--workers", "1")
            else:
                alone_s, others = commands(asked, folder)
            assert others.keys() == rows.keys()
            apart = max(abs(others[key] / rows[key] - 1) for key in rows)
            ratios.append(alone_s / wide_s)
            print(
                f"  one after another ({asked.alone}) {alone_s:.1f} s, {ratios[-1]:.2f} times as"
                f" long; latencies differ by {apart:.1e} at most",
                flush=True,
            )
    if ratios:
        print(f"median ratio {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
