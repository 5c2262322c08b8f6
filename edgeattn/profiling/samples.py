"""Samples of latency: their summary, when windows of them agree, how two models differ.

Runs of one process are alike: as its memory happens to lie, and as the machine is at that time, a
model is faster or slower by some per cent in all of them. So rounds are no independent samples, and
an interval by bootstrap of rounds is too narrow. Rounds are run in generations, each in processes
of its own; the median of a generation is one sample, and an interval is Student's over generations,
with one degree of freedom less than there are: few make it wide (docs/sources.md, "Intervals"). The
figure itself is the median over generations, since now and then one is far off.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Final

from edgeattn.records.trace import (
    MOST_ENQUEUE,
    Difference,
    EnergyDifference,
    Latency,
    Power,
    Trace,
)

#: A coefficient of variation above this, and trtexec says that a figure is not to be trusted.
MOST_VARIATION: Final = 0.025
#: So many windows must agree.
WINDOWS: Final = 3
#: So far apart, at most, are medians that agree, over the least of them.
AGREEMENT: Final = 0.05
_CAPTURE: Final = " Capture the run in a CUDA graph (trtexec --useCudaGraph)."
# Where generations are not known, rounds that follow one another stand for one: so many at most.
_BLOCKS: Final = 10
_NORMAL_975: Final = statistics.NormalDist().inv_cdf(0.975)
# Rounds in which both models' power was read; of fewer, an interval would say nothing.
_FEWEST_ROUNDS: Final = 3


def latency(samples_ms: Sequence[float]) -> Latency:
    """Sum samples up.

    Args:
        samples_ms: The latency of each run, in ms; at least one.
    """
    import numpy as np

    values = np.asarray(samples_ms, dtype=float)
    p50, p90, p99 = (float(one) for one in np.percentile(values, [50, 90, 99]))
    return Latency(
        p50=p50,
        p90=p90,
        p99=p99,
        mean=float(values.mean()),
        min=float(values.min()),
        max=float(values.max()),
        cv=float(values.std() / values.mean()),
        samples=tuple(round(float(one), 6) for one in values),
    )


def warnings_of(found: Latency) -> list[str]:
    """Return why a latency is not to be trusted: that it varies too much."""
    if (found.cv or 0.0) <= MOST_VARIATION:
        return []
    fact = f"The coefficient of variation is {found.cv:.1%}, above {MOST_VARIATION:.1%}"
    return [f"{fact}: run it on a quiet machine."]


def engine_warnings(
    latency: Latency, enqueue_us: float | None, *, is_graph: bool | None = None
) -> list[str]:
    """Return why the latency of an engine is not to be trusted, as trtexec has it.

    Args:
        latency: GPU compute.
        enqueue_us: What the host took to enqueue a run; None if it is not known.
        is_graph: Whether a run was a CUDA graph; None if it is not known.
    """
    found = []
    if (latency.cv or 0) > MOST_VARIATION:
        found.append(
            f"The coefficient of variation is {latency.cv:.1%}, above {MOST_VARIATION:.1%}: lock"
            " the GPU's clocks, and let nothing else run on it."
        )
    if enqueue_us is not None and enqueue_us > MOST_ENQUEUE * 1e3 * latency.p50:
        found.append(
            f"Enqueuing a run takes the host {enqueue_us:.0f} µs, and the GPU computes for"
            f" {1e3 * latency.p50:.0f} µs: it may wait for the host."
            f"{'' if is_graph else _CAPTURE}"
        )
    return found


def agree(medians: Sequence[float]) -> bool:
    """Return whether the last windows agree.

    Args:
        medians: The median of each window, in order.
    """
    last = medians[-WINDOWS:]
    return len(last) == WINDOWS and max(last) <= min(last) * (1 + AGREEMENT)


def difference(
    a_ms: Sequence[float], b_ms: Sequence[float], generations: Sequence[int] = ()
) -> Difference:
    """Return how A's latency differs from B's, which was run in the same rounds.

    Args:
        a_ms: A's latency in each round, in ms.
        b_ms: B's.
        generations: How many rounds each generation of processes ran, in order; none where that is
            not known.

    Returns:
        The median over a generation's rounds of A less B, so that what disturbed both in a round
        counts for neither; the median of that over generations, and its 95 % interval.
    """
    above, percent, interval = _compared(a_ms, b_ms, generations)
    return Difference(p50_ms=above, percent=percent, ci95=interval, rounds=len(a_ms))


def energy_difference(a: Power | None, b: Power | None) -> EnergyDifference | None:
    """Return how the energy of A's inferences differs from that of B's, run in the same rounds.

    Returns:
        As `difference` has it, of the rounds in which both were read, each of processes of its own;
        None where one was not watched, or not in the same rounds and by the same rail.
    """
    if a is None or b is None or a.rail != b.rail:
        return None
    if len(a.rounds_mj) != len(b.rounds_mj):
        return None
    both = zip(a.rounds_mj, b.rounds_mj, strict=True)
    known = [(ours, theirs) for ours, theirs in both if ours is not None and theirs is not None]
    if len(known) < _FEWEST_ROUNDS:
        return None
    ours, theirs = zip(*known, strict=True)
    above, percent, interval = _compared(ours, theirs, [1] * len(known))
    assert interval is not None, "there are several"
    return EnergyDifference(mj=above, percent=percent, ci95=interval, rounds=len(known))


def ratio(
    a_ms: Sequence[Sequence[float]],
    b_ms: Sequence[Sequence[float]],
    generations: Sequence[int] = (),
) -> tuple[float, tuple[float, float]]:
    """Return how many times as long as B's models A's take, all run in the same rounds.

    Args:
        a_ms: What each of A's models took in each round, in ms; in two rounds at least.
        b_ms: The same of B's, in the same order.
        generations: As `difference` has them.

    Returns:
        The median over a generation's rounds of A over B, of several models the geometric mean of
        theirs; the median of that over generations, and its 95 % interval.
    """
    models = list(zip(a_ms, b_ms, strict=True))
    logs = [
        statistics.fmean(
            statistics.median(
                math.log(a / b) for a, b in zip(ours[part], theirs[part], strict=True)
            )
            for ours, theirs in models
        )
        for part in _parts(len(models[0][0]), generations)
    ]
    middle, interval = _middle(logs)
    low, high = interval or (middle, middle)
    return math.exp(middle), (math.exp(low), math.exp(high))


def spread(trace: Trace) -> tuple[float, float] | None:
    """Return between what bounds the latency of a model lies, in ms: measured, or predicted.

    Returns:
        Of what was measured, the 95 % interval over generations, in which its median lies; None if
        there is no more than one round.
    """
    if trace.evidence == "predicted":
        return trace.interval_ms
    interval = _middle(_medians(trace.rounds, trace.generations))[1]
    return interval and _with(interval, trace.latency_ms.p50)


def apart(a: Trace, b: Trace) -> Difference:
    """Return how A's latency differs from B's, which was measured in other rounds, another time.

    Returns:
        The difference of their medians, and its 95 % interval by Welch's test: it rests on the
        spread of both, over generations. What else has changed in between is not in it.
    """
    logs = [[math.log(one) for one in _medians(t.rounds, t.generations)] for t in (a, b)]
    above, mean = (f(logs[0]) - f(logs[1]) for f in (statistics.median, statistics.fmean))
    interval = None
    if min(map(len, logs)) > 1:
        parts = [statistics.variance(one) / len(one) for one in logs]
        squared = sum(parts) ** 2
        freedom = sum(part**2 / (len(one) - 1) for part, one in zip(parts, logs, strict=True))
        quantile = _student(max(1, math.floor(squared / freedom)) if freedom else 1)
        half = quantile * math.sqrt(sum(parts))
        low, high = _with((mean - half, mean + half), above)
        interval = (100 * math.expm1(low), 100 * math.expm1(high))
    percent = 100 * math.expm1(above)
    return Difference(
        p50_ms=percent / 100 * b.latency_ms.p50,
        percent=percent,
        ci95=interval,
        rounds=0,
    )


def _compared(
    a: Sequence[float], b: Sequence[float], generations: Sequence[int]
) -> tuple[float, float, tuple[float, float] | None]:
    """Return A less B, the same per cent of B's, and the 95 % interval of that."""
    above = [x - y for x, y in zip(a, b, strict=True)]
    parts = list(zip(_medians(above, generations), _medians(b, generations), strict=True))
    percent, interval = _middle([100 * over / of for over, of in parts])
    return statistics.median(over for over, _ in parts), percent, interval


