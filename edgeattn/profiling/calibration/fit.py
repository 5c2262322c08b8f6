"""Makes figures of a device out of what small models took: the inverse of `profiling.cpu`.

1. What the profiler adds to a kernel is taken off: what it adds to the smallest.
2. The wake is what kernels take on all threads beyond their share of what they take on one.
3. So the work of each kernel is known, in µs of one core. Of a class of layers, rate and ends of
   runs are the least squares of work = flops / rate × (1 + ends / run), relative to the work. Of
   an operator, the rate is all bytes over all work.
4. The fastest class and the fastest operator are the peak and the cache's bandwidth; the others
   are parts of these.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, get_args

from edgeattn.profiling.predict.cpu.predict import READS, is_shared, one_core_us
from edgeattn.records.work import Layer, Work

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# Work of this many µs at least is told from the floor; so little does no sleeping thread wake.
_LEAST_US: Final = 1.0
_LEAST_WAKE_US: Final = 0.5
# Of so many samples, those are left out that are so many times as fast or slow as their median:
# what the ends of runs cost, and what a cache holds, makes less of a difference.
_SEVERAL: Final = 5
_FAR: Final = 4.0
# Weights that were pushed out take so much longer at least.
_SLOWER: Final = 1.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A kernel that was run.

    Attributes:
        case: What was run, in words.
        role: What it was run for.
        threads: Threads of its session.
        work: What it does.
        time_us: What it took, and the profiler's share no more.
        pause_us: How long nothing else was touched before it.
    """

    case: str
    role: str
    threads: int
    work: Work
    time_us: float
    pause_us: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A rate of one core.

    Attributes:
        value: GFLOP/s of a class of layers, GB/s of an operator.
        ends: What the ends of a run cost, in places.
        seen: The rate of each sample alone.
    """

    value: float
    ends: float = 0.0
    seen: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a calibration found, of one core where not of all.

    Attributes:
        threads: Threads that computed.
        floor_us: What the smallest kernel adds.
        wake_us: What waking the others adds; None if there is one thread, or nothing tells.
        memory_gbps: What all threads read of memory; None if nothing tells.
        holds_us: How long the last cache holds what is not touched; None for no end of that.
        layers: Of each class of layers.
        operators: Of each operator.
    """

    threads: int
    floor_us: float
    wake_us: float | None
    memory_gbps: float | None
    holds_us: float | None
    layers: Mapping[Layer, Rate]
    operators: Mapping[str, Rate]


def fit(
    samples: Sequence[Sample],
    threads: int,
    floor_us: float,
    *,
    ends: Mapping[Layer, float] | None = None,
    wake_us: float | None = None,
) -> Figures:
    """Make figures of samples.

    Args:
        samples: All that was run.
        threads: Threads of the sessions that are not there for the wake.
        floor_us: What the smallest kernel takes on all threads.
        ends: What the ends of runs are believed to cost where runs of one length do not tell.
        wake_us: What the wake is believed to be where no sample is there for it.
    """
    wakes = [one for one in samples if one.role == "wake"]
    wake_us = _wake_us(wakes, threads, floor_us) if wakes else wake_us
    layers: dict[Layer, list[tuple[Work, float]]] = defaultdict(list)
    operators: dict[str, list[tuple[Work, float]]] = defaultdict(list)
    memory_gbps = None
    for one in samples:
        took_us = max(_LEAST_US, one.time_us - floor_us)
        if one.role == "memory":
            memory_gbps = one.work.moved_bytes / took_us / 1e3
        elif one.role == "reads":
            # The rate of a core, of which all together read so much.
            operators[READS].append((one.work, threads * took_us))
        elif one.role == "table":
            layer = one.work.layer
            work_us = took_us
            if is_shared(one.work):
                always = layer is not None
                work_us = one_core_us(took_us, threads, wake_us or 0.0, always=always)
            pair = (one.work, max(_LEAST_US, work_us))
            if layer is None:
                operators[one.work.operator].append(pair)
            else:
                layers[layer].append(pair)
    return Figures(
        threads=threads,
        floor_us=floor_us,
        wake_us=wake_us,
        memory_gbps=memory_gbps,
        holds_us=_holds_us([one for one in samples if one.role == "hold"]),
        layers={
            name: _layer(layers[name], (ends or {}).get(name, 0.0))
            for name in get_args(Layer)
            if layers[name]
        },
        operators={name: _operator(operators[name]) for name in sorted(operators)},
    )


