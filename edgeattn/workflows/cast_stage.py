"""The cast stage, as export runs it: a file that is proven in float32 is cast, and judged again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from edgeattn.base.clock import Clock
from edgeattn.base.errors import CheckError
from edgeattn.options.cast import CastOptions
from edgeattn.parity import Tolerance, tolerance_of
from edgeattn.parity.bisect import first_difference_of_module
from edgeattn.parity.compare import summarise
from edgeattn.parity.report import describe_failure
from edgeattn.precision.cast import cast_in_place
from edgeattn.records.manifest import CastRecord
from edgeattn.records.parity import ParityCase
from edgeattn.workflows.workspace import Weights

if TYPE_CHECKING:
    import torch
    from torch import nn


class Compare(Protocol):
    """Compares the file as it lies with torch."""

    def __call__(self, *, tolerance: Tolerance) -> list[ParityCase]:
        """Compare it in every run, with the tolerance for a verdict."""


class Reference(Protocol):
    """Gives the torch module that holds the same weights as the file, and its inputs."""

    def __call__(self) -> tuple[nn.Module, Sequence[torch.Tensor]]:
        """Return both."""


#: Half has 13 bits of significand fewer than float32.
_HALF_COSTS_DB: Final = 78.0
#: A cast this near the floor has no fault of its own.
_MARGIN_DB: Final = 10.0
_NOT_JUDGED: Final = (
    "The cast was not judged with random weights: the model amplifies rounding, so that half"
    " precision is {floor:.0f} dB from exact results at best (it gave {have:.0f} dB)."
)


def run(
    path: Path,
    options: CastOptions,
    weights: Weights,
    *,
    compare: Compare,
    reference: Reference,
    clock: Clock,
) -> tuple[CastRecord, list[ParityCase], list[str]]:
    """Cast a file in place, and compare it with torch.

    Args:
        path: The file.
        options: How to cast.
        weights: Which weights it holds.
        compare: Compares it.
        reference: Gives the torch module that holds the same weights, and its inputs.
        clock: Counts the seconds.

    Returns:
        What was cast; the comparison, empty where random weights make the model so chaotic that
        half precision tells nothing; and notes for the user.

    Raises:
        InputError: If the file cannot be cast, or the samples do not fit it.
        CheckError: If it differs by more than its precision may: says where that begins.
    """
    with clock.stage("cast"):
        record = cast_in_place(path, options)
    tolerance = tolerance_of(options.precision, min_sqnr_db=options.min_sqnr_db)
    with clock.stage("parity"):
        cases = compare(tolerance=tolerance)
    # The record's own comparison rounds what ONNX Runtime's kernels would not: see
    # parity.emulate. With random weights, a model may be no model that half can hold.
    near = record.parity.passed or weights == "random"
    if near and all(case.passed for case in cases):
        return record, cases, []
    with clock.stage("difference"):
        if weights == "random" and options.precision == "fp16":
            note = _amplified(cases, tolerance, reference)
            if note is not None:
                return record, [], [note]
        raise _refused(path, cases, record, tolerance, reference)


def _amplified(
    cases: Sequence[ParityCase],
    tolerance: Tolerance,
    reference: Reference,
) -> str | None:
    """Say so where no cast of this model could be near enough."""
    from edgeattn.parity.rounding import rounding_floor_db

    floor_db = rounding_floor_db(*reference(), tolerance) - _HALF_COSTS_DB
    have = min(o.sqnr_db for case in cases for o in case.outputs if o.sqnr_db is not None)
    if floor_db - have > _MARGIN_DB or floor_db - _MARGIN_DB > tolerance.min_sqnr_db:
        return None
    return _NOT_JUDGED.format(floor=floor_db, have=have)


def _refused(
    path: Path,
    cases: Sequence[ParityCase],
    record: CastRecord,
    tolerance: Tolerance,
    reference: Reference,
) -> CheckError:
    first = first_difference_of_module(path, *reference(), tolerance)
    report = summarise(cases, tolerance)
    if report.passed:
        report = record.parity
    report = report.model_copy(update={"first_difference": first})
    return CheckError(
        f"The cast model differs from the torch model: {describe_failure(report)}",
        mend="Nothing was written. Keep more in float32: --keep-fp32 MODULE",
    )
