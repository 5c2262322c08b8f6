"""The comparison of a candidate with a reference, on which every check of parity rests.

A candidate is what yields runs: a file in ONNX Runtime, an engine, a cast over many samples. A
reference holds the outputs that are expected, and knows where a file begins to differ from it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from edgeattn.base.errors import InputError
from edgeattn.graph import precision
from edgeattn.graph.reading import load
from edgeattn.options.precision import Precision
from edgeattn.parity.emulate import as_stored
from edgeattn.parity.metrics import Tolerance, measure
from edgeattn.parity.report import worst
from edgeattn.records.parity import (
    Optimisations,
    OutputParity,
    ParityCase,
    ParityReport,
    Weights,
)
from edgeattn.runtimes.onnxruntime import Array, Session, give_memory_back

_OPTIMISATIONS: Final[tuple[Optimisations, ...]] = ("off", "on")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of what is judged.

    Attributes:
        optimisations: ONNX Runtime's graph optimisations, off or on.
        batch: The batch size.
        names: The outputs' names.
        outputs: The outputs.
    """

    optimisations: Optimisations
    batch: int
    names: Sequence[str]
    outputs: Sequence[Array]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What a candidate is compared with.

    Attributes:
        weights: Which weights it holds.
        inputs: Per batch size, one array per input.
        outputs: Per batch size, one array per output.
        locate: Finds the first module at which a file differs from it.
        measure_floor: Measures how far rounding takes its own result; None for what cannot tell.
    """

    weights: Weights = "model"
    inputs: Mapping[int, Sequence[Array]]
    outputs: Mapping[int, Sequence[Array]]
    locate: Callable[[Path, Tolerance], str | None] = lambda _path, _tolerance: None
    measure_floor: Callable[[], float] | None = None

    @cached_property
    def floor_db(self) -> float | None:
        """The rounding floor in dB, measured once; None if it cannot be."""
        return None if self.measure_floor is None else self.measure_floor()

    def judge(self, run: Run, tolerance: Tolerance) -> ParityCase:
        """Compare a run's outputs with those that are expected at its batch size.

        Raises:
            InputError: Their number differs.
        """
        expected = self.outputs[run.batch]
        if len(run.outputs) != len(expected):
            raise InputError(
                f"There are {len(run.outputs)} outputs, and the reference gives {len(expected)}."
            )
        measured = tuple(
            measure(name, reference, output, tolerance)
            for name, reference, output in zip(run.names, expected, run.outputs, strict=True)
        )
        return ParityCase(
            weights=self.weights,
            optimisations=run.optimisations,
            batch=run.batch,
            outputs=measured,
        )

    def located(self, report: ParityReport, path: Path) -> ParityReport:
        """Return a failed report of a file, with the first module that differs."""
        first = self.locate(path, Tolerance.of(report))
        return report.model_copy(update={"first_difference": first})


def compare(runs: Iterable[Run], reference: Reference, tolerance: Tolerance) -> ParityReport:
    """Compare the runs of a candidate with a reference.

    Args:
        runs: The candidate's; each is let go once it is compared.
        reference: What is expected.
        tolerance: What passes.

    Raises:
        InputError: The candidate cannot be run, or gives another number of outputs.
    """
    return summarise([reference.judge(run, tolerance) for run in runs], tolerance)


def compare_file(path: Path, reference: Reference, tolerance: Tolerance) -> ParityReport:
    """Compare an ONNX file with a reference, and name the first module that differs.

    Raises:
        InputError: ONNX Runtime cannot load or run the file.
    """
    report = compare(runs_of(path, reference.inputs), reference, tolerance)
    return report if report.passed else reference.located(report, path)


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


def summarise(cases: Sequence[ParityCase], tolerance: Tolerance) -> ParityReport:
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
    )


def precision_of(path: Path) -> Precision:
    """Return the precision that an ONNX file is written in.

    Raises:
        InputError: If the file is no ONNX model.
    """
    return precision.precision_of(load(path))


def batch_of(inputs: Sequence[Array]) -> int:
    """Return the batch size of inputs, by the first."""
    return len(inputs[0]) if inputs and inputs[0].ndim else 1
