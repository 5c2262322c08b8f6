"""The parity ladder: a model, or an ONNX file, step by step up to its engine, here or on a host.

What each step makes is compared with the step below and with the start: see `climb`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgeattn.base import files
from edgeattn.base.clock import Clock
from edgeattn.base.errors import CheckError
from edgeattn.engine.parity import tolerance_of_engine
from edgeattn.graph.reading import read
from edgeattn.graph.writing import describe, save
from edgeattn.lowering.target import check
from edgeattn.models.capture import io_names
from edgeattn.options.cast import CastOptions, check_options
from edgeattn.options.export import ExportOptions
from edgeattn.options.model import ModelRequest
from edgeattn.options.optimize import OptimizeOptions
from edgeattn.options.precision import Precision
from edgeattn.parity.check import tolerance_of_rewrites
from edgeattn.parity.compare import Reference, batch_of, precision_of, runs_of
from edgeattn.parity.metrics import tolerance_of
from edgeattn.parity.references import (
    batches_of,
    file_reference,
    module_reference,
    run_reference,
)
from edgeattn.precision import cast as casting
from edgeattn.precision.calibration import RANDOM, read_samples
from edgeattn.precision.pixels import Chosen, choose
from edgeattn.records.ladder import Ladder
from edgeattn.records.manifest import Tensor
from edgeattn.records.parity import Weights
from edgeattn.records.pixels import Pixels
from edgeattn.runtimes.blame import blames_the_file
from edgeattn.runtimes.onnxruntime import Array, Session
from edgeattn.workflows.artifact import check_opset
from edgeattn.workflows.climb import climb
from edgeattn.workflows.engine_step import make_engine
from edgeattn.workflows.forms import Forming
from edgeattn.workflows.optimize import lowered_copy
from edgeattn.workflows.pipeline import (
    Candidate,
    Step,
    Top,
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

#: Of its steps a ladder tells none but the rungs.
_SILENT: Final = Clock(lambda _: None)


def climb_model(
    request: ModelRequest,
    options: ExportOptions,
    *,
    inputs: Sequence[Array] | None = None,
    there: Top | None = None,
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
        there: What the last rung is climbed on; None for the GPU of this machine.
        on_stage: Called with the name of each rung as it begins.

    Raises:
        InputError: The model cannot be built, traced, translated, written at this opset, or cast.
    """
    from edgeattn.models.build import build

    check_opset(options.opset)
    check(options.target, options.rules)
    forming = Forming(options)
    _check_cast(options.cast)
    on_stage("build")
    built = build(request)
    names = io_names("input", options.input_names or built.input_names, len(built.inputs))
    taken = [
        Tensor(name=name, shape=tuple(one.shape), dtype=str(one.dtype).rpartition(".")[2])
        for name, one in zip(names, built.inputs, strict=True)
    ]
    pixels = _pixels(options.cast, own=built.pixels)
    sample, remarks = _calibrated_on(options.cast, taken, pixels)
    inputs = sample if inputs is None else inputs
    if inputs is not None:
        built = dataclasses.replace(built, inputs=_as_tensors(inputs, built))
    check_float32(built)
    with (
        files.scratch() as folder,
        workspace(folder / "model.onnx", options) as work,
    ):
        on_stage("export")
        raw = captured(built, options)
        notes = [*built.notes, *remarks]
        references = references_of(built, request, raw, work, _SILENT)
        del raw  # it holds the weights
        if len(references) < 2:
            notes.append("Not climbed with random weights: torch gives NaN or infinity with them.")
        notes += unsimplified(work.why_unsimplified())
        steps = [
            Step(
                name=rung,
                tolerance=tolerance_of("fp32"),
                make=partial(_make_exported, work, options, folder, rung, chosen),
            )
            for rung, chosen in (("onnx", None), ("lowered", forming))
        ]
        steps += _upper_steps(folder, options.cast, "fp32", built.pixels, there, notes)
        ladder = climb(built.source, "torch", references, steps, notes=notes, on_stage=on_stage)
    return _on(ladder, there)


