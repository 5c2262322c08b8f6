"""Solves for figures that measured times tell of, beginning from what is believed of them.

Each figure is start · exp(x), and x is normal about 0 with a spread that says how far the start is
trusted. What is minimised is the squares of what is missed, in spreads, and of x in its own: where
no time tells of a figure it stays where it was, and where few do it moves a little. What is missed
far counts less (Student's t), so that a few times that something disturbed decide nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]
    #: Returns what is missed of each time at some x, in spreads.
    Misses = Callable[[Array], Array]

# Degrees of freedom of the misses' distribution: at 4 spreads, one counts for a quarter.
_FREEDOM: Final = 4.0
_STEP: Final = 1e-4
_MOST_STEPS: Final = 30
_ENOUGH: Final = 1e-4
# No figure is moved by more than this factor, e to that, in one step.
_FARTHEST: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """Where the times are missed least.

    Attributes:
        x: The logarithm of each figure over its start.
        covariance: How sure that is.
        weights: What each time counts, of 1.
    """

    x: Array
    covariance: Array
    weights: Array


def solve(misses: Misses, trusted: Array, start: Array) -> Solution:
    """Find x.

    Args:
        misses: What is missed of each time.
        trusted: The spread of each figure's start.
        start: Where to begin.
    """
    import numpy as np

    x = np.array(start, dtype=float)
    prior = np.diag(trusted**-2.0)
    for _ in range(_MOST_STEPS):
        missed, slopes = misses(x), _slopes(misses, x)
        weights = _weights(missed)
        curvature = slopes.T @ (weights[:, None] * slopes) + prior
        step = -np.linalg.solve(curvature, slopes.T @ (weights * missed) + prior @ x)
        step *= min(1.0, _FARTHEST / max(_FARTHEST, float(np.abs(step).max())))
        x = _best(misses, trusted, x, step)
        if np.abs(step).max() < _ENOUGH:
            break
    slopes, weights = _slopes(misses, x), _weights(misses(x))
    curvature = slopes.T @ (weights[:, None] * slopes) + prior
    covariance = np.asarray(np.linalg.inv(curvature), dtype=np.float64)
    return Solution(x=x, covariance=covariance, weights=weights)


def _best(misses: Misses, trusted: Array, x: Array, step: Array) -> Array:
    """Return where a step leads, or a part of it, if that is better than to stay."""
    import numpy as np

    def cost(at: Array) -> float:
        lost = (_FREEDOM + 1) * np.log1p(misses(at) ** 2 / _FREEDOM)
        return float(lost.sum() + ((at / trusted) ** 2).sum())

    here = cost(x)
    for part in (1.0, 0.5, 0.25, 0.1):
        if cost(x + part * step) <= here:
            return x + part * step
    return x


def _weights(missed: Array) -> Array:
    weights: Array = (_FREEDOM + 1) / (_FREEDOM + missed**2)
    return weights


def _slopes(misses: Misses, x: Array) -> Array:
    import numpy as np

    here = misses(x)
    columns = []
    for place in range(len(x)):
        moved = x.copy()
        moved[place] += _STEP
        columns.append((misses(moved) - here) / _STEP)
    return np.stack(columns, axis=1)
