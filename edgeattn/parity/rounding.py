"""The rounding floor of a torch module: its float32 outputs against its float64 outputs."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn

from edgeattn.base.errors import InputError
from edgeattn.parity.metrics import Tolerance, measure
from edgeattn.records.parity import OutputParity
from edgeattn.runtimes.eager import run_torch


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


def rounding_floor(
    module: nn.Module, inputs: Sequence[torch.Tensor], tolerance: Tolerance
) -> tuple[OutputParity, ...]:
    """Measure how far a module's float32 outputs are from its float64 outputs.

    Args:
        module: The module, in float32.
        inputs: One tensor per input.
        tolerance: For the comparison; only the ratio counts.

    Returns:
        Each output in float32 against float64.
    """
    exact = run_torch(copy.deepcopy(module).double(), [value.double() for value in inputs])
    rounded = run_torch(module, inputs)
    return tuple(
        measure("", want, have, tolerance) for want, have in zip(exact, rounded, strict=True)
    )
