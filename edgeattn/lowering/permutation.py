"""Permutations of channels, as index arrays: what the dataflow pass calculates with.

A permutation `p` of n channels gives `y[i] = x[p[i]]`, as numpy's `x[p]` and ONNX's Gather do.
None may stand for the identity of any length, to save the time of carrying it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Permutation: TypeAlias = NDArray[np.int64]
"""Each of 0 … n - 1 once."""


def identity(length: int) -> Permutation:
    """Return the permutation that changes nothing."""
    return np.arange(length, dtype=np.int64)


def permutation(indices: Sequence[int]) -> Permutation | None:
    """Return a permutation, or None if an index is missing, doubled or out of range."""
    found = np.asarray(indices, dtype=np.int64)
    return found if is_permutation(found) else None


def is_permutation(indices: Permutation) -> bool:
    """Return whether each of 0 … n - 1 stands there once."""
    return indices.ndim == 1 and bool(np.array_equal(np.sort(indices), identity(len(indices))))


def is_identity(p: Permutation) -> bool:
    """Return whether a permutation changes nothing."""
    return bool(np.array_equal(p, identity(len(p))))


def compose(first: Permutation, second: Permutation) -> Permutation:
    """Return the permutation that does the first, then the second: `x[first][second]`."""
    return first[second]


def inverse(p: Permutation) -> Permutation:
    """Return the permutation that undoes another: `x[p][inverse(p)]` is x."""
    undone = np.empty_like(p)
    undone[p] = identity(len(p))
    return undone


def shuffle(groups: int, channels: int) -> Permutation:
    """Return the channel shuffle of ShuffleNet (Zhang et al. 2018, arXiv:1707.01083).

    Channels in `groups` rows of equal length, read by column.

    Raises:
        ValueError: The groups do not divide the channels.
    """
    return identity(channels).reshape(groups, channels // groups).T.reshape(-1)


def expand(p: Permutation, repeat: int) -> Permutation:
    """Return the permutation of runs: each channel stands for `repeat` consecutive elements."""
    return (p[:, None] * repeat + identity(repeat)).reshape(-1)


def group_order(p: Permutation, groups: int) -> Permutation | None:
    """Return the permutation of whole groups that a permutation contains.

    Args:
        p: A permutation of channels.
        groups: How many consecutive groups of equal length the channels form.

    Returns:
        `g`, where what lands in group i comes out of group g[i], in any order within; or None if
        some group takes from several.
    """
    if len(p) % groups:
        return None
    source = (p // (len(p) // groups)).reshape(groups, -1)
    whole = bool((source == source[:, :1]).all())
    return source[:, 0].copy() if whole else None


def runs(positions: Permutation) -> list[tuple[int, int]]:
    """Cut indices into the longest runs of consecutive ones: (start, stop) each."""
    if not len(positions):
        return []
    breaks = np.flatnonzero(np.diff(positions) != 1) + 1
    starts = positions[np.concatenate(([0], breaks))]
    stops = positions[np.concatenate((breaks - 1, [len(positions) - 1]))] + 1
    return list(zip(starts.tolist(), stops.tolist(), strict=True))
