"""Export: a model with attention becomes an ONNX file that is proven equal to it.

The stages are those of the design: build the module, capture it, simplify, lower, legalise, check
parity.
A second graph, the same but for parameters and statistics that are drawn at random, goes through
the same stages beside the first: what a fresh initialisation hides is checked there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeattn import files, lowering_stage
from edgeattn.artifacts import workspace
from edgeattn.clock import Clock
from edgeattn.errors import InputError
from edgeattn.proof import prove

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgeattn.manifest import Manifest
    from edgeattn.models.build import BuiltModel
    from edgeattn.models.source import ModelRequest
    from edgeattn.precision.cast import CastOptions


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
        lower: Write what the model computes in the forms that the target runs best.
        target: The runtime to choose forms for: `tensorrt` or `onnxruntime`.
        rules: The rules of lowering to apply; None for all.
        cast: How to cast the model, once it is proven in float32; None leaves it in that.
    """

    opset: int = 17
    dynamic_batch: bool = False
    input_names: tuple[str, ...] = ()
    output_names: tuple[str, ...] = ()
    simplify: bool = True
    simplify_timeout_s: float = 300.0
    lower: bool = True
    target: str = "tensorrt"
    rules: tuple[str, ...] | None = None
    cast: CastOptions | None = None


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
    check_opset(options.opset)
    lowering_stage.check(options.target, options.rules)
    if options.cast is not None:
        from edgeattn.precision.cast import check_options

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
        from edgeattn.manifest import Manifest, Nodes, Site
        from edgeattn.versions import versions

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
    """Refuses an opset that cannot be written.

    Raises:
        InputError: Says which can.
    """
    from onnx import defs

    from edgeattn.legalise import OLDEST_TARGET

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
    """Gives the absolute path of an ONNX file to write, and refuses one that cannot be.

    Raises:
        InputError: It, or the manifest beside it, cannot be written.
    """
    destination = destination.resolve()
    if destination.suffix != ".onnx":
        raise InputError(f"The output {destination} must end in .onnx.")
    for path in files_of(destination):
        files.check_target(path)
    from edgeattn.engine.manifest import is_manifest

    beside = destination.with_suffix(".json")
    if is_manifest(beside):
        raise InputError(
            f"{beside} is the manifest of an engine; it would be replaced.",
            mend="Write elsewhere with -o, or move the engine and its manifest.",
        )
    return destination


def files_of(onnx: Path) -> tuple[Path, ...]:
    """Gives the files that may be written for a model: itself, its weights, its manifest."""
    return onnx, onnx.with_name(f"{onnx.name}.data"), onnx.with_suffix(".json")


def check_float32(built: BuiltModel) -> None:
    """Refuses a model whose parameters are not float32.

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
    """Traces and translates a model.

    Raises:
        InputError: It cannot be traced, or its batch cannot be left open.
    """
    from edgeattn import capture

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
    """Gives the hash of every file of the user's that went into the model."""
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
