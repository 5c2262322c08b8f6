"""Export: a model with attention becomes an ONNX file that is proven equal to it.

The stages: build the module, capture it, simplify, lower, legalise, check parity. A second graph,
the same but for parameters and statistics that are drawn at random, goes through the same stages
beside the first: what a fresh initialisation hides is checked there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from edgeattn.base import files
from edgeattn.base.clock import Clock
from edgeattn.base.errors import InputError
from edgeattn.base.versions import versions
from edgeattn.legalise import OLDEST_TARGET
from edgeattn.lowering.target import check
from edgeattn.models import capture
from edgeattn.options.cast import check_options
from edgeattn.options.export import ExportOptions
from edgeattn.options.model import ModelRequest
from edgeattn.records.engine import is_manifest
from edgeattn.records.manifest import Manifest, Nodes, Site
from edgeattn.workflows.proof import prove
from edgeattn.workflows.workspace import workspace

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgeattn.models.build import BuiltModel


def export(
    request: ModelRequest,
    options: ExportOptions,
    destination: Path,
    *,
    command: str = "",
    on_stage: Callable[[str], None] = lambda _: None,
) -> Manifest:
    """Export a model to `destination` and write the manifest beside it.

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
    check_opset(options.opset)
    check(options.target, options.rules)
    if options.cast is not None:
        check_options(options.cast)
    destination = check_destination(destination)
    clock = Clock(on_stage)
    with clock.stage("build"):
        from edgeattn.models.build import build

        built = build(request)
    check_float32(built)
    with workspace(
        destination,
        input_names=options.input_names,
        output_names=options.output_names,
        simplify_timeout_s=options.simplify_timeout_s if options.simplify else None,
    ) as work:
        with clock.stage("export"):
            raw = captured(built, options)
        facts, report, notes = prove(built, raw, request, options, work, clock)

        manifest = Manifest(
            onnx=destination.name,
            sha256=work.hashes(),
            sources=_sources(request),
            size_bytes=work.size_bytes(),
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
            nodes=Nodes(exported=work.exported_nodes, final=facts.final_nodes),
            rewrites=facts.rewrites,
            near_misses=facts.near_misses,
            legalised=facts.legalised,
            parity=report,
            options=_plain(request, options),
            versions=versions(),
            seconds=clock.seconds,
            notes=(*built.notes, *notes),
            command=command,
            cast=facts.cast,
        )
        work.write_manifest(manifest)
    return manifest


def check_opset(opset: int) -> None:
    """Refuse an opset that cannot be written.

    Raises:
        InputError: Says which can.
    """
    from onnx import defs

    if opset < OLDEST_TARGET:
        raise InputError(
            f"Opset {opset} is not supported; the lowest is {OLDEST_TARGET}.",
            mend=f"Give --opset {OLDEST_TARGET} or higher.",
        )
    newest = defs.onnx_opset_version()
    if opset > newest:
        raise InputError(
            f"Opset {opset} is not known to the installed onnx; the highest is {newest}."
        )


def check_destination(destination: Path) -> Path:
    """Return the absolute path of an ONNX file to write, and refuse one that cannot be.

    Raises:
        InputError: It, or the manifest beside it, cannot be written.
    """
    destination = destination.resolve()
    if destination.suffix != ".onnx":
        raise InputError(f"The output {destination} must end in .onnx.")
    for path in files_of(destination):
        files.check_target(path)

    beside = destination.with_suffix(".json")
    if is_manifest(beside):
        raise InputError(
            f"{beside} is the manifest of an engine; it would be replaced.",
            mend="Write elsewhere with -o, or move the engine and its manifest.",
        )
    return destination


def files_of(onnx: Path) -> tuple[Path, ...]:
    """Return the files that may be written for a model: itself, its weights, its manifest."""
    return onnx, onnx.with_name(f"{onnx.name}.data"), onnx.with_suffix(".json")


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


def _sources(request: ModelRequest) -> dict[str, str]:
    """Return the hash of every file of the user's that went into the model."""
    from edgeattn.models.source import user_file

    found = [] if request.weights is None else [request.weights]
    if (file := user_file(request.source)) is not None:
        found.insert(0, file[0])
    elif request.source.endswith(".pt2"):
        found.insert(0, Path(request.source))
    return {str(path): files.sha256(path) for path in found}


def _plain(request: ModelRequest, options: ExportOptions) -> dict[str, object]:
    merged = asdict(options) | asdict(request)
    del merged["source"]
    return {
        name: str(value) if isinstance(value, Path) else value for name, value in merged.items()
    }
