"""Export: a model with attention becomes an ONNX file that is proven equal to it.

The stages are those of the design: build the module, capture it, simplify, legalise, check parity.
A second graph, the same but for parameters and statistics that are drawn at random, goes through
the same stages beside the first: what a fresh initialisation hides is checked there.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeattn import files
from edgeattn.artifacts import describe, workspace
from edgeattn.errors import CheckError, InputError

if TYPE_CHECKING:
    import onnx_ir as ir
    import torch

    from edgeattn import legalise
    from edgeattn.artifacts import Weights, Workspace
    from edgeattn.graph.costs import Costs
    from edgeattn.manifest import Manifest, ParityCase, ParityReport, Rewrite, Tensor
    from edgeattn.models.build import BuiltModel
    from edgeattn.models.source import ModelRequest
    from edgeattn.parity.runtime import Array

LOWEST_OPSET = 13


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """How to export.

    Attributes:
        opset: The ONNX opset that is written, exactly.
        dynamic_batch: Leave the first dimension of every input open.
        input_names: Names of the inputs; empty for `input`.
        output_names: Names of the outputs; empty for `output`.
        simplify: Run onnxsim.
        simplify_timeout_s: Seconds after which onnxsim is given up.
    """

    opset: int = 17
    dynamic_batch: bool = False
    input_names: tuple[str, ...] = ()
    output_names: tuple[str, ...] = ()
    simplify: bool = True
    simplify_timeout_s: float = 300.0


def export(
    request: ModelRequest,
    options: ExportOptions,
    destination: Path,
    *,
    command: str = "",
    on_stage: Callable[[str], None] = lambda _: None,
) -> Manifest:
    """Exports a model to `destination` and writes the manifest beside it.

    Args:
        request: Which model, weights and attention.
        options: How to export.
        destination: The ONNX file; the manifest has the same name and ends in `.json`.
        command: The command line to record in the manifest.
        on_stage: Called with the name of each stage as it begins.

    Returns:
        The manifest.

    Raises:
        InputError: If the model cannot be had, traced, translated or written at this opset.
        CheckError: If a parity check fails; nothing is written then.
    """
    destination = _checked(destination, options)
    clock = _Clock(on_stage)
    with clock.stage("build"):
        from edgeattn.models.build import build

        built = build(request)
    _check_precision(built)
    with workspace(
        destination,
        input_names=options.input_names,
        output_names=options.output_names,
        simplify_timeout_s=options.simplify_timeout_s if options.simplify else None,
    ) as work:
        with clock.stage("export"):
            raw = _capture(built, options)
        facts, report, notes = _prove(built, raw, request, options.opset, work, clock)
        from edgeattn.manifest import Manifest, Nodes, Site, versions

        manifest = Manifest(
            onnx=destination.name,
            sha256=work.hashes(),
            sources=_sources(request),
            bytes=work.size_bytes(),
            model=built.source,
            opset=facts.opset,
            ir_version=facts.ir_version,
            inputs=facts.inputs,
            outputs=facts.outputs,
            params=built.params,
            macs=facts.costs.macs,
            matmul_macs=facts.costs.matmul_macs,
            element_ops=facts.costs.element_ops,
            uncounted=tuple(facts.costs.unknown),
            attentions=tuple(attention.name for attention in request.attentions),
            sites=tuple(Site(**asdict(site)) for site in built.sites),
            nodes=Nodes(exported=work.exported_nodes, final=len(facts.nodes)),
            rewrites=facts.rewrites,
            parity=report,
            options=_plain(request, options),
            versions=versions(),
            seconds=clock.seconds,
            notes=(*built.notes, *notes),
            command=command,
        )
        work.write_manifest(manifest)
    return manifest


def _checked(destination: Path, options: ExportOptions) -> Path:
    if options.opset < LOWEST_OPSET:
        raise InputError(
            f"Opset {options.opset} is not supported; the lowest is {LOWEST_OPSET}.",
            mend=f"Give --opset {LOWEST_OPSET} or higher.",
        )
    destination = destination.resolve()
    if destination.suffix != ".onnx":
        raise InputError(f"The output {destination} must end in .onnx.")
    for path in (destination, destination.with_suffix(".json")):
        files.check_target(path)
    return destination


def _check_precision(built: BuiltModel) -> None:
    import torch

    for name, parameter in built.module.named_parameters():
        if parameter.dtype in (torch.float16, torch.bfloat16):
            raise InputError(
                f"The model's parameter {name} is {str(parameter.dtype).removeprefix('torch.')};"
                " models are exported in float32.",
                mend="Call .float() on the model where it is built.",
            )


def _capture(built: BuiltModel, options: ExportOptions) -> ir.Model:
    from edgeattn import capture

    program = built.program
    if program is None:
        program = capture.trace(built.module, built.inputs, dynamic_batch=options.dynamic_batch)
    elif options.dynamic_batch:
        raise InputError(
            "A .pt2 file has its shapes fixed already, so --dynamic-batch cannot open them.",
            mend="Trace it with a dynamic batch (torch.export's dynamic_shapes), or drop the flag.",
        )
    return capture.translate(program, opset=options.opset)


def _prove(
    built: BuiltModel,
    raw: ir.Model,
    request: ModelRequest,
    opset: int,
    work: Workspace,
    clock: _Clock,
) -> tuple[_Facts, ParityReport, list[str]]:
    """Takes both graphs through simplification, legalisation and parity.

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
    references = {}
    kinds: tuple[Weights, ...] = ("model", "random")
    for weights in kinds:
        with clock.stage("reference"), _one_thread():
            if weights == "random":
                randomise(built.module, built.inputs, seed=request.seed)
            references[weights] = {b: run_torch(built.module, v) for b, v in batches.items()}
            _check_finite(references[weights], weights)
        with clock.stage("simplify"):
            work.begin(weights, raw)
    with clock.stage("simplify"):
        reason = work.why_unsimplified()
    notes = [f"The model is not simplified: {reason}."] if reason else []
    tolerance = tolerance_of("fp32")
    cases: list[ParityCase] = []
    facts: dict[Weights, _Facts] = {}
    for weights in kinds:
        with clock.stage("legalise"):
            model = work.simplified(weights)
            rewrites = legalise(model, opset).rewrites
            path = work.finish(weights, model)
        with clock.stage("count"):
            facts[weights] = _facts(model, rewrites, batch=next(iter(batches)))
        del model  # its weights, before the sessions hold them too
        with clock.stage("parity"):
            found = run_cases(
                path, arrays, references[weights], weights=weights, tolerance=tolerance
            )
        cases += found
        if not all(case.passed for case in found):
            raise _difference(cases, path, built, request, weights)
    if facts["model"].nodes != facts["random"].nodes:
        notes.append("The simplifier left other nodes with random weights than with the model's.")
    return facts["model"], summarise(cases, tolerance), notes


