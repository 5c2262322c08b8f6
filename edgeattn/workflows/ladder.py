"""The parity ladder: a model step by step up to its engine, and the first rung that falls.

Each rung is compared with the rung below and with the start. Rungs above one that fell are not
climbed: they stand on it. A rung that cannot be climbed here is said to be so, and never passes.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgeattn.base.clock import Clock
from edgeattn.base.errors import CheckError, InputError, MissingError
from edgeattn.engine.parity import tolerance_of_engine
from edgeattn.graph.reading import read
from edgeattn.graph.writing import describe, save
from edgeattn.lowering.target import check
from edgeattn.models.capture import io_names
from edgeattn.options.cast import CastOptions, check_options
from edgeattn.options.export import ExportOptions
from edgeattn.options.model import ModelRequest
from edgeattn.options.optimize import OptimizeOptions
from edgeattn.parity.compare import Reference, Run, batch_of, compare, precision_of, runs_of
from edgeattn.parity.gate import run_reference, tolerance_of_rewrites
from edgeattn.parity.metrics import Tolerance, tolerance_of
from edgeattn.parity.references import file_reference
from edgeattn.parity.report import describe_failure
from edgeattn.precision import cast as casting
from edgeattn.precision.calibration import RANDOM, read_samples
from edgeattn.records.ladder import Comparison, Ladder, Rung
from edgeattn.records.manifest import Tensor
from edgeattn.records.parity import ParityReport, Weights
from edgeattn.runtimes.onnxruntime import Array, Session
from edgeattn.workflows.artifact import check_opset
from edgeattn.workflows.engine_step import make_engine
from edgeattn.workflows.optimize import lowered_copy
from edgeattn.workflows.pipeline import (
    Candidate,
    Step,
    captured,
    check_float32,
    lowered_file,
    references_of,
    tolerance_of_cast,
    unsimplified,
)
from edgeattn.workflows.workspace import Workspace, workspace

if TYPE_CHECKING:
    import onnx_ir as ir
    import torch

    from edgeattn.models.build import BuiltModel

OnStage = Callable[[str], None]

_NOT_WITH_RANDOM: Final = (
    "Not climbed with random weights: the model amplifies rounding until torch's own float32 result"
    " is {db:.0f} dB from float64's."
)
_NOTHING_TOLD: Final = (
    " Nothing can be told from that: the model amplifies rounding until torch's own float32 result"
    " is {db:.0f} dB from float64's."
)
#: Of its steps a ladder tells none but the rungs.
_SILENT: Final = Clock(lambda _: None)


def climb_model(
    request: ModelRequest,
    options: ExportOptions,
    *,
    inputs: Sequence[Array] | None = None,
    on_stage: OnStage = lambda _: None,
) -> Ladder:
    """Climb from a torch model: torch, onnx, lowered, cast, engine.

    The first two rungs are climbed with random weights too, as export does it: what a fresh
    initialisation hides is seen there. What a cast costs depends on the weights, so it and the
    engine are climbed with the model's own.

    Args:
        request: Which model, weights and attention.
        options: How it is exported, and cast; without a cast, that rung is left out.
        inputs: Real data, one array per input; by default the first sample that the cast is
            calibrated on, or random data.
        on_stage: Called with the name of each rung as it begins.

    Raises:
        InputError: The model cannot be had, traced, translated, written at this opset, or cast.
    """
    from edgeattn.models.build import build

    check_opset(options.opset)
    check(options.target, options.rules)
    _check_cast(options.cast)
    on_stage("build")
    built = build(request)
    if inputs is None:
        names = io_names("input", options.input_names, len(built.inputs))
        inputs = _calibrated_on(
            options.cast,
            [
                Tensor(name=name, shape=tuple(one.shape), dtype=str(one.dtype).rpartition(".")[2])
                for name, one in zip(names, built.inputs, strict=True)
            ],
        )
    if inputs is not None:
        built = dataclasses.replace(built, inputs=_as_tensors(inputs, built))
    check_float32(built)
    with (
        tempfile.TemporaryDirectory(prefix="edgeattn-") as name,
        workspace(Path(name) / "model.onnx", options) as work,
    ):
        on_stage("export")
        raw = captured(built, options)
        notes = list(built.notes)
        references = references_of(built, request, raw, work, _SILENT)
        if len(references) < 2:
            notes.append("Not climbed with random weights: torch gives NaN or infinity with them.")
        notes += unsimplified(work.why_unsimplified())
        folder = Path(name)
        steps = [
            Step(
                name=rung,
                tolerance=tolerance_of("fp32"),
                make=partial(_make_exported, work, options, folder, rung),
            )
            for rung in ("onnx", "lowered")
        ]
        steps += _upper_steps(folder, options.cast, "fp32")
        return climb(built.source, "torch", references, steps, notes=notes, on_stage=on_stage)


def climb_file(
    path: Path,
    options: OptimizeOptions,
    *,
    cast: CastOptions | None = None,
    inputs: Sequence[Array] | None = None,
    on_stage: OnStage = lambda _: None,
) -> Ladder:
    """Climb from an ONNX file: onnx, lowered, cast, engine.

    Args:
        path: The file.
        options: How it is lowered.
        cast: How it is cast; None leaves that rung out.
        inputs: Real data, one array per input; by default the first sample that the cast is
            calibrated on, or random data.
        on_stage: Called with the name of each rung as it begins.

    Raises:
        InputError: The file cannot be read, run, written at this opset, or cast.
    """
    if options.opset is not None:
        check_opset(options.opset)
    check(options.target, options.rules)
    _check_cast(cast)
    on_stage("read")
    graph = read(path).model.graph  # says what is wrong with the file, as other commands do
    notes: list[str] = []
    if inputs is None:
        inputs = _calibrated_on(cast, describe(graph.inputs))
    if inputs is None:
        reference, notes = run_reference(path, options.shapes, options.seed)
    else:
        batch = batch_of(inputs)
        reference = file_reference(path, {batch: inputs}, {batch: Session(path).run(inputs)})
    with tempfile.TemporaryDirectory(prefix="edgeattn-") as name:
        folder = Path(name)
        tolerance = tolerance_of_rewrites(path)
        make = partial(_make_optimised, options, folder, notes)
        steps = [Step(name="lowered", tolerance=tolerance, make=make)]
        steps += _upper_steps(folder, cast, precision_of(path))
        return climb(
            str(path), "onnx", [reference], steps, path=path.resolve(), notes=notes,
            on_stage=on_stage,
        )  # fmt: skip


def _check_cast(cast: CastOptions | None) -> None:
    if cast is not None:
        check_options(cast)


def _calibrated_on(cast: CastOptions | None, inputs: Sequence[Tensor]) -> list[Array] | None:
    """Return the first sample of real data that a cast is calibrated on, None where there is none.

    What int8 does to noise says nothing of what it does to what it was calibrated for.
    """
    if cast is None or cast.calibration in (None, RANDOM):
        return None
    sample = next(iter(read_samples(str(cast.calibration), inputs, limit=1, seed=cast.seed)))
    return [sample[one.name] for one in inputs]


def _as_tensors(inputs: Sequence[Array], built: BuiltModel) -> tuple[torch.Tensor, ...]:
    import torch

    # Pixels come as whole numbers, and convolutions take none.
    return tuple(
        torch.from_numpy(array).to(own.dtype)
        for array, own in zip(inputs, built.inputs, strict=True)
    )


def _make_exported(
    work: Workspace,
    options: ExportOptions,
    folder: Path,
    rung: str,
    reference: Reference,
    _below: Path,
) -> Candidate:
    """Make the exported file, lowered or not."""

    def write(weights: Weights, model: ir.Model) -> Path:
        path = folder / f"{rung}-{weights}.onnx"
        save(model, path)
        return path

    weights, lower = reference.weights, rung == "lowered"
    path, *_ = lowered_file(work, weights, options, _SILENT, write, lower=lower)
    return Candidate(path=path, runs=runs_of(path, reference.inputs))


def _make_optimised(
    options: OptimizeOptions, folder: Path, notes: list[str], reference: Reference, below: Path
) -> Candidate:
    """Make of a file what `edgeattn optimize` makes of it."""
    model, _, _, remarks = lowered_copy(read(below), options, folder, _SILENT)
    notes += remarks
    path = folder / "lowered.onnx"
    save(model, path)
    return Candidate(path=path, runs=runs_of(path, reference.inputs))


def _upper_steps(folder: Path, cast: CastOptions | None, precision: str) -> list[Step]:
    """Return the steps of every ladder: the cast, where one is asked, and the engine."""
    steps = []
    top = tolerance_of_engine(precision)
    if cast is not None:
        top = tolerance_of_cast(cast)
        make = partial(_make_cast, cast, folder)
        steps.append(Step(name="cast", tolerance=top, make=make, weights=("model",)))
    make = partial(make_engine, folder)
    return [*steps, Step(name="engine", tolerance=top, make=make, weights=("model",))]


def _make_cast(options: CastOptions, folder: Path, reference: Reference, below: Path) -> Candidate:
    """Cast the file below; what its own gate says against the cast is kept beside it."""
    path = folder / "cast.onnx"
    fault = ""
    try:
        casting.cast_file(below, path, options)
    except CheckError as error:
        if not path.is_file():
            raise
        fault = error.fact
    return Candidate(path=path, runs=runs_of(path, reference.inputs), fault=fault)


@dataclasses.dataclass(slots=True, kw_only=True)
class _Standing:
    """How far the model is up, with one kind of weights.

    Attributes:
        start: What the ladder stands on.
        below: What stands on the rung that is reached.
        rung: The name of that rung.
        path: The file that stands there; nothing stands at torch.
    """

    start: Reference
    below: Reference
    rung: str
    path: Path


def climb(
    model: str,
    start: str,
    references: Sequence[Reference],
    steps: Sequence[Step],
    *,
    path: Path = Path(),
    notes: list[str],
    on_stage: OnStage = lambda _: None,
) -> Ladder:
    """Climb rung by rung, until one falls.

    Args:
        model: What is climbed with, for the report.
        start: The name of what the ladder stands on.
        references: That, with the model's own weights, and with random ones where it is torch's.
        steps: The rungs, from the lowest.
        path: The file that the ladder stands on, if it is one.
        notes: What the user should know; rungs add to it.
        on_stage: Called with the name of each rung as it begins.

    Returns:
        The report. Whether a rung fell is for the caller to judge.

    Raises:
        InputError: A rung cannot be made of this model, or not as it was asked.
    """
    standing = [_Standing(start=one, below=one, rung=start, path=path) for one in references]
    rungs: list[Rung] = []
    fell: Rung | None = None
    for step in steps:
        if fell is not None:
            rungs.append(_not_climbed(step, f"It stands on {fell.rung}, which fell."))
            continue
        on_stage(step.name)
        began = time.perf_counter()
        rung = _climbed(step, standing, start, notes)
        seconds = round(time.perf_counter() - began, 3)
        rungs.append(rung.model_copy(update={"seconds": seconds}))
        fell = rung if rung.state == "fell" else None
    return Ladder(
        model=model,
        start=start,
        rungs=tuple(rungs),
        first_fall=None if fell is None else fell.rung,
        first_difference=None if fell is None else fell.first_difference,
        notes=tuple(notes),
    )


def _climbed(step: Step, standing: list[_Standing], start: str, notes: list[str]) -> Rung:
    """Take the model up one rung; weights of which nothing can be told stay behind."""
    comparisons: list[Comparison] = []
    for one in [one for one in standing if one.start.weights in step.weights]:
        try:
            made = step.make(one.start, one.path)
        except MissingError as error:
            return _not_climbed(step, " ".join(filter(None, [error.fact, error.mend])))
        except CheckError as error:
            return _fell(step, comparisons, error.fact, None)
        try:
            runs = list(made.runs)
        except InputError as error:
            fact = error.fact.replace(str(made.path), step.name)  # it lies in a scratch folder
            return _fell(step, comparisons, fact, None)
        except MissingError as error:
            return _not_climbed(step, error.fact)
        against = {one.rung: one.below, start: one.start}
        found = [_compared(step, runs, one.start, *pair) for pair in against.items()]
        chaos_db = _chaos_db(one.start, found)
        if one.start.weights == "random" and chaos_db is not None:
            standing.remove(one)
            notes.append(_NOT_WITH_RANDOM.format(db=chaos_db))
            continue
        comparisons += [comparison for comparison, _ in found]
        failed = next((pair for pair in found if not pair[1].passed), None)
        if failed is not None or made.fault:
            return _fallen(step, one, made, failed, comparisons)
        outputs = {run.batch: run.outputs for run in runs if run.optimisations == "off"}
        one.below = file_reference(made.path, one.start.inputs, outputs, weights=one.start.weights)
        one.rung, one.path = step.name, made.path
    return Rung(
        rung=step.name,
        state="passed",
        precision=step.tolerance.precision,
        comparisons=tuple(comparisons),
    )


def _compared(
    step: Step, runs: Sequence[Run], start: Reference, against: str, reference: Reference
) -> tuple[Comparison, ParityReport]:
    """Compare the runs of a rung; in float32, by the model's own rounding where that is large."""
    report = compare(runs, reference, step.tolerance)
    if not report.passed and step.tolerance.precision == "fp32" and start.floor_db is not None:
        from edgeattn.parity.rounding import relaxed_by

        report = compare(runs, reference, relaxed_by(step.tolerance, start.floor_db))
    comparison = Comparison(
        against=against,
        weights=reference.weights,
        passed=report.passed,
        max_rel_tolerance=report.max_rel_tolerance,
        min_sqnr_db=report.min_sqnr_db,
        runs=len(report.cases),
        outputs=report.outputs,
    )
    return comparison, report


