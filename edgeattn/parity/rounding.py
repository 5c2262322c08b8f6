"""The rounding floor of a torch module: its float32 outputs against its float64 outputs."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

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
    wide = [value.double() if value.is_floating_point() else value for value in inputs]
    with _InFloat64():  # type: ignore[no-untyped-call]  # same
        exact = run_torch(copy.deepcopy(module).double(), wide)
    rounded = run_torch(module, inputs)
    return tuple(
        measure("", want, have, tolerance) for want, have in zip(exact, rounded, strict=True)
    )


class _InFloat64(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Makes float64 where a model says float32: of whole numbers, which are its inputs."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        del types
        options = dict(kwargs or {})
        if options.get("dtype") == torch.float32:
            options["dtype"] = torch.float64
        return func(*args, **options)