def _medians(values: Sequence[float], generations: Sequence[int]) -> list[float]:
    """Return the median of each generation."""
    return [statistics.median(values[part]) for part in _parts(len(values), generations)]


def _parts(rounds: int, generations: Sequence[int]) -> list[slice]:
    """Return the rounds of each generation; where only one is known, of blocks of its time."""
    if sum(generations) != rounds or len(generations) < 2:
        blocks = min(rounds, _BLOCKS)
        ends = [rounds * number // blocks for number in range(blocks + 1)]
    else:
        ends = [*accumulate(generations, initial=0)]
    return [slice(*both) for both in pairwise(ends)]


def _middle(values: Sequence[float]) -> tuple[float, tuple[float, float] | None]:
    """Return the median of independent samples, and Student's 95 % interval; None of one alone."""
    middle, mean, count = statistics.median(values), statistics.fmean(values), len(values)
    if count < 2:
        return middle, None
    half = _student(count - 1) * statistics.stdev(values, mean) / math.sqrt(count)
    return middle, _with((mean - half, mean + half), middle)


def _with(interval: tuple[float, float], value: float) -> tuple[float, float]:
    """Return an interval that has a value, which is hardly ever outside."""
    return min(interval[0], value), max(interval[1], value)


def _student(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's distribution, within 0.2 %.

    Args:
        freedom: Degrees of freedom, at least 1.
    """
    if freedom == 1:
        return math.tan(0.475 * math.pi)
    if freedom == 2:
        return 0.95 * math.sqrt(2 / (1 - 0.95**2))
    z = _NORMAL_975
    terms = (  # of Cornish and Fisher's expansion (Abramowitz and Stegun, 26.7.5)
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / freedom**power for power, term in enumerate(terms, start=1))
