"""Runs models in interleaved rounds, until what they take agrees.

A round runs each model once, in an order that changes. Rounds are put together in windows;
three that agree are enough for one model, and for several the difference must be known well too.
"""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from edgeattn.profiling import samples
from edgeattn.records.trace import Difference, Latency, Power
from edgeattn.runtimes import runner

#: Runs a model once and returns what that took, in ms.
Run = Callable[[], float]
#: What is run before anything is timed: so often at least, and for so many seconds.
WARM_UP_RUNS: Final = 3
WARM_UP_S: Final = 0.5
#: The fewest and the most runs with a profiler, and seconds after which it ends in between.
PROFILED_RUNS: Final = (10, 40)
PROFILED_S: Final = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long rounds go on.

    Attributes:
        window: Fewest rounds of a window, most rounds, and seconds after which it ends between.
        limit_s: Seconds after which no new window begins, for one model or two; of more, for each
            that is compared with the first.
        most_rounds: Rounds after which none begins, of several models.
        precise_to: Of several models: the half-width that the 95 % interval of each difference
            is to reach, in percentage points.
        pairs: The models that differ, by their places; each of several and the first if none are.
    """

    window: tuple[int, int, float] = (10, 200, 1.0)
    limit_s: float = 30.0
    most_rounds: int = 500
    precise_to: float = 1.0
    pairs: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """Models that were run in interleaved rounds.

    Attributes:
        samples_ms: The latency of each model in each round that was kept.
        windows: How many windows of rounds there were.
        agree: Whether the last three agreed.
        of_machine: Warnings of what the machine did while they ran.
        facts: What is known of the machine while they ran.
        powers: What each drew; none where nothing tells.
    """

    samples_ms: tuple[tuple[float, ...], ...]
    windows: int
    agree: bool
    of_machine: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    powers: tuple[Power | None, ...] = ()

    def latency(self, model: int) -> Latency:
        """Sum up the latency of a model, by its place."""
        return samples.latency(self.samples_ms[model])

    def difference(self, a: int, b: int) -> Difference:
        """Return what model `a` takes above model `b`."""
        return samples.difference(self.samples_ms[a], self.samples_ms[b])

    @property
    def warnings(self) -> list[str]:
        """Why the figures are not to be trusted."""
        found = list(self.of_machine)
        if not self.agree:
            found.append(
                f"No {samples.WINDOWS} windows of runs agreed within {samples.AGREEMENT:.0%}, of"
                f" {self.windows}."
            )
        return found


@dataclass(slots=True)
class _Rounds:
    """What was timed: of one model the last windows, of several all rounds."""

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

    def half_width(self, pairs: Sequence[tuple[int, int]]) -> float:
        """The widest half of a 95 % interval of a difference of two models, in per cent."""
        columns = list(zip(*self.rows, strict=True))
        widths = [0.0]
        for one, other in pairs or [(place, 0) for place in range(1, len(columns))]:
            low, high = samples.difference(columns[one], columns[other]).ci95 or (0.0, 0.0)
            widths.append((high - low) / 2)
        return max(widths)


def run_rounds(
    runs: Sequence[Run], limits: Limits, *, on_window: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Run models of this process in interleaved rounds.

    Args:
        runs: Runs each model once.
        limits: How long.
        on_window: Called after each window with how far it is; nothing is timed meanwhile.

    Returns:
        As `take_windows`.
    """
    order = runner.orders(len(runs))
    return take_windows(
        len(runs),
        lambda _: runner.window(runs, order, *limits.window),
        limits,
        on_window=on_window,
    )


def take_windows(
    models: int,
    window: Callable[[int], list[list[float]]],
    limits: Limits,
    *,
    on_window: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Run models in interleaved rounds, wherever they are.

    Args:
        models: How many.
        window: Runs a window of rounds, and returns what each model took in each, in ms; given
            how many windows there were.
        limits: How long.
        on_window: Called after each window with how far it is; nothing is timed meanwhile.

    Returns:
        `samples_ms`, `windows` and `agree`, as `Timed` has them.
    """
    found = _Rounds(models=models)
    began = time.perf_counter()
    limit_s = limits.limit_s * max(1, models - 1)
    while True:
        found.add(window(found.windows))
        seconds, rounds = time.perf_counter() - began, len(found.rows)
        on_window(
            {
                "windows": found.windows,
                "rounds": rounds,
                "p50_ms": [medians[-1] for medians in found.medians],
            }
        )
        is_done = found.agree and (
            models == 1 or found.half_width(limits.pairs) <= limits.precise_to
        )
        is_over = seconds >= limit_s or (models > 1 and rounds >= limits.most_rounds)
        if is_done or (is_over and found.windows >= samples.WINDOWS):
            break
    return {
        "samples_ms": [list(column) for column in zip(*found.rows, strict=True)],
        "windows": found.windows,
        "agree": found.agree,
    }


def host_us(enqueue: Callable[[], object], wait: Callable[[], object], *, runs: int) -> float:
    """Return what the host takes to enqueue a run, the median.

    Args:
        enqueue: Enqueues a run.
        wait: Waits until the device has done it.
        runs: How often it is tried.
    """
    taken = []
    for _ in range(runs):
        began = time.perf_counter()
        enqueue()
        taken.append(time.perf_counter() - began)
        wait()
    return 1e6 * statistics.median(taken)


def timed_of(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a process that measured models says, as the arguments of `Timed`."""
    return {
        "samples_ms": tuple(tuple(column) for column in found["samples_ms"]),
        "windows": found["windows"],
        "agree": found["agree"],
        "of_machine": tuple(found["warnings"]),
        "facts": found.get("facts", {}),
    }


def told(said: Mapping[str, Any]) -> str:
    """Return in words how far rounds are: what `on_window` was called with."""
    medians = ", ".join(f"{one:.3g}" for one in said["p50_ms"][:4])
    return f"window {said['windows']}, {said['rounds']} rounds, {medians} ms"
