"""Intervals for shares: of one sample, and for the difference of two on the same one.

E. B. Wilson: Probable inference, the law of succession, and statistical inference, 1927.
R. G. Newcombe: Improved confidence intervals for the difference between binomial proportions based
on paired data, Statistics in Medicine 17, 1998; method 10.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

#: Of all intervals.
CONFIDENCE: Final = 0.95
_Z: Final = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


def wilson(hits: int, count: int) -> tuple[float, float]:
    """Return the interval for a share of which `hits` of `count` were seen; 0 to 1 of none."""
    if not count:
        return 0.0, 1.0
    share, z2 = hits / count, _Z * _Z
    middle = share + z2 / (2 * count)
    reach = _Z * math.sqrt((share * (1 - share) + z2 / (4 * count)) / count)
    scale = 1 + z2 / count
    return max((middle - reach) / scale, 0.0), min((middle + reach) / scale, 1.0)


def paired(both: int, first: int, second: int, neither: int) -> tuple[float, float]:
    """Return the interval for the second's share less the first's, on the same sample.

    Args:
        both: How often both are right.
        first: How often the first alone is.
        second: How often the second alone is.
        neither: How often none is.
    """
    count = both + first + second + neither
    if not count:
        return -1.0, 1.0
    p1, p2 = (both + first) / count, (both + second) / count
    (low1, high1), (low2, high2) = wilson(both + first, count), wilson(both + second, count)
    margins = (both + first) * (second + neither) * (both + second) * (first + neither)
    product = float(both * neither - first * second)
    if product > 0:  # corrected for continuity
        product = max(product - count / 2, 0.0)
    phi = product / math.sqrt(margins) if margins else 0.0

    def reach(a: float, b: float) -> float:
        return math.sqrt(max(a * a - 2 * phi * a * b + b * b, 0.0))

    low = p2 - p1 - reach(high1 - p1, p2 - low2)
    high = p2 - p1 + reach(p1 - low1, high2 - p2)
    return max(low, -1.0), min(high, 1.0)
