"""Runs engines on the GPU and times them: the process that `tensorrt` starts.

A process of its own, because a fault of CUDA's takes its process along. Latency is GPU compute: the
time between two events of the stream, around a run that is a CUDA graph where it can be captured,
with inputs and outputs in the GPU's memory. Another run goes before it, so that the GPU is busy
while the host puts the timed one into the stream; beside other engines, the caches hold another's
weights until then.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from edgeattn.base.errors import EdgeattnError, InputError
from edgeattn.base.worker import serve
from edgeattn.engine.cuda import Array, Cuda
from edgeattn.engine.runtime import Engine, open_engine
from edgeattn.engine.shapes import written
from edgeattn.options.shapes import Shape, check_type
from edgeattn.profiling.measure.rounds import (
    PROFILED_RUNS,
    PROFILED_S,
    WARM_UP_RUNS,
    host_us,
    orders_from,
)
from edgeattn.profiling.measure.tensorrt.nvml import ClockWatch
from edgeattn.runtimes.inputs import drawn
from edgeattn.runtimes.runner import repeat, window

_ENQUEUED_RUNS: Final = 20
# Fewest rounds of a window, most, and seconds: a process takes as long to start.
_WINDOW: Final = (10, 200, 1.0)

Layers = list[tuple[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the process is to do.

    Attributes:
        task: `time` measures end to end, without the profiler; `profile` takes one engine through
            it.
        engines: The engines; more than one are run in interleaved rounds.
        batch: What an open first dimension stands for; None for what the engine is tuned for.
        shapes: The shape of each input, in the engine's order; none for the engine's own.
        types: The types that were said with them, "" where none was.
        seed: Seed of the inputs.
        warm_up_s: Seconds that are run before anything is timed, of each engine.
        number: How many windows there were.
    """

    task: Literal["time", "profile"]
    engines: tuple[str, ...]
    batch: int | None = None
    shapes: tuple[tuple[int, ...], ...] = ()
    types: tuple[str, ...] = ()
    seed: int = 0
    warm_up_s: float = 0.5
    number: int = 0


class Timer:
    """Times runs of an engine.

    Args:
        engine: The engine; it holds its inputs and outputs.
        launch: Puts a run into its stream.
        stack: Ends the events.
    """

    def __init__(
        self, engine: Engine, launch: Callable[[], None], stack: contextlib.ExitStack
    ) -> None:
        self._engine, self._launch, self._cuda = engine, launch, engine.cuda
        self._events = []
        for _ in range(2):
            event = self._cuda.call("cudaEventCreate")
            stack.callback(self._cuda.call, "cudaEventDestroy", event)
            self._events.append(event)

    def __call__(self) -> float:
        """Return what the second of two runs takes on the GPU, in ms."""
        start, stop = self._events
        self._launch()
        self._cuda.call("cudaEventRecord", start, self._engine.stream)
        self._launch()
        self._cuda.call("cudaEventRecord", stop, self._engine.stream)
        self._cuda.call("cudaEventSynchronize", stop)
        return float(self._cuda.call("cudaEventElapsedTime", start, stop))


def time_engines(job: Job) -> dict[str, Any]:
    """Measure engines end to end, in a window of interleaved rounds.

    Returns:
        `rows`, what each took in each round; what the host takes to enqueue a run of each with a
        graph and without one, in µs, None if there is none; why one was not captured; shapes, and
        clocks.
    """
    with contextlib.ExitStack() as stack:
        Cuda().spin()
        engines = [_held(path, job, stack) for path in job.engines]
        timers, hosts, reasons = [], [], []
        for engine in engines:
            _warm_up(engine, job.warm_up_s)
            wait = engine.synchronize
            plain_us = host_us(engine.enqueue, wait, runs=_ENQUEUED_RUNS)
            launch, reason = _captured(engine, stack)
            graph_us = None if launch is None else host_us(launch, wait, runs=_ENQUEUED_RUNS)
            timers.append(Timer(engine, launch or engine.enqueue, stack))
            hosts.append((graph_us, plain_us))
            reasons.append(reason)
        watch = ClockWatch(engines[0].cuda.bus_id())
        rows = window(timers, orders_from(job.number, len(timers)), *_WINDOW)
        watch.look()
        return {
            "rows": rows,
            "host_us": hosts,
            "not_captured": reasons,
            "shapes": [shapes_of(engine, job) for engine in engines],
            "clocks": watch.looks,
        }


