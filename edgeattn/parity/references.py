"""References to compare with: a torch module, or an ONNX file, at every batch size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from edgeattn.base.errors import InputError
from edgeattn.parity.bisect import first_difference_of_files, first_difference_of_module
from edgeattn.parity.compare import Reference, batch_of
from edgeattn.parity.emulate import as_stored
from edgeattn.parity.metrics import tolerance_of
from edgeattn.records.parity import Weights
from edgeattn.runtimes.eager import run_torch
from edgeattn.runtimes.onnxruntime import Array, Session, give_memory_back, random_inputs

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


def run_reference(
    path: Path, shapes: Sequence[Sequence[int]], seed: int
) -> tuple[Reference, list[str]]:
    """Run the file that others are compared with, on random inputs.

    Args:
        path: The file.
        shapes: One per input; needed only where dimensions other than the batch are open.
        seed: Seed of the inputs.

    Returns:
        The reference, and notes for the user.

    Raises:
        InputError: It cannot be run, or gives nothing to compare.
    """
    session = _session(path)
    wanted = _shapes(session, shapes)
    arrays: dict[int, list[Array]] = {}
    outputs: dict[int, list[Array]] = {}
    notes: list[str] = []
    for batch in BATCHES if session.has_open_batch else (1,):
        drawn = random_inputs(session, batch=batch, seed=seed + batch, shapes=wanted)
        size = batch_of(drawn)
        try:
            outputs[size] = session.run(drawn)
        except InputError as error:
            if not outputs:
                raise
            notes.append(f"The file that was read does not run at a batch of {size}: {error.fact}")
            continue
        arrays[size] = drawn
        _check_finite(path, session, outputs[size])
    del session  # before the next one doubles its memory
    give_memory_back()
    return file_reference(path, arrays, outputs), notes


def _session(path: Path) -> Session:
    try:
        with as_stored(path) as file:
            return Session(file)
    except InputError as error:
        raise InputError(
            error.fact,
            mend="What ONNX Runtime cannot run cannot be proven equal, so it is not optimized.",
        ) from error


def _shapes(session: Session, shapes: Sequence[Sequence[int]]) -> list[list[int | str]]:
    """Put the shapes that were given over the open dimensions, the batch's left open."""
    if not shapes:
        for value in session.inputs:
            if not all(isinstance(size, int) for size in value.shape[1:]):
                raise InputError(
                    f"Input {value.name} has open dimensions: {value.shape}.",
                    mend="Give the shape to check it with: --shape 1x3x224x224, once per input.",
                )
        return [list(value.shape) for value in session.inputs]
    if len(shapes) != len(session.inputs):
        raise InputError(
            f"The model takes {len(session.inputs)} inputs, and {len(shapes)} shapes are given.",
            mend="Give --shape once for each.",
        )
    closed = []
    for value, given in zip(session.inputs, shapes, strict=True):
        if not fits(given, value.shape):
            raise InputError(f"Input {value.name} takes {value.shape}, not {list(given)}.")
        first = value.shape[:1] if session.has_open_batch else given[:1]
        closed.append([*first, *given[1:]])
    return closed


def _check_finite(path: Path, session: Session, outputs: Sequence[Array]) -> None:
    for name, output in zip(session.output_names, outputs, strict=True):
        if output.dtype.kind == "f" and output.size and not np.isfinite(output).any():
            raise InputError(
                f"Output {name} of {path} holds only NaN or infinity, so nothing can be compared.",
                mend="Give a model whose weights are trained, or at least in range.",
            )
