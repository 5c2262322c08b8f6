"""References to compare with: a torch module, or an ONNX file, at every batch size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgeattn.base.errors import InputError
from edgeattn.parity.bisect import first_difference_of_files, first_difference_of_module
from edgeattn.parity.compare import Reference
from edgeattn.parity.metrics import tolerance_of
from edgeattn.records.parity import Weights
from edgeattn.runtimes.eager import run_torch
from edgeattn.runtimes.onnxruntime import Array, Session

if TYPE_CHECKING:
    import torch

#: The batch sizes at which a model with an open batch is checked.
BATCHES: Final = (1, 2, 3, 8)


def module_reference(
    module: torch.nn.Module,
    batches: Mapping[int, Sequence[torch.Tensor]],
    *,
    weights: Weights = "model",
    again: Callable[[], torch.nn.Module] | None = None,
) -> Reference:
    """Run a torch module, which others are compared with.

    Args:
        module: The module, in evaluation mode.
        batches: Per batch size, one tensor per input.
        weights: Which weights it holds.
        again: Builds the module with these weights again, where it will hold others by the time
            that a difference is looked for.

    Raises:
        InputError: The module does not take these inputs.
    """
    same = cache(again or (lambda: module))
    inputs = next(iter(batches.values()))

    def measure_floor() -> float:
        """Of a model that is no function of its input, nothing can be told: that is refused."""
        from edgeattn.parity.rounding import check_function, rounding_floor_db

        tolerance = tolerance_of("fp32")
        check_function(same(), inputs, tolerance)
        return rounding_floor_db(same(), inputs, tolerance)

    return Reference(
        weights=weights,
        inputs={b: [value.numpy(force=True) for value in values] for b, values in batches.items()},
        outputs={batch: run_torch(module, values) for batch, values in batches.items()},
        locate=lambda path, tolerance: first_difference_of_module(path, same(), inputs, tolerance),
        measure_floor=measure_floor,
    )


def file_reference(
    path: Path,
    inputs: Mapping[int, Sequence[Array]],
    outputs: Mapping[int, Sequence[Array]],
    *,
    weights: Weights = "model",
) -> Reference:
    """Return an ONNX file that was run as the reference of others.

    Args:
        path: The file.
        inputs: Per batch size, one array per input.
        outputs: Per batch size, one array per output, as the file gives them.
        weights: Which weights it holds.
    """
    first = next(iter(inputs.values()))
    return Reference(
        weights=weights,
        inputs=inputs,
        outputs=outputs,
        locate=lambda file, tolerance: first_difference_of_files(file, path, first, tolerance),
    )


def batches_of(path: Path, inputs: Sequence[torch.Tensor]) -> dict[int, tuple[torch.Tensor, ...]]:
    """Return the inputs at every batch size that a file takes.

    Raises:
        InputError: If the file takes other shapes.
    """
    session = Session(path)
    if len(session.inputs) != len(inputs):
        raise InputError(f"{path} takes {len(session.inputs)} inputs, the reference {len(inputs)}.")
    for value, tensor in zip(session.inputs, inputs, strict=True):
        if not fits(tensor.shape, value.shape):
            raise InputError(
                f"{path} takes {value.name} of shape {value.shape}, not {list(tensor.shape)}.",
                mend="Give the shape that the file was exported with, with --shape.",
            )
    return at_batches(inputs, BATCHES if session.has_open_batch else ())


def fits(have: Sequence[int], want: Sequence[int | str | None]) -> bool:
    """Return whether a shape is one that an input takes."""
    return len(have) == len(want) and all(
        not isinstance(size, int) or size == got for size, got in zip(want, have, strict=True)
    )


def at_batches(
    inputs: Sequence[torch.Tensor], batches: Sequence[int]
) -> dict[int, tuple[torch.Tensor, ...]]:
    """Return the inputs at their own batch size and at others, by repeating and cutting them.

    A repeated sample is rolled along its last dimension, so that samples differ.
    """
    import torch

    own = int(inputs[0].shape[0]) if inputs[0].ndim else 1
    result = {own: tuple(inputs)}
    for batch in batches:
        result[batch] = tuple(
            torch.stack([torch.roll(value[i % own], i // own, dims=-1) for i in range(batch)])
            for value in inputs
        )
    return result