def profile_engine(job: Job) -> dict[str, Any]:
    """Take an engine through its library's profiler, without a graph.

    Returns:
        Name and median time of each layer in order of execution, in µs; what the whole run took
        meanwhile; the shapes that it ran at, and the optimisation profile that these lie in.
    """
    with contextlib.ExitStack() as stack:
        engine = _held(job.engines[0], job, stack)
        _warm_up(engine, job.warm_up_s)
        said: Layers = []
        engine.report_to(lambda name, ms: said.append((name, ms)))
        timer, (fewest, most) = Timer(engine, engine.enqueue, stack), PROFILED_RUNS

        def profiled() -> tuple[float, Layers]:
            said.clear()
            whole_us = 1e3 * timer()
            # Two runs were reported, and the second was timed.
            return whole_us, said[len(said) // 2 :]

        runs = repeat(profiled, fewest=fewest, most=most, seconds=PROFILED_S)
        return {
            "layers": medians([layers for _, layers in runs]),
            "profiled_us": statistics.median(whole_us for whole_us, _ in runs),
            "shapes": shapes_of(engine, job),
            "profile": engine.profile,
        }


def medians(runs: Sequence[Layers]) -> list[tuple[str, float]]:
    """Return the median of each layer over runs, in µs.

    Args:
        runs: Of each, name and time in ms of every layer; those that tell of other layers than
            most do are passed over.

    Raises:
        InputError: Nothing was told.
    """
    counts = Counter(tuple(name for name, _ in run) for run in runs)
    (names, _), *_ = counts.most_common(1)
    if not names:
        raise InputError(
            "The library's profiler tells of no layer.",
            mend="Build the engine again: it may be one without layers' names.",
        )
    kept = [run for run in runs if tuple(name for name, _ in run) == names]
    columns = zip(*([ms for _, ms in run] for run in kept), strict=True)
    return [(name, 1e3 * statistics.median(column))
            for name, column in zip(names, columns, strict=True)]  # fmt: skip


def _held(path: str, job: Job, stack: contextlib.ExitStack) -> Engine:
    """Open an engine, and put its inputs into the GPU's memory."""
    engine = stack.enter_context(open_engine(Path(path)))
    stack.enter_context(engine.holding(random_inputs(engine, shapes_of(engine, job), job.seed)))
    return engine


def shapes_of(engine: Engine, job: Job) -> dict[str, tuple[int, ...]]:
    """Return the shapes that an engine is run at.

    Raises:
        InputError: As many as there are inputs were not given, or a dimension stays open.
    """
    if job.shapes:
        if len(job.shapes) != len(engine.inputs):
            raise InputError(
                f"The engine takes {len(engine.inputs)} inputs ({', '.join(engine.inputs)}), and"
                f" --shape is given {len(job.shapes)}."
            )
        for name, kind in zip(engine.inputs, job.types, strict=False):
            check_type(Shape((), kind), name, np.dtype(engine.dtype_of(name)).name)
        return {name: tuple(s) for name, s in zip(engine.inputs, job.shapes, strict=True)}
    points = engine.manifest.points
    tuned = next((point.shapes for point in points if point.point == "opt"), {})
    found = {}
    for name, own in engine.inputs.items():
        shape = own
        if -1 in own:
            shape = tuned.get(name, own) if job.batch is None else (job.batch, *own[1:])
        if -1 in shape:
            raise InputError(
                f"Input {name} of the engine has open dimensions: {written(own)}.",
                mend="Say which it is profiled at: --shape 1x3x224x224",
            )
        found[name] = shape
    return found


def random_inputs(
    engine: Engine, shapes: dict[str, tuple[int, ...]], seed: int
) -> dict[str, Array]:
    """Draw inputs of the engine's types."""
    generator = np.random.default_rng(seed)
    return {name: drawn(generator, shape, engine.dtype_of(name)) for name, shape in shapes.items()}


def _warm_up(engine: Engine, seconds: float) -> None:
    """Run an engine; what it makes on its first run cannot be captured."""

    def run() -> None:
        engine.enqueue()
        engine.synchronize()

    repeat(run, fewest=WARM_UP_RUNS, seconds=seconds)


def _captured(engine: Engine, stack: contextlib.ExitStack) -> tuple[Callable[[], None] | None, str]:
    """Capture a run in a CUDA graph.

    Returns:
        What launches it, and ""; or None, and why it cannot be captured.
    """
    try:
        graph = engine.cuda.capture(engine.stream, engine.enqueue)
    except EdgeattnError as error:
        return None, error.fact
    stack.callback(engine.cuda.call, "cudaGraphExecDestroy", graph)

    def launch() -> None:
        engine.cuda.call("cudaGraphLaunch", graph, engine.stream)

    return launch, ""


def _do(asked: dict[str, Any]) -> dict[str, Any]:
    job = Job(**asked)
    return time_engines(job) if job.task == "time" else profile_engine(job)


if __name__ == "__main__":
    sys.exit(serve(_do))
