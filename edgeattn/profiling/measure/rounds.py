"""Runs models in interleaved rounds, until what they take agrees.

A round runs each model once, in an order that changes. Rounds are put together in windows;
three that agree are enough for one model, and for several the difference must be known well too.
"""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice, permutations
from typing import Any, Final, TypeVar

from edgeattn.profiling import samples
from edgeattn.records.trace import Difference, Latency

#: Runs a model once and returns what that took, in ms.
Run = Callable[[], float]
T = TypeVar("T")
#: What is run before anything is timed: so often at least, and for so many seconds.
WARM_UP_RUNS: Final = 3
WARM_UP_S: Final = 0.5
#: The fewest and the most runs with a profiler, and seconds after which it ends in between.
PROFILED_RUNS: Final = (10, 40)
PROFILED_S: Final = 1.5
# Of more than four models, not all orders are gone through.
_ALL_ORDERS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long rounds go on.

    Attributes:
        window: Fewest rounds of a window, most rounds, and seconds after which it ends between.
        limit_s: Seconds after which no new window begins, for one model or two; of more, for each
            that is compared with the first.
        most_rounds: Rounds after which none begins, of several models.
        precise_to: Of several models: the half-width that the 95 % interval of each difference
            from the first is to reach, in percentage points.
    """

    window: tuple[int, int, float] = (10, 200, 1.0)
    limit_s: float = 30.0
    most_rounds: int = 500
    precise_to: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """Models that were run in interleaved rounds.

    Attributes:
        samples_ms: The latency of each model in each round that was kept.
        windows: How many windows of rounds there were.
        agree: Whether the last three agreed.
        of_machine: Warnings of what the machine did while they ran.
        facts: What is known of the machine while they ran.
    """

    samples_ms: tuple[tuple[float, ...], ...]
    windows: int
    agree: bool
    of_machine: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)

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

    def half_width(self) -> float:
        """The widest half of a 95 % interval of a difference from the first, in per cent."""
        columns = list(zip(*self.rows, strict=True))
        widths = [0.0]
        for one in columns[1:]:
            low, high = samples.difference(one, columns[0]).ci95 or (0.0, 0.0)
            widths.append((high - low) / 2)
        return max(widths)


def run_rounds(
    runs: Sequence[Run],
    limits: Limits,
    *,
    on_window: Callable[[dict[str, Any]], None],
    before_window: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """Run models in interleaved rounds.

    Args:
        runs: Runs each model once.
        limits: How long.
        on_window: Called after each window with how far it is; nothing is timed meanwhile.
        before_window: Called before each further window with how many there were.

    Returns:
        `samples_ms`, `windows` and `agree`, as `Timed` has them.
    """
    found = _Rounds(models=len(runs))
    began, orders = time.perf_counter(), _orders(len(runs))
    limit_s = limits.limit_s * max(1, len(runs) - 1)
    while True:
        found.add(_window(runs, orders, limits))
        seconds, rounds = time.perf_counter() - began, len(found.rows)
        on_window(
            {
                "windows": found.windows,
                "rounds": rounds,
                "p50_ms": [medians[-1] for medians in found.medians],
            }
        )
        is_done = found.agree and (len(runs) == 1 or found.half_width() <= limits.precise_to)
        is_over = seconds >= limit_s or (len(runs) > 1 and rounds >= limits.most_rounds)
        if is_done or (is_over and found.windows >= samples.WINDOWS):
            break
        before_window(found.windows)
    return {
        "samples_ms": [list(column) for column in zip(*found.rows, strict=True)],
        "windows": found.windows,
        "agree": found.agree,
    }


def repeat(run: Callable[[], T], *, fewest: int, seconds: float, most: float = math.inf) -> list[T]:
    """Call again and again.

    Args:
        run: What is called.
        fewest: How often at least.
        seconds: How long, unless that is less than the fewest or more than the most calls.
        most: How often at most.

    Returns:
        What each call returned.
    """
    found: list[T] = []
    end = time.perf_counter() + seconds
    while len(found) < fewest or (len(found) < most and time.perf_counter() < end):
        found.append(run())
    return found


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


def _orders(models: int) -> Iterator[tuple[int, ...]]:
    if models <= _ALL_ORDERS:
        return cycle(permutations(range(models)))
    rotated = [tuple((start + k) % models for k in range(models)) for start in range(models)]
    # Forwards and backwards, so that each model comes before and behind each of its neighbours.
    return cycle([order for one in rotated for order in (one, one[::-1])])


def _window(
    runs: Sequence[Run], orders: Iterator[tuple[int, ...]], limits: Limits
) -> list[list[float]]:
    fewest, most, seconds = limits.window
    end = time.perf_counter() + seconds
    rows: list[list[float]] = []
    for order in islice(orders, most):
        row = [0.0] * len(runs)
        for place in order:
            row[place] = runs[place]()
        rows.append(row)
        if len(rows) >= fewest and time.perf_counter() >= end:
            break
    return rows
