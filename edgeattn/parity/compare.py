"""Compares an ONNX file with a torch module, or with another ONNX file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgeattn.base.errors import InputError
from edgeattn.graph import precision
from edgeattn.graph.reading import load
from edgeattn.options.precision import Precision
from edgeattn.parity.bisect import first_difference_of_files, first_difference_of_module
from edgeattn.parity.emulate import as_stored
from edgeattn.parity.metrics import Tolerance, measure, tolerance_of
from edgeattn.parity.report import worst
from edgeattn.records.parity import OutputParity, ParityCase, ParityReport
from edgeattn.runtimes.eager import run_torch
from edgeattn.runtimes.onnxruntime import Array, Session, give_memory_back, random_inputs

if TYPE_CHECKING:
    import torch


_OPTIMISATIONS: tuple[Literal["off", "on"], ...] = ("off", "on")
#: The batch sizes at which a model with an open batch is checked.
BATCHES = (1, 2, 3, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of what is judged.

    Attributes:
        optimisations: ONNX Runtime's graph optimisations, off or on.
        batch: The batch size.
        names: The outputs' names.
        outputs: The outputs.
    """

    optimisations: Literal["off", "on"]
    batch: int
    names: Sequence[str]
    outputs: Sequence[Array]

    def judge(
        self,
        references: Mapping[int, Sequence[Array]],
        *,
        weights: Literal["model", "random"],
        tolerance: Tolerance,
    ) -> ParityCase:
        """Compare the outputs with a reference's.

        Args:
            references: Per batch size, one array per output.
            weights: Which weights both hold.
            tolerance: What passes.

        Raises:
            InputError: If the outputs' number differs.
        """
        expected = references[self.batch]
        if len(self.outputs) != len(expected):
            raise InputError(
                f"There are {len(self.outputs)} outputs, and the reference gives {len(expected)}."
            )
        measured = tuple(
            measure(name, reference, output, tolerance)
            for name, reference, output in zip(self.names, expected, self.outputs, strict=True)
        )
        return ParityCase(
            weights=weights, optimisations=self.optimisations, batch=self.batch, outputs=measured
        )


def runs_of(path: Path, inputs: Mapping[int, Sequence[Array]]) -> Iterator[Run]:
    """Run a file with ONNX Runtime's optimisations off and on, at every batch size.

    Half precision is emulated where they are off: see `emulate`.

    Args:
        path: The ONNX file.
        inputs: Per batch size, one array per input.

    Raises:
        InputError: If ONNX Runtime cannot load or run the file.
    """
    for optimisations in _OPTIMISATIONS:
        stored = as_stored(path) if optimisations == "off" else contextlib.nullcontext(path)
        with stored as file:
            session = Session(file, optimisations=optimisations)
        for batch, arrays in inputs.items():
            yield Run(
                optimisations=optimisations,
                batch=batch,
                names=session.output_names,
                outputs=session.run(arrays),
            )
        del session  # before the next one doubles its memory
        give_memory_back()


def run_cases(
    path: Path,
    inputs: Mapping[int, Sequence[Array]],
    references: Mapping[int, Sequence[Array]],
    *,
    weights: Literal["model", "random"],
    tolerance: Tolerance,
) -> list[ParityCase]:
    """Run a file as `runs_of` does, and compare each run.

    Args:
        path: The ONNX file.
        inputs: Per batch size, one array per input.
        references: Per batch size, one array per output, as the reference gives them.
        weights: Which weights both hold.
        tolerance: What passes.

    Raises:
        InputError: If ONNX Runtime cannot load or run the file, or the outputs' number differs.
    """
    return [
        run.judge(references, weights=weights, tolerance=tolerance) for run in runs_of(path, inputs)
    ]


def precision_of(path: Path) -> Precision:
    """Return the precision that an ONNX file is written in.

    Raises:
        InputError: If the file is no ONNX model.
    """
    return precision.precision_of(load(path))


