"""The comparison of a candidate with a reference, on which every check of parity rests.

A candidate is what yields runs: a file in ONNX Runtime, an engine, a cast over many samples. A
reference holds the outputs that are expected, and knows where a file begins to differ from it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

from edgeattn.base.errors import InputError
from edgeattn.base.memory import give_memory_back
from edgeattn.graph.reading import facts_of
from edgeattn.options.precision import Precision
from edgeattn.parity.emulate import as_stored
from edgeattn.parity.floor import Floor, judge, tells_nothing
from edgeattn.parity.metrics import Tolerance, measure
from edgeattn.parity.report import worst
from edgeattn.records.parity import (
    Optimisations,
    OutputParity,
    ParityCase,
    ParityReport,
    Weights,
)
from edgeattn.records.trace import Runtime
from edgeattn.runtimes.onnxruntime import Array, Session

OPTIMISATIONS: Final[tuple[Optimisations, ...]] = ("off", "on")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of what is judged.

    Attributes:
        optimisations: ONNX Runtime's graph optimisations, off or on.
        batch: The batch size.
        names: The outputs' names.
        outputs: The outputs.
        runtime: What ran it.
        maps: The outputs that are maps (N, C, 1, 1) in the place of (N, C).
    """

    optimisations: Optimisations
    batch: int
    names: Sequence[str]
    outputs: Sequence[Array]
    runtime: Runtime = "onnxruntime"
    maps: Collection[str] = ()

    def like(self, name: str, output: Array, reference: Array) -> Array:
        """Return an output; one that is a map for it, in the shape of its reference (N, C)."""
        is_map = name in self.maps and output.shape == (*reference.shape, 1, 1)
        return output.reshape(reference.shape) if is_map else output


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What a candidate is compared with.

    Attributes:
        weights: Which weights it holds.
        inputs: Per batch size, one array per input.
        outputs: Per batch size, one array per output.
        locate: Finds the first module at which a file differs from it.
        optimised: Runs it with ONNX Runtime's optimisations on: its outputs per batch size; None
            for what ONNX Runtime does not run.
        differs_behind: Names the first value behind the outputs of a file that differs, where the
            outputs are judged by the rounding floor.
        measure_floor: Measures how far rounding takes its own result; None for what cannot tell.
    """

    weights: Weights = "model"
    inputs: Mapping[int, Sequence[Array]]
    outputs: Mapping[int, Sequence[Array]]
    locate: Callable[[Path, Tolerance], str | None] = lambda _path, _tolerance: None
    optimised: Callable[[], Mapping[int, Sequence[Array]]] | None = None
    differs_behind: Callable[[Path, Tolerance], str | None] = lambda _path, _tolerance: None
    measure_floor: Callable[[], Floor] | None = None

    @cached_property
    def floor(self) -> Floor | None:
        """The rounding floor, measured once; None if it cannot be."""
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
            measure(name, reference, run.like(name, output, reference), tolerance)
            for name, reference, output in zip(run.names, expected, run.outputs, strict=True)
        )
        return ParityCase(
            weights=self.weights,
            optimisations=run.optimisations,
            batch=run.batch,
            outputs=measured,
            runtime=run.runtime,
        )

    def remarks(self, report: ParityReport, name: str) -> list[str]:
        """Say what a report rests on besides the tolerance, or that nothing can be told from it.

        Args:
            report: The report.
            name: What this reference is called.
        """
        # Else it was not measured, or does not bear on a verdict.
        if any(case.rounding_floor_db is not None for case in report.cases):
            assert self.floor is not None
            if report.passed:
                return [f"Parity was judged by the rounding floor: {self.floor}."]
            if tells_nothing(report, self.floor):
                return [f"Nothing can be proven on these inputs: {self.floor}."]
        if report.passed and any(case.reference_optimisations == "on" for case in report.cases):
            said = f"With ONNX Runtime's optimisations on, {name} gives other results than without:"
            return [f"{said} with them on it was compared with itself with them on."]
        return []

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
    report = compare_runs(
        lambda optimisations: runs_of(path, reference.inputs, optimisations), reference, tolerance
    )
    if not report.passed:
        return reference.located(report, path)
    if any(case.rounding_floor_db is not None for case in report.cases):
        return _judged_behind(report, reference.differs_behind(path, tolerance), tolerance)
    return report


def _judged_behind(report: ParityReport, fault: str | None, tolerance: Tolerance) -> ParityReport:
    """Fail outputs that the rounding floor let pass, where what they are made of differs."""
    if fault is None:
        return report
    cases = [
        case.model_copy(
            update={
                "outputs": tuple(
                    one.model_copy(update={"passed": tolerance.admits(one.max_rel, one.sqnr_db)})
                    for one in case.outputs
                )
            }
        )
        for case in report.cases
    ]
    return summarise(cases, tolerance).model_copy(update={"first_difference": fault})


def compare_runs(
    runs: Callable[[Sequence[Optimisations]], Iterable[Run]],
    reference: Reference,
    tolerance: Tolerance,
) -> ParityReport:
    """Compare runs with a reference; what misses the tolerance, with what that misses itself by.

    A run with optimisations on is then compared with the reference's own, whose kernels may be
    others than without (of integers, in a quantised file); and what still differs is judged by the
    rounding floor.

    Args:
        runs: Runs the candidate, with these optimisations.
        reference: What is expected.
        tolerance: What passes.

    Raises:
        InputError: The candidate cannot be run, or gives another number of outputs.
    """
    report = compare(runs(OPTIMISATIONS), reference, tolerance)
    if not report.passed and reference.optimised is not None:
        report = _compared_alike(report, runs, reference, tolerance)
    if report.passed or reference.floor is None:
        return report
    floor = reference.floor
    return summarise([judge(case, tolerance, floor) for case in report.cases], tolerance)


def _compared_alike(
    report: ParityReport,
    runs: Callable[[Sequence[Optimisations]], Iterable[Run]],
    reference: Reference,
    tolerance: Tolerance,
) -> ParityReport:
    """Compare runs with optimisations on with a reference's own, where they differ from others."""
    if all(case.passed for case in report.cases if case.optimisations == "on"):
        return report
    assert reference.optimised is not None
    own = replace(reference, outputs=reference.optimised())
    alike = {
        run.batch: own.judge(run, tolerance).model_copy(update={"reference_optimisations": "on"})
        for run in runs(("on",))
    }
    cases = [
        case if case.passed or case.optimisations == "off" else alike[case.batch]
        for case in report.cases
    ]
    return summarise(cases, tolerance)


def runs_of(
    path: Path,
    inputs: Mapping[int, Sequence[Array]],
    optimisations: Sequence[Optimisations] = OPTIMISATIONS,
) -> Iterator[Run]:
    """Run a file with ONNX Runtime's optimisations off and on, at every batch size.

    Half precision is emulated where they are off: see `emulate`.

    Args:
        path: The ONNX file.
        inputs: Per batch size, one array per input.
        optimisations: Which of the two.

    Raises:
        InputError: If ONNX Runtime cannot load or run the file.
    """
    for setting in optimisations:
        stored = as_stored(path) if setting == "off" else contextlib.nullcontext(path)
        with stored as file:
            session = Session(file, optimisations=setting)
        for batch, arrays in inputs.items():
            yield Run(
                optimisations=setting,
                batch=batch,
                names=session.output_names,
                outputs=session.run(arrays),
                maps=session.maps,
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
    return facts_of(path).precision


def batch_of(inputs: Sequence[Array]) -> int:
    """Return the batch size of inputs, by the first."""
    return len(inputs[0]) if inputs and inputs[0].ndim else 1
