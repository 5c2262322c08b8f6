"""Samples of latency: their summary, when windows of them agree, how two models differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from edgeattn.records.trace import MOST_ENQUEUE, Difference, EnergyDifference, Latency, Power

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
_RESAMPLES: Final = 2000
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


def difference(a_ms: Sequence[float], b_ms: Sequence[float]) -> Difference:
    """Return how A's latency differs from B's, which was run in the same rounds.

    Args:
        a_ms: A's latency in each round, in ms.
        b_ms: B's.

    Returns:
        The median over rounds of A less B, and its 95 % interval: rounds are drawn whole, so that
        what disturbed both in a round counts for neither.
    """
    above, percent, interval = _compared(a_ms, b_ms)
    return Difference(p50_ms=above, percent=percent, ci95=interval, rounds=len(a_ms))


def energy_difference(a: Power | None, b: Power | None) -> EnergyDifference | None:
    """Return how the energy of A's inferences differs from that of B's, run in the same rounds.

    Returns:
        As `difference` has it, of the rounds in which both were read; None where one was not
        watched, or not in the same rounds and by the same rail.
    """
    if a is None or b is None or a.rail != b.rail:
        return None
    if len(a.rounds_mj) != len(b.rounds_mj):
        return None
    both = zip(a.rounds_mj, b.rounds_mj, strict=True)
    known = [(ours, theirs) for ours, theirs in both if ours is not None and theirs is not None]
    if len(known) < _FEWEST_ROUNDS:
        return None
    above, percent, interval = _compared(*zip(*known, strict=True))
    return EnergyDifference(mj=above, percent=percent, ci95=interval, rounds=len(known))


def ratio(
    a_ms: Sequence[Sequence[float]], b_ms: Sequence[Sequence[float]]
) -> tuple[float, tuple[float, float]]:
    """Return how many times as long as B's models A's take, all run in the same rounds.

    Args:
        a_ms: What each of A's models took in each round, in ms.
        b_ms: The same of B's, in the same order.

    Returns:
        The median over rounds of A over B, of several models the geometric mean of theirs; and its
        95 % interval: rounds are drawn whole.
    """
    import numpy as np

    logs = np.log(np.asarray(a_ms, dtype=float) / np.asarray(b_ms, dtype=float))
    rounds = logs.shape[1]
    drawn = np.random.default_rng(0).integers(rounds, size=(_RESAMPLES, rounds))
    spread = np.mean([np.median(one[drawn], axis=1) for one in logs], axis=0)
    low, high = np.exp(np.percentile(spread, [2.5, 97.5]))
    return float(np.exp(np.median(logs, axis=1).mean())), (float(low), float(high))


def _compared(a: Sequence[float], b: Sequence[float]) -> tuple[float, float, tuple[float, float]]:
    """Return the median of A less B, the same per cent of B's, and the 95 % interval of that."""
    import numpy as np

    pairs = np.column_stack([a, b]).astype(float)
    generator = np.random.default_rng(0)
    drawn = pairs[generator.integers(len(pairs), size=(_RESAMPLES, len(pairs)))]
    low, high = np.percentile(_percent(drawn), [2.5, 97.5])
    above = float(np.median(pairs[:, 0] - pairs[:, 1]))
    return above, float(_percent(pairs)), (float(low), float(high))


def _percent(pairs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the median of the first less the second, per cent of the second's median.

    Args:
        pairs: f64[..., rounds, 2].
    """
    import numpy as np

    above = np.median(pairs[..., 0] - pairs[..., 1], axis=-1)
    percent: npt.NDArray[np.float64] = 100 * above / np.median(pairs[..., 1], axis=-1)
    return percent
