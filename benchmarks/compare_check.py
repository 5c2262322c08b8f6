"""Hidden costs of `edgeattn compare` against an independent measurement of the same files.

    edgeattn compare resnet50 --attention se,simam --at block-end --keep DIR -o compare.json
    python benchmarks/compare_check.py compare.json DIR [--rounds 60]

The independent measurement shares no code with edgeattn: each model has an ONNX Runtime session in
a process of its own, two threads that do not spin, and the model and the plain one are run in turns
by a parent that only passes the turn. Prints both figures, per cent above the plain model, and how
far apart they are; ends with 1 where that is more than 3 percentage points.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Final

ASKED_POINTS: Final = 3.0
_THREADS: Final = 2
_RUNNER: Final = """
import sys, time
import numpy as np
import onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads = int(sys.argv[2])
options.add_session_config_entry("session.intra_op.allow_spinning", "0")
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
(value,) = session.get_inputs()
feed = {value.name: np.random.default_rng(1).random(value.shape, dtype=np.float32)}
for _ in range(5):
    session.run(None, feed)
print("ready", flush=True)
for _ in sys.stdin:
    session.run(None, feed)
    began = time.perf_counter()
    session.run(None, feed)
    print(time.perf_counter() - began, flush=True)
"""


class Runner:
    """A session in a process of its own."""

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _RUNNER, str(path), str(_THREADS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._read()

    def turn(self) -> float:
        """Gives the seconds of one run, behind one that is not timed."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._read())

    def end(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def hidden_percent(model: Path, plain: Path, rounds: int) -> float:
    """Measures what a model takes above the plain one, per cent."""
    runners = [Runner(plain), Runner(model)]
    try:
        pairs = [
            [runners[place].turn() for place in ((0, 1), (1, 0))[count % 2]][
                :: 1 if count % 2 == 0 else -1
            ]
            for count in range(rounds)
        ]
    finally:
        for runner in runners:
            runner.end()
    above = statistics.median(ours - base for base, ours in pairs)
    return 100 * above / statistics.median(base for base, _ in pairs)


def main() -> int:
    """Prints the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("json", type=Path, help="what compare wrote with -o")
    parser.add_argument("folder", type=Path, help="what it kept with --keep")
    parser.add_argument("--rounds", type=int, default=60)
    asked = parser.parse_args()
    models = json.loads(asked.json.read_text(encoding="utf-8"))["models"]
    plain = asked.folder / f"{models[0]['name']}.onnx"
    print(f"{'model':32}{'compare':>10}{'95 %':>18}{'here':>10}{'apart':>8}")
    worst = 0.0
    for one in models[1:]:
        path = asked.folder / f"{one['name']}{'-stock' * (one['variant'] == 'stock')}.onnx"
        own = hidden_percent(path, plain, asked.rounds)
        said = one["difference"]["percent"]
        low, high = one["difference"]["ci95"]
        worst = max(worst, abs(own - said))
        name = f"{one['name']} {one['variant']}"
        print(f"{name:32}{said:9.1f}%{low:8.1f} …{high:6.1f} %{own:9.1f}%{own - said:+8.1f}",
              flush=True)  # fmt: skip
    print(f"worst {worst:.1f} points, of {ASKED_POINTS:g}")
    return 0 if worst <= ASKED_POINTS else 1


if __name__ == "__main__":
    sys.exit(main())
