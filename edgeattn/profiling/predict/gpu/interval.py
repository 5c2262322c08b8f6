"""Between what bounds a prediction holds, nine times in ten.

Errors are of two sorts. Those of single kernels (a tactic that is better or worse than most) differ
from kernel to kernel, and the more kernels there are, the more they cancel. Those that all kernels
share (the clock under load, the whole model's faults) do not. Both are taken as log-normal, with
spreads that add up as squares.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

# Of a normal distribution, nine tenths lie within so many standard deviations.
_NINE_TENTHS: Final = 1.645
# Spreads of a kernel by itself, as standard deviations of the logarithm. Known: 0.14 to 0.30 on the
# engines of benchmarks/prediction_gpu.py. Unknown: a region or a plugin whose inside is hidden.
KNOWN: Final = 0.3
UNKNOWN: Final = 1.0
# Spreads that all kernels share. Model: engines that are left out when the constants are picked are
# missed by 0.07 there, those of a device that is left out by 0.09; of four engines, so twice as
# much is said. Plan: its kernels are not those that the device runs. Guess: nobody compared the
# device with an engine of its own: published times on nine such (`--plans` there, AGX Xavier's by
# torch2trt left out) are missed by 0.26, but more by the two largest.
MODEL: Final = 0.17
PLAN: Final = 0.15
GUESS: Final = 0.25


def factor(*spreads: float) -> float:
    """Return by what a figure whose error has these spreads is too large or too small at most."""
    return math.exp(_NINE_TENTHS * math.hypot(*spreads))


def bounds(time: float, *spreads: float) -> tuple[float, float]:
    """Return the bounds of a time whose error has these spreads."""
    by = factor(*spreads)
    return time / by, time * by


def of_many(times: Sequence[float], spreads: Sequence[float]) -> float:
    """Return the spread of a sum of times whose errors do not hang together."""
    total = math.fsum(times)
    each = (time * spread for time, spread in zip(times, spreads, strict=True))
    return math.hypot(*each) / total if total else 0.0
