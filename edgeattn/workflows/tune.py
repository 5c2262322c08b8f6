"""Tuning: the tournament's measures on real runtimes, and the cache of its results.

For TensorRT, what is compared is the plan of a real engine (TensorRT-RTX, built without a GPU):
kernels and bytes, no times. For ONNX Runtime, it is the latency here, in interleaved pairs. What a
form computes is checked against what stood before it, so nothing wrong can win.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import tempfile
import time
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import numpy as np

from edgeattn.base.versions import versions
from edgeattn.engine.plan import plan
from edgeattn.graph import shapes
from edgeattn.graph.shapes import without_weights
from edgeattn.graph.writing import save
from edgeattn.lowering.pipeline import WRITERS, Target
from edgeattn.lowering.record import Lowered
from edgeattn.lowering.tournament import Comparison, Forms, lower_tuned, tune
from edgeattn.parity.metrics import measure, tolerance_of
from edgeattn.records.layers import traffic_bytes
from edgeattn.records.lowering import Trial
from edgeattn.runtimes.onnxruntime import Session, random_inputs

if TYPE_CHECKING:
    import onnx_ir as ir


# A launch weighs as much as the bytes that an 8 GB Orin Nano (68 GB/s) moves meanwhile. No floor is
# published for a Jetson: 2 µs is a guess, low on purpose, so that bytes decide.
_BYTES_PER_KERNEL: Final = 136_000
# Builds differ from run to run; a smaller gain is none.
_LEAST_GAIN: Final = 0.001
_ROUNDS: Final = 40
_WARM_UP: Final = 3
_SECONDS: Final = 20.0
_RESAMPLES: Final = 500


def tuned(
    model: ir.Model,
    *,
    target: Target,
    rules: AbstractSet[str] | None,
    on_trial: Callable[[int, int], None] = lambda _, __: None,
    cache: Path | None = None,
) -> tuple[Forms, tuple[Trial, ...]]:
    """Find the best forms for a model, or take them from the cache.

    Args:
        model: The model, not yet lowered, with static shapes but for the batch.
        target: The runtime.
        rules: The rules to apply; None for all.
        on_trial: Called before each trial with its number and how many there are.
        cache: The folder of the cache; the user's by default.

    Returns:
        The forms, and what was tried.

    Raises:
        MissingError: TensorRT-RTX is not installed.
    """
    folder = _cache_folder() if cache is None else cache
    file = folder / f"{_key(model, target, rules)}.json"
    known = _read(file)
    if known is not None:
        return known
    with tempfile.TemporaryDirectory() as scratch:
        compare = _Plans(Path(scratch)) if target == "tensorrt" else _Pairs(Path(scratch))
        found = tune(model, target=target, rules=rules, compare=compare, on_trial=on_trial)
    with contextlib.suppress(OSError):  # a cache that cannot be written is no error
        folder.mkdir(parents=True, exist_ok=True)
        forms, trials = found
        text = json.dumps({"forms": forms, "trials": [trial.model_dump() for trial in trials]})
        partial = file.with_suffix(".partial")
        partial.write_text(text, encoding="utf-8")
        partial.replace(file)
    return found


def _cache_folder() -> Path:
    import platformdirs

    return platformdirs.user_cache_path("edgeattn", appauthor=False) / "tournament"


def _key(model: ir.Model, target: Target, rules: AbstractSet[str] | None) -> str:
    """Return the hash of what a result rests on: the graph without its weights, the versions."""
    facts = {
        "forms": {family: list(forms) for family, forms in WRITERS[target].forms.items()},
        "machine": platform.processor() or platform.machine() if target == "onnxruntime" else "",
        "rules": None if rules is None else sorted(rules),
        "target": target,
        "versions": versions(),
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    digest.update(without_weights(model).SerializeToString(deterministic=True))
    return digest.hexdigest()


def _read(file: Path) -> tuple[Forms, tuple[Trial, ...]] | None:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        trials = tuple(Trial.model_validate(one) for one in document["trials"])
        return cast("Forms", document["forms"]), trials
    except (OSError, ValueError, KeyError, TypeError):
        return None  # none yet, or one that a fault left: it is made again


def _written(model: ir.Model, folder: Path, name: str) -> Path:
    path = folder / f"{name}.onnx"
    save(model.clone(), path, external=True)
    return path


def _session(path: Path) -> Session:
    return Session(path, optimisations="on")


def _agree(one: Session, other: Session) -> bool:
    """Return whether two models give the same, within the tolerance of float32."""
    inputs = random_inputs(one, batch=1, seed=0)
    tolerance = tolerance_of("fp32")
    pairs = zip(one.run(inputs), other.run(inputs), strict=True)
    return all(measure("", first, second, tolerance).passed for first, second in pairs)


class _Plans:
    """Compares the plans of two models: kernels and bytes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: list[tuple[ir.Model, tuple[int, int]]] = []

    def __call__(self, standing: ir.Model, candidate: ir.Model) -> Comparison:
        before, after = self._figures(standing, "standing"), self._figures(candidate, "candidate")
        costs = [traffic + kernels * _BYTES_PER_KERNEL for kernels, traffic in (before, after)]
        is_better = costs[1] < costs[0] * (1 - _LEAST_GAIN)
        if is_better:
            paths = [_written(m, self._folder, n) for m, n in ((standing, "a"), (candidate, "b"))]
            is_better = _agree(*map(_session, paths))
        return Comparison(
            is_better=is_better,
            figures={
                "kernels": after[0],
                "kernels_before": before[0],
                "traffic_bytes": after[1],
                "traffic_bytes_before": before[1],
            },
        )

    def _figures(self, model: ir.Model, name: str) -> tuple[int, int]:
        for known, figures in self._known:
            if known is model:
                return figures
        bound = model.clone()
        if shapes.is_open(bound):
            shapes.bind_batch(bound, 1)  # a plan is for one shape
        kernels = plan(_written(bound, self._folder, name))
        found = (len(kernels), traffic_bytes(kernels))
        self._known = [*self._known[-1:], (model, found)]  # of two, one stands
        return found


