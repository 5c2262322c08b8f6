"""Samples of latency: their summary, when windows of them agree, how two models differ.

Runs of one process are alike: as its memory happens to lie, and as the machine is at that time, a
model is faster or slower by some per cent in all of them. So rounds are no independent samples, and
an interval by bootstrap of rounds is too narrow. Rounds are run in generations, each in processes
of its own: an interval is by bootstrap of generations, and of the rounds within each. A bootstrap
of few is too narrow still, so it is stretched as Student's quantile is longer than the normal one
(docs/sources.md, "Intervals").
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from edgeattn.records.trace import (
    MOST_ENQUEUE,
    Difference,
    EnergyDifference,
    Latency,
    Power,
    Trace,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

#: A coefficient of variation above this, and trtexec says that a figure is not to be trusted.
MOST_VARIATION: Final = 0.025
#: So many windows must agree.
WINDOWS: Final = 3
#: So far apart, at most, are medians that agree, over the least of them.
AGREEMENT: Final = 0.05
_CAPTURE: Final = " Capture the run in a CUDA graph (trtexec --useCudaGraph)."
_RESAMPLES: Final = 1000
# Rounds that are drawn of a generation at most: of more, the spread within it is small anyway.
_MOST_EACH: Final = 100
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
        The median over rounds of A less B, that of A over B in per cent, so that what disturbed
        both in a round counts for neither; and the 95 % interval of that.
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
    known = [(ours, theirs) for ours, theirs in both if ours and theirs and min(ours, theirs) > 0]
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
        The median over rounds of A over B, of several models the geometric mean of theirs; and its
        95 % interval.
    """
    middle, interval = _middle([_logs(*both) for both in zip(a_ms, b_ms, strict=True)], generations)
    low, high = interval or (middle, middle)
    return math.exp(middle), (math.exp(low), math.exp(high))


def spread(trace: Trace) -> tuple[float, float] | None:
    """Return between what bounds the latency of a model lies, in ms: measured, or predicted.

    Returns:
        Of what was measured, the 95 % interval of its median; None if there is no more than one
        round, or none is known.
    """
    if trace.evidence == "predicted":
        return trace.interval_ms
    if not trace.rounds:
        return None
    interval = _middle([_logs(trace.rounds)], trace.generations)[1]
    p50 = trace.latency_ms.p50
    return interval and (min(math.exp(interval[0]), p50), max(math.exp(interval[1]), p50))


def apart(a: Trace, b: Trace) -> Difference:
    """Return how A's latency differs from B's, which was measured in other rounds, another time.

    Returns:
        The difference of their medians, and its 95 % interval, None where one has no rounds: it
        rests on the spread of both, over generations. What else has changed in between is not in
        it.
    """
    import numpy as np

    draw, interval = np.random.default_rng(0), None
    above = math.log(a.latency_ms.p50 / b.latency_ms.p50)
    if a.rounds and b.rounds:
        logs = [_logs(one.rounds) for one in (a, b)]
        above = float(np.median(logs[0]) - np.median(logs[1]))
        fewest = min(len(_sizes(len(one.rounds), one.generations)) for one in (a, b))
        drawn = [_resampled([x], t.generations, draw) for x, t in zip(logs, (a, b), strict=True)]
        interval = _stretched(above, drawn[0] - drawn[1], fewest)
    percent = 100 * math.expm1(above)
    return Difference(
        p50_ms=percent / 100 * b.latency_ms.p50,
        percent=percent,
        ci95=_percent(interval),
        rounds=0,
    )


def _compared(
    a: Sequence[float], b: Sequence[float], generations: Sequence[int]
) -> tuple[float, float, tuple[float, float] | None]:
    """Return A less B, the same per cent of B's, and the 95 % interval of that."""
    above = statistics.median(x - y for x, y in zip(a, b, strict=True))
    middle, interval = _middle([_logs(a, b)], generations)
    return above, 100 * math.expm1(middle), _percent(interval)


def _logs(a: Sequence[float], b: Sequence[float] | None = None) -> npt.NDArray[np.float64]:
    """Return the logarithm of each round's latency, or of its ratio to that of another model."""
    import numpy as np

    found: npt.NDArray[np.float64] = np.log(np.asarray(a, dtype=float))
    return found if b is None else found - np.log(np.asarray(b, dtype=float))


def _percent(interval: tuple[float, float] | None) -> tuple[float, float] | None:
    """Return an interval of logarithms in per cent."""
    return interval and (100 * math.expm1(interval[0]), 100 * math.expm1(interval[1]))


def _middle(
    columns: Sequence[npt.NDArray[np.float64]], generations: Sequence[int]
) -> tuple[float, tuple[float, float] | None]:
    """Return the mean of columns' medians over rounds, and its 95 % interval; None of one round.

    Args:
        columns: f64[rounds] of each; all are drawn alike.
        generations: How many rounds each generation ran; none where that is not known.
    """
    import numpy as np

    middle = float(np.mean([np.median(one) for one in columns]))
    drawn = _resampled(columns, generations, np.random.default_rng(0))
    return middle, _stretched(middle, drawn, len(_sizes(len(columns[0]), generations)))


def _resampled(
    columns: Sequence[npt.NDArray[np.float64]],
    generations: Sequence[int],
    draw: np.random.Generator,
) -> npt.NDArray[np.float64]:
    """Return the mean of columns' medians, of generations drawn and of rounds within them."""
    import numpy as np

    sizes = np.array(_sizes(len(columns[0]), generations))
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    taken = draw.integers(len(sizes), size=(_RESAMPLES, len(sizes)))
    each = min(max(1, round(float(sizes.mean()))), _MOST_EACH)
    within = draw.random((*taken.shape, each)) * sizes[taken][..., None]
    places = (starts[taken][..., None] + within.astype(int)).reshape(_RESAMPLES, -1)
    found: npt.NDArray[np.float64] = np.mean(
        [np.median(x[places], axis=1) for x in columns], axis=0
    )
    return found


def _stretched(
    middle: float, drawn: npt.NDArray[np.float64], generations: int
) -> tuple[float, float] | None:
    """Return the 95 % interval of what was resampled, as wide as so few generations make it.

    Its halves are longer by Student's quantile over the normal one, since its width is known no
    better than by the generations; and by the root of G / (G - 1), by which a bootstrap of G has
    too little spread.
    """
    import numpy as np

    if generations < 2:
        return None
    low, high = np.percentile(drawn, [2.5, 97.5])
    by = _student(generations - 1) / _NORMAL_975 * math.sqrt(generations / (generations - 1))
    return middle + by * min(0.0, float(low) - middle), middle + by * max(0.0, float(high) - middle)


def _sizes(rounds: int, generations: Sequence[int]) -> Sequence[int]:
    """Return the rounds of each generation; where only one is known, of blocks of its time."""
    if sum(generations) == rounds and len(generations) > 1:
        return generations
    blocks = min(rounds, _BLOCKS)
    return [rounds * (at + 1) // blocks - rounds * at // blocks for at in range(blocks)]


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
