"""Optimize: an ONNX file from anywhere is lowered for a target, and proven equal to what it was.

The stages are the export's, without torch: read, simplify, lower, legalise, check parity. What is
written is compared with the file that was read, both in ONNX Runtime.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from edgeattn.base import files
from edgeattn.base.clock import Clock
from edgeattn.base.errors import InputError
from edgeattn.graph.marks import forms_of, marks_of
from edgeattn.graph.quantised import fold_biases
from edgeattn.graph.reading import Source, load, opset_of, read
from edgeattn.graph.simplify import Simplifier
from edgeattn.graph.tags import restore_value_names
from edgeattn.graph.writing import describe, save
from edgeattn.legalise import OLDEST_TARGET, legalise
from edgeattn.lowering.misfit import misfit
from edgeattn.lowering.record import Lowered
from edgeattn.lowering.target import TARGETS, check
from edgeattn.options.optimize import OptimizeOptions
from edgeattn.parity.check import must_agree
from edgeattn.precision.pixels import choose, read_inputs
from edgeattn.records import sidecar
from edgeattn.records.lowering import LegalisedNode
from edgeattn.records.manifest import Change, Optimised
from edgeattn.runtimes.blame import blames_the_file
from edgeattn.workflows.artifact import (
    check_destination,
    check_opset,
    files_of,
    hashes,
    header_of,
    without_paths,
    written_files,
)
from edgeattn.workflows.forms import Forming, chosen, save_forms

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgeattn.runtimes.onnxruntime import Array


@blames_the_file
def optimize(
    source: Path,
    options: OptimizeOptions,
    destination: Path,
    *,
    command: str = "",
    taken: Sequence[str] = (),
    on_stage: Callable[[str], None] = lambda _: None,
    forming: Forming | None = None,
) -> Optimised:
    """Lower an ONNX file to `destination` and write the manifest beside it.

    Args:
        source: The ONNX file to read.
        options: How to optimize.
        destination: The ONNX file to write; the manifest has the same name and ends in `.json`.
        command: The command line to record in the manifest.
        taken: What was taken from a device, with the reasons, for the manifest.
        on_stage: Called with the name of each stage as it begins.
        forming: Chooses the forms; by default as the options say.

    Returns:
        The manifest.

    Raises:
        InputError: If the file cannot be read, run, or written at this opset.
        CheckError: If what would be written differs from what was read; nothing is written then.
    """
    check(options.target, options.rules)
    if options.opset is not None:
        check_opset(options.opset)
    clock = Clock(on_stage)
    with clock.stage("read"):
        found = read(source)
    destination = check_destination(destination)
    files.check_apart(files_of(destination), (found.path, *found.data))
    before = _count(found.model)
    again = misfit(source, forms_of(found.model), options.target)
    data, assumed = _data(found, options)
    with contextlib.ExitStack() as stack, files.staged(destination.parent) as staging:
        forming = forming or stack.enter_context(chosen(options, clock.tell))
        # Beside what is to land, and on the same disk: gone with it, whatever happens.
        scratch = staging.parent / "scratch"
        scratch.mkdir()
        model, lowered, legalised, notes = lowered_copy(found, options, scratch, clock, forming)
        path = staging / destination.name
        with clock.stage("write"):
            _restore_header(model, found.model)
            save(model, path)
        with clock.stage("parity"):
            report, remarks = must_agree(
                path, source, shapes=options.shapes, seed=options.seed, data=data
            )

        manifest = Optimised(
            **written_files(
                staging,
                destination,
                sources=hashes(
                    [source, *found.data, *options.data, *filter(None, [options.forms])]
                ),
                clock=clock,
                command=command,
            ),
            **header_of(model) | {"opset": Change(before=found.opset, after=opset_of(model))},
            target=options.target,
            nodes=Change(before=before, after=_count(model)),
            rewrites=lowered.rewrites,
            near_misses=lowered.near_misses,
            trials=lowered.trials,
            legalised=tuple(legalised),
            parity=report,
            options=without_paths(asdict(options)),
            notes=(*taken, *filter(None, [again]), *assumed, *notes, *remarks),
        )
        sidecar.write(manifest, path)
        save_forms(options, [forming])
    return manifest


def lowered_copy(
    found: Source, options: OptimizeOptions, scratch: Path, clock: Clock, forming: Forming
) -> tuple[ir.Model, Lowered, list[LegalisedNode], list[str]]:
    """Simplify, lower and legalise the model of a file.

    Args:
        found: The file; its model may be changed.
        options: How to optimize.
        scratch: A folder for files between.
        clock: Counts the seconds, and tells of each trial of the tournament.
        forming: Chooses the forms.

    Returns:
        The model, what lowering and legalisation did, and notes for the user.
    """
    with clock.stage("simplify"):
        model, notes = _simplified(found, options, scratch)
    with clock.stage("legalise"):
        # Lowering knows the operators from this opset on.
        first = legalise(model, max(opset_of(model), OLDEST_TARGET))
    lowered = forming.lower(model, clock)
    notes += forming.notes
    with clock.stage("legalise"):
        last = legalise(model, options.opset or first.opset)
    notes += forming.opset_notes(opset_of(model))
    spec = TARGETS[options.target]
    if not spec.takes_int32_biases and (count := fold_biases(model)):
        notes.append(f"{count} int32 biases are float32 now: {spec.title} takes no others.")
    return model, lowered, [*first.rewrites, *last.rewrites], notes


def _data(found: Source, options: OptimizeOptions) -> tuple[list[Array] | None, list[str]]:
    """Read the data to check the file with, if any is given, and say what was assumed of it."""
    if not options.data:
        if options.pixels is not None:
            raise InputError(
                "--mean, --resize and the like are for photos, and no --input is given."
            )
        return None, []
    taken = describe(found.model.graph.inputs)
    if len(options.shapes) == len(taken):
        taken = tuple(
            one.model_copy(update={"shape": shape})
            for one, shape in zip(taken, options.shapes, strict=True)
        )
    pixels = choose(options.pixels, path=found.path, model=found.model)
    return read_inputs(options.data, str(found.path), taken, pixels)


def _count(model: ir.Model) -> int:
    return sum(1 for _ in model.graph.all_nodes())


def _simplified(
    found: Source, options: OptimizeOptions, scratch: Path
) -> tuple[ir.Model, list[str]]:
    """Return the model as onnxsim left it, or as it was, and then why."""
    if not options.simplify:
        return found.model, []
    source = scratch / "read.onnx"
    with Simplifier() as simplifier:
        save(found.model, source, external=True)
        run = simplifier.begin(
            source,
            scratch / "simplified.onnx",
            timeout_s=options.simplify_timeout_s,
            without=TARGETS[options.target].simplified_without,
        )
        reason = run.wait()
    if reason:
        return found.model, [f"The model is not simplified: {reason}."]
    try:
        model = load(run.target)
    except InputError:
        return found.model, ["The model is not simplified: onnxsim made no valid model of it."]
    if _interface(model) != _interface(found.model):
        return found.model, ["The model is not simplified: onnxsim changed its inputs or outputs."]
    restore_value_names(found.model.graph, model)
    return model, []


def _interface(model: ir.Model) -> tuple[list[str | None], list[str | None]]:
    return [v.name for v in model.graph.inputs], [v.name for v in model.graph.outputs]


def _restore_header(model: ir.Model, original: ir.Model) -> None:
    """Give a model back what its file said of itself: runtimes read class names from there.

    What it is lowered for is said anew.
    """
    said = {**original.metadata_props, **marks_of(model)}  # the two may be one
    model.metadata_props.clear()
    model.metadata_props.update(said)
    for name in ("producer_name", "producer_version", "domain", "model_version", "doc_string"):
        setattr(model, name, getattr(original, name))
    model.graph.name = original.graph.name
