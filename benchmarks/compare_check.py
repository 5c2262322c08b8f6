"""Hidden costs of `edgeattn compare` against an independent measurement of the same files.

    edgeattn compare resnet50 --attention se,simam --at block-end --keep DIR -o compare.json
    python benchmarks/compare_check.py compare.json DIR [--runtime openvino] [--rounds 150]

The independent measurement shares no code with edgeattn: each model has a session in a process of
its own, two threads (ONNX Runtime's do not spin), and a parent that only passes the turn. A round
gives each model a pair of turns of its own, one of the plain model beside one of the model, in an
order that changes. Prints both figures, per cent above the plain model, with their 95 % intervals,
and how far apart they are; ends with 1 where that is more than 3 percentage points.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

ASKED_POINTS: Final = 3.0
_THREADS: Final = 2
# Rounds after which processes are started anew: each has a speed of its own, as its memory lies.
_RENEWED_AFTER: Final = 20
_OPENED: Final = {
    "onnxruntime": """
import onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads = int(sys.argv[2])
options.add_session_config_entry("session.intra_op.allow_spinning", "0")
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
(value,) = session.get_inputs()
feed = {value.name: np.random.default_rng(1).random(value.shape, dtype=np.float32)}
run = lambda: session.run(None, feed)
""",
    "openvino": """
import openvino as ov
how = {"INFERENCE_NUM_THREADS": int(sys.argv[2]), "PERFORMANCE_HINT": "LATENCY"}
compiled = ov.compile_model(sys.argv[1], "CPU", how | {"INFERENCE_PRECISION_HINT": "f32"})
request = compiled.create_infer_request()
feed = np.random.default_rng(1).random(tuple(compiled.input(0).shape), dtype=np.float32)
request.set_input_tensor(ov.Tensor(feed))
run = request.infer
""",
}
_RUNNER: Final = """
import sys, time
import numpy as np
{opened}
for _ in range(5):
    run()
print("ready", flush=True)
for _ in sys.stdin:
    run()
    began = time.perf_counter()
    run()
    print(time.perf_counter() - began, flush=True)
"""


class Runner:
    """A session in a process of its own."""

    def __init__(self, path: Path, runtime: str) -> None:
        code = _RUNNER.format(opened=_OPENED[runtime])
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, str(path), str(_THREADS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._read()

    def turn(self) -> float:
        """Return the seconds of one run, behind one that is not timed."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._read())

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def measure_pairs(paths: Sequence[Path], plain: Path, rounds: int, runtime: str) -> np.ndarray:
    """Run each model beside the plain one.

    Returns:
        Seconds, f64[models, rounds, 2]: of the model, and of the plain one beside it.
    """
    times = np.zeros((len(paths), rounds, 2))
    runners: list[Runner] = []
    try:
        for count in range(rounds):
            if count % _RENEWED_AFTER == 0:
                end(runners)
                runners = [Runner(path, runtime) for path in (plain, *paths)]
            for place, ours in enumerate(runners[1:]):
                pair = [(ours, 0), (runners[0], 1)]
                for runner, column in pair if count % 2 else pair[::-1]:
                    times[place, count, column] = runner.turn()
    finally:
        end(runners)
    return times


def end(runners: Sequence[Runner]) -> None:
    """End processes."""
    for runner in runners:
        runner.end()


def percent(pairs: np.ndarray) -> np.ndarray:
    """Return what models take above the plain one, per cent, of seconds f64[..., rounds, 2]."""
    above = np.median(pairs[..., 0] - pairs[..., 1], axis=-1)
    return 100 * above / np.median(pairs[..., 1], axis=-1)


def main() -> int:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("json", type=Path, help="what compare wrote with -o")
    parser.add_argument("folder", type=Path, help="what it kept with --keep")
    parser.add_argument("--runtime", choices=_OPENED, default="onnxruntime")
    parser.add_argument("--rounds", type=int, default=150)
    asked = parser.parse_args()
    models = json.loads(asked.json.read_text(encoding="utf-8"))["models"]
    plain = asked.folder / f"{models[0]['name']}.onnx"
    paths = [
        asked.folder / f"{one['name']}{'-stock' * (one['variant'] == 'stock')}.onnx"
        for one in models[1:]
    ]
    before, times = os.getloadavg()[0], measure_pairs(paths, plain, asked.rounds, asked.runtime)
    print(f"load average {before:.1f} before, {os.getloadavg()[0]:.1f} at the end")
    drawn = np.random.default_rng(0).integers(asked.rounds, size=(1000, asked.rounds))
    print(f"{'model':32}{'compare':>10}{'95 %':>18}{'here':>10}{'95 %':>18}{'apart':>8}")
    worst = 0.0
    for one, pairs in zip(models[1:], times, strict=True):
        own = float(percent(pairs))
        least, most = np.percentile(percent(pairs[drawn]), [2.5, 97.5])
        said = one["difference"]["percent"]
        low, high = one["difference"]["ci95"]
        worst = max(worst, abs(own - said))
        name = f"{one['name']} {one['variant']}"
        print(
            f"{name:32}{said:9.1f}%{low:8.1f} …{high:6.1f} %{own:9.1f}%"
            f"{least:8.1f} …{most:6.1f} %{own - said:+8.1f}"
        )
    print(f"worst {worst:.1f} points, of {ASKED_POINTS:g}")
    return 0 if worst <= ASKED_POINTS else 1


if __name__ == "__main__":
    sys.exit(main())