@blames_the_file
def climb_file(
    path: Path,
    options: OptimizeOptions,
    *,
    cast: CastOptions | None = None,
    inputs: Sequence[Array] | None = None,
    lower: bool = True,
    built: BuiltModel | None = None,
    there: Top | None = None,
    on_stage: OnStage = lambda _: None,
) -> Ladder:
    """Climb from an ONNX file: onnx, lowered, cast, engine.

    Args:
        path: The file.
        options: How it is lowered.
        cast: How it is cast; None leaves that rung out.
        inputs: Real data, one array per input; by default the first sample that the cast is
            calibrated on, or random data.
        lower: Whether it is lowered; if not, the file itself is climbed with.
        built: The torch model that the file is of, to stand below it.
        there: What the last rung is climbed on; None for the GPU of this machine.
        on_stage: Called with the name of each rung as it begins.

    Raises:
        InputError: The file cannot be read, run, written at this opset, or cast.
    """
    if options.opset is not None:
        check_opset(options.opset)
    check(options.target, options.rules)
    forming = Forming(options)
    _check_cast(cast)
    on_stage("read")
    model = read(path).model  # says what is wrong with the file, as other commands do
    pixels = _pixels(cast, path=path, model=model)
    sample, notes = _calibrated_on(cast, describe(model.graph.inputs), pixels)
    inputs = sample if inputs is None else inputs
    steps = []
    if built is not None:
        taken = built.inputs if inputs is None else _as_tensors(inputs, built)
        reference = module_reference(built.module, batches_of(path, taken))
        notes += built.notes
        own_tolerance = tolerance_of(precision_of(path))
        make = partial(_make_itself, path)
        steps.append(Step(name="onnx", tolerance=own_tolerance, make=make, weights=("model",)))
    elif inputs is None:
        reference, remarks = run_reference(path, options.shapes, options.seed)
        notes += remarks
    else:
        batch = batch_of(inputs)
        reference = file_reference(path, {batch: inputs}, {batch: Session(path).run(inputs)})
    with files.scratch() as folder:
        if lower:
            make = partial(_make_optimised, options, forming, folder, notes)
            tolerance = tolerance_of_rewrites(path)
            steps.append(Step(name="lowered", tolerance=tolerance, make=make))
        steps += _upper_steps(folder, cast, precision_of(path), pixels.pixels, there, notes)
        ladder = climb(
            str(path),
            "onnx" if built is None else "torch",
            [reference],
            steps,
            path=path.resolve(),
            notes=notes,
            on_stage=on_stage,
        )
    return _on(ladder, there)


def _on(ladder: Ladder, there: Top | None) -> Ladder:
    return ladder if there is None else ladder.model_copy(update={"machine": there.machine})


def _check_cast(cast: CastOptions | None) -> None:
    if cast is not None:
        check_options(cast)


def _pixels(cast: CastOptions | None, **known: Any) -> Chosen:
    """Return what photos are normalised by that a cast is calibrated on."""
    return choose(None if cast is None else cast.pixels, **known)


def _calibrated_on(
    cast: CastOptions | None, inputs: Sequence[Tensor], pixels: Chosen
) -> tuple[list[Array] | None, list[str]]:
    """Return the first sample of real data that a cast is calibrated on, or None, and notes.

    What int8 does to noise says nothing of what it does to what it was calibrated for.
    """
    if cast is None or cast.calibration in (None, RANDOM):
        return None, []
    source = str(cast.calibration)
    samples = read_samples(source, inputs, limit=1, seed=cast.seed, pixels=pixels)
    sample = next(iter(samples))
    return [sample[one.name] for one in inputs], list(samples.notes)


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
    forming: Forming | None,
    reference: Reference,
    _below: Path,
) -> Candidate:
    """Make the exported file, lowered or not."""

    def write(weights: Weights, model: ir.Model) -> Path:
        path = folder / f"{rung}-{weights}.onnx"
        save(model, path)
        return path

    path, *_ = lowered_file(work, reference.weights, options, _SILENT, write, forming=forming)
    return Candidate(path=path, runs=runs_of(path, reference.inputs))


def _make_itself(path: Path, reference: Reference, _below: Path) -> Candidate:
    return Candidate(path=path.resolve(), runs=runs_of(path, reference.inputs))


def _make_optimised(
    options: OptimizeOptions,
    forming: Forming,
    folder: Path,
    notes: list[str],
    reference: Reference,
    below: Path,
) -> Candidate:
    """Make of a file what `edgeattn optimize` makes of it."""
    model, _, _, remarks = lowered_copy(read(below), options, folder, _SILENT, forming)
    notes += remarks
    path = folder / "lowered.onnx"
    save(model, path)
    return Candidate(path=path, runs=runs_of(path, reference.inputs))


def _upper_steps(
    folder: Path,
    cast: CastOptions | None,
    precision: Precision,
    pixels: Pixels | None,
    there: Top | None,
    notes: list[str],
) -> list[Step]:
    """Return the steps of every ladder: the cast, where one is asked, and the engine."""
    steps = []
    top = tolerance_of_engine(precision)
    if cast is not None:
        top = tolerance_of_cast(cast)
        if there is None or there.takes_cast(cast):
            make = partial(_make_cast, cast, folder, pixels)
            steps.append(Step(name="cast", tolerance=top, make=make, weights=("model",)))
    if there is not None:
        return [*steps, there.step(folder, cast, precision, notes)]
    make = partial(make_engine, folder)
    return [*steps, Step(name="engine", tolerance=top, make=make, weights=("model",))]


def _make_cast(
    options: CastOptions, folder: Path, pixels: Pixels | None, reference: Reference, below: Path
) -> Candidate:
    """Cast the file below; what its own gate says against the cast is kept beside it."""
    path = folder / "cast.onnx"
    fault = ""
    try:
        casting.cast_file(below, path, options, pixels=pixels)
    except CheckError as error:
        if not path.is_file():
            raise
        fault = error.fact
    return Candidate(path=path, runs=runs_of(path, reference.inputs), fault=fault)
