"""Compares what models are predicted to take in ONNX Runtime on this CPU with what they take.

    python benchmarks/prediction_cpu.py [--device FILE.toml] [--shelf FOLDER] [--kernels NAME]

The machine is calibrated, unless a device file is given: single operators are run, and no network.
Nothing is fitted on the networks below, so leaving one out means nothing. Then all are run in
turns, round by round; a round counts if other processes had at most a tenth of a core meanwhile.
This is done several times over, since a guest of a shared host is faster at one time than at
another; the measured figure is the median of all rounds, the predicted one the mean.

For each: the measured and the predicted latency, the interval, and Spearman's rank correlation of
its kernels' times. `--kernels` prints those of one network. `--models` takes other ONNX files.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lowering_cases import SHUFFLENET, Case, Form, Shelf, on_backbone, say
from prediction_engines import rank_correlation

from edgeattn.hosts.quiet import MOST_CORES_OF_OTHERS
from edgeattn.options.profile import Item, ProfileOptions
from edgeattn.profiling.calibration.calibrate import CalibrationOptions, calibrate
from edgeattn.profiling.measure.machine import Watch
from edgeattn.profiling.measure.onnxruntime.run import profile_kernels
from edgeattn.profiling.sources.model import read_subject
from edgeattn.records.trace import Kernel, Trace
from edgeattn.workflows.profile import profile

# Calibrations, quiet rounds after each, and how long they are waited for, in s.
TIMES: Final = 3
ROUNDS: Final = 4
PATIENCE_S: Final = 900.0
CALIBRATION_S: Final = 20.0


_Loaded = tuple[Any, Mapping[str, Any]]


def _timm(name: str) -> Case:
    return Case(name=name, source=f"timm:{name}")


MODELS: Final[Sequence[tuple[Case, Form]]] = (
    (_timm("resnet18"), "stock"),
    (on_backbone("resnet34", "se"), "stock"),
    (on_backbone("resnet50", "none"), "stock"),
    (on_backbone("resnet50", "simam"), "stock"),
    (on_backbone("resnet50", "simam"), "onnxruntime"),
    (on_backbone("resnet50", "cbam"), "stock"),
    (on_backbone("resnet50", "cbam"), "onnxruntime"),
    (on_backbone("resnet50", "sa"), "stock"),
    (on_backbone("resnet50", "ulsam"), "stock"),
    (on_backbone("mobilenetv2", "none"), "stock"),
    (on_backbone("mobilenetv2", "se"), "onnxruntime"),
    (on_backbone("mobilenetv2", "ulsam"), "onnxruntime"),
    (_timm("mobilenetv3_large_100"), "stock"),
    (_timm("efficientnet_b0"), "stock"),
    (SHUFFLENET, "stock"),
    (_timm("densenet121"), "stock"),
    (_timm("regnety_008"), "stock"),
    (_timm("convnext_tiny"), "stock"),
    (_timm("vit_tiny_patch16_224"), "stock"),
    (_timm("ghostnet_100"), "stock"),
    (Case(name="squeezenet1_1", source="torchvision:squeezenet1_1"), "stock"),
    (_timm("vgg11"), "stock"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A model, measured and predicted.

    Attributes:
        measured_ms: Its latency in each quiet round.
        predictions: Its predicted traces, by each calibration.
        kernels: Its kernels, as ONNX Runtime's profiler times them.
    """

    measured_ms: Sequence[float]
    predictions: Sequence[Trace]
    kernels: Sequence[Kernel]

    @property
    def p50_ms(self) -> float:
        """The measured median."""
        return statistics.median(self.measured_ms)

    @property
    def name(self) -> str:
        """What it is called."""
        return self.predictions[0].name

    @property
    def predicted_ms(self) -> float:
        """The predicted latency."""
        return statistics.mean(one.latency_ms.p50 for one in self.predictions)

    @property
    def interval_ms(self) -> tuple[float, float]:
        """Its bounds."""
        low, high = zip(*(one.interval_ms or (0.0, 0.0) for one in self.predictions), strict=True)
        return statistics.mean(low), statistics.mean(high)

    @property
    def error(self) -> float:
        """How far off the prediction is."""
        return self.predicted_ms / self.p50_ms - 1

    @property
    def holds(self) -> bool:
        """Whether the measured median is in the interval."""
        low, high = self.interval_ms
        return low <= self.p50_ms <= high

    @property
    def rank(self) -> float:
        """Spearman's rank correlation of the kernels' times."""
        measured = {one.name: one.time_us for one in self.kernels}
        first = self.predictions[0].kernels
        pairs = [(one.time_us, measured[one.name]) for one in first]
        return rank_correlation(*zip(*pairs, strict=True))


def main() -> int:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", type=Path, help="a device file; else this machine is measured")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--shelf", type=Path, default=Path(tempfile.gettempdir()) / "edgeattn-cpu")
    parser.add_argument(
        "--models", type=Path, nargs="*", help="other ONNX files than those of the list"
    )
    parser.add_argument("--kernels", metavar="NAME", help="print the kernels of this model")
    asked = parser.parse_args()
    shelf = Shelf(asked.shelf)
    paths = asked.models or [shelf.file(case, form) for case, form in MODELS]
    sessions = [_session(path, asked.threads) for path in paths]
    devices, samples = [], [[] for _ in paths]
    for time_ in range(TIMES):
        file = asked.shelf / f"this-machine-{time_}.toml"
        devices.append(asked.device or _calibrated(file, asked.threads))
        for own, more in zip(samples, measured(sessions), strict=True):
            own.extend(more)
    print("\n".join(_said(device) for device in dict.fromkeys(devices)))
    rows = [
        Row(
            measured_ms=times,
            predictions=[_predicted(path, device, asked.threads) for device in devices],
            kernels=_kernels(path, asked.threads),
        )
        for path, times in zip(paths, samples, strict=True)
    ]
    print_rows(rows)
    for row in (row for row in rows if row.name == asked.kernels):
        print_kernels(row)
    return 0


