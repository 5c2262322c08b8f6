"""What a process that runs ONNX files is to do, and a session of ONNX Runtime's in it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from edgeattn.base.errors import InputError, first_line
from edgeattn.runtimes.onnxruntime import (
    Preset,
    limit_of,
    open_session,
    random_inputs,
    run_session,
    session_options,
)

_WARM_UP_RUNS: Final = 3
# Of the limit, and at most so many seconds: what is run before anything is timed.
_WARM_UP: Final = (1 / 60, 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the process is to do.

    Attributes:
        task: `time` measures end to end, without the profiler; `profile` takes one model through
            it, and keeps the graph that ONNX Runtime made of it.
        models: The ONNX files; more than one are run in interleaved rounds.
        threads: Threads of each session.
        batch: What an open first dimension stands for.
        shapes: The shape of each input; empty for the model's own.
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
        """Return how long something goes on: a part of the limit, at most so much."""
        of, most = part
        return min(of * self.limit_s, most)


class Session:
    """A session of ONNX Runtime's, as it runs by default but for its threads' spinning."""

    def __init__(self, path: Path, job: Job, *, folder: Path | None = None) -> None:
        preset: Preset = "timed" if folder is None else "profiled"
        options = session_options(preset, threads=job.threads, folder=folder)
        self._session = open_session(path, options)
        self._limit_s = limit_of(path)
        self.path = path
        self.runs = 0
        self.inputs = self._session.get_inputs()
        drawn = random_inputs(self, batch=job.batch, seed=job.seed, shapes=job.shapes)
        self._feeds = {value.name: array for value, array in zip(self.inputs, drawn, strict=True)}

    def run(self) -> None:
        """Run the model on random inputs, those of the job's seed."""
        self.runs += 1
        try:
            run_session(self._session, self._feeds, limit_s=self._limit_s)
        except Exception as error:
            raise InputError(
                f"ONNX Runtime fails while it runs {self.path}: {first_line(error)}"
            ) from error

    def run_ms(self) -> float:
        """Run it, and return what that took."""
        began = time.perf_counter()
        self.run()
        return 1e3 * (time.perf_counter() - began)

    def warm_up(self, job: Job) -> None:
        """Run it before anything is timed."""
        end = time.perf_counter() + job.seconds(_WARM_UP)
        while self.runs < _WARM_UP_RUNS or time.perf_counter() < end:
            self.run()

    def end_profiling(self) -> str:
        """End the profiler, and return the file that it wrote."""
        return str(self._session.end_profiling())
