"""How far two tensors are apart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from edgeattn.parity.ranked import aligned
from edgeattn.records.parity import OutputParity, ParityReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """The most that outputs may differ.

    Attributes:
        precision: What it is for: `fp32`, `tf32`, `fp16` or `int8`.
        max_rel: Largest |difference| / (|reference| + root mean square of the reference).
        min_sqnr_db: Smallest signal to noise ratio in dB.
    """

    precision: str
    max_rel: float
    min_sqnr_db: float

    @classmethod
    def of(cls, report: ParityReport) -> Self:
        """Return the tolerance that a report was made with."""
        return cls(
            precision=report.precision,
            max_rel=report.max_rel_tolerance,
            min_sqnr_db=report.min_sqnr_db,
        )

    @property
    def is_for_rewrites(self) -> bool:
        """Whether it is what exact rewrites in float32 are held to."""
        return self.min_sqnr_db >= TOLERANCES["fp32"].min_sqnr_db

    def admits(self, max_rel: float, sqnr_db: float | None) -> bool:
        """Return whether an output with these figures passes; an SQNR of None is exact equality."""
        return max_rel <= self.max_rel and (sqnr_db is None or sqnr_db >= self.min_sqnr_db)


# Float32 through some hundred layers stays near 110 dB on both sides; a wrong epsilon, axis,
# rounding mode or statistic costs more than 30 dB of that. See benchmarks/timm_models.py, which
# prints the worst of some sixty models.
# Half precision has 13 bits of significand fewer, which are 78 dB; so has TF32, in which GPUs from
# Ampere on multiply float32. What int8 costs depends on the model and on what it is for: that is
# reported, and nothing but NaN and infinity fails unless an SQNR is asked.
TOLERANCES = {
    "fp32": Tolerance(precision="fp32", max_rel=1e-3, min_sqnr_db=80.0),
    "tf32": Tolerance(precision="tf32", max_rel=0.1, min_sqnr_db=40.0),
    "fp16": Tolerance(precision="fp16", max_rel=0.1, min_sqnr_db=40.0),
    # Eight bits of significand: what that costs depends on the model too.
    "bf16": Tolerance(precision="bf16", max_rel=math.inf, min_sqnr_db=-math.inf),
    "int8": Tolerance(precision="int8", max_rel=math.inf, min_sqnr_db=-math.inf),
}


#: No activation is this large; what fills a mask is.
_FILL: Final = 1e8


def tolerance_of(precision: str, *, min_sqnr_db: float | None = None) -> Tolerance:
    """Return the tolerance for a precision.

    Args:
        precision: `fp32`, `tf32`, `fp16`, `bf16` or `int8`.
        min_sqnr_db: The smallest SQNR to pass instead of the usual one; the largest relative error
            moves with it, tenfold for each 20 dB, from what half has.
    """
    usual = TOLERANCES[precision]
    if min_sqnr_db is None:
        return usual
    half = TOLERANCES["fp16"]
    factor = 10 ** ((half.min_sqnr_db - min_sqnr_db) / 20)
    return Tolerance(precision=precision, max_rel=half.max_rel * factor, min_sqnr_db=min_sqnr_db)


def measure(
    name: str, reference: npt.NDArray[Any], output: npt.NDArray[Any], tolerance: Tolerance
) -> OutputParity:
    """Compare one output with its reference: rows in the order of a score, by that score.

    See `_measured` and `ranked`.
    """
    found = _measured(name, reference, output, tolerance)
    if found.passed or reference.dtype.kind != "f" or reference.shape != output.shape:
        return found
    rows = aligned(reference.astype(np.float64), output.astype(np.float64), tolerance.max_rel)
    return found if rows is None else _measured(name, *rows, tolerance)


def _measured(
    name: str, reference: npt.NDArray[Any], output: npt.NDArray[Any], tolerance: Tolerance
) -> OutputParity:
    """Compare one output with its reference, value by value.

    Whole numbers and truth values must be equal where float32 is asked: one that differs is no
    matter of rounding. What masks fill in (infinity, -1e9, float32's lowest) and both hold is left
    out: it would drown what the other values differ by.

    Args:
        name: The output's name.
        reference: The reference's values.
        output: The values to judge, of the same shape.
        tolerance: What passes.

    Returns:
        The differences. A shape or kind of type that differs, NaN where the reference has none,
        and infinities that do not match fail with infinite error.
    """
    if reference.shape != output.shape or reference.dtype.kind != output.dtype.kind:
        return _failed(name)
    want = reference.astype(np.float64)
    have = output.astype(np.float64)
    if tolerance.precision == "fp16":  # half holds what masks fill in as infinity
        fill = (np.abs(want) >= _FILL) & np.isinf(have) & (np.sign(want) == np.sign(have))
        want[fill] = have[fill]
    finite = np.isfinite(want)
    # NaN and infinity must stand at the same places, with the same sign.
    if not np.array_equal(want[~finite], have[~finite], equal_nan=True):
        return _failed(name)
    if not np.isfinite(have[finite]).all():
        return _failed(name)
    is_whole = reference.dtype.kind in "biu"
    agreement = _agreement(want, have) if is_whole else _argmax_agreement(want, have)
    told = finite & ((want != have) | (np.abs(want) < _FILL))
    want, have = want[told], have[told]
    if want.size == 0:
        return OutputParity(
            name=name,
            max_abs=0.0,
            max_rel=0.0,
            sqnr_db=None,
            cosine=1.0,
            argmax_agreement=agreement,
            passed=True,
        )
    difference = np.abs(want - have)
    signal, noise = float(np.sum(want**2)), float(np.sum(difference**2))
    scale = np.abs(want) + math.sqrt(signal / want.size)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(difference == 0, 0.0, difference / scale)
    max_rel = float(relative.max())
    sqnr_db = _decibels(signal, noise)
    return OutputParity(
        name=name,
        max_abs=float(difference.max()),
        max_rel=max_rel,
        sqnr_db=sqnr_db,
        cosine=_cosine(want, have),
        argmax_agreement=agreement,
        passed=tolerance.admits(max_rel, sqnr_db)
        and not (is_whole and sqnr_db is not None and tolerance.is_for_rewrites),
    )


def _decibels(signal: float, noise: float) -> float | None:
    if noise == 0:
        return None
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf


def _cosine(want: npt.NDArray[np.float64], have: npt.NDArray[np.float64]) -> float:
    norms = float(np.linalg.norm(want) * np.linalg.norm(have))
    if norms == 0:
        return 1.0 if np.array_equal(want, have) else 0.0
    return min(1.0, float(want.ravel() @ have.ravel()) / norms)


def _agreement(want: npt.NDArray[np.float64], have: npt.NDArray[np.float64]) -> float:
    return float(np.mean(want == have)) if want.size else 1.0


def _argmax_agreement(want: npt.NDArray[np.float64], have: npt.NDArray[np.float64]) -> float:
    axis = 1 if want.ndim > 1 else 0
    if want.ndim == 0 or want.shape[axis] == 0:
        return 1.0
    return float(np.mean(np.argmax(want, axis=axis) == np.argmax(have, axis=axis)))


def _failed(name: str) -> OutputParity:
    return OutputParity(
        name=name,
        max_abs=math.inf,
        max_rel=math.inf,
        sqnr_db=-math.inf,
        cosine=0.0,
        argmax_agreement=0.0,
        passed=False,
    )
