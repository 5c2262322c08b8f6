"""The proof of an export: two graphs through the same stages, each compared with torch.

One graph holds the model's weights and becomes the file. The other is the same, but for parameters
and statistics that are drawn at random: what a fresh initialisation hides is checked there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeattn import lowering_stage
from edgeattn.artifacts import describe
from edgeattn.errors import CheckError, InputError

if TYPE_CHECKING:
    from pathlib import Path

    import onnx_ir as ir
    import torch

    from edgeattn.artifacts import Weights, Workspace
    from edgeattn.clock import Clock
    from edgeattn.export import ExportOptions
    from edgeattn.graph.costs import Costs
    from edgeattn.legalise import Legalised
    from edgeattn.lowering.record import Lowered
    from edgeattn.manifest import (
        LegalisedNode,
        NearMiss,
        ParityCase,
        ParityReport,
        Rewrite,
        Tensor,
    )
    from edgeattn.models.build import BuiltModel
    from edgeattn.models.source import ModelRequest
    from edgeattn.parity.runtime import Array

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
    """Takes both graphs through simplification, lowering, legalisation and parity.

    Returns:
        What was written, the report, and notes for the user.
    """
    from edgeattn.legalise import legalise
    from edgeattn.parity.compare import run_cases, summarise
    from edgeattn.parity.metrics import tolerance_of
    from edgeattn.parity.randomise import randomise
    from edgeattn.parity.runtime import run_torch

    batches = _batches(built.inputs, raw)
    arrays = {b: [value.numpy(force=True) for value in values] for b, values in batches.items()}
    references: dict[Weights, Mapping[int, Sequence[Array]]] = {}
    notes: list[str] = []
    kinds: tuple[Weights, ...] = ("model", "random")
    for weights in kinds:
        with clock.stage("reference"), _one_thread():
            if weights == "random":
                randomise(built.module, built.inputs, seed=request.seed)
            reference = {b: run_torch(built.module, v) for b, v in batches.items()}
        if not _is_finite(reference):
            if weights == "model":
                raise _not_finite()
            notes.append(_NOT_CHECKED.format(reason="torch itself gives NaN or infinity with them"))
            continue
        references[weights] = reference
        with clock.stage("simplify"):
            work.begin(weights, raw)
    with clock.stage("simplify"):
        reason = work.why_unsimplified()
    if reason:
        notes.append(f"The model is not simplified: {reason}.")
    tolerance = tolerance_of("fp32")
    cases: list[ParityCase] = []
    facts: dict[Weights, Facts] = {}
    for weights, expected in references.items():
        with clock.stage("lower"):
            model = work.simplified(weights)
            lowered = _lowered(model, options)
        with clock.stage("legalise"):
            legalised = legalise(model, options.opset)
            path = work.finish(weights, model)
        with clock.stage("count"):
            facts[weights] = _facts(model, lowered, legalised, batch=next(iter(batches)))
        del model  # its weights, before the sessions hold them too
        with clock.stage("parity"):
            found = run_cases(path, arrays, expected, weights=weights, tolerance=tolerance)
        if not all(case.passed for case in found):
            with clock.stage("difference"):
                found, note = _judged(found, path, built, request, weights)
            notes.append(note)
        cases += found
    counts = [len(fact.nodes) for fact in facts.values()]
    if len({fact.nodes for fact in facts.values()}) > 1:
        notes.append(
            "What is neutral with these weights (a bias of 0, a scale of 1) was removed: the file"
            f" has {counts[0]} nodes, the graph with random weights {counts[1]}."
        )
    return facts["model"], summarise(cases, tolerance), notes


def _is_finite(reference: Mapping[int, Sequence[Array]]) -> bool:
    import numpy as np

    outputs = [output for batch in reference.values() for output in batch]
    if any(output.dtype.kind == "c" for output in outputs):
        raise InputError(
            "The model gives complex numbers, for which ONNX Runtime has no kernels.",
            mend="Give the real and imaginary parts: torch.view_as_real(output).",
        )
    return all(np.isfinite(output).all() for output in outputs if output.dtype.kind == "f")


def _not_finite() -> InputError:
    return InputError(
        "The torch model itself gives NaN or infinity, so nothing can be compared.",
        mend="Look for a division by zero, or for an overflow, in the model.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What there is to say of the model that was written, once its weights are gone."""

    opset: int
    ir_version: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    nodes: tuple[tuple[str, str], ...]
    rewrites: tuple[Rewrite, ...]
    near_misses: tuple[NearMiss, ...]
    legalised: tuple[LegalisedNode, ...]
    costs: Costs


def _lowered(model: ir.Model, options: ExportOptions) -> Lowered:
    from edgeattn.lowering.record import Lowered

    if not options.lower:
        return Lowered(target=options.target)
    return lowering_stage.run(model, target=options.target, rules=options.rules)


def _facts(model: ir.Model, lowered: Lowered, legalised: Legalised, *, batch: int) -> Facts:
    from edgeattn.graph.costs import count

    return Facts(
        opset=legalised.opset,
        ir_version=int(model.ir_version),
        inputs=describe(model.graph.inputs),
        outputs=describe(model.graph.outputs),
        nodes=tuple((str(node.name), node.op_type) for node in model.graph),
        **lowering_stage.record(lowered),
        legalised=lowering_stage.record_legalised(legalised.rewrites),
        costs=count(model, batch=batch),
    )


def _batches(
    inputs: Sequence[torch.Tensor], raw: ir.Model
) -> Mapping[int, tuple[torch.Tensor, ...]]:
    from edgeattn.parity.compare import BATCHES, at_batches

    shapes = [value.shape for value in raw.graph.inputs]
    is_open = all(shape and not isinstance(shape[0], int) for shape in shapes)
    return at_batches(inputs, BATCHES if is_open else ())


def _judged(
    cases: Sequence[ParityCase],
    path: Path,
    built: BuiltModel,
    request: ModelRequest,
    weights: Weights,
) -> tuple[list[ParityCase], str]:
    """Judges runs that miss the tolerance by the rounding that torch itself has.

    Returns:
        The cases, all passed, and a note on what they rest on; no cases, and the reason, where
        random weights make the model so chaotic that nothing can be told.

    Raises:
        InputError: If the torch model itself gives one result now and another then.
        CheckError: If the file differs by more than rounding: says where that begins.
    """
    from edgeattn.models.build import build
    from edgeattn.parity.bisect import first_difference_of_module
    from edgeattn.parity.compare import summarise
    from edgeattn.parity.metrics import measure, tolerance_of
    from edgeattn.parity.report import describe_failure
    from edgeattn.parity.rounding import LOWEST_FLOOR_DB, judge, rounding_floor_db
    from edgeattn.parity.runtime import run_torch

    # By now the module holds random weights, whichever graph failed.
    module = built.module if weights == "random" else build(request).module
    tolerance = tolerance_of("fp32")
    once, again = (run_torch(module, built.inputs) for _ in range(2))
    if not all(measure("", *pair, tolerance).passed for pair in zip(once, again, strict=True)):
        raise InputError(
            "The model is no function of its input: torch itself gives two results for one.",
            mend="Draw no random numbers in forward; pass training=self.training to dropout.",
        )
    floor_db = rounding_floor_db(module, built.inputs, tolerance)
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
    first = first_difference_of_module(path, module, built.inputs, tolerance)
    report = summarise(judged, tolerance, first_difference=first)
    raise CheckError(
        f"The ONNX model differs from the torch model: {describe_failure(report)}",
        mend="Nothing was written. Please report this with the command that you gave.",
    )


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Keeps torch to one thread: its threads would spin against onnxsim's child for the cores."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