def summarise(
    cases: Sequence[ParityCase], tolerance: Tolerance, *, first_difference: str | None = None
) -> ParityReport:
    """Make a report of all cases: each output at its worst."""
    by_name: dict[str, list[OutputParity]] = {}
    for case in cases:
        for output in case.outputs:
            by_name.setdefault(output.name, []).append(output)
    return ParityReport(
        passed=all(case.passed for case in cases),
        precision=tolerance.precision,
        max_rel_tolerance=tolerance.max_rel,
        min_sqnr_db=tolerance.min_sqnr_db,
        outputs=tuple(worst(outputs) for outputs in by_name.values()),
        cases=tuple(cases),
        first_difference=first_difference,
    )


def check_file(
    path: Path,
    module: torch.nn.Module,
    inputs: Sequence[torch.Tensor],
    *,
    tolerance: Tolerance | None = None,
) -> ParityReport:
    """Check an ONNX file against a torch module that holds the same weights.

    Args:
        path: The ONNX file.
        module: The module, in evaluation mode.
        inputs: One tensor per input; where the file's batch is open, sizes 1, 2, 3 and 8 of the
            same values are run as well.
        tolerance: What passes; by default that of the file's precision.

    Raises:
        InputError: If the file cannot be loaded, or does not take these inputs.
    """
    tolerance = tolerance or tolerance_of(precision_of(path))
    batches = batches_of(path, inputs)
    references = {batch: run_torch(module, values) for batch, values in batches.items()}
    arrays = {batch: [v.numpy(force=True) for v in values] for batch, values in batches.items()}
    cases = run_cases(path, arrays, references, weights="model", tolerance=tolerance)
    report = summarise(cases, tolerance)
    if report.passed:
        return report
    found = first_difference_of_module(path, module, inputs, tolerance)
    return report.model_copy(update={"first_difference": found})


def batches_of(path: Path, inputs: Sequence[torch.Tensor]) -> dict[int, tuple[torch.Tensor, ...]]:
    """Return the inputs at every batch size that a file takes.

    Raises:
        InputError: If the file takes other shapes.
    """
    session = Session(path)
    if len(session.inputs) != len(inputs):
        raise InputError(f"{path} takes {len(session.inputs)} inputs, the reference {len(inputs)}.")
    for value, tensor in zip(session.inputs, inputs, strict=True):
        fits = len(value.shape) == tensor.ndim and all(
            not isinstance(want, int) or want == have
            for want, have in zip(value.shape, tensor.shape, strict=True)
        )
        if not fits:
            raise InputError(
                f"{path} takes {value.name} of shape {value.shape}, not {list(tensor.shape)}.",
                mend="Give the shape that the file was exported with, with --shape.",
            )
    return at_batches(inputs, BATCHES if session.has_open_batch else ())


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


def compare_files(
    path: Path,
    other: Path,
    *,
    inputs: Sequence[Array] | None = None,
    seed: int = 0,
    tolerance: Tolerance | None = None,
) -> ParityReport:
    """Check one ONNX file against another, which is the reference.

    Args:
        path: The file to judge.
        other: The reference.
        inputs: One array per input; drawn from a normal distribution by default.
        seed: Seed of the draw.
        tolerance: What passes; by default that of the file's precision.

    Raises:
        InputError: If a file cannot be loaded, or the two take different inputs.
    """
    tolerance = tolerance or tolerance_of(precision_of(path))
    with as_stored(other) as file:
        reference = Session(file)
    batches: Sequence[int | None] = (None,)
    if inputs is None and reference.has_open_batch:
        batches = BATCHES
    arrays: dict[int, Sequence[Array]] = {}
    for batch in batches:
        drawn = (
            random_inputs(reference, batch=batch, seed=seed + (batch or 0))
            if inputs is None
            else inputs
        )
        arrays[len(drawn[0]) if drawn and drawn[0].ndim else 1] = drawn
    references = {batch: reference.run(values) for batch, values in arrays.items()}
    cases = run_cases(path, arrays, references, weights="model", tolerance=tolerance)
    report = summarise(cases, tolerance)
    if report.passed:
        return report
    with as_stored(path) as file, as_stored(other) as reference_file:
        first = next(iter(arrays.values()))
        found = first_difference_of_files(file, reference_file, first, tolerance)
    return report.model_copy(update={"first_difference": found})
