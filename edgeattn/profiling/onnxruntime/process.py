"""Runs ONNX files in ONNX Runtime and times them: the process that `onnxruntime` starts.

A process of its own, because threads of torch, of a simplifier or of another session would take
part. Sessions' threads do not spin: two that do, in one process, disturb each other.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from edgeattn.errors import InputError, first_line
from edgeattn.profiling.machine import Watch, warnings_of
from edgeattn.profiling.process import say, serve
from edgeattn.profiling.rounds import Limits, run_rounds

_WARM_UP_RUNS: Final = 3
_PROFILED_RUNS: Final = (10, 40)
# Of the limit: what is run before anything is timed, a window, and what is profiled. At most so
# many seconds.
_WARM_UP: Final = (1 / 60, 0.5)
_WINDOW: Final = (1 / 30, 1.0)
_PROFILED: Final = (1 / 20, 1.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the process is to do.

    Attributes:
        task: `time` measures end to end, without the profiler; `profile` takes one model through
            it, and keeps the graph that ONNX Runtime made of it.
        models: The ONNX files; more than one are run in turns.
        threads: Threads of each session.
        batch: What an open first dimension stands for.
        shapes: The shape of each input; none for the model's own.
        seed: Seed of the inputs, which are the same for all models.
        limit_s: Seconds after which no new window begins.
        folder: Where `profile` writes.
        once: `profile` runs the model once, for its shapes alone.
    """

    task: Literal["time", "profile"]
    models: tuple[str, ...]
    threads: int
    batch: int = 1
    shapes: tuple[tuple[int, ...], ...] = ()
    seed: int = 0
    limit_s: float = 30.0
    folder: str = ""
    once: bool = False

    def seconds(self, part: tuple[float, float]) -> float:
        """Gives how long something goes on: a part of the limit, at most so much."""
        of, most = part
        return min(of * self.limit_s, most)


def time_models(job: Job) -> dict[str, Any]:
    """Measures models end to end, those of a comparison in turns.

    Beside other models, a turn is one run that is not timed, since the caches hold another's
    weights, and one that is.
    """
    sessions = [_Session(Path(model), job) for model in job.models]
    feeds = [_feeds(session, job) for session in sessions]
    for session, feed in zip(sessions, feeds, strict=True):
        _warm_up(session, feed, job.seconds(_WARM_UP))
    watch = Watch()
    alone = len(sessions) == 1

    def turn(session: _Session, feed: dict[str, Any]) -> float:
        if not alone:
            session.run(feed)
        began = time.perf_counter()
        session.run(feed)
        return 1e3 * (time.perf_counter() - began)

    def tell(said: dict[str, Any]) -> None:
        watch.look()
        say(**said)

    turns = [partial(turn, *pair) for pair in zip(sessions, feeds, strict=True)]
    found = run_rounds(
        turns, Limits(window=(10, 200, job.seconds(_WINDOW)), limit_s=job.limit_s), on_window=tell
    )
    return found | {"doubts": warnings_of(watch.load())}


def profile_model(job: Job) -> dict[str, Any]:
    """Takes a model through ONNX Runtime's profiler.

    Returns:
        For each node of the optimised graph, in order of execution: its name, operator, median
        time, bytes and shapes; and the median of the whole run while it was profiled.
    """
    folder = Path(job.folder)
    session = _Session(Path(job.models[0]), job, folder=folder)
    feeds = _feeds(session, job)
    fewest, most = (1, 1) if job.once else _PROFILED_RUNS
    if not job.once:
        _warm_up(session, feeds, job.seconds(_WARM_UP))
    # The profiler writes of every run: what came before these is passed over.
    warm, runs, end = session.runs, 0, time.perf_counter() + job.seconds(_PROFILED)
    while runs < fewest or (runs < most and time.perf_counter() < end):
        session.run(feeds)
        runs += 1
    events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return _by_node(events, skip=warm) | {"runs": runs}


def _by_node(events: Sequence[dict[str, Any]], *, skip: int) -> dict[str, Any]:
    """Sums the profiler's events up: `dur` is in µs, and `_kernel_time` ends a node's name."""
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


class _Session:
    """A session of ONNX Runtime's, as it runs by default but for its threads' spinning."""

    def __init__(self, path: Path, job: Job, *, folder: Path | None = None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = job.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what is wrong is raised too
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if folder is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(folder / "events")
            options.optimized_model_filepath = str(folder / "optimised.onnx")
            # Weights go to a file beside it, which nobody opens.
            key = "session.optimized_model_external_initializers_"
            options.add_session_config_entry(f"{key}file_name", "optimised.weights")
            options.add_session_config_entry(f"{key}min_size_in_bytes", "1024")
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise InputError(f"ONNX Runtime cannot load {path}: {first_line(error)}") from error
        self._path = path
        self.inputs = self._session.get_inputs()
        self.runs = 0

    def run(self, feeds: dict[str, Any]) -> None:
        self.runs += 1
        try:
            self._session.run(None, feeds)
        except Exception as error:
            raise InputError(
                f"ONNX Runtime fails while it runs {self._path}: {first_line(error)}"
            ) from error

    def end_profiling(self) -> str:
        return str(self._session.end_profiling())


def _feeds(session: _Session, job: Job) -> dict[str, Any]:
    from edgeattn.parity.runtime import random_inputs

    drawn = random_inputs(session, batch=job.batch, seed=job.seed, shapes=job.shapes)
    return {value.name: array for value, array in zip(session.inputs, drawn, strict=True)}


def _warm_up(session: _Session, feeds: dict[str, Any], seconds: float) -> None:
    end = time.perf_counter() + seconds
    runs = 0
    while runs < _WARM_UP_RUNS or time.perf_counter() < end:
        session.run(feeds)
        runs += 1


def _do(job: dict[str, Any]) -> dict[str, Any]:
    asked = Job(**job)
    return time_models(asked) if asked.task == "time" else profile_model(asked)


if __name__ == "__main__":
    sys.exit(serve(_do))
