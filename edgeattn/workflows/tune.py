"""Tuning: the tournament's measures on real runtimes, and the cache of its results.

For TensorRT, what is compared is the plan of a real engine (TensorRT-RTX, built without a GPU):
kernels and bytes, no times. For ONNX Runtime and OpenVINO, it is the latency in it here, measured
as `profile` and `compare` do: each model in a process of its own, in interleaved rounds. What a
form computes is checked against what stood before it, so nothing wrong can win.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import platform
import statistics
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from pydantic import BaseModel

from edgeattn.base import documents, files
from edgeattn.base.errors import EdgeattnError, InputError
from edgeattn.base.versions import versions
from edgeattn.engine.plan import plan
from edgeattn.graph import shapes
from edgeattn.graph.shapes import without_weights
from edgeattn.graph.writing import save
from edgeattn.hosts.connection import BusyError, FullError, LostError
from edgeattn.lowering.measures import BYTES_PER_KERNEL
from edgeattn.lowering.pipeline import lower
from edgeattn.lowering.record import Lowered
from edgeattn.lowering.target import TARGETS
from edgeattn.lowering.tournament import Comparison, Forms, tune
from edgeattn.options.profile import ProfileOptions
from edgeattn.parity.metrics import measure, tolerance_of
from edgeattn.profiling.measure.rounds import Timed
from edgeattn.profiling.measure.times import time_models
from edgeattn.records.layers import traffic_bytes
from edgeattn.records.lowering import Trial
from edgeattn.records.trace import Runtime
from edgeattn.runtimes.onnxruntime import Session, random_inputs
from edgeattn.runtimes.openvino import check_installed, version

if TYPE_CHECKING:
    import onnx_ir as ir


# Builds differ from run to run; a smaller gain is none.
_LEAST_GAIN: Final = 0.001
# No new window of runs begins after that: eight, each in new processes, fit in for small parts.
_SECONDS: Final = 6.0


def tuned(
    model: ir.Model,
    *,
    target: str,
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
        MissingError: TensorRT-RTX, or OpenVINO, is not installed.
        InputError: The target is for any runtime.
    """
    check_tunable(target)
    folder = cache_folder() if cache is None else cache
    file = folder / f"{_key(model, target, rules)}.json"
    known = _read(file)
    if known is not None:
        return known
    spec = TARGETS[target]
    if spec.runtime == "openvino":
        check_installed()
    with files.scratch() as scratch:
        timed = partial(_timed_here, runtime=spec.runtime)
        compare = _Plans(scratch) if spec.measured_by == "plan" else Pairs(scratch, timed)
        found = tune(model, target=target, rules=rules, compare=compare, on_trial=on_trial)
    with contextlib.suppress(OSError, InputError):  # a cache that cannot be written is no error
        folder.mkdir(parents=True, exist_ok=True)
        forms, trials = found
        text = json.dumps({"forms": forms, "trials": [trial.model_dump() for trial in trials]})
        files.write(file, text)
    return found


def check_tunable(target: str) -> None:
    """Refuse a target that is for no runtime of its own.

    Raises:
        InputError: It is for any.
    """
    spec = TARGETS[target]
    if not spec.runtime:
        raise InputError(
            f"--tune compares forms on one runtime, and {target} is for {spec.title}.",
            mend="Leave --tune out, or name a target that is for one: see --target.",
        )


def cache_folder() -> Path:
    """Return where results are kept."""
    import platformdirs

    return platformdirs.user_cache_path("edgeattn", appauthor=False) / "tournament"


def _key(model: ir.Model, target: str, rules: AbstractSet[str] | None) -> str:
    """Return the hash of what a result rests on: the graph without its weights, the versions."""
    spec = TARGETS[target]
    is_timed_here = spec.measured_by == "latency"
    facts = {
        "forms": {
            family: [form.name for form in forms] for family, forms in spec.writer.forms.items()
        },
        "machine": platform.processor() or platform.machine() if is_timed_here else "",
        "measured": "in processes" if is_timed_here else "",
        "rules": None if rules is None else sorted(rules),
        "target": target,
        "versions": versions(),
        **({"openvino": version()} if spec.runtime == "openvino" else {}),
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    digest.update(without_weights(model).SerializeToString(deterministic=True))
    return digest.hexdigest()


class _Kept(BaseModel):
    forms: dict[str, dict[str, str]]
    trials: tuple[Trial, ...]


def _read(file: Path) -> tuple[Forms, tuple[Trial, ...]] | None:
    """Read what is kept; None if there is none, or one that a fault left: it is made again."""
    try:
        kept: _Kept = documents.checked(_Kept, documents.read_json(file), str(file))
    except InputError:
        return None
    return kept.forms, kept.trials


def _written(model: ir.Model, folder: Path, name: str, *, external: bool = True) -> Path:
    path = folder / f"{name}.onnx"
    save(model.clone(), path, external=external)
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
        costs = [traffic + kernels * BYTES_PER_KERNEL for kernels, traffic in (before, after)]
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


Time: TypeAlias = Callable[[Sequence[Path]], Timed]
"""Runs ONNX files by turns, and times each."""


class Pairs:
    """Compares the latencies of two models, as `edgeattn compare` measures them.

    Args:
        folder: Where their files are written.
        time: Times them.
        external: Whether weights lie in files beside them.
    """

    def __init__(self, folder: Path, time: Time, *, external: bool = True) -> None:
        self._folder, self._external = folder, external
        self._time = time

    def __call__(self, standing: ir.Model, candidate: ir.Model) -> Comparison:
        """Compare a model with the one that stands."""
        paths = [
            _written(model, self._folder, name, external=self._external)
            for model, name in ((standing, "standing"), (candidate, "candidate"))
        ]
        try:
            timed = self._time(paths)
        except (LostError, BusyError, FullError):
            raise
        except EdgeattnError as error:  # the form cannot be built or run: another may
            return Comparison(is_better=False, figures={}, fault=error.fact)
        before, after = timed.samples_ms
        ratio, (low, high) = timed.ratio(1, 0)
        return Comparison(
            is_better=high < 1 and _agree(*map(_session, paths)),
            figures={
                "latency_ms": round(statistics.median(after), 4),
                "latency_ms_before": round(statistics.median(before), 4),
                "ratio": round(ratio, 4),
                "ratio_ci95_low": round(low, 4),
                "ratio_ci95_high": round(high, 4),
            },
        )


def _timed_here(paths: Sequence[Path], runtime: str) -> Timed:
    """Run files by turns on this machine, by OpenVINO or else by ONNX Runtime."""
    by: Runtime = "openvino" if runtime == "openvino" else "onnxruntime"
    return time_models(paths, ProfileOptions(limit_s=_SECONDS), runtimes=[by] * len(paths))


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
    forms, trials = tuned(model, target=target, rules=chosen, on_trial=on_trial)
    lowered = lower(model, target=target, rules=chosen, forms=forms)
    return dataclasses.replace(lowered, trials=trials)
