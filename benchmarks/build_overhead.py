"""Compares `edgeattn build` with a script that only calls TensorRT-RTX, on one ONNX file.

    python benchmarks/build_overhead.py MODEL.onnx [--rounds 7]

The two run in turn, in fresh processes. Printed are the medians of the time of parsing and building
alone, as each measures it, of the whole process, and the median of the pairwise ratios and
differences.
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

BARE = """
import sys, time
import tensorrt_rtx as trt
began = time.perf_counter()
log = trt.Logger(trt.Logger.ERROR)
builder = trt.Builder(log)
network = builder.create_network(0)
parser = trt.OnnxParser(network, log)
assert parser.parse_from_file(sys.argv[1])
config = builder.create_builder_config()
config.num_compute_capabilities = 1
config.set_compute_capability(trt.ComputeCapability.SM86, 0)
engine = builder.build_serialized_network(network, config)
print(time.perf_counter() - began)
with open(sys.argv[2], "wb") as file:
    file.write(engine)
"""


def main() -> int:
    """Run both in turn and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("onnx", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    edgeattn = str(Path(sys.executable).parent / "edgeattn")
    builds, wholes = [], []
    with tempfile.TemporaryDirectory() as folder:
        bare = [sys.executable, "-c", BARE, str(asked.onnx), f"{folder}/bare.engine"]
        ours = [edgeattn, "build", str(asked.onnx), "--compute-capability", "8.6"]
        ours += ["--json", "-o", f"{folder}/ours.engine"]
        for number in range(asked.rounds + 1):
            runs = {}
            for name in ("bare", "ours") if number % 2 else ("ours", "bare"):
                began = time.perf_counter()
                run = subprocess.run(
                    bare if name == "bare" else ours, capture_output=True, text=True, check=True
                )
                runs[name] = (run.stdout, time.perf_counter() - began)
            if number == 0:
                continue  # it warmed the disk
            own = json.loads(runs["ours"][0])["seconds"]["build"]
            builds.append((float(runs["bare"][0]), own))
            wholes.append((runs["bare"][1], runs["ours"][1]))
    for what, pairs in (("build", builds), ("whole", wholes)):
        theirs, own = (statistics.median(times) for times in zip(*pairs, strict=True))
        ratio = statistics.median(b / a for a, b in pairs)
        difference = statistics.median(b - a for a, b in pairs)
        print(
            f"{what}: bare {theirs:.2f} s, edgeattn {own:.2f} s, {ratio:.2f}x, {difference:+.2f} s"
        )
    beyond = statistics.median(w[1] - b[0] for w, b in zip(wholes, builds, strict=True))
    print(f"whole command beyond the bare build: {beyond:.2f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
