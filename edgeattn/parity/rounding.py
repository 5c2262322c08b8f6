"""How much of a difference is rounding: float32 against float64, in torch itself.

Some networks amplify rounding errors from layer to layer. Two correct float32 results of such a
model differ by more than the tolerance, and so does torch's from the exact one. That distance is
measured, and a difference near it is no fault of the file's.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from edgeattn.base.errors import InputError
from edgeattn.parity.metrics import Tolerance, measure
from edgeattn.records.parity import ParityCase
from edgeattn.runtimes.eager import run_torch

#: Two results that are each at the floor differ by 3 dB more; the rest is room for another order
#: of summation.
_MARGIN_DB = 10.0
#: Below this, hardly anything could be told from rounding, so nothing is proven.
LOWEST_FLOOR_DB = 45.0


def check_function(module: nn.Module, inputs: Sequence[torch.Tensor], tolerance: Tolerance) -> None:
    """Refuse a module that gives one result now and another then.

    Raises:
        InputError: It draws random numbers.
    """
    once, again = (run_torch(module, inputs) for _ in range(2))
    if not all(measure("", *pair, tolerance).passed for pair in zip(once, again, strict=True)):
        raise InputError(
            "The model is no function of its input: torch itself gives two results for one.",
            mend="Draw no random numbers in forward; pass training=self.training to dropout.",
        )


def rounding_floor_db(
    module: nn.Module, inputs: Sequence[torch.Tensor], tolerance: Tolerance
) -> float:
    """Measure how far a module's float32 outputs are from its float64 outputs.

    Args:
        module: The module, in float32.
        inputs: One tensor per input.
        tolerance: For the comparison; only the ratio counts.

    Returns:
        The smallest SQNR of all outputs in dB.
    """
    exact = run_torch(copy.deepcopy(module).double(), [value.double() for value in inputs])
    rounded = run_torch(module, inputs)
    ratios = [
        measure("", want, have, tolerance).sqnr_db
        for want, have in zip(exact, rounded, strict=True)
    ]
    return min((ratio for ratio in ratios if ratio is not None), default=float("inf"))


def relaxed_by(tolerance: Tolerance, floor_db: float) -> Tolerance:
    """Return the tolerance for a model whose rounding floor lies this low.

    Returns:
        The same one where the floor lies high enough for it, or too low to tell anything.
    """
    lowest_db = min(tolerance.min_sqnr_db, floor_db - _MARGIN_DB)
    if floor_db < LOWEST_FLOOR_DB or lowest_db == tolerance.min_sqnr_db:
        return tolerance
    factor = 10 ** ((tolerance.min_sqnr_db - lowest_db) / 20)
    return replace(tolerance, min_sqnr_db=lowest_db, max_rel=tolerance.max_rel * factor)


def judge(case: ParityCase, tolerance: Tolerance, floor_db: float) -> ParityCase:
    """Judge a case by the rounding floor, where that lies too low for the tolerance.

    Args:
        case: The case, measured against float32 torch.
        tolerance: The tolerance for a model that does not amplify rounding.
        floor_db: What `rounding_floor_db` measured.

    Returns:
        The case with its verdicts, and the floor that they rest on.
    """
    relaxed = relaxed_by(tolerance, floor_db)
    if relaxed is tolerance:
        return case
    outputs = tuple(
        output.model_copy(update={"passed": relaxed.admits(output.max_rel, output.sqnr_db)})
        for output in case.outputs
    )
    return case.model_copy(update={"outputs": outputs, "rounding_floor_db": floor_db})
