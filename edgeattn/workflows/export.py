"""Export: a model with attention becomes an ONNX file that is proven equal to it.

The steps: build the module, capture it, simplify, lower, legalise, check parity; cast and check
again, where that is asked. Each is compared in float32 first: a fault of a step before would hide
behind what half precision may differ. A second graph, the same but for parameters and statistics
that are drawn at random, goes through the same steps beside the first: what a fresh initialisation
hides is checked there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgeattn.attention import registry
from edgeattn.base.clock import Clock
from edgeattn.base.errors import CheckError
from edgeattn.graph.costs import count
from edgeattn.graph.reading import let_go, load
from edgeattn.graph.simplify import Simplifier
from edgeattn.lowering.target import check
from edgeattn.models.origins import files_of
from edgeattn.options.cast import NEARER, CastOptions, check_options
from edgeattn.options.export import ExportOptions
from edgeattn.options.model import ModelRequest
from edgeattn.parity.compare import Reference, compare, runs_of, summarise
from edgeattn.parity.floor import HALF_COSTS_DB, judge, tells_nothing
from edgeattn.parity.metrics import Tolerance, tolerance_of
from edgeattn.parity.report import describe_failure
from edgeattn.precision.cast import cast_in_place
from edgeattn.precision.pixels import known
from edgeattn.records import sidecar
from edgeattn.records.manifest import Manifest, Nodes
from edgeattn.records.parity import ParityCase, ParityReport
from edgeattn.records.pixels import Pixels
from edgeattn.workflows.artifact import (
    check_destination,
    check_opset,
    hashes,
    header_of,
    interface_of,
    without_paths,
    written_files,
)
from edgeattn.workflows.forms import Forming
from edgeattn.workflows.lines import OwnSite, lines_of, own_sites
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

_RESTS_ON_FLOOR: Final = (
    "With {weights} weights the model amplifies rounding: {floor}. Parity was judged by that."
)
_NOT_CHECKED: Final = "Parity was not checked with random weights: {reason}."
#: By the batch alone it judges whether sizes are open.
_OPEN_BATCH: Final = (
    "The batch is open, which Ultralytics takes for open heights and widths too: give `yolo` there"
    " imgsz={height},{width} rect=False."
)
_NOT_JUDGED: Final = (
    "The cast was not judged with random weights: the model amplifies rounding, so that half"
    " precision is {floor:.0f} dB from exact results at best (it gave {have:.0f} dB)."
)
#: A cast this near the floor has no fault of its own.
_MARGIN_DB: Final = 10.0


def export(
    request: ModelRequest,
    options: ExportOptions,
    destination: Path,
    *,
    command: str = "",
    taken: Sequence[str] = (),
    on_stage: Callable[[str], None] = lambda _: None,
    forming: Forming | None = None,
) -> Manifest:
    """Export a model to `destination` and write the manifest beside it.

    Args:
        request: Which model, weights and attention.
        options: How to export.
        destination: The ONNX file; the manifest has the same name and ends in `.json`.
        command: The command line to record in the manifest.
        taken: What was taken from a device, with the reasons, for the manifest.
        on_stage: Called with the name of each stage as it begins.
        forming: Chooses the forms; by default as the options say.

    Returns:
        The manifest.

    Raises:
        InputError: If the model cannot be built, traced, translated or written at this opset.
        CheckError: If a parity check fails; nothing is written then.
    """
    check_opset(options.opset)
    check(options.target, options.rules)
    forming = (forming or Forming(options)) if options.lower else None
    if options.cast is not None:
        check_options(options.cast)
    destination = check_destination(destination)
    clock = Clock(on_stage)
    with contextlib.ExitStack() as stack:
        # Ahead of its time: it starts while torch is imported.
        simplifier = stack.enter_context(Simplifier()) if options.simplify else None
        with clock.stage("build"):
            from edgeattn.models.build import build

            built = build(request)
        check_float32(built)
        work = stack.enter_context(workspace(destination, options, simplifier=simplifier))
        with clock.stage("export"):
            raw = captured(built, options)
        references = references_of(built, request, raw, work, clock)
        del raw  # it holds the weights
        notes = [*taken, *built.notes]
        if built.metadata and options.dynamic_batch:
            height, width = built.inputs[0].shape[2:]
            notes.append(_OPEN_BATCH.format(height=height, width=width))
        if len(references) < 2:
            reason = "torch itself gives NaN or infinity with them"
            notes.append(_NOT_CHECKED.format(reason=reason))
        with clock.stage("simplify"):
            notes += unsimplified(work.why_unsimplified())
        own = {one.label: registry.sources(one.name) for one in request.attentions}
        sites = own_sites(built.module, built.sites, own)
        made = _Made(work, options, clock, built.pixels, forming, sites)
        steps = made.steps()
        cases: dict[str, list[ParityCase]] = {step.name: [] for step in steps}
        for reference in references:
            path = Path()
            for step in steps:
                candidate = step.make(reference, path)
                found, remarks = _proven(step, candidate, reference, clock)
                cases[step.name] += found
                notes += remarks
                if not found:
                    break  # nothing can be told of it, nor of what would be made of it
                path = candidate.path
        notes += made.notes()
        if options.cast is not None:
            notes.append(_before_cast(cases[steps[0].name]))
        last = steps[-1]

        manifest = Manifest(
            **made.record,
            **written_files(
                work.staging,
                destination,
                sources=_sources(request, options),
                clock=clock,
                command=command,
            ),
            model=built.source,
            target=options.target if options.lower else None,
            params=built.params,
            attentions=tuple(attention.label for attention in request.attentions),
            sites=built.sites,
            parity=summarise(cases[last.name], last.tolerance),
            options=_plain(request, options),
            notes=tuple(notes),
            pixels=known(options.cast.pixels if options.cast else None, built.pixels),
        )
        sidecar.write(manifest, work.staging / destination.name)
    return manifest


class _Made:
    """What is made of both graphs, and what there is to say of the model's once it is gone."""

    def __init__(
        self,
        work: Workspace,
        options: ExportOptions,
        clock: Clock,
        pixels: Pixels | None,
        forming: Forming | None,
        own: Sequence[OwnSite],
    ) -> None:
        self._own = own
        self._work = work
        self._pixels = pixels
        self._forming = forming
        self._options = options
        self._clock = clock
        self._nodes: list[list[tuple[str | None, str]]] = []
        #: The fields of the manifest that the model's own graph fills.
        self.record: dict[str, Any] = {}

    def steps(self) -> list[Step]:
        """Return the steps that are asked for."""
        steps = [Step(name="lowered", tolerance=tolerance_of("fp32"), make=self._lowered)]
        if (cast := self._options.cast) is not None:
            tolerance = tolerance_of_cast(cast)
            make = partial(self._cast, cast)
            steps.append(Step(name="cast", tolerance=tolerance, make=make))
        return steps

    def notes(self) -> list[str]:
        """Return what there is to say of forms, and whether the two graphs differ, in float32."""
        said, forming = [], self._forming
        if forming is not None:
            said = [*forming.notes, *forming.opset_notes(self._options.opset)]
        if not self._nodes or all(nodes == self._nodes[0] for nodes in self._nodes):
            return said
        counts = [len(nodes) for nodes in self._nodes]
        note = (
            "What is neutral with these weights (a bias of 0, a scale of 1) was removed: the file"
            f" has {counts[0]} nodes, the graph with random weights {counts[1]}."
        )
        return [*said, note]

    def _lowered(self, reference: Reference, _below: Path) -> Candidate:
        path, model, lowered, legalised = lowered_file(
            self._work,
            reference.weights,
            self._options,
            self._clock,
            self._work.finish,
            forming=self._forming,
        )
        with self._clock.stage("count"):
            self._nodes.append([(node.name, node.op_type) for node in model.graph])
            if reference.weights == "model":
                costs = count(model, batch=next(iter(reference.inputs)))
                self.record = header_of(model) | {
                    "macs": costs.macs,
                    "matmul_macs": costs.matmul_macs,
                    "element_ops": costs.element_ops,
                    "uncounted": tuple(costs.unknown),
                    "nodes": self._counted(model),
                    "rewrites": lowered.rewrites,
                    "near_misses": lowered.near_misses,
                    "trials": lowered.trials,
                    "legalised": tuple(legalised.rewrites),
                }
                if self._own:
                    self.record["lines"] = lines_of(
                        self._own,
                        self._work.stacks,
                        lowered,
                        legalised.rewrites,
                        stock=self._work.source("model"),
                        left=[str(node.name) for node in model.graph],
                    )
        let_go(model)
        return Candidate(path=path, runs=runs_of(path, reference.inputs))

    def _cast(self, options: CastOptions, reference: Reference, path: Path) -> Candidate:
        with self._clock.stage("cast"):
            cast = cast_in_place(path, options, self._pixels)
        is_model = reference.weights == "model"
        if is_model:
            model = load(path)
            self.record |= interface_of(model) | {"nodes": self._counted(model), "cast": cast}
        # The cast's own comparison rounds what ONNX Runtime's kernels would not: see
        # parity.emulate. With random weights, a model may be no model that half can hold.
        own = cast.parity if is_model and not cast.parity.passed else None
        return Candidate(path=path, runs=runs_of(path, reference.inputs), own=own)

    def _counted(self, model: ir.Model) -> Nodes:
        return Nodes(exported=self._work.exported_nodes, final=len(model.graph))