def _chaos_db(start: Reference, found: Sequence[tuple[Comparison, ParityReport]]) -> float | None:
    """Return the rounding floor where a difference says nothing, because it lies so low."""
    if all(report.passed for _, report in found) or start.floor_db is None:
        return None
    from edgeattn.parity.rounding import LOWEST_FLOOR_DB

    return start.floor_db if start.floor_db < LOWEST_FLOOR_DB else None


def _fallen(
    step: Step,
    one: _Standing,
    made: Candidate,
    failed: tuple[Comparison, ParityReport] | None,
    comparisons: Sequence[Comparison],
) -> Rung:
    """Return why a rung fell, and where the difference begins."""
    locate = made.locate or partial(one.below.locate, made.path)
    if failed is None:
        # The file below lies in a scratch folder.
        fault = made.fault.replace(str(one.path), one.rung)
        return _fell(step, comparisons, fault, locate(step.tolerance))
    comparison, report = failed
    if comparison.against != one.rung:
        locate = partial(one.start.locate, made.path)
    first = locate(Tolerance.of(report))
    report = report.model_copy(update={"first_difference": first})
    reason = f"It differs from {comparison.against}: {describe_failure(report)}"
    if (chaos_db := _chaos_db(one.start, [failed])) is not None:
        reason += _NOTHING_TOLD.format(db=chaos_db)
    return _fell(step, comparisons, reason, first)


def _fell(step: Step, comparisons: Sequence[Comparison], reason: str, first: str | None) -> Rung:
    return Rung(
        rung=step.name,
        state="fell",
        precision=step.tolerance.precision,
        comparisons=tuple(comparisons),
        first_difference=first,
        reason=reason,
    )


def _not_climbed(step: Step, reason: str) -> Rung:
    return Rung(
        rung=step.name,
        state="not climbed",
        precision=step.tolerance.precision,
        reason=" ".join(reason.split()),
    )
