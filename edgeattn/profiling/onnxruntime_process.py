"""Runs ONNX files in ONNX Runtime and times them: the process that `onnxruntime` starts.

A process of its own, because threads of torch, of a simplifier or of another session would take
part. It reads a job as JSON on stdin, and prints one JSON object a line: its progress, then the
result. Sessions' threads do not spin: two that do, in one process, disturb each other.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import cycle, islice, permutations
from pathlib import Path
from typing import Any, Final, Literal

from edgeattn.errors import EdgeattnError, InputError, first_line
from edgeattn.profiling import samples
from edgeattn.profiling.machine import Watch

_WARM_UP_RUNS: Final = 3
_PROFILED_RUNS: Final = (10, 40)
_PROFILED_S: Final = 1.5
# Of more than four models, not all orders are gone through.
_ALL_ORDERS: Final = 4


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
        warm_up_s: Seconds that are run before anything is timed, of each model.
        window: Fewest rounds of a window, most rounds, and seconds after which it ends between.
        limit_s: Seconds after which no new window begins.
        most_rounds: Rounds after which none begins, of several models.
        precise_to: Of several models: the half-width that the 95 % interval of each difference
            from the first is to reach, in percentage points.
        folder: Where `profile` writes.
        once: `profile` runs the model once, for its shapes alone.
    """

    task: Literal["time", "profile"]
    models: tuple[str, ...]
    threads: int
    batch: int = 1
    shapes: tuple[tuple[int, ...], ...] = ()
    seed: int = 0
    warm_up_s: float = 0.5
    window: tuple[int, int, float] = (10, 200, 1.0)
    limit_s: float = 30.0
    most_rounds: int = 300
    precise_to: float = 0.5
    folder: str = ""
    once: bool = False


@dataclass(slots=True)
class _Rounds:
    """What was timed: of one model the last windows, of several all rounds.

    A list of rounds for each window; a round has one latency for each model, in ms.
    """

    models: int
    kept: deque[list[list[float]]] = field(default_factory=deque)
    medians: list[deque[float]] = field(default_factory=list)
    windows: int = 0

    def __post_init__(self) -> None:
        if self.models == 1:
            self.kept = deque(maxlen=samples.WINDOWS)
        self.medians = [deque(maxlen=samples.WINDOWS) for _ in range(self.models)]

    def add(self, window: list[list[float]]) -> None:
        self.windows += 1
        self.kept.append(window)
        for model, medians in enumerate(self.medians):
            medians.append(statistics.median(row[model] for row in window))

    @property
    def agree(self) -> bool:
        return all(samples.agree(list(medians)) for medians in self.medians)

    @property
    def rows(self) -> list[list[float]]:
        return [row for window in self.kept for row in window]

    def half_width(self) -> float:
        """The widest half of a 95 % interval of a difference from the first, in per cent."""
        columns = list(zip(*self.rows, strict=True))
        widths = [0.0]
        for one in columns[1:]:
            low, high = samples.difference(one, columns[0]).ci95 or (0.0, 0.0)
            widths.append((high - low) / 2)
        return max(widths)


def time_models(job: Job) -> dict[str, Any]:
    """Measures models end to end, those of a comparison in turns.

    A round gives each model one turn, in an order that changes; beside other models, a turn is one
    run that is not timed, since the caches hold another's weights, and one that is.
    """
    sessions = [_session(Path(model), job) for model in job.models]
    feeds = [_feeds(session, job) for session in sessions]
    turns = list(zip(sessions, feeds, strict=True))
    for session, feed in turns:
        _warm_up(session, feed, job.warm_up_s)
    found = _Rounds(models=len(sessions))
    began, watch, orders = time.perf_counter(), Watch(), _orders(len(sessions))
    while True:
        found.add(_window(turns, orders, job))
        watch.look()
        seconds = time.perf_counter() - began
        is_done = found.agree and (len(sessions) == 1 or found.half_width() <= job.precise_to)
        rounds = len(found.rows)
        _say(windows=found.windows, rounds=rounds, agree=found.agree,
             p50_ms=[medians[-1] for medians in found.medians])  # fmt: skip
        is_over = seconds >= job.limit_s or (len(sessions) > 1 and rounds >= job.most_rounds)
        if is_done or (is_over and found.windows >= samples.WINDOWS):
            break
    return {
        "samples_ms": [list(column) for column in zip(*found.rows, strict=True)],
        "windows": found.windows,
        "agree": found.agree,
        "load": asdict(watch.load()),
    }


def profile_model(job: Job) -> dict[str, Any]:
    """Takes a model through ONNX Runtime's profiler.

    Returns:
        For each node of the optimised graph, in order of execution: its name, operator, median
        time, bytes and shapes; and the median of the whole run while it was profiled.
    """
    folder = Path(job.folder)
    session = _session(Path(job.models[0]), job, folder=folder)
    feeds = _feeds(session, job)
    fewest, most = (1, 1) if job.once else _PROFILED_RUNS
    if not job.once:
        _warm_up(session, feeds, job.warm_up_s)
    # The profiler writes of every run: what came before these is passed over.
    warm, runs, end = session.runs, 0, time.perf_counter() + _PROFILED_S
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
                "traffic_bytes": sum(
                    int(said.get(what, 0))
                    for what in ("activation_size", "parameter_size", "output_size")
                ),
                "weights_bytes": int(said.get("parameter_size", 0)),
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

    def __init__(self, path: Path, job: Job, folder: Path | None) -> None:
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


def _session(path: Path, job: Job, *, folder: Path | None = None) -> _Session:
    return _Session(path, job, folder)


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


def _orders(models: int) -> Iterator[tuple[int, ...]]:
    if models <= _ALL_ORDERS:
        return cycle(permutations(range(models)))
    turned = [tuple((start + k) % models for k in range(models)) for start in range(models)]
    # Forwards and backwards, so that each model comes before and behind each of its neighbours.
    return cycle([order for one in turned for order in (one, one[::-1])])


def _window(
    turns: Sequence[tuple[_Session, dict[str, Any]]], orders: Iterator[tuple[int, ...]], job: Job
) -> list[list[float]]:
    fewest, most, seconds = job.window
    end = time.perf_counter() + seconds
    rows: list[list[float]] = []
    for order in islice(orders, most):
        row = [0.0] * len(turns)
        for place in order:
            session, feeds = turns[place]
            if len(turns) > 1:
                session.run(feeds)
            began = time.perf_counter()
            session.run(feeds)
            row[place] = 1e3 * (time.perf_counter() - began)
        rows.append(row)
        if len(rows) >= fewest and time.perf_counter() >= end:
            break
    return rows


def _say(**what: object) -> None:
    print(json.dumps(what), flush=True)  # noqa: T201  # a process of its own, and its answer


def main() -> int:
    """Does the job on stdin."""
    job = Job(**json.load(sys.stdin))
    try:
        result = time_models(job) if job.task == "time" else profile_model(job)
    except EdgeattnError as error:
        _say(error={"fact": error.fact, "mend": error.mend})
        return error.exit_code
    _say(result=result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