def _proven(
    step: Step, candidate: Candidate, reference: Reference, clock: Clock
) -> tuple[Sequence[ParityCase], list[str]]:
    """Compare what a step made with torch.

    Returns:
        The cases, all passed, and notes on what they rest on; no cases, and the reason, where
        random weights make the model so chaotic that nothing can be told.

    Raises:
        InputError: If the torch model itself gives one result now and another then.
        CheckError: If the file differs by more than it may: says where that begins.
    """
    with clock.stage("parity"):
        report = compare(candidate.runs, reference, step.tolerance)
    if report.passed and candidate.own is None:
        return report.cases, []
    with clock.stage("difference"):
        if step.name != "cast":
            return _judged(report, candidate.path, reference, step.tolerance)
        if reference.weights == "random" and step.tolerance.precision == "fp16":
            note = _amplified(report, reference, step.tolerance)
            if note is not None:
                return [], [note]
        if report.passed and candidate.own is not None:
            report = candidate.own
        report = reference.located(report, candidate.path)
        raise CheckError(
            f"The cast model differs from the torch model: {describe_failure(report)}",
            mend=f"Nothing was written. {NEARER[step.tolerance.precision]}"
            "\nOr leave all of it in that: --precision fp32",
        )


def _judged(
    report: ParityReport, path: Path, reference: Reference, tolerance: Tolerance
) -> tuple[Sequence[ParityCase], list[str]]:
    """Judge runs that miss the tolerance by the rounding that torch itself has: see `_proven`."""
    floor = reference.floor
    assert floor is not None
    report = summarise([judge(case, tolerance, floor) for case in report.cases], tolerance)
    if report.passed:
        return report.cases, [_RESTS_ON_FLOOR.format(weights=reference.weights, floor=floor)]
    if tells_nothing(report, floor):
        reason = f"the model amplifies rounding until {floor}"
        if reference.weights == "random":
            return [], [_NOT_CHECKED.format(reason=reason)]
        raise CheckError(
            f"Nothing can be proven in float32: {reason}.",
            mend="Nothing was written. A norm or a smaller initialisation keeps values in range.",
        )
    report = reference.located(report, path)
    raise CheckError(
        f"The ONNX model differs from the torch model: {describe_failure(report)}",
        mend="Nothing was written. Please report this with the command that you gave.",
    )