def _wake_us(samples: Sequence[Sample], threads: int, floor_us: float) -> float | None:
    """Return the median of what all threads take beyond their share of one's time."""
    if threads == 1:
        return None
    one = {(s.case, s.work.operator): s.time_us for s in samples if s.threads == 1}
    beyond = [
        sample.time_us - floor_us - max(0.0, one[key] - floor_us) / threads
        for sample in samples
        if sample.threads == threads and (key := (sample.case, sample.work.operator)) in one
    ]
    return max(_LEAST_WAKE_US, statistics.median(beyond))


def _holds_us(samples: Sequence[Sample]) -> float | None:
    """Return how long the cache holds weights, by how fast they are read again after pauses.

    All of them are held for that long, and none for twice as long, as `profiling.cpu.cache` has it.
    """
    import numpy as np

    if not samples:
        return None
    ages = np.array([one.pause_us + one.time_us for one in samples])
    took = np.array([one.time_us for one in samples])
    fast, slow = float(took.min()), float(took.max())
    if slow < _SLOWER * fast:
        return None
    best, least = 0.0, float("inf")
    for holds_us in np.geomspace(ages.min() / 2, ages.max(), 60):
        held = np.clip(2 - ages / holds_us, 0, 1)
        miss = float(np.sum(np.log(took / (held * fast + (1 - held) * slow)) ** 2))
        if miss < least:
            best, least = float(holds_us), miss
    return best


def _layer(pairs: Sequence[tuple[Work, float]], believed_ends: float) -> Rate:
    """Fit the rate of a class of layers, and what the ends of its runs cost."""
    import numpy as np

    pairs = _alike(pairs, [work.flops / us for work, us in pairs])
    flops = np.array([work.flops for work, _ in pairs])
    runs = np.array([work.run for work, _ in pairs], dtype=float)
    took = np.array([us for _, us in pairs])
    both = np.stack([flops / took, flops / runs / took], axis=1)
    slope, ends = _least_squares(both)
    if ends < 0 or slope <= 0 or len(set(runs.tolist())) == 1:
        alone = both[:, :1] + believed_ends * both[:, 1:]
        slope = float(_least_squares(alone)[0])
        ends = slope * believed_ends
    value = 1 / slope / 1e3
    seen = flops * (1 + ends / slope / runs) / took / 1e3
    return Rate(value=value, ends=ends / slope, seen=tuple(map(float, seen)))


def _least_squares(columns: npt.NDArray[np.float64]) -> tuple[float, ...]:
    """Solve columns · x = 1, which is work, relative to itself."""
    import numpy as np

    solved = np.linalg.lstsq(columns, np.ones(len(columns)), rcond=None)[0]
    return tuple(map(float, solved))


def _alike(
    pairs: Sequence[tuple[Work, float]], rates: Sequence[float]
) -> Sequence[tuple[Work, float]]:
    """Return samples but for those that something disturbed: far from the median of several."""
    if len(rates) < _SEVERAL:
        return pairs
    middle = statistics.median(rates)
    return [
        pair
        for pair, rate in zip(pairs, rates, strict=True)
        if middle / _FAR <= rate <= middle * _FAR
    ]


def _operator(pairs: Sequence[tuple[Work, float]]) -> Rate:
    pairs = _alike(pairs, [work.moved_bytes / us for work, us in pairs])
    moved = sum(work.moved_bytes for work, _ in pairs)
    took = sum(us for _, us in pairs)
    return Rate(value=moved / took / 1e3, seen=tuple(w.moved_bytes / us / 1e3 for w, us in pairs))