def _check_finite(references: Mapping[int, Sequence[Array]], weights: Weights) -> None:
    import numpy as np

    outputs = [output for batch in references.values() for output in batch]
    if all(np.isfinite(output).all() for output in outputs if output.dtype.kind == "f"):
        return
    drawn = " with weights drawn at random" if weights == "random" else ""
    raise InputError(
        f"The torch model itself gives NaN or infinity{drawn}, so nothing can be compared.",
        mend="Look for a division by zero, or for an overflow, in the model.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What there is to say of the model that was written, once its weights are gone."""

    opset: int
    ir_version: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    nodes: tuple[tuple[str, str], ...]
    rewrites: tuple[Rewrite, ...]
    costs: Costs


def _facts(model: ir.Model, rewrites: Sequence[legalise.Rewrite], *, batch: int) -> _Facts:
    from edgeattn.graph.costs import count
    from edgeattn.manifest import Rewrite

    return _Facts(
        opset=model.opset_imports[""],
        ir_version=int(model.ir_version),
        inputs=describe(model.graph.inputs),
        outputs=describe(model.graph.outputs),
        nodes=tuple((str(node.name), node.op_type) for node in model.graph),
        rewrites=tuple(
            Rewrite(node=one.node, op_type=one.op_type, opset=one.opset, into=one.into)
            for one in rewrites
        ),
        costs=count(model, batch=batch),
    )


def _batches(
    inputs: Sequence[torch.Tensor], raw: ir.Model
) -> Mapping[int, tuple[torch.Tensor, ...]]:
    from edgeattn.parity.compare import BATCHES, at_batches

    shapes = [value.shape for value in raw.graph.inputs]
    is_open = all(shape and not isinstance(shape[0], int) for shape in shapes)
    return at_batches(inputs, BATCHES if is_open else ())


def _difference(
    cases: Sequence[ParityCase],
    path: Path,
    built: BuiltModel,
    request: ModelRequest,
    weights: Weights,
) -> CheckError:
    """Says where a file that failed begins to differ."""
    from edgeattn.models.build import build
    from edgeattn.parity.bisect import first_difference_of_module
    from edgeattn.parity.compare import summarise
    from edgeattn.parity.metrics import tolerance_of
    from edgeattn.parity.report import describe_failure

    tolerance = tolerance_of("fp32")
    # By now the module holds random weights, whichever graph failed.
    module = built.module if weights == "random" else build(request).module
    first = first_difference_of_module(path, module, built.inputs, tolerance)
    report = summarise(cases, tolerance, first_difference=first)
    return CheckError(
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


def _sources(request: ModelRequest) -> dict[str, str]:
    """Gives the hash of every file of the user's that went into the model."""
    path, colon, _ = request.source.rpartition(":")
    model = Path(path if colon and path.endswith(".py") else request.source)
    candidates = [model] if request.weights is None else [model, request.weights]
    return {str(path): files.sha256(path) for path in candidates if path.is_file()}


def _plain(request: ModelRequest, options: ExportOptions) -> dict[str, object]:
    merged = asdict(options) | asdict(request)
    del merged["source"]
    return {
        name: str(value) if isinstance(value, Path) else value for name, value in merged.items()
    }


class _Clock:
    """Tells stages as they begin, and adds up their seconds."""

    def __init__(self, on_stage: Callable[[str], None]) -> None:
        self._on_stage = on_stage
        self._started = time.perf_counter()
        self._seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self._on_stage(name)
        began = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - began
            self._seconds[name] = self._seconds.get(name, 0.0) + spent

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds per stage and in total, to the millisecond."""
        total = time.perf_counter() - self._started
        return {name: round(value, 3) for name, value in (self._seconds | {"total": total}).items()}
