"""The proof of an export: two graphs through the same stages, each compared with torch.

Where the model is to be cast, each is proven in float32 first: a fault of a stage before would hide
behind what half precision may differ.

One graph holds the model's weights and becomes the file. The other is the same, but for parameters
and statistics that are drawn at random: what a fresh initialisation hides is checked there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from edgeattn.base.clock import Clock
from edgeattn.base.errors import CheckError, InputError
from edgeattn.legalise import legalise
from edgeattn.lowering import pipeline
from edgeattn.lowering.record import Lowered
from edgeattn.options.export import ExportOptions
from edgeattn.options.model import ModelRequest
from edgeattn.parity.bisect import first_difference_of_module
from edgeattn.parity.compare import BATCHES, at_batches, run_cases, summarise
from edgeattn.parity.metrics import tolerance_of
from edgeattn.parity.report import describe_failure
from edgeattn.records.parity import ParityCase, ParityReport
from edgeattn.runtimes.eager import run_torch
from edgeattn.runtimes.onnxruntime import Array
from edgeattn.workflows import cast_stage
from edgeattn.workflows.cast_stage import Compare, Reference
from edgeattn.workflows.facts import Facts, cast_facts, facts_of
from edgeattn.workflows.workspace import Weights, Workspace

if TYPE_CHECKING:
    from pathlib import Path

    import onnx_ir as ir
    import torch
    from torch import nn

    from edgeattn.models.build import BuiltModel

_RESTS_ON_FLOOR = (
    "With {weights} weights the model amplifies rounding: torch's own float32 result is {db:.0f} dB"
    " from float64's. Parity was judged by that."
)
_NOT_CHECKED = "Parity was not checked with random weights: {reason}."


def prove(
    built: BuiltModel,
    raw: ir.Model,
    request: ModelRequest,
    options: ExportOptions,
    work: Workspace,
    clock: Clock,
) -> tuple[Facts, ParityReport, list[str]]:
    """Take both graphs through simplification, lowering, legalisation and parity.

    Returns:
        What was written, the report, and notes for the user.
    """
    from edgeattn.parity.randomise import randomise

    batches = batches_for(built.inputs, raw)
    arrays = {b: [value.numpy(force=True) for value in values] for b, values in batches.items()}
    references: dict[Weights, Mapping[int, Sequence[Array]]] = {}
    notes: list[str] = []
    kinds: tuple[Weights, ...] = ("model", "random")
    for weights in kinds:
        with clock.stage("reference"), _one_thread():
            if weights == "random":
                randomise(built.module, built.inputs, seed=request.seed)
            reference = {b: run_torch(built.module, v) for b, v in batches.items()}
        if not is_finite(reference):
            if weights == "model":
                raise not_finite()
            notes.append(_NOT_CHECKED.format(reason="torch itself gives NaN or infinity with them"))
            continue
        references[weights] = reference
        with clock.stage("simplify"):
            work.begin(weights, raw)
    with clock.stage("simplify"):
        reason = work.why_unsimplified()
    if reason:
        notes.append(f"The model is not simplified: {reason}.")
    cases: list[ParityCase] = []
    cast_cases: list[ParityCase] = []
    facts: dict[Weights, Facts] = {}
    for weights, expected in references.items():
        path, facts[weights] = _written(work, weights, options, clock, batch=next(iter(batches)))
        compare = partial(run_cases, path, arrays, expected, weights=weights)
        rerun = partial(_reference, built, request, weights)
        found, told = _proven(path, compare, rerun, weights, clock)
        cases += found
        notes += told
        if options.cast is not None and found:
            record, found, told = cast_stage.run(
                path, options.cast, weights, compare=compare, reference=rerun, clock=clock
            )
            cast_cases += found
            notes += told
            facts[weights] = cast_facts(facts[weights], path, record)
    notes += _neutral(list(facts.values()))
    if options.cast is None:
        return facts["model"], summarise(cases, tolerance_of("fp32")), notes
    notes.append(_before_cast(cases))
    tolerance = tolerance_of(options.cast.precision, min_sqnr_db=options.cast.min_sqnr_db)
    return facts["model"], summarise(cast_cases, tolerance), notes


def _written(
    work: Workspace, weights: Weights, options: ExportOptions, clock: Clock, *, batch: int
) -> tuple[Path, Facts]:
    """Lower and legalise a graph, and write it."""
    with clock.stage("lower"):
        model = work.simplified(weights)
        lowered = _lowered(model, options)
    with clock.stage("legalise"):
        legalised = legalise(model, options.opset)
        path = work.finish(weights, model)
    with clock.stage("count"):
        return path, facts_of(model, lowered, legalised, batch=batch)


def _neutral(facts: Sequence[Facts]) -> list[str]:
    """Say so where the two graphs differ, in float32."""
    if len({fact.nodes for fact in facts}) < 2:
        return []
    counts = [len(fact.nodes) for fact in facts]
    note = (
        "What is neutral with these weights (a bias of 0, a scale of 1) was removed: the file has"
        f" {counts[0]} nodes, the graph with random weights {counts[1]}."
    )
    return [note]


def _proven(
    path: Path, compare: Compare, reference: Reference, weights: Weights, clock: Clock
) -> tuple[list[ParityCase], list[str]]:
    """Compare a float32 file with torch: return the cases, all passed, and notes on them."""
    with clock.stage("parity"):
        found = compare(tolerance=tolerance_of("fp32"))
    if all(case.passed for case in found):
        return found, []
    with clock.stage("difference"):
        found, note = _judged(found, path, reference, weights)
    return found, [note]


def is_finite(reference: Mapping[int, Sequence[Array]]) -> bool:
    """Return whether a reference's outputs hold neither NaN nor infinity.

    Args:
        reference: Its outputs, by batch size.

    Raises:
        InputError: They are complex numbers.
    """
    import numpy as np

    outputs = [output for batch in reference.values() for output in batch]
    if any(output.dtype.kind == "c" for output in outputs):
        raise InputError(
            "The model gives complex numbers, for which ONNX Runtime has no kernels.",
            mend="Give the real and imaginary parts: torch.view_as_real(output).",
        )
    return all(np.isfinite(output).all() for output in outputs if output.dtype.kind == "f")


def not_finite() -> InputError:
    """Return the error of a torch model that itself gives NaN or infinity."""
    return InputError(
        "The torch model itself gives NaN or infinity, so nothing can be compared.",
        mend="Look for a division by zero, or for an overflow, in the model.",
    )


def _lowered(model: ir.Model, options: ExportOptions) -> Lowered:
    if not options.lower:
        return Lowered(target=options.target)
    return pipeline.lower(model, target=options.target, rules=options.rules)


def _before_cast(cases: Sequence[ParityCase]) -> str:
    ratios = [o.sqnr_db for case in cases for o in case.outputs if o.sqnr_db is not None]
    worst = f"within {min(ratios):.0f} dB of torch" if ratios else "equal to torch"
    return f"In float32, before the cast, the model was {worst}."


def _reference(
    built: BuiltModel, request: ModelRequest, weights: Weights
) -> tuple[nn.Module, Sequence[torch.Tensor]]:
    """Return the module with these weights: by now, the one that was built holds random ones."""
    from edgeattn.models.build import build

    module = built.module if weights == "random" else build(request).module
    return module, built.inputs


def batches_for(
    inputs: Sequence[torch.Tensor], raw: ir.Model
) -> Mapping[int, tuple[torch.Tensor, ...]]:
    """Return the inputs at every batch size that a graph is proven at."""
    shapes = [value.shape for value in raw.graph.inputs]
    is_open = all(shape and not isinstance(shape[0], int) for shape in shapes)
    return at_batches(inputs, BATCHES if is_open else ())


def _judged(
    cases: Sequence[ParityCase], path: Path, reference: Reference, weights: Weights
) -> tuple[list[ParityCase], str]:
    """Judge runs that miss the tolerance by the rounding that torch itself has.

    Returns:
        The cases, all passed, and a note on what they rest on; no cases, and the reason, where
        random weights make the model so chaotic that nothing can be told.

    Raises:
        InputError: If the torch model itself gives one result now and another then.
        CheckError: If the file differs by more than rounding: says where that begins.
    """
    from edgeattn.parity.rounding import LOWEST_FLOOR_DB, check_function, judge, rounding_floor_db

    module, inputs = reference()
    tolerance = tolerance_of("fp32")
    check_function(module, inputs, tolerance)
    floor_db = rounding_floor_db(module, inputs, tolerance)
    judged = [judge(case, tolerance, floor_db) for case in cases]
    if all(case.passed for case in judged):
        return judged, _RESTS_ON_FLOOR.format(weights=weights, db=floor_db)
    if floor_db < LOWEST_FLOOR_DB:
        reason = (
            "the model amplifies rounding until torch's own float32 result is"
            f" {floor_db:.0f} dB from float64's"
        )
        if weights == "random":
            return [], _NOT_CHECKED.format(reason=reason)
        raise CheckError(
            f"Nothing can be proven in float32: {reason}.",
            mend="Nothing was written. A norm or a smaller initialisation keeps values in range.",
        )
    first = first_difference_of_module(path, module, inputs, tolerance)
    report = summarise(judged, tolerance, first_difference=first)
    raise CheckError(
        f"The ONNX model differs from the torch model: {describe_failure(report)}",
        mend="Nothing was written. Please report this with the command that you gave.",
    )


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch to one thread: its threads would spin against onnxsim's child for the cores."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
