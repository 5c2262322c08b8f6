"""Rows in the order of a score, as detectors give them that choose their boxes themselves.

Where two scores are as good as equal, rounding decides which row is first, and which is the last
that is still given: nothing that one could compare. So rows are compared with those of nearly their
score that are most like them, and those at the end whose place is a matter of rounding are not.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

#: Fewer rows may be in order by chance.
_FEWEST: Final = 8
#: What two scores of rows that trade places are apart, of what scores differ by at most.
_ROOM: Final = 4.0
#: The least that float32 resolves.
_EPSILON: Final = float(np.finfo(np.float32).eps)
#: What more columns have is no list of boxes.
_WIDEST: Final = 512


def aligned(
    want: npt.NDArray[np.float64], have: npt.NDArray[np.float64], max_rel: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
    """Bring rows of the same output into one order.

    Args:
        want: The reference's, [batch, rows, columns].
        have: Those to be judged.
        max_rel: How far scores may be apart that count as equal, as `Tolerance` has it.

    Returns:
        The rows that can be compared, of both; None if the reference's are in no order, or so few
        can be compared that nothing is told.
    """
    if want.ndim != 3 or want.shape[1] < _FEWEST or not 2 <= want.shape[2] <= _WIDEST:
        return None
    steps = np.diff(want, axis=1)
    ordered = [
        column
        for column in range(want.shape[2])
        if (steps[:, :, column] <= 0).all() and (steps[:, :, column] < 0).any(axis=1).all()
    ]
    if not ordered:
        return None
    score = ordered[0]
    pairs = [_paired(*rows, score, max_rel) for rows in zip(want, have, strict=True)]
    kept = sum(len(mine) for mine, _ in pairs)
    if 2 * kept < want.shape[0] * want.shape[1]:
        return None
    return np.concatenate([mine for mine, _ in pairs]), np.concatenate([own for _, own in pairs])


def _paired(
    want: npt.NDArray[np.float64], have: npt.NDArray[np.float64], score: int, max_rel: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Pair the rows of one sample, each with the one most like it among those of its score."""
    scale = np.sqrt(np.mean(want**2, axis=0)) + np.finfo(np.float64).tiny
    differs = _ROOM * np.abs(want[:, score] - have[:, score]).max() + _EPSILON * scale[score]
    limit = np.minimum(differs, max_rel * (np.abs(want[:, score]) + scale[score]))
    last = want[-1, score]
    left = np.ones(len(have), dtype=bool)
    order: list[tuple[int, int]] = []
    for row, near in enumerate(limit):
        apart = np.max(np.abs(have - want[row]) / scale, axis=1)
        apart[~left | (np.abs(have[:, score] - want[row, score]) > near)] = np.inf
        if np.isfinite(best := apart.min()) and (best < max_rel or want[row, score] - last > near):
            found = int(apart.argmin())
            left[found] = False
            order.append((row, found))
        elif want[row, score] - last > near:
            order.append((row, row))  # none is near: it differs where it stands
    rows, others = np.array(order, dtype=int).reshape(-1, 2).T
    return want[rows], have[others]
