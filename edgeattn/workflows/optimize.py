"""Optimize: an ONNX file from anywhere is lowered for a target, and proven equal to what it was.

The stages are the export's, without torch: read, simplify, lower, legalise, check parity. What is
written is compared with the file that was read, both in ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from edgeattn.base import files
from edgeattn.base.clock import Clock
from edgeattn.base.versions import versions
from edgeattn.graph import simplify
from edgeattn.graph.reading import Source, name_nodes, opset_of, read
from edgeattn.graph.tags import restore_value_names
from edgeattn.graph.writing import describe, save
from edgeattn.legalise import OLDEST_TARGET, legalise
from edgeattn.lowering import pipeline
from edgeattn.lowering.record import Lowered
from edgeattn.lowering.target import check
from edgeattn.options.optimize import OptimizeOptions
from edgeattn.parity.gate import must_agree
from edgeattn.records.lowering import LegalisedNode
from edgeattn.records.manifest import Change, Optimised
from edgeattn.workflows.export import check_destination, check_opset, files_of
from edgeattn.workflows.tune import run_tuned

if TYPE_CHECKING:
    import onnx_ir as ir


def optimize(
    source: Path,
    options: OptimizeOptions,
    destination: Path,
    *,
    command: str = "",
    on_stage: Callable[[str], None] = lambda _: None,
) -> Optimised:
    """Lower an ONNX file to `destination` and write the manifest beside it.

    Args:
        source: The ONNX file to read.
        options: How to optimize.
        destination: The ONNX file to write; the manifest has the same name and ends in `.json`.
        command: The command line to record in the manifest.
        on_stage: Called with the name of each stage as it begins.

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
    with files.staged(destination.parent) as staging:
        # Beside what is to land, and on the same disk: gone with it, whatever happens.
        scratch = staging.parent / "scratch"
        scratch.mkdir()
        with clock.stage("simplify"):
            model, notes = simplified(found, options, scratch)
        lowered, legalised = transformed(
            model,
            options,
            clock,
            on_trial=lambda number, count: on_stage(f"tune {number + 1}/{count}"),
        )
        path = staging / destination.name
        with clock.stage("write"):
            _restore_header(model, found.model)
            save(model, path)
        with clock.stage("parity"):
            report, remarks = must_agree(path, source, shapes=options.shapes, seed=options.seed)

        manifest = Optimised(
            onnx=destination.name,
            sha256={file.name: files.sha256(file) for file in sorted(staging.iterdir())},
            sources={str(file): files.sha256(file) for file in (source, *found.data)},
            size_bytes=sum(file.stat().st_size for file in staging.iterdir()),
            target=options.target,
            opset=Change(before=found.opset, after=model.opset_imports[""]),
            ir_version=int(model.ir_version),
            inputs=describe(model.graph.inputs),
            outputs=describe(model.graph.outputs),
            nodes=Change(before=before, after=_count(model)),
            rewrites=lowered.rewrites,
            near_misses=lowered.near_misses,
            trials=lowered.trials,
            legalised=tuple(legalised),
            parity=report,
            options=asdict(options),
            versions=versions(),
            seconds=clock.seconds,
            notes=(*notes, *remarks),
            command=command,
        )
        text = manifest.model_dump_json(indent=2) + "\n"
        (staging / destination.with_suffix(".json").name).write_text(text, encoding="utf-8")
    return manifest


def _count(model: ir.Model) -> int:
    return sum(1 for _ in model.graph.all_nodes())


def simplified(
    found: Source, options: OptimizeOptions, scratch: Path
) -> tuple[ir.Model, list[str]]:
    """Return the model as onnxsim left it, or as it was, and then why."""
    if not options.simplify:
        return found.model, []
    import onnx_ir

    source = scratch / "read.onnx"
    save(found.model, source, external=True)
    run = simplify.start(source, scratch / "simplified.onnx", timeout_s=options.simplify_timeout_s)
    try:
        reason = run.wait()
    finally:
        run.stop()
    if reason:
        return found.model, [f"The model is not simplified: {reason}."]
    model = onnx_ir.load(run.target)
    if _interface(model) != _interface(found.model):
        return found.model, ["The model is not simplified: onnxsim changed its inputs or outputs."]
    name_nodes(model)
    restore_value_names(found.model.graph, model)
    return model, []


def _interface(model: ir.Model) -> tuple[list[str | None], list[str | None]]:
    return [v.name for v in model.graph.inputs], [v.name for v in model.graph.outputs]


def transformed(
    model: ir.Model,
    options: OptimizeOptions,
    clock: Clock,
    on_trial: Callable[[int, int], None],
) -> tuple[Lowered, list[LegalisedNode]]:
    """Lower and legalise a model in place."""
    with clock.stage("legalise"):
        # Lowering knows the operators from this opset on.
        first = legalise(model, max(opset_of(model), OLDEST_TARGET))
    if options.tune:
        with clock.stage("tune"):
            lowered = run_tuned(
                model, target=options.target, rules=options.rules, on_trial=on_trial
            )
    else:
        with clock.stage("lower"):
            lowered = pipeline.lower(model, target=options.target, rules=options.rules)
    with clock.stage("legalise"):
        last = legalise(model, options.opset or first.opset)
    return lowered, [*first.rewrites, *last.rewrites]


def _restore_header(model: ir.Model, original: ir.Model) -> None:
    """Give a model back what its file said of itself: runtimes read class names from there."""
    model.metadata_props.clear()
    model.metadata_props.update(original.metadata_props)
    for name in ("producer_name", "producer_version", "domain", "model_version", "doc_string"):
        setattr(model, name, getattr(original, name))
    model.graph.name = original.graph.name