def _amplified(report: ParityReport, reference: Reference, tolerance: Tolerance) -> str | None:
    """Say so where no cast of this model could be near enough."""
    assert reference.floor is not None
    floor_db = reference.floor.db - HALF_COSTS_DB
    have = min(one.sqnr_db for one in report.outputs if one.sqnr_db is not None)
    if floor_db - have > _MARGIN_DB or floor_db - _MARGIN_DB > tolerance.min_sqnr_db:
        return None
    return _NOT_JUDGED.format(floor=floor_db, have=have)


def _before_cast(cases: Sequence[ParityCase]) -> str:
    ratios = [o.sqnr_db for case in cases for o in case.outputs if o.sqnr_db is not None]
    worst = f"within {min(ratios):.0f} dB of torch" if ratios else "equal to torch"
    return f"In float32, before the cast, the model was {worst}."


def _sources(request: ModelRequest, options: ExportOptions) -> dict[str, str]:
    """Return the hash of every file of the user's that went into the model."""
    found = [*files_of(request.source), *filter(None, [request.weights])]
    for attention in request.attentions:
        found += registry.sources(attention.name)
    return hashes([*found, *filter(None, [options.forms])])


def _plain(request: ModelRequest, options: ExportOptions) -> dict[str, object]:
    merged = asdict(options) | asdict(request)
    del merged["source"]
    if not request.types:
        del merged["types"]
    return without_paths(merged)
