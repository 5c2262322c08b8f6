"""Where a ladder stands: on a torch model, or on an ONNX file."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from edgeattn.graph.reading import read
from edgeattn.graph.writing import describe
from edgeattn.lowering.target import check
from edgeattn.models.capture import io_names
from edgeattn.options.cast import CastOptions, check_options
from edgeattn.options.export import ExportOptions
from edgeattn.options.model import ModelRequest
from edgeattn.options.optimize import OptimizeOptions
from edgeattn.parity.bisect import first_difference_of_files, first_difference_of_module
from edgeattn.parity.compare import precision_of
from edgeattn.parity.gate import run_reference, tolerance_of_rewrites
from edgeattn.parity.metrics import tolerance_of
from edgeattn.precision.calibration import RANDOM, read_samples
from edgeattn.records.ladder import Ladder, Weights
from edgeattn.records.manifest import Tensor
from edgeattn.runtimes.eager import run_torch
from edgeattn.runtimes.onnxruntime import Array, Session
from edgeattn.workflows.export import captured, check_float32, check_opset
from edgeattn.workflows.ladder.climb import climb
from edgeattn.workflows.ladder.making import make_exported, make_optimised, upper_steps
from edgeattn.workflows.ladder.rungs import Side, Step
from edgeattn.workflows.proof import batches_for, is_finite, not_finite
from edgeattn.workflows.workspace import Workspace, workspace

if TYPE_CHECKING:
    import onnx_ir as ir
    import torch

    from edgeattn.models.build import BuiltModel

OnStage = Callable[[str], None]


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
        _scratch() as folder,
        workspace(
            folder / "model.onnx",
            input_names=options.input_names,
            output_names=options.output_names,
            simplify_timeout_s=options.simplify_timeout_s if options.simplify else None,
        ) as work,
    ):
        on_stage("export")
        raw = captured(built, options)
        notes = list(built.notes)
        sides = _torch_sides(built, request, raw, work, notes)
        if reason := work.why_unsimplified():
            notes.append(f"The model is not simplified: {reason}.")
        fp32 = tolerance_of("fp32")
        steps = [
            Step(
                name=name,
                tolerance=fp32,
                make=partial(make_exported, work, options, folder, name),
            )
            for name in ("onnx", "lowered")
        ]
        steps += upper_steps(folder, options.cast, "fp32")
        return climb(built.source, sides, steps, notes=notes, on_stage=on_stage)


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
        arrays, references, notes = run_reference(path, options.shapes, options.seed)
    else:
        batch = len(inputs[0]) if inputs[0].ndim else 1
        arrays = {batch: list(inputs)}
        references = {batch: Session(path).run(inputs)}
    first = next(iter(arrays.values()))
    side = Side(
        weights="model",
        arrays=arrays,
        references=references,
        locate=lambda file, tolerance: first_difference_of_files(file, path, first, tolerance),
        below="onnx",
        path=path.resolve(),
        outputs=references,
    )
    with _scratch() as folder:
        tolerance = tolerance_of_rewrites(path)
        make = partial(make_optimised, options, folder, notes)
        steps = [Step(name="lowered", tolerance=tolerance, make=make)]
        steps += upper_steps(folder, cast, precision_of(path))
        return climb(str(path), [side], steps, notes=notes, on_stage=on_stage)


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="edgeattn-") as folder:
        yield Path(folder)


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


def _torch_sides(
    built: BuiltModel, request: ModelRequest, raw: ir.Model, work: Workspace, notes: list[str]
) -> list[Side]:
    """Run torch with both kinds of weights, and begins the graph of each.

    Raises:
        InputError: The model itself gives NaN or infinity.
    """
    from edgeattn.parity.randomise import randomise

    batches = batches_for(built.inputs, raw)
    sides = []
    kinds: tuple[Weights, ...] = ("model", "random")
    for weights in kinds:
        if weights == "random":
            randomise(built.module, built.inputs, seed=request.seed)
        references = {batch: run_torch(built.module, values) for batch, values in batches.items()}
        if not is_finite(references):
            if weights == "model":
                raise not_finite()
            notes.append("Not climbed with random weights: torch gives NaN or infinity with them.")
            continue
        work.begin(weights, raw)
        sides.append(_torch_side(built, request, weights, batches, references))
    return sides


def _torch_side(
    built: BuiltModel,
    request: ModelRequest,
    weights: Weights,
    batches: Mapping[int, Sequence[torch.Tensor]],
    references: Mapping[int, Sequence[Array]],
) -> Side:
    from edgeattn.parity.rounding import check_function, rounding_floor_db

    @cache
    def module() -> torch.nn.Module:
        if weights == "random":
            return built.module  # by the time that it is asked for, it holds them
        from edgeattn.models.build import build

        return build(request).module

    def floor_db() -> float:
        """Asked where a rung differs: of a model that is no function, nothing can be told."""
        tolerance = tolerance_of("fp32")
        check_function(module(), built.inputs, tolerance)
        return rounding_floor_db(module(), built.inputs, tolerance)

    return Side(
        weights=weights,
        arrays={b: [value.numpy(force=True) for value in values] for b, values in batches.items()},
        references=references,
        locate=lambda path, tolerance: first_difference_of_module(
            path, module(), built.inputs, tolerance
        ),
        measure_floor=floor_db,
        below="torch",
        outputs=references,
    )
