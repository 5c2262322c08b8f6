"""Runs models in interleaved rounds, until what they take agrees.

A round runs each model once, in an order that changes. Rounds are put together in windows, each a
generation of processes of its own. Three windows that agree, of so many as an interval wants, are
enough for one model; for several the difference must be known well too.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, Protocol, Self

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
# Windows that are run in any case, unless the limit is reached: of one model, and of several. An
# interval that may end the rounds must not do so while there are few: it would end them where they
# happen to agree.
_FEWEST: Final = {False: 5, True: 8}


class Until(Protocol):
    """How long, and how precisely, to measure: as `Limits` has these."""

    @property
    def limit_s(self) -> float: ...  # noqa: D102

    @property
    def precise_to(self) -> float | None: ...  # noqa: D102

    @property
    def clear_of(self) -> float | None: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long rounds go on.

    Attributes:
        window: Fewest rounds of a window, most rounds, and seconds after which it ends between.
        limit_s: Seconds after which no new window begins, for one model or two; of more, for each
            that is compared with the first.
        precise_to: The half-width that the 95 % interval of each difference is to reach, in
            percentage points; of one model, that of its latency, in per cent. None for 1 of several
            models, and for any of one.
        clear_of: A difference, in per cent, that someone asks whether they reach: where an interval
            that is precise enough has it inside, rounds go on to the limit. It is looked at these
            two times only, for whoever looks often sees at last what is not there.
        pairs: The models that differ, by their places; each of several and the first if none are.
    """

    window: tuple[int, int, float] = (5, 50, 0.5)
    limit_s: float = 30.0
    precise_to: float | None = None
    clear_of: float | None = None
    pairs: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, options: Until, **more: Any) -> Self:
        """Return the limits that options say, with others."""
        return cls(
            limit_s=options.limit_s,
            precise_to=options.precise_to,
            clear_of=options.clear_of,
            **more,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """Models that were run in interleaved rounds.

    Attributes:
        samples_ms: The latency of each model in each round.
        windows: How many windows of rounds there were.
        agree: Whether the last three agreed.
        generations: How many rounds each generation of processes ran, in order; none where that is
            not known.
        of_machine: Warnings of what the machine did while they ran.
        facts: What is known of the machine while they ran.
        powers: What each drew; none where nothing tells.
    """

    samples_ms: tuple[tuple[float, ...], ...]
    windows: int
    agree: bool
    generations: tuple[int, ...] = ()
    of_machine: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    powers: tuple[Power | None, ...] = ()

    def latency(self, model: int) -> Latency:
        """Sum up the latency of a model, by its place."""
        return samples.latency(self.samples_ms[model])

    def difference(self, a: int, b: int) -> Difference:
        """Return what model `a` takes above model `b`."""
        return samples.difference(self.samples_ms[a], self.samples_ms[b], self.generations)

    def ratio(self, a: int, b: int) -> tuple[float, tuple[float, float]]:
        """Return how many times as long as model `b` model `a` takes, and its 95 % interval."""
        return samples.ratio([self.samples_ms[a]], [self.samples_ms[b]], self.generations)

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
    """What was timed, window by window."""

    models: int
    windows: list[list[list[float]]] = field(default_factory=list)

    @property
    def agree(self) -> bool:
        last = self.windows[-samples.WINDOWS :]
        return all(samples.agree(one) for one in zip(*map(_medians, last), strict=True))

    @property
    def columns(self) -> list[list[float]]:
        rows = (row for window in self.windows for row in window)
        return list(map(list, zip(*rows, strict=True)))

    @property
    def generations(self) -> list[int]:
        return list(map(len, self.windows))

    def intervals(self, pairs: Sequence[tuple[int, int]]) -> list[tuple[float, float]]:
        """The 95 % intervals, in per cent, of differences; of one model, of its latency."""
        columns, generations = self.columns, self.generations
        if self.models == 1:
            columns.append([statistics.median(columns[0])] * len(columns[0]))
        return [
            samples.difference(columns[one], columns[other], generations).ci95
            or (-math.inf, math.inf)
            for one, other in pairs or [(place, 0) for place in range(1, len(columns))]
        ]


def _medians(window: Sequence[Sequence[float]]) -> list[float]:
    return [statistics.median(column) for column in zip(*window, strict=True)]


def run_rounds(
    runs: Sequence[Run], limits: Limits, *, on_window: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Run models in interleaved rounds, each window of which is a generation of its own.

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
        window: Runs a window of rounds, in new processes from the second on, and returns what each
            model took in each, in ms; given how many windows there were.
        limits: How long.
        on_window: Called after each window with how far it is; nothing is timed meanwhile.

    Returns:
        `samples_ms`, `windows`, `agree` and `generations`, as `Timed` has them.
    """
    found = _Rounds(models=models)
    is_of_several = models > 1
    began = time.perf_counter()
    limit_s = limits.limit_s * max(1, models - 1)
    precise_to = limits.precise_to or (1.0 if is_of_several else math.inf)
    is_open = False
    while True:
        found.windows.append(window(len(found.windows)))
        windows = len(found.windows)
        on_window(
            {
                "windows": windows,
                "rounds": sum(found.generations),
                "p50_ms": _medians(found.windows[-1]),
            }
        )
        is_over = windows >= samples.WINDOWS and time.perf_counter() - began >= limit_s
        if is_over:
            break
        if not is_open and windows >= _FEWEST[is_of_several] and found.agree:
            intervals = found.intervals(limits.pairs)
            if all((high - low) / 2 <= precise_to for low, high in intervals):
                asked = limits.clear_of
                is_open = asked is not None and any(low <= asked <= high for low, high in intervals)
                if not is_open:
                    break
    return {
        "samples_ms": found.columns,
        "windows": windows,
        "agree": found.agree,
        "generations": found.generations,
    }


def take_processes(
    models: int,
    ask: Callable[[int], Mapping[str, Any]],
    limits: Limits,
    *,
    on_progress: Callable[[str], None],
) -> tuple[dict[str, Any], list[Mapping[str, Any]]]:
    """Run models in interleaved rounds, each window in a process that starts for it and ends.

    Args:
        models: How many.
        ask: Has a new process run a window, given how many there were; its `rows` are that.
        limits: How long.
        on_progress: Told how far it is.

    Returns:
        As `take_windows`, and all that the processes said.
    """
    answers: list[Mapping[str, Any]] = []

    def window(number: int) -> list[list[float]]:
        answers.append(ask(number))
        rows: list[list[float]] = answers[-1]["rows"]
        return rows

    found = take_windows(models, window, limits, on_window=lambda said: on_progress(told(said)))
    return found, answers


def orders_from(number: int, models: int) -> Iterator[tuple[int, ...]]:
    """Return the orders in which models are run, for the window of this number."""
    return islice(runner.orders(models), number, None)


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
        "generations": tuple(found["generations"]),
        "of_machine": tuple(found["warnings"]),
        "facts": found.get("facts", {}),
    }


def told(said: Mapping[str, Any]) -> str:
    """Return in words how far rounds are: what `on_window` was called with."""
    medians = ", ".join(f"{one:.3g}" for one in said["p50_ms"][:4])
    return f"window {said['windows']}, {said['rounds']} rounds, {medians} ms"
