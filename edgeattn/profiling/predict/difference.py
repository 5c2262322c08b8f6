"""How far a predicted difference between two models on one device may be off.

Errors are those of `gpu.interval`, and of them the same hit both models:

- A kernel's own, by its kind, type, work and bytes: where both models run it, it cancels as far as
  it takes the same part of both.
- Those that all kernels share, such as a peak or a bandwidth that a device does not reach. They
  cancel between kernels that are bound by the same (arithmetic in one type, traffic, latency, the
  floor), and are taken for independent between others.

So the ratio of two latencies has the spread of the sum of all errors, each weighted by the part of
the time that it hits of one model, less that of the other. Nothing is fitted for it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence

from edgeattn.profiling.predict.gpu.interval import factor
from edgeattn.records.trace import Difference, Kernel


def difference(
    ours: Sequence[Kernel],
    ours_ms: float,
    theirs: Sequence[Kernel],
    theirs_ms: float,
    shared: float | None,
) -> Difference:
    """Return how two predicted latencies differ, and between what bounds, nine times in ten.

    Args:
        ours: The kernels of a model.
        ours_ms: Its latency.
        theirs: The kernels of what it is compared with, on the same device.
        theirs_ms: Its latency.
        shared: The spread of the errors that all kernels share; None if it is not known, and then
            there are no bounds.
    """
    percent = 100 * (ours_ms / theirs_ms - 1)
    bounds = None
    if shared is not None:
        by = factor(spread_of_ratio(ours, theirs, shared))
        ratio = ours_ms / theirs_ms
        bounds = (100 * (ratio / by - 1), 100 * (ratio * by - 1))
    return Difference(
        p50_ms=ours_ms - theirs_ms, percent=percent, ci95=None, predicted90=bounds, rounds=0
    )


def spread_of_ratio(ours: Sequence[Kernel], theirs: Sequence[Kernel], shared: float) -> float:
    """Return the spread of the ratio of two models' times.

    Args:
        ours: The kernels of a model, predicted.
        theirs: Those of another.
        shared: The spread of the errors that all of them share.
    """
    own = {_itself(kernel): _own(kernel, shared) for kernel in (*ours, *theirs)}
    each = (own[name] * part for name, part in _parts(ours, theirs, _itself).items())
    together = (shared * part for part in _parts(ours, theirs, _bound).values())
    return math.hypot(*each, *together)


def _itself(kernel: Kernel) -> Hashable:
    return kernel.kind, kernel.precision, kernel.macs, kernel.traffic_bytes


def _bound(kernel: Kernel) -> Hashable:
    return kernel.bound, kernel.precision


def _own(kernel: Kernel, shared: float) -> float:
    """Return the spread of a kernel by itself: its interval's, less what is shared."""
    assert kernel.interval_us is not None, "it is predicted"
    low, high = kernel.interval_us
    whole = math.log(high / low) / 2 / math.log(factor(1.0))
    return math.sqrt(max(0.0, whole**2 - shared**2))


def _parts(
    ours: Sequence[Kernel], theirs: Sequence[Kernel], name: Callable[[Kernel], Hashable]
) -> dict[Hashable, float]:
    """Return by name what part of our time is more than of theirs."""
    found: defaultdict[Hashable, float] = defaultdict(float)
    for kernels, sign in ((ours, 1), (theirs, -1)):
        total = math.fsum(kernel.time_us for kernel in kernels) or 1.0
        for kernel in kernels:
            found[name(kernel)] += sign * kernel.time_us / total
    return found
