"""The steps from a model to its engine, and what each makes: a candidate to compare.

`export` takes a model through the first of them and raises where one differs; the ladder takes it
through all and reports each. A torch model goes up twice: with its own weights, and with parameters
and statistics that are drawn at random, because a fresh initialisation hides faults.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from edgeattn import legalise as legalisation
from edgeattn.base.clock import Clock
from edgeattn.base.errors import InputError
from edgeattn.base.memory import give_memory_back
from edgeattn.legalise import Legalised
from edgeattn.lowering.record import Lowered
from edgeattn.models import capture
from edgeattn.options.cast import CastOptions
from edgeattn.options.export import ExportOptions
from edgeattn.options.model import ModelRequest
from edgeattn.options.precision import Precision
from edgeattn.parity.compare import Reference, Run
from edgeattn.parity.metrics import Tolerance, tolerance_of
from edgeattn.parity.references import BATCHES, at_batches, module_reference
from edgeattn.records.parity import ParityReport, Weights
from edgeattn.records.trace import Machine
from edgeattn.workflows.forms import Forming
from edgeattn.workflows.workspace import Workspace

if TYPE_CHECKING:
    import onnx_ir as ir
    from torch import nn

    from edgeattn.models.build import BuiltModel

BOTH: Final[tuple[Weights, ...]] = ("model", "random")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What a step made, with one kind of weights.

    Attributes:
        path: The ONNX file; that of the step below, for an engine.
        runs: Its runs; running it may fail.
        fault: What a gate of its own said against it.
        own: The comparison that a cast made by itself, if it is held against it.
        locate: Finds the first difference from the step below, where files do not tell it.
    """

    path: Path
    runs: Iterable[Run]
    fault: str = ""
    own: ParityReport | None = None
    locate: Callable[[Tolerance], str | None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step.

    Attributes:
        name: Its name.
        tolerance: What the candidate is held to.
        make: Makes the candidate, for a reference, of the file that the step below made.
        weights: The weights that it is made with.
        is_asked: Whether it was asked for by name: where it cannot be made, that is an error, and
            no rung that is left out.
    """

    name: str
    tolerance: Tolerance
    make: Callable[[Reference, Path], Candidate]
    weights: tuple[Weights, ...] = BOTH
    is_asked: bool = False


class Top(Protocol):
    """What the last step is taken on, where that was asked for by name."""

    @property
    def machine(self) -> Machine:
        """What the step is taken on."""

    @property
    def destined(self) -> dict[str, str]:
        """What models are lowered for there, as the options of lowering have it."""

    @property
    def opset(self) -> int | None:
        """The highest opset that it takes; None if that is not known, or any is."""

    def takes_cast(self, cast: CastOptions) -> bool:
        """Return whether the file is cast before."""

    def step(
        self, folder: Path, cast: CastOptions | None, precision: Precision, notes: list[str]
    ) -> Step:
        """Return the step.

        Args:
            folder: Where files go.
            cast: The precision that is asked, if one is.
            precision: The precision of the file that the ladder begins with.
            notes: What the user should know, which it adds to.

        Raises:
            InputError: More is asked than can be seen.
        """


def check_float32(built: BuiltModel) -> None:
    """Refuse a model whose parameters are not float32.

    Raises:
        InputError: Names the parameter.
    """
    import torch

    for name, parameter in built.module.named_parameters():
        if parameter.is_floating_point() and parameter.dtype != torch.float32:
            raise InputError(
                f"The model's parameter {name} is {str(parameter.dtype).removeprefix('torch.')};"
                " models are exported in float32.",
                mend="Call .float() on the model where it is built.",
            )


def captured(built: BuiltModel, options: ExportOptions) -> ir.Model:
    """Trace and translate a model.

    Raises:
        InputError: It cannot be traced, or its batch cannot be left open.
    """
    program = built.program
    if program is None:
        program = capture.trace(built.module, built.inputs, dynamic_batch=options.dynamic_batch)
    elif options.dynamic_batch:
        raise InputError(
            "A .pt2 file has its shapes fixed already, so --dynamic-batch cannot open them.",
            mend="Trace it with a dynamic batch (torch.export's dynamic_shapes), or drop the flag.",
        )
    return capture.translate(program)


def references_of(
    built: BuiltModel, request: ModelRequest, raw: ir.Model, work: Workspace, clock: Clock
) -> list[Reference]:
    """Run torch with both kinds of weights, and begin the graph of each.

    The module has no weights afterwards: they are in files by then.

    Returns:
        The references; the model's alone if torch gives NaN or infinity with random weights.

    Raises:
        InputError: The model itself gives NaN or infinity.
    """
    from edgeattn.models.build import build
    from edgeattn.parity.randomise import randomise

    def again(weights: Weights) -> nn.Module:
        module = build(request).module
        if weights == "random":
            randomise(module, inputs, seed=request.seed)
        return module

    inputs = built.inputs

    shapes = [value.shape for value in raw.graph.inputs]
    is_open = all(shape and not isinstance(shape[0], int) for shape in shapes)
    batches = at_batches(inputs, BATCHES if is_open else ())
    references: list[Reference] = []
    with clock.stage("simplify"):
        work.begin("model", raw, built)
    for weights in BOTH:
        with clock.stage("reference"), _one_thread():
            if weights == "random":
                randomise(built.module, inputs, seed=request.seed)
            reference = module_reference(
                built.module, batches, weights=weights, again=partial(again, weights)
            )
        if _is_told(reference, references[0] if references else None):
            references.append(reference)
            if weights == "random":
                with clock.stage("simplify"):
                    work.begin(weights, raw, built)
        elif weights == "model":
            raise InputError(
                "The torch model itself gives only NaN or infinity, so nothing can be compared.",
                mend="Look for a division by zero, or for an overflow, in the model.",
            )
    _let_go(built.module)
    return references


def lowered_file(
    work: Workspace,
    weights: Weights,
    options: ExportOptions,
    clock: Clock,
    write: Callable[[Weights, ir.Model], Path],
    *,
    forming: Forming | None,
) -> tuple[Path, ir.Model, Lowered, Legalised]:
    """Lower a graph, if there is something that chooses forms, legalise it, and write it."""
    with clock.stage("simplify"):
        model = work.simplified(weights)
    record = Lowered(target=options.target) if forming is None else forming.lower(model, clock)
    with clock.stage("legalise"):
        legalised = legalisation.legalise(model, options.opset)
        return write(weights, model), model, record, legalised


def tolerance_of_cast(cast: CastOptions) -> Tolerance:
    """Return what a cast is held to."""
    return tolerance_of(cast.precision, min_sqnr_db=cast.min_sqnr_db)


def unsimplified(reason: str) -> list[str]:
    """Return the note that a model is not simplified, if there is a reason."""
    return [f"The model is not simplified: {reason.rstrip('.')}."] if reason else []


def _is_told(reference: Reference, own: Reference | None) -> bool:
    """Return whether a reference's outputs hold numbers to compare.

    Some may be NaN or infinity: a mask's are. With random weights, these may stand only where they
    stand with the model's own: elsewhere something overflowed.

    Raises:
        InputError: They are complex numbers.
    """
    outputs = [output for batch in reference.outputs.values() for output in batch]
    if any(output.dtype.kind == "c" for output in outputs):
        raise InputError(
            "The model gives complex numbers, for which ONNX Runtime has no kernels.",
            mend="Give the real and imaginary parts: torch.view_as_real(output).",
        )
    finite = [np.isfinite(output) for output in outputs if output.dtype.kind == "f"]
    if own is None:
        return all(places.any() or not places.size for places in finite)
    others = [output for batch in own.outputs.values() for output in batch]
    expected = [np.isfinite(output) for output in others if output.dtype.kind == "f"]
    return all(map(np.array_equal, finite, expected))


def _let_go(module: nn.Module) -> None:
    """Free the weights of a module, whoever else holds it."""
    for tensor in (*module.parameters(), *module.buffers()):
        with contextlib.suppress(RuntimeError):  # of inference mode
            tensor.data = tensor.new_empty(0)
    give_memory_back()


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
