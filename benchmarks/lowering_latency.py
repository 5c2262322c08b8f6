"""Latency of several ONNX files against each other, in rounds, beside the load of the machine.

    python benchmarks/lowering_latency.py A.onnx B.onnx … [--runtime openvino] [--rounds 100]
                                          [--seconds 25]

Prints JSON. It runs in a process of its own, which imports neither torch nor a simplifier: their
threads would take part. In every round each file has one turn, in an order that changes from round
to round; a turn is one run that is not timed, since the runs before it were another model's, and
one that is. Sessions have two threads; ONNX Runtime's do not spin: two spinning sessions in one
process disturb each other. OpenVINO computes in float32, whatever the processor has.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

THREADS: Final = 2
# More than this, and a run is not called quiet: cores that other processes had (and the
# hypervisor took), and the coefficient of variation of the first file's latency.
MOST_CORES_OF_OTHERS: Final = 0.05
MOST_VARIATION: Final = 0.05
_WARM_UP: Final = 3
_RESAMPLES: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What else the machine did while a run went on.

    Attributes:
        loadavg_before: The load average of the last minute, at the start; a run before counts.
        loadavg_after: The same at the end: this run's two threads count.
        cores_of_others: CPU time of other processes and of the hypervisor, over wall-clock time.
        variation: Standard deviation of the first file's latency over its mean.
    """

    loadavg_before: float
    loadavg_after: float
    cores_of_others: float
    variation: float

    @property
    def is_quiet(self) -> bool:
        """Whether the figures of the run can be relied on."""
        return self.cores_of_others <= MOST_CORES_OF_OTHERS and self.variation <= MOST_VARIATION

    def __str__(self) -> str:
        return (
            f"load {self.loadavg_before:.1f}→{self.loadavg_after:.1f}, others"
            f" {self.cores_of_others:.2f} cores, CV {100 * self.variation:.1f} %"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """Latencies of several files.

    Attributes:
        seconds: The seconds of each round and file: f64[rounds, files].
        load: What else the machine did.
    """

    seconds: np.ndarray
    load: Load


def measure(
    paths: list[Path], *, rounds: int, seconds: float, runtime: str = "onnxruntime"
) -> Latencies:
    """Measure files against each other, in a process of its own."""
    command = [sys.executable, __file__, *map(str, paths), "--runtime", runtime]
    limits = ["--rounds", str(rounds), "--seconds", str(seconds)]
    # OpenMP and BLAS have threads as well, and are not wanted here.
    quiet = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, *limits], stdout=subprocess.PIPE, check=True, env=quiet)
    document = json.loads(done.stdout)
    return Latencies(seconds=np.array(document["seconds"]), load=Load(**document["load"]))


def interval(figure: Any, seconds: np.ndarray) -> tuple[float, float, float]:
    """Return a figure of `seconds: f64[rounds, files]`, and its 95 % interval by bootstrap.

    Whole rounds are drawn, so that what disturbed one file in a round disturbs all.

    Args:
        figure: Maps f64[..., rounds, files] to f64[...].
        seconds: The measured seconds.
    """
    generator = np.random.default_rng(0)
    drawn = generator.integers(len(seconds), size=(_RESAMPLES, len(seconds)))
    low, high = np.percentile(figure(seconds[drawn]), [2.5, 97.5])
    return float(figure(seconds)), float(low), float(high)


def main() -> int:
    """Measures, and prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--runtime", choices=_RUNS, default="onnxruntime")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=25.0)
    arguments = parser.parse_args()
    runs = [_RUNS[arguments.runtime](path) for path in arguments.files]
    _rounds(runs, rounds=_WARM_UP, seconds=arguments.seconds)
    loadavg, began, busy, own = os.getloadavg()[0], time.perf_counter(), _busy_s(), _own_s()
    rows = _rounds(runs, rounds=arguments.rounds, seconds=arguments.seconds)
    wall_s = time.perf_counter() - began
    others_s = (_busy_s() - busy) - (_own_s() - own)
    first = [row[0] for row in rows]
    load = Load(
        loadavg_before=loadavg,
        loadavg_after=os.getloadavg()[0],
        cores_of_others=max(0.0, others_s / wall_s),
        variation=statistics.pstdev(first) / statistics.mean(first),
    )
    print(json.dumps({"seconds": rows, "load": asdict(load)}))
    return 0


def _by_onnxruntime(path: Path) -> Callable[[], object]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    value = session.get_inputs()[0]
    feeds = {value.name: _drawn(value.shape)}
    return lambda: session.run(None, feeds)


def _by_openvino(path: Path) -> Callable[[], object]:
    import openvino

    how = {
        "INFERENCE_NUM_THREADS": THREADS,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    compiled = openvino.Core().compile_model(path, "CPU", how)
    request = compiled.create_infer_request()
    request.set_input_tensor(openvino.Tensor(_drawn(compiled.input(0).shape)))
    return request.infer


_RUNS: Final[dict[str, Callable[[Path], Callable[[], object]]]] = {
    "onnxruntime": _by_onnxruntime,
    "openvino": _by_openvino,
}


def _drawn(shape: Sequence[int]) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(tuple(shape)).astype(np.float32)


def _rounds(
    runs: Sequence[Callable[[], object]], *, rounds: int, seconds: float
) -> list[list[float]]:
    orders = itertools.cycle(list(itertools.permutations(range(len(runs)))))
    end = time.perf_counter() + seconds
    rows: list[list[float]] = []
    for order in itertools.islice(orders, rounds):
        row = [0.0] * len(runs)
        for place in order:
            runs[place]()
            began = time.perf_counter()
            runs[place]()
            row[place] = time.perf_counter() - began
        rows.append(row)
        if time.perf_counter() > end:
            break
    return rows


def _busy_s() -> float:
    """Return the seconds that all cores were busy since the start, or were not given to us."""
    line = Path("/proc/stat").read_text(encoding="utf-8").partition("\n")[0]
    user, nice, system, _idle, _wait, irq, softirq, steal = map(int, line.split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _own_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    sys.exit(main())
