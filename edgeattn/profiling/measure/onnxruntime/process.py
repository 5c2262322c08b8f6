"""Runs ONNX files in ONNX Runtime and times them: the process that `run` starts.

A process of its own, because threads of torch or of a simplifier would take part. Sessions' threads
do not spin: those of two models would disturb each other.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from edgeattn.base.worker import say, serve
from edgeattn.profiling.measure.machine import Watch, warnings_of
from edgeattn.profiling.measure.onnxruntime.events import NodeEvent, read_events
from edgeattn.profiling.measure.onnxruntime.interleaved import Runner
from edgeattn.profiling.measure.rounds import PROFILED_RUNS, Limits, repeat, run_rounds
from edgeattn.runtimes.timed import Job, Session

# Of the limit, and at most so many seconds: a window, and what is profiled.
_WINDOW: Final = (1 / 30, 1.0)
_PROFILED: Final = (1 / 20, 1.5)
# Windows after which models that are compared get new processes.
_RENEWED_AFTER: Final = 3


def time_models(job: Job) -> dict[str, Any]:
    """Measure models end to end, without the profiler; several in interleaved rounds."""
    if len(job.models) == 1:
        session = Session(Path(job.models[0]), job)
        session.warm_up(job)
        return _timed([session.run_ms], job, renew=lambda: None)
    with ExitStack() as stack:
        each = [replace(job, models=(model,)) for model in job.models]
        runners = [stack.enter_context(Runner(one)) for one in each]

        def renew() -> None:
            for runner in runners:
                runner.renew()

        return _timed(runners, job, renew=renew)


def _timed(
    runs: Sequence[Callable[[], float]], job: Job, *, renew: Callable[[], None]
) -> dict[str, Any]:
    watch = Watch()

    def tell(said: dict[str, Any]) -> None:
        watch.look()
        say(**said)

    def before_window(windows: int) -> None:
        if windows % _RENEWED_AFTER == 0:
            renew()

    limits = Limits(window=(10, 200, job.seconds(_WINDOW)), limit_s=job.limit_s)
    found = run_rounds(runs, limits, on_window=tell, before_window=before_window)
    return found | {"warnings": warnings_of(watch.load())}


def profile_model(job: Job) -> dict[str, Any]:
    """Take a model through ONNX Runtime's profiler.

    Returns:
        For each node of the optimised graph, in order of execution: its name, operator, median
        time, bytes and shapes; and the median of the whole run while it was profiled.
    """
    folder = Path(job.folder)
    session = Session(Path(job.models[0]), job, folder=folder)
    fewest, most = (1, 1) if job.once else PROFILED_RUNS
    if not job.once:
        session.warm_up(job)
    # The profiler writes of every run: what came before these is passed over.
    warm = session.runs
    repeat(session.run, fewest=fewest, most=most, seconds=job.seconds(_PROFILED))
    events, whole_us = read_events(Path(session.end_profiling()))
    return _by_node(events, whole_us, skip=warm)


def _by_node(
    events: Sequence[NodeEvent], whole_us: Sequence[float], *, skip: int
) -> dict[str, Any]:
    """Sum the profiler's events up."""
    seen: dict[tuple[str, str], list[NodeEvent]] = {}
    for event in events:
        seen.setdefault((event.name, event.index), []).append(event)
    nodes = [
        {
            "name": name,
            "op": own[-1].arguments.get("op_name", ""),
            "time_us": statistics.median(times[skip:] or times),
            "activation_bytes": sum(e.activation_bytes for e in own if e.run == own[-1].run),
            "output_shapes": [shape for _, shape in own[-1].outputs],
            "dtype": next((dtype for dtype, _ in own[-1].outputs), ""),
        }
        for (name, _), own in seen.items()
        if (times := _by_run(own, len(whole_us)))
    ]
    return {"nodes": nodes, "profiled_us": statistics.median(whole_us[skip:] or whole_us or [0])}


def _by_run(events: Iterable[NodeEvent], runs: int) -> list[float]:
    """Return what a node took in each run: in a loop, all its turns; in a branch, maybe none."""
    times = [0.0] * runs
    for event in events:
        times[event.run] += event.time_us
    return times


def _do(job: dict[str, Any]) -> dict[str, Any]:
    asked = Job(**job)
    return time_models(asked) if asked.task == "time" else profile_model(asked)


if __name__ == "__main__":
    sys.exit(serve(_do))