def _calibrated(path: Path, threads: int) -> Path:
    for _ in range(5):
        say("calibrating")
        found = calibrate(CalibrationOptions(threads=threads, seconds=CALIBRATION_S))
        path.write_text(found.text, encoding="utf-8")
        if not found.warnings:
            return path
        say(" ".join(found.warnings))
    raise SystemExit("The machine was never quiet while it was calibrated.")


def _said(device: Path) -> str:
    lines = device.read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines[:4] if line.startswith("# "))


def _predicted(path: Path, device: Path, threads: int) -> Trace:
    say(f"predicting {path.stem}")
    options = ProfileOptions(device=str(device), threads=threads, marginal=False)
    (found,) = profile([Item(path=path, name=path.stem)], options)
    return found.row.trace


def _kernels(path: Path, threads: int) -> Sequence[Kernel]:
    say(f"kernels of {path.stem}")
    subject = read_subject(path)
    return profile_kernels(path, subject.model, {}, ProfileOptions(threads=threads)).kernels


def measured(sessions: Sequence[_Loaded]) -> list[list[float]]:
    """Run models in interleaved rounds, in one process, until there are enough quiet rounds.

    A turn is one run that is not timed, since the caches hold another's weights, and two that are.

    Returns:
        What each model took in each quiet round, in ms.
    """
    found: list[list[float]] = [[] for _ in sessions]
    quiet = tried = 0
    end = time.perf_counter() + PATIENCE_S
    while quiet < ROUNDS and time.perf_counter() < end:
        watch = Watch()
        times = [_turn(*session) for session in sessions]
        tried += 1
        load = watch.load().cores_of_others
        if load > MOST_CORES_OF_OTHERS:
            say(f"a round in which others had {load:.2f} cores counts for nothing")
            continue
        quiet += 1
        say(f"quiet round {quiet}/{ROUNDS}: others had {load:.2f} cores")
        for place, both in enumerate(times):
            found[place] += both
    assert quiet, "the machine was never quiet"
    print(f"{quiet} quiet rounds of {tried}, two timed runs in each")
    return found


def _session(path: Path, threads: int) -> _Loaded:
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    draw = np.random.default_rng(0).normal
    feeds = {
        one.name: draw(0, 1, [size if isinstance(size, int) else 1 for size in one.shape]).astype(
            np.float32
        )
        for one in session.get_inputs()
    }
    return session, feeds


def _turn(session: Any, feeds: Mapping[str, Any]) -> list[float]:
    session.run(None, feeds)
    times = []
    for _ in range(2):
        began = time.perf_counter()
        session.run(None, feeds)
        times.append(1e3 * (time.perf_counter() - began))
    return times


def print_rows(rows: Sequence[Row]) -> None:
    """Print a line for each model, and how far all are off."""
    print(f"{'model':34}{'measured':>10}{'predicted':>10}{'error':>8}{'interval':>18}  holds  rank")
    for row in rows:
        low, high = row.interval_ms
        print(
            f"{row.name:34}{row.p50_ms:10.2f}{row.predicted_ms:10.2f}"
            f"{row.error:+8.1%}{low:9.2f} -{high:7.2f}  {'yes' if row.holds else 'NO':5}"
            f"{row.rank:6.2f}"
        )
    errors = [abs(row.error) for row in rows]
    worst = max(rows, key=lambda row: abs(row.error))
    ranks = rank_correlation([row.predicted_ms for row in rows], [row.p50_ms for row in rows])
    print(
        f"error: mean {statistics.mean(errors):.1%}, median {statistics.median(errors):.1%}, worst"
        f" {worst.error:+.1%} ({worst.name}); {sum(row.holds for row in rows)} of"
        f" {len(rows)} intervals hold; rank of the models {ranks:.3f}, of kernels in a model"
        f" {statistics.mean(row.rank for row in rows):.2f}"
    )
    print_operators(rows)


def print_operators(rows: Iterable[Row]) -> None:
    """Print what operators take in all models together, by the profiler and predicted, in ms."""
    sums: dict[str, list[float]] = {}
    for row in rows:
        known = {one.name: one.time_us for one in row.kernels}
        for one in row.predictions[0].kernels:
            own = sums.setdefault(one.op, [0.0, 0.0, 0.0])
            own[0] += 1
            own[1] += known[one.name] / 1e3
            own[2] += one.time_us / 1e3
    print(f"\n{'operator':28}{'kernels':>8}{'profiled':>10}{'predicted':>10}")
    for name, (count, took, said) in sorted(sums.items(), key=lambda item: -item[1][1])[:25]:
        print(f"{name:28}{count:8.0f}{took:10.2f}{said:10.2f}")


def print_kernels(row: Row) -> None:
    """Print what each kernel takes, by the profiler and predicted, in µs."""
    known = {one.name: one.time_us for one in row.kernels}
    for one in row.predictions[0].kernels:
        print(f"{known[one.name]:9.1f}{one.time_us:9.1f}  {one.bound:8}{one.op:24}{one.name[:60]}")


if __name__ == "__main__":
    sys.exit(main())
