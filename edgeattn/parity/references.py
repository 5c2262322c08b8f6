"""References to compare with: a torch module, or an ONNX file, at every batch size."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from edgeattn.base.errors import InputError
from edgeattn.base.memory import give_memory_back
from edgeattn.options.shapes import check_type
from edgeattn.parity.behind import differs_behind
from edgeattn.parity.bisect import first_difference_of_files, first_difference_of_module
from edgeattn.parity.compare import Reference, batch_of, precision_of
from edgeattn.parity.emulate import as_stored
from edgeattn.parity.floor import Floor, nudged
from edgeattn.parity.metrics import measure, tolerance_of
from edgeattn.parity.report import worst
from edgeattn.records.parity import Optimisations, OutputParity, Weights
from edgeattn.runtimes.eager import run_torch
from edgeattn.runtimes.onnxruntime import Array, Session, dtype_of, random_inputs

if TYPE_CHECKING:
    import torch

#: The batch sizes at which a model with an open batch is checked.
BATCHES: Final = (1, 2, 3, 8)
#: At so many of the batch sizes, the smallest, a file's floor is measured.
_MEASURED: Final = 2
#: How often the inputs of a file are moved.
_NUDGES: Final = 2
#: Of a module more is asked than of a file: it is the source, and can be mended.
_LOWEST_OF_MODULES_DB: Final = 45.0
_LOWEST_OF_FILES_DB: Final = 30.0
_MODULE_FLOOR: Final = "torch's own float32 result is {db:.0f} dB from float64's"
_FILE_FLOOR: Final = (
    "the results of {} itself are {{db:.0f}} dB apart where ONNX Runtime's optimisations are off or"
    " on, or its input moves by one unit in the last place"
)


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

    def measure_floor() -> Floor:
        """Of a model that is no function of its input, nothing can be told: that is refused."""
        from edgeattn.parity.rounding import check_function, rounding_floor

        tolerance = tolerance_of("fp32")
        check_function(same(), inputs, tolerance)
        found = rounding_floor(same(), inputs, tolerance)
        return Floor(off=found, on=found, lowest_db=_LOWEST_OF_MODULES_DB, reason=_MODULE_FLOOR)

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
        optimised=lambda: _run_all(path, inputs, optimisations="on"),
        measure_floor=lambda: _floor_of_file(path, inputs),
        differs_behind=lambda file, tolerance: differs_behind(
            file, path, first, tolerance, lowest_db=_LOWEST_OF_FILES_DB
        ),
    )


def _run_all(
    path: Path,
    inputs: Mapping[int, Sequence[Array]],
    *,
    optimisations: Optimisations,
    integers: bool = True,
) -> dict[int, list[Array]]:
    """Run a file at every batch size, in a session that is gone after it."""
    stored = as_stored(path) if optimisations == "off" else contextlib.nullcontext(path)
    with stored as file:
        session = Session(file, optimisations=optimisations, integers=integers)
    outputs = {batch: session.run(arrays) for batch, arrays in inputs.items()}
    del session  # before the next one doubles its memory
    give_memory_back()
    return outputs


def _floor_of_file(path: Path, inputs: Mapping[int, Sequence[Array]]) -> Floor:
    """Measure how far a file's outputs are from themselves.

    They are compared with those for inputs moved by one unit in the last place, and with those that
    optimisations give, which sum in other orders. Where these make integer kernels of quantised
    nodes, only runs that have such kernels too may be as far away.
    """
    tolerance = tolerance_of("fp32")
    inputs = dict(itertools.islice(inputs.items(), _MEASURED))
    plain = _run_all(path, inputs, optimisations="off")
    by_name: dict[int, list[OutputParity]] = {}

    def add(outputs: Mapping[int, Sequence[Array]]) -> tuple[OutputParity, ...]:
        for batch, arrays in outputs.items():
            for index, (want, have) in enumerate(zip(plain[batch], arrays, strict=True)):
                by_name.setdefault(index, []).append(measure("", want, have, tolerance))
        return tuple(worst(found) for found in by_name.values())

    for seed in range(_NUDGES):
        moved = {batch: nudged(arrays, seed + batch) for batch, arrays in inputs.items()}
        add(_run_all(path, moved, optimisations="off"))
    off = add(_run_all(path, inputs, optimisations="on", integers=False))
    on = off
    if precision_of(path) == "int8":
        on = add(_run_all(path, inputs, optimisations="on"))
    return Floor(off=off, on=on, lowest_db=_LOWEST_OF_FILES_DB, reason=_FILE_FLOOR.format(path))


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
            torch.stack([_rolled(value[i % own], i // own) for i in range(batch)])
            for value in inputs
        )
    return result


def _rolled(sample: torch.Tensor, by: int) -> torch.Tensor:
    return sample.roll(by, dims=-1) if sample.ndim else sample


def run_reference(
    path: Path,
    shapes: Sequence[Sequence[int]],
    seed: int,
    data: Sequence[Array] | None = None,
) -> tuple[Reference, list[str]]:
    """Run the file that others are compared with, on random inputs or on data.

    Args:
        path: The file.
        shapes: One per input; needed only where dimensions other than the batch are open.
        seed: Seed of the inputs.
        data: One array per input; where the batch is open, other sizes are made of their samples.

    Returns:
        The reference, and notes for the user.

    Raises:
        InputError: It cannot be run, or gives nothing to compare.
    """
    session = _session(path)
    wanted = _shapes(session, [one.shape for one in data] if data is not None else shapes)
    arrays: dict[int, list[Array]] = {}
    outputs: dict[int, list[Array]] = {}
    notes: list[str] = []
    for batch in BATCHES if session.has_open_batch else (1,):
        if data is None:
            drawn = random_inputs(session, batch=batch, seed=seed + batch, shapes=wanted)
        else:
            drawn = _resized(data, batch) if session.has_open_batch else list(data)
        size = batch_of(drawn)
        try:
            outputs[size] = session.run(drawn)
        except InputError as error:
            if not outputs:
                raise _unfit(session, error) if data is None else error from None
            notes.append(f"The file that was read does not run at a batch of {size}: {error.fact}")
            continue
        arrays[size] = drawn
        check_finite(path, session.output_names, outputs[size])
    del session  # before the next one doubles its memory
    give_memory_back()
    return file_reference(path, arrays, outputs), notes


def _resized(data: Sequence[Array], batch: int) -> list[Array]:
    """Return the first samples of data; past the last they are repeated, rolled to differ."""
    return [
        np.stack([_rolled_array(one[i % len(one)], i // len(one)) for i in range(batch)])
        for one in data
    ]


def _rolled_array(sample: Array, by: int) -> Array:
    return np.roll(sample, by, axis=-1) if sample.ndim else sample


def _unfit(session: Session, error: InputError) -> InputError:
    """Say which random inputs may be why a file does not run."""
    whole = [f"{one.name} ({dtype_of(one)})" for one in session.inputs if "int" in dtype_of(one)]
    if error.mend or not whole:
        return error
    return InputError(
        f"{error.fact} Its inputs were drawn at random, {', '.join(whole)} among them.",
        mend="Give data that it takes: --input FILE.npy, once per input.",
    )


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
    are_open = [
        not all(isinstance(size, int) for size in value.shape[1:]) for value in session.inputs
    ]
    if not shapes:
        for value, is_open in zip(session.inputs, are_open, strict=True):
            if is_open:
                raise InputError(
                    f"Input {value.name} has open dimensions: {value.shape}.",
                    mend="Give the shape to check it with: --shape 1x3x224x224, once per input.",
                )
        return [list(value.shape) for value in session.inputs]
    if len(shapes) == sum(are_open):  # others need none
        left = iter(shapes)
        shapes = [
            next(left) if is_open else [size if isinstance(size, int) else 1 for size in one.shape]
            for one, is_open in zip(session.inputs, are_open, strict=True)
        ]
    if len(shapes) != len(session.inputs):
        raise InputError(
            f"The model takes {len(session.inputs)} inputs, and {len(shapes)} shapes are given.",
            mend="Give --shape once for each.",
        )
    closed = []
    for value, given in zip(session.inputs, shapes, strict=True):
        if not fits(given, value.shape):
            raise InputError(f"Input {value.name} takes {value.shape}, not {list(given)}.")
        check_type(given, value.name, dtype_of(value))
        first = value.shape[:1] if session.has_open_batch else given[:1]
        closed.append([*first, *given[1:]])
    return closed


def check_finite(path: Path, names: Sequence[str], outputs: Sequence[Array]) -> None:
    """Refuse outputs of a file that hold no number at all; some infinities may be a mask's.

    Raises:
        InputError: Names the output.
    """
    for name, output in zip(names, outputs, strict=True):
        if output.dtype.kind == "f" and output.size and not np.isfinite(output).any():
            raise InputError(
                f"Output {name} of {path} holds only NaN or infinity, so nothing can be compared.",
                mend="Give a model whose weights are trained, or at least in range; or data that it"
                " is meant for (optimize --input, cast --calibration).",
            )
