"""Runs ONNX files in ONNX Runtime and times them: the process that `run` starts.

A process of its own, because threads of torch or of a simplifier would take part. Sessions' threads
do not spin: those of two models would disturb each other.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from edgeattn.base.worker import say, serve
from edgeattn.profiling.measure.machine import Watch, warnings_of
from edgeattn.profiling.measure.onnxruntime.interleaved import Turn
from edgeattn.profiling.measure.rounds import Limits, run_rounds
from edgeattn.runtimes.timed import Job, Session

_PROFILED_RUNS: Final = (10, 40)
# Of the limit, and at most so many seconds: a window, and what is profiled.
_WINDOW: Final = (1 / 30, 1.0)
_PROFILED: Final = (1 / 20, 1.5)
# Windows after which models that are compared get new processes.
_RENEWED_AFTER: Final = 3


def time_models(job: Job) -> dict[str, Any]:
    """Measure models end to end, without the profiler, those of a comparison in turns."""
    if len(job.models) == 1:
        session = Session(Path(job.models[0]), job)
        session.warm_up(job)
        return _timed([session.run_ms], job, renew=lambda: None)
    with ExitStack() as stack:
        each = [replace(job, models=(model,)) for model in job.models]
        turns = [stack.enter_context(Turn(one)) for one in each]

        def renew() -> None:
            for turn in turns:
                turn.renew()

        return _timed(turns, job, renew=renew)


def _timed(
    turns: Sequence[Callable[[], float]], job: Job, *, renew: Callable[[], None]
) -> dict[str, Any]:
    watch = Watch()

    def tell(said: dict[str, Any]) -> None:
        watch.look()
        say(**said)
        if said["windows"] % _RENEWED_AFTER == 0:
            renew()

    limits = Limits(window=(10, 200, job.seconds(_WINDOW)), limit_s=job.limit_s)
    found = run_rounds(turns, limits, on_window=tell)
    return found | {"warnings": warnings_of(watch.load())}


def profile_model(job: Job) -> dict[str, Any]:
    """Take a model through ONNX Runtime's profiler.

    Returns:
        For each node of the optimised graph, in order of execution: its name, operator, median
        time, bytes and shapes; and the median of the whole run while it was profiled.
    """
    folder = Path(job.folder)
    session = Session(Path(job.models[0]), job, folder=folder)
    fewest, most = (1, 1) if job.once else _PROFILED_RUNS
    if not job.once:
        session.warm_up(job)
    # The profiler writes of every run: what came before these is passed over.
    warm, runs, end = session.runs, 0, time.perf_counter() + job.seconds(_PROFILED)
    while runs < fewest or (runs < most and time.perf_counter() < end):
        session.run()
        runs += 1
    events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return _by_node(events, skip=warm) | {"runs": runs}


def _by_node(events: Sequence[dict[str, Any]], *, skip: int) -> dict[str, Any]:
    """Sum the profiler's events up: `dur` is in µs, and `_kernel_time` ends a node's name."""
    suffix = "_kernel_time"
    seen: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith(suffix):
            key = (event["name"].removesuffix(suffix), event["args"].get("node_index", ""))
            seen.setdefault(key, []).append(event)
    whole = [event["dur"] for event in events if event["name"] == "model_run"]
    nodes = []
    for (name, _), own in seen.items():
        said = own[-1]["args"]
        nodes.append(
            {
                "name": name,
                "op": said.get("op_name", ""),
                "provider": said.get("provider", ""),
                "time_us": statistics.median(event["dur"] for event in own[skip:] or own),
                # Weights are not among them: those that were packed beforehand are not told.
                "activation_bytes": sum(
                    int(said.get(what, 0)) for what in ("activation_size", "output_size")
                ),
                "input_shapes": [shape for one in said.get("input_type_shape", ())
                                 for shape in one.values()],
                "output_shapes": [shape for one in said.get("output_type_shape", ())
                                  for shape in one.values()],
                "dtype": next((t for one in said.get("output_type_shape", ()) for t in one), ""),
            }
        )  # fmt: skip
    return {"nodes": nodes, "profiled_us": statistics.median(whole[skip:] or whole or [0])}


def _do(job: dict[str, Any]) -> dict[str, Any]:
    asked = Job(**job)
    return time_models(asked) if asked.task == "time" else profile_model(asked)


if __name__ == "__main__":
    sys.exit(serve(_do))
