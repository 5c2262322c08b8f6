"""Compute capabilities: what TensorRT-RTX builds for, and which stands in for another in a plan."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

#: The compute capabilities that TensorRT-RTX builds for: major and minor number.
TENSORRT_RTX: Final = frozenset({(7, 5), (8, 0), (8, 6), (8, 9), (12, 0), (12, 1)})


def nearest_architecture(
    wanted: tuple[int, int], available: Iterable[tuple[int, int]]
) -> tuple[int, int]:
    """Choose the architecture that stands in for another in a plan.

    Kernels are chosen by major number above all. So the nearest major number is taken, the newer
    of two as near; of those that have it, the nearest minor number, likewise.

    Args:
        wanted: The compute capability that a plan is for.
        available: Those that can be built for; at least one.
    """
    return min(
        available,
        key=lambda one: (
            abs(one[0] - wanted[0]),
            one[0] < wanted[0],
            abs(10 * (one[0] - wanted[0]) + one[1] - wanted[1]),
            -one[1],
        ),
    )
