"""Reductions over whole sides of a map as steps that a DLA runs: pools, or depthwise convolutions.

    mean over 56 = mean over 7 of the means over 8        where the steps multiply to the side
    mean over 37 = 40/37 of the mean over 40              with zeros beside it, that add nothing
    maximum over 11 = maximum of two maxima over 8        windows may overlap: max(a, a) = a

Means are exact in real numbers, maxima to the bit. A value is repeated along a side the other way
round, by whole factors.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final

# The largest window of a pool, which is the largest stride of a convolution, too; kernel of a
# convolution; factor of a nearest Resize.
_POOL: Final = 8
_KERNEL: Final = 32
_FACTOR: Final = 32
# Zeros on one side more than on the other: no rule speaks of such, and mostly there are other ways.
_ONE_SIDED: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A window that slides over a side.

    Attributes:
        window: How many places it takes.
        stride: How many it moves on by.
        before: How many zeros stand before the side.
        after: How many stand behind it.
        factor: What its mean is multiplied by, for these zeros.
    """

    window: int = 1
    stride: int = 1
    before: int = 0
    after: int = 0
    factor: float = 1.0

    @property
    def is_pool(self) -> bool:
        """Whether a pool does it."""
        return self.window <= _POOL and not (self.before or self.after)

    def left(self, side: int) -> int:
        """Return how long a side is behind it."""
        return (side + self.before + self.after - self.window) // self.stride + 1


@functools.cache
def means(side: int) -> tuple[Step, ...]:
    """Return steps whose means, one of the other, are the mean over a side."""
    return _means(side)[1]


@functools.cache
def _means(side: int) -> tuple[float, tuple[Step, ...]]:
    """Return the steps for a side, and what they cost: a pool is 1, a convolution more."""
    if side == 1:
        return 0, ()
    found: list[tuple[float, tuple[Step, ...]]] = []
    for window in range(min(side, _POOL), 1, -1):
        padded = -(-side // window) * window
        missing = padded - side
        before = missing // 2
        step = Step(
            window=window,
            stride=window,
            before=before,
            after=missing - before,
            factor=padded / side,
        )
        cost, rest = _means(padded // window)
        own = 1 if step.is_pool else _convolution(window) + _ONE_SIDED * (missing % 2)
        found.append((own + cost, (step, *rest)))
    if _POOL < side <= _KERNEL:
        found.append((_convolution(side), (Step(window=side),)))
    return min(found, key=lambda one: one[0])


def _convolution(window: int) -> float:
    return 2 + window * window / 16


@functools.cache
def maxima(side: int) -> tuple[Step, ...]:
    """Return steps whose maxima, one of the other, are the maximum over a side."""
    return _maxima(side)[1]


@functools.cache
def _maxima(side: int) -> tuple[float, tuple[Step, ...]]:
    if side == 1:
        return 0, ()
    found: list[tuple[float, tuple[Step, ...]]] = []
    for window in range(min(side, _POOL), 1, -1):
        for stride in range(window, 0, -1):
            if (side - window) % stride:
                continue
            step = Step(window=window, stride=stride)
            cost, rest = _maxima(step.left(side))
            found.append((cost + 1 + (window / stride - 1) / 16, (step, *rest)))
            break
    return min(found, key=lambda one: one[0])


@functools.cache
def repeats(side: int) -> tuple[int, ...]:
    """Return factors, the small ones first, whose product is a side, or a little more than it."""
    while (found := _factors(side)) is None:
        side += 1
    return tuple(sorted(found))


def _factors(side: int) -> tuple[int, ...] | None:
    if side <= _FACTOR:
        return (side,) if side > 1 else ()
    for factor in range(_FACTOR, 1, -1):
        rest = None if side % factor else _factors(side // factor)
        if rest is not None:
            return (factor, *rest)
    return None
