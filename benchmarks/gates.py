"""How often a gate is right, and how often an interval of one run holds the median of many.

    python benchmarks/gates.py --work DIR [--pairs 20] [--limit 8] [--fail-above 5%] [--for 170]

Runs `edgeattn profile B --against A --fail-above 5%` on ONNX Runtime for pairs whose true
difference is known: the same model under two names (0 %), and one with an eleventh layer like its
ten (10 %). Runs go by turns between both, and are kept in DIR/runs.jsonl: after `--for` seconds it
ends, and goes on there when it is started again, so that it can be given a quiet machine in parts.

Printed are the verdicts of each kind, and of how many runs the 95 % interval holds the median of
all runs' differences; for comparison, that of an interval by bootstrap of rounds, as if they were
independent. Ends with 1 if a pair without a difference fails, or one with it passes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CHANNELS, SIZE = 64, 40
LAYERS: Final = {"a": 10, "same": 10, "more": 11}
#: The true differences of the pairs, in per cent.
KINDS: Final = {"same": 0.0, "more": 10.0}
_RESAMPLES: Final = 1000


def main() -> None:
    """Run the pairs that are left, and print what all came to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="where models and runs are kept")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--limit", default="8")
    parser.add_argument("--fail-above", default="5%")
    parser.add_argument("--for", dest="seconds", type=float, default=1e9)
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    for name, layers in LAYERS.items():
        write(asked.work / f"{name}.onnx", layers)
    runs, end = asked.work / "runs.jsonl", time.monotonic() + asked.seconds
    done = read(runs)
    for at in range(len(done), asked.pairs * len(KINDS)):
        if time.monotonic() >= end:
            break
        found = run(asked.work, list(KINDS)[at % len(KINDS)], asked.limit, asked.fail_above)
        with runs.open("a") as file:
            file.write(json.dumps(found) + "\n")
        done.append(found)
    right = [report(kind, [one for one in done if one["kind"] == kind]) for kind in KINDS]
    sys.exit(not all(right))


def read(path: Path) -> list[dict[str, Any]]:
    """Return the runs that are kept."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def write(path: Path, layers: int) -> None:
    """Write a model of convolutions that are all alike."""
    draw, nodes, weights, last = np.random.default_rng(0), [], [], "x"
    shape = [1, CHANNELS, SIZE, SIZE]
    for layer in range(layers):
        weight = draw.standard_normal((CHANNELS, CHANNELS, 3, 3)) / np.sqrt(9 * CHANNELS)
        weights.append(numpy_helper.from_array(weight.astype(np.float32), f"w{layer}"))
        taken = [last, f"w{layer}"]
        nodes.append(helper.make_node("Conv", taken, [f"c{layer}"], f"conv{layer}", pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"r{layer}"], f"relu{layer}"))
        last = f"r{layer}"
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in ("x", last)]
    graph = helper.make_graph(nodes, "stack", ends[:1], ends[1:], weights)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


def run(work: Path, kind: str, limit: str, fail_above: str) -> dict[str, Any]:
    """Gate a pair once."""
    began = time.monotonic()
    command = [
        "edgeattn", "profile", str(work / f"{kind}.onnx"), "--against", str(work / "a.onnx"),
        "--fail-above", fail_above, "--limit", limit, "--no-marginal", "--json",
    ]  # fmt: skip
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    said = json.loads(ran.stdout)
    (check,) = said["gate"]["checks"]
    found = {
        "kind": kind,
        "code": ran.returncode,
        "verdict": check["verdict"],
        "percent": check["value"],
        "ci95": check["interval"],
        "naive": naive(said["trace"], said["against"]["trace"]),
        "generations": len(said["trace"]["generations"]),
        "ms": said["against"]["latency_ms"]["p50"],
        "load": os.getloadavg()[0],
        "seconds": round(time.monotonic() - began, 1),
    }
    low, high = found["ci95"]
    print(
        f"{kind:5} {found['percent']:+6.1f} [{low:+6.1f}, {high:+6.1f}] {found['verdict']:11}"
        f" {found['generations']:3} generations, {found['ms']:.2f} ms, {found['seconds']} s",
        flush=True,
    )
    return found


def naive(ours: dict[str, Any], theirs: dict[str, Any]) -> list[float]:
    """Return the interval by bootstrap of rounds, as if they were independent."""
    pairs = np.array([one["latency_ms"]["samples"] for one in (ours, theirs)])
    draw = np.random.default_rng(0).integers(pairs.shape[1], size=(_RESAMPLES, pairs.shape[1]))
    a, b = pairs[0][draw], pairs[1][draw]
    return [*np.percentile(100 * np.median(a - b, 1) / np.median(b, 1), [2.5, 97.5])]


def report(kind: str, runs: list[dict[str, Any]]) -> bool:
    """Print what the runs of a kind came to; return whether none is wrong."""
    if not runs:
        return True
    true = KINDS[kind]
    middle = statistics.median(one["percent"] for one in runs)
    verdicts = Counter(one["verdict"] for one in runs)
    holds = {
        name: sum(one[name][0] <= middle <= one[name][1] for one in runs)
        for name in ("ci95", "naive")
    }
    half = statistics.median((one["ci95"][1] - one["ci95"][0]) / 2 for one in runs)
    print(
        f"\ntrue difference {true:g} %, {len(runs)} runs: median {middle:+.2f} %, verdicts"
        f" {dict(verdicts)}; the interval holds the median of all in {holds['ci95']} (by bootstrap"
        f" of rounds in {holds['naive']}), half of it is {half:.1f} points at the median;"
        f" {statistics.median(one['seconds'] for one in runs):.0f} s a run"
    )
    return verdicts["failed" if true == 0 else "passed"] == 0


if __name__ == "__main__":
    main()