class _Pairs:
    """Compares the latencies of two models, run in turns."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, standing: ir.Model, candidate: ir.Model) -> Comparison:
        paths = [
            _written(model, self._folder, name)
            for model, name in ((standing, "standing"), (candidate, "candidate"))
        ]
        sessions = [_session(path) for path in paths]
        seconds = _times(sessions)
        ratios = seconds[:, 1] / seconds[:, 0]
        draws = np.random.default_rng(0).choice(ratios, (_RESAMPLES, len(ratios)))
        low, high = np.percentile(np.median(draws, axis=1), [2.5, 97.5])
        before, after = np.median(seconds, axis=0)
        return Comparison(
            is_better=bool(high < 1) and _agree(*sessions),
            figures={
                "latency_ms": round(float(after) * 1e3, 4),
                "latency_ms_before": round(float(before) * 1e3, 4),
                "ratio": round(float(np.median(ratios)), 4),
                "ratio_ci95_low": round(float(low), 4),
                "ratio_ci95_high": round(float(high), 4),
            },
        )


def _times(sessions: list[Session]) -> np.ndarray:
    """Return the seconds of each round and session: f64[rounds, sessions]."""
    inputs = random_inputs(sessions[0], batch=1, seed=0)
    rows: list[list[float]] = []
    end = time.perf_counter() + _SECONDS
    for count in range(_ROUNDS + _WARM_UP):
        row = [0.0] * len(sessions)
        for place in range(len(sessions))[:: 1 if count % 2 else -1]:
            began = time.perf_counter()
            sessions[place].run(inputs)
            row[place] = time.perf_counter() - began
        rows.append(row)
        if time.perf_counter() > end and count > _WARM_UP:
            break
    return np.array(rows[_WARM_UP:])


def run_tuned(
    model: ir.Model,
    *,
    target: str,
    rules: Iterable[str] | None,
    on_trial: Callable[[int, int], None],
) -> Lowered:
    """Lower a model in place, in the forms that win on it.

    Args:
        model: The model, at opset 13 or above.
        target: The runtime to choose forms for.
        rules: The rules to apply; None for all.
        on_trial: Called before each trial with its number and how many there are.

    Returns:
        What was done, and what was tried.
    """
    chosen = None if rules is None else frozenset(rules)
    runtime = cast("Target", target)
    forms, trials = tuned(model, target=runtime, rules=chosen, on_trial=on_trial)
    return lower_tuned(model, target=runtime, rules=chosen, forms=forms, trials=trials)
