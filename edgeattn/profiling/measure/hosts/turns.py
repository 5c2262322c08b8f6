"""Turns of trtexec on a host: processes that time an engine, or take it through the profiler.

A turn is short: a process takes a Jetson a second or two to start.
"""

from __future__ import annotations

import contextlib
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Final, TypeVar

from edgeattn.base.errors import InputError
from edgeattn.engine.layer_json import NamesAloneError
from edgeattn.hosts.connection import FullError
from edgeattn.hosts.looks import whole
from edgeattn.hosts.trtexec.said import failed, log_of
from edgeattn.hosts.watch import Watch
from edgeattn.options.profile import Stage
from edgeattn.profiling import samples
from edgeattn.profiling.measure.hosts.engines import Bench, HostEngine
from edgeattn.profiling.measure.rounds import Limits, Timed, run_rounds, told
from edgeattn.profiling.sources.engines.parts import EngineParts
from edgeattn.profiling.sources.trtexec.files import Times, read_times
from edgeattn.profiling.sources.trtexec.run import read_kernels
from edgeattn.records.trace import Latency, Power

T = TypeVar("T")

# What a turn runs before anything counts, and what counts, in ms; and how many runs that may be.
_WARM_UP_MS, _TURN_MS = 500, 1000
_FEWEST, _MOST = 20, 5000
# The profiler takes that many seconds, and as many before it without it.
_PROFILED_S, _PROFILED_RUNS = 1, 10
# A turn of each engine is a window: each has a process of its own.
_WINDOW: Final = (1, 1, 0.0)
_LIMIT_S: Final = 1800.0
# What no file of its kind reaches: names of 10,000 kernels, or times of all runs, are 20 MB.
_MOST_BYTES: Final = 200 << 20
_LEAST_SPACE_KIB: Final = 1024
_NO_GRAPH: Final = "CUDA graph capture on the stream has failed"
# Before each line of trtexec's, the host's uptime where inference begins and has ended.
_TURN: Final = """
{ "$@" 2>&1; echo "ended $?"; } | while IFS= read -r line; do
  case $line in
    *'Starting inference'* | *'Timing trace has'*)
      read -r up _ </proc/uptime
      printf 'uptime %s\\n' "$up"
      ;;
  esac
  printf '%s\\n' "$line"
done
"""
_ENDED: Final = re.compile(r"^ended (\d{1,3})$", re.MULTILINE)
_TIMED: Final = re.compile(
    r"^uptime ([\d.]{1,20})\n.*Timing trace has \d{1,9} queries over ([\d.e+-]{1,20}) s",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A process of trtexec that timed an engine.

    Attributes:
        times: Its runs.
        is_graph: Whether they were a CUDA graph.
        span_s: From when to when they went, in seconds of the host's uptime; None if not known.
        runs: How many they were.
    """

    times: Times
    is_graph: bool
    span_s: tuple[float, float] | None
    runs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedTurns(Timed):
    """Engines that were timed by turns: `samples_ms` is the median of each turn.

    Attributes:
        turns: The turns of each engine.
    """

    turns: tuple[tuple[Turn, ...], ...]

    def latency(self, model: int) -> Latency:
        """Sum up the latency of a model, by its place: of every run of every turn."""
        return samples.latency(
            list(chain.from_iterable(turn.times.compute_ms for turn in self.turns[model]))
        )

    def enqueue_us(self, model: int) -> float | None:
        """Return what the host took to enqueue a run of a model, by its place."""
        told_us = [turn.times.enqueue_us for turn in self.turns[model]]
        known = [one for one in told_us if one is not None]
        return statistics.median(known) if known else None

    def is_graph(self, model: int) -> bool:
        """Return whether a model was run as a CUDA graph, by its place."""
        return all(turn.is_graph for turn in self.turns[model])

    def power(self, model: int, watched: Watch) -> Power | None:
        """Return what the host drew while a model ran, by its place."""
        spans = {turn.span_s: turn.runs for turn in self.turns[model] if turn.span_s is not None}
        return watched.power(list(spans), list(spans.values())) if spans else None

    def notes_of(self, model: int) -> list[str]:
        """Return how a model was run, by its place."""
        turns = self.turns[model]
        graph = "It was run as a CUDA graph"
        if not self.is_graph(model):
            graph = "It was run without a CUDA graph, which cannot be captured of it"
        return [
            (
                f"{graph}, with its inputs and outputs in the GPU's memory: {len(turns)} processes"
                f" of trtexec, of {turns[-1].runs} runs each."
            )
        ]


def profiled(bench: Bench, engine: HostEngine) -> tuple[EngineParts, list[str]]:
    """Take an engine through the profiler.

    Returns:
        Its kernels and what they came from, and notes.

    Raises:
        InputError: trtexec does not run it, or what it wrote cannot be read.
        MissingError: It is of elsewhere, or memory or space there ran out.
    """
    command = bench.trtexec.profile_command(
        engine.file,
        "profile.json",
        "layers.json",
        shapes=engine.shapes,
        warm_up_ms=_WARM_UP_MS,
        runs=_PROFILED_RUNS,
        seconds=_PROFILED_S,
    )
    _run(bench, command, engine)
    profile = _fetched(bench, "profile.json")
    layers = _fetched(bench, "layers.json") if bench.trtexec.has_layers else None
    why = f"{bench.trtexec.title} tells nothing of layers but their names and times"
    try:
        parts = _read(bench, lambda: read_kernels(layers, profile, subject=engine.subject))
    except NamesAloneError:
        why = "The engine was built without details of its layers (--profilingVerbosity=detailed)"
        layers, parts = None, read_kernels(None, profile, subject=engine.subject)
    notes = [*parts.notes]
    if layers is None:
        notes = [f"{why}: times are matched to the model's nodes by name."]
    return parts, notes


def timed(
    bench: Bench,
    engines: Sequence[HostEngine],
    on_progress: Stage = lambda _: None,
    *,
    expected_ms: Sequence[float] = (),
) -> TimedTurns:
    """Time engines without the profiler, several in interleaved rounds.

    Args:
        bench: Where they are run, and how.
        engines: The engines.
        on_progress: Told how far it is.
        expected_ms: What a run of each takes, about; none where that is not known.

    Raises:
        InputError: trtexec does not run one, or what it wrote cannot be read.
        MissingError: The connection broke, or memory or space there ran out.
    """
    turns: list[list[Turn]] = [[] for _ in engines]
    each_ms = list(expected_ms or [_TURN_MS / _FEWEST] * len(engines))

    def turn(place: int) -> float:
        runs = min(max(_FEWEST, round(_TURN_MS / max(each_ms[place], 1e-3))), _MOST)
        turns[place].append(_turn(bench, engines[place], runs))
        each_ms[place] = statistics.median(turns[place][-1].times.compute_ms)
        return each_ms[place]

    found: dict[str, Any] = run_rounds(
        [partial(turn, place) for place in range(len(engines))],
        Limits.of(bench.options, window=_WINDOW),
        on_window=lambda said: on_progress(told(said)),
    )
    columns = tuple(map(tuple, found["samples_ms"]))
    return TimedTurns(
        samples_ms=columns,
        windows=found["windows"],
        agree=found["agree"],
        generations=tuple(found["generations"]),
        turns=tuple(map(tuple, turns)),
    )


def _turn(bench: Bench, engine: HostEngine, runs: int) -> Turn:
    command = bench.trtexec.time_command(
        engine.file, "times.json", shapes=engine.shapes, warm_up_ms=_WARM_UP_MS, runs=runs
    )
    text = _run(bench, command, engine)
    path = _fetched(bench, "times.json")
    times = _read(bench, lambda: read_times(path, warm_up_ms=_WARM_UP_MS))
    span_s = None
    with contextlib.suppress(ValueError):
        if found := _TIMED.search(text):
            end_s, taken_s = float(found[1]), float(found[2])
            span_s = (end_s - taken_s, end_s)
    return Turn(
        times=times, is_graph=_NO_GRAPH not in text, span_s=span_s, runs=len(times.compute_ms)
    )


def _run(bench: Bench, command: Sequence[str], engine: HostEngine) -> str:
    """Run trtexec, and return what it printed.

    Raises:
        InputError: It fails: quotes it.
        MissingError: The engine is of elsewhere, or memory there ran out.
    """
    dla = [] if engine.dla_core is None else [f"--useDLACore={engine.dla_core}"]
    ran = bench.visit.room.sh(_TURN, *command, *dla, limit_s=_LIMIT_S)
    ended = _ENDED.findall(ran.text)
    code = int(ended[-1]) if ended else ran.code or 1
    if code:
        host = str(bench.visit.room.host.address)
        log = log_of(_ENDED.sub("", ran.text) + ran.stderr)
        fact = f"trtexec on {host} does not run {engine.of}"
        raise failed(fact, log, code, host=host)
    return ran.text


def _fetched(bench: Bench, name: str) -> Path:
    return bench.visit.room.get(name, bench.folder / name, most_bytes=_MOST_BYTES)


def _read(bench: Bench, reader: Callable[[], T]) -> T:
    """Read what trtexec wrote.

    Raises:
        FullError: It is cut off, and there is no space there: trtexec does not say so.
    """
    try:
        return reader()
    except InputError as error:
        words = bench.visit.room.sh("df -Pk . | tail -n 1", limit_s=60).text.split()
        free = whole(words[3]) if len(words) > 3 else None
        if free is not None and free < _LEAST_SPACE_KIB:
            raise FullError(
                f"{bench.visit.room.host.address} has no space: what trtexec wrote is cut off.",
                mend="Free some space there, or have its login set TMPDIR to a folder with space.",
            ) from error
        raise
