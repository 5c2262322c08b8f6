"""Latency of ONNX files, end to end and not profiled; of several by turns, whatever runs each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, PositiveFloat

from edgeattn.base import documents
from edgeattn.base.errors import InputError
from edgeattn.options.profile import ProfileOptions, Stage
from edgeattn.profiling.measure.place import HERE, Place
from edgeattn.profiling.measure.rounds import (
    WARM_UP_RUNS,
    Limits,
    Timed,
    take_windows,
    timed_of,
    told,
)
from edgeattn.records.trace import Power, Runtime
from edgeattn.runtimes.onnxruntime import inputs_of, limit_of, to_draw

#: What is profiled goes on for a part of the limit, and at most so many seconds.
PROFILED: Final = (1 / 20, 1.5)
#: What loading a model, and warming it up, is expected to take at most.
LOAD_S: Final = 240.0
# The same of what comes before anything is timed in a process, and of a window.
_WARM_UP: Final = (1 / 150, 0.2)
_WINDOW: Final = (1 / 60, 0.5)
# Windows of one model alone, of several that are compared, to see what each draws.
_POWER_ROUNDS: Final = 6
_ANY: Final = 10**6


def time_models(
    paths: Sequence[Path],
    options: ProfileOptions,
    *,
    runtimes: Sequence[Runtime] | None = None,
    own: Sequence[ProfileOptions] = (),
    pairs: Sequence[tuple[int, int]] = (),
    place: Place = HERE,
    with_power: bool = True,
    on_progress: Stage = lambda _: None,
) -> Timed:
    """Measure models end to end, without the profiler; several in interleaved rounds.

    Args:
        paths: The ONNX files.
        options: How they are run: on as many threads as there are cores by default.
        runtimes: What runs each; None for ONNX Runtime.
        own: How each computes, where not all do as `options` say.
        pairs: As `Limits.pairs`.
        place: Where.
        with_power: Whether to see what each draws, where the place tells.
        on_progress: Told how far it is.

    Raises:
        InputError: A runtime does not load one of them, or fails while it runs.
        MissingError: A runtime is not installed there.
    """
    by: Sequence[Runtime] = runtimes or ["onnxruntime"] * len(paths)
    window = (5, 50, seconds_of(options, _WINDOW))
    limits = Limits.of(options, window=window, pairs=tuple(pairs))
    fewest, most, seconds = limits.window
    with ExitStack() as stack:
        job = {
            "task": "time",
            "models": [
                stack.enter_context(lent(path, its, place, runtime))
                for path, its, runtime in zip(paths, own or [options] * len(paths), by, strict=True)
            ],
            **how(options, place),
        }
        runner = stack.enter_context(place.runner("measured"))
        loaded = _Loaded.of(runner.ask(job, limit_s=place.limit_s(LOAD_S)))
        watch = place.watch()
        expected_s = seconds + 2 * fewest * sum(loaded.ms) / 1e3
        windows_run: list[_Window] = []

        def ran(**how: object) -> _Window:
            limit_s = place.limit_s(expected_s + (LOAD_S if how.get("renew") else 0))
            job = {"task": "window", "seconds": seconds, **how}
            return _Window.of(runner.ask(job, limit_s=limit_s))

        def run(windows: int) -> list[list[float]]:
            found = ran(fewest=fewest, most=most, renew=windows > 0)
            windows_run.append(found)
            return found.rows_of(len(paths))

        def powers() -> Iterator[Power | None]:
            by_model = {0: windows_run} if len(paths) == 1 else {}
            # What is run by turns draws power together: each by itself, now, and by turns again.
            for turn in range(0 if by_model else _POWER_ROUNDS):
                for number, model in enumerate(range(len(paths))[:: (-1) ** turn]):
                    alone = ran(fewest=1, most=_ANY, only=model, renew=number == 0)
                    by_model.setdefault(model, []).append(alone)
            for _, each in sorted(by_model.items()):
                yield place.power([one.span for one in each], [one.runs for one in each])

        def on_window(said: Mapping[str, Any]) -> None:
            watch.look()
            on_progress(told(said))

        found = take_windows(len(paths), run, limits, on_window=on_window)
        warnings = watch.warnings()
        drawn = tuple(powers()) if with_power and place.tells_power else ()
        runner.finish()
    return Timed(**timed_of({**found, "warnings": warnings}), powers=drawn)


class Said(BaseModel):
    """What a runner says, of which only what is asked for is read."""

    model_config = ConfigDict(allow_inf_nan=False)

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Self:
        """Return what a runner said, checked: it may be on another machine."""
        found: Self = documents.checked(cls, said, "The runner says what no runner says")
        return found


class _Loaded(Said):
    ms: list[NonNegativeFloat]


class _Window(Said):
    rows: list[list[PositiveFloat]]
    span: tuple[float, float]
    runs: int

    def rows_of(self, models: int) -> list[list[float]]:
        """Return the rows, which are of so many models.

        Raises:
            InputError: They are not.
        """
        if not self.rows or any(len(row) != models for row in self.rows):
            raise InputError("The runner gives rounds of other models than it was asked for.")
        return self.rows


@contextmanager
def lent(
    path: Path, options: ProfileOptions, place: Place, runtime: Runtime = "onnxruntime"
) -> Iterator[dict[str, Any]]:
    """Yield a model as a runner takes it."""
    takes = inputs_of(path)
    asked = to_draw(takes, batch=options.batch, seed=options.seed, shapes=options.shapes)
    with place.lent(path) as given:
        yield {
            "path": given,
            "name": str(path),
            "inputs": place.inputs(asked),
            "limit_s": limit_of(path),
            **_of_runtime(runtime, options),
        }


def _of_runtime(runtime: Runtime, options: ProfileOptions) -> dict[str, Any]:
    if runtime != "openvino":
        return {"runtime": runtime}
    device, precision = options.openvino_device or "CPU", options.arithmetic or "f32"
    return {"runtime": runtime, "device": device, "precision": precision}


def how(options: ProfileOptions, place: Place) -> dict[str, Any]:
    """Return how a runner is to run models: threads, and what comes before anything is timed."""
    return {
        "threads": options.threads or place.cores,
        "warm_up": (WARM_UP_RUNS, seconds_of(options, _WARM_UP)),
    }


def seconds_of(options: ProfileOptions, part: tuple[float, float]) -> float:
    """Return how long something goes on: a part of the limit, at most so much."""
    of, most = part
    return min(of * options.limit_s, most)
