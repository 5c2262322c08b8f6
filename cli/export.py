"""`edgeattn export`: a model with attention, as ONNX at the opset asked, proven equal."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeattn.base.errors import InputError
from edgeattn.options.cast import CastOptions
from edgeattn.options.flags import Flag
from edgeattn.report.grid import table

from .groups import Asked, grouped
from .options import (
    Casting,
    Destined,
    Modelling,
    Writing,
    cast_options,
    command_line,
    export_options,
    for_device,
    onnx_output,
    request_of,
)
from .screen import Screen
from .tables import located, lowering_in_a_line, print_lines, print_made, print_notes, print_parity

if TYPE_CHECKING:
    from rich.console import Console

    from edgeattn.records.manifest import CastRecord, Manifest, PlacedSite


@grouped
def export(
    *,
    model: Annotated[
        str,
        Flag(
            "MODEL",
            "resnet50, timm:NAME, torchvision:NAME, ultralytics:NAME.yaml, ultralytics:FILE.pt,"
            " path/to/file.py:factory, or a .pt2 file.",
        ),
    ],
    choice: Modelling,
    lowering: Destined,
    casting: Casting,
    writing: Writing,
    context: typer.Context,
    output: Annotated[
        Path | None, Flag("--output -o FILE.onnx", "Where to write; a folder will do.")
    ] = None,
    screen: Screen,
) -> None:
    """Export a model with attention to ONNX, and prove the file equal to the model.

    Writes FILE.onnx, and beside it FILE.json, which says how it came to be. Nothing is written
    if the proof fails.
    """
    with screen.working() as stage:
        from edgeattn.workflows.export import export as export_model

        asked, precision, taken = for_device(lowering | writing, casting)
        options = export_options(asked)
        request = request_of(choice, model)
        cast = cast_options(casting | Asked(CastOptions, precision), seed=request.seed)
        words = [*(one.label for one in request.attentions), *([cast.precision] if cast else [])]
        path = destination(output, model, words)
        for source in (request.weights, Path(model)):
            if source is not None and source.is_file() and path.exists() and path.samefile(source):
                raise InputError(f"{path} is what the model is read from; it would be replaced.")
        manifest = export_model(
            request,
            dataclasses.replace(options, cast=cast),
            path,
            command=command_line(context.obj),
            taken=taken,
            on_stage=stage,
        )
    document = located(manifest, path)
    screen.show(document, lambda console: _report(console, document))


def destination(output: Path | None, source: str, more: Sequence[str]) -> Path:
    """Return the file to write: as asked, or named after the model and what was done to it.

    Args:
        output: A file or a folder, or None for the folder the user stands in.
        source: The model as the user wrote it: `timm:resnet50`, `nets/mine.py:small`, `a.pt2`.
        more: The attentions that are inserted, in the order given, and the precision of a cast.

    Raises:
        InputError: `output` is neither an .onnx file nor a folder that exists.
    """
    words = [re.sub(r"[^\w.-]+", "_", word) for word in (*_words(source), *more)]
    return onnx_output(output or Path(), f"{'-'.join(filter(None, words)) or 'model'}.onnx")


def _words(source: str) -> list[str]:
    """Return what a file is named after: a model, or a source file and its factory."""
    file, colon, factory = source.rpartition(":")
    if colon and file.endswith(".py"):
        return [Path(file).stem, factory]
    if source.endswith((".pt2", ".pt", ".yaml", ".yml")):
        source = str(Path(source).with_suffix(""))
    return [re.split(r"[:/]", source)[-1]]


def _report(console: Console, manifest: Manifest) -> None:
    facts = {
        "opset": f"{manifest.opset} (IR version {manifest.ir_version})",
        "inputs": ", ".join(
            f"{one.name} {'x'.join(map(str, one.shape))} {one.dtype}" for one in manifest.inputs
        ),
        "parameters": f"{manifest.params:,}",
        "MACs": f"{manifest.macs:,}, and {manifest.matmul_macs:,} in matrix products",
        "element ops": f"{manifest.element_ops:,}",
        "nodes": f"{manifest.nodes.exported} exported, {manifest.nodes.final} left",
        "lowered": f"for {manifest.options['target']}: "
        + lowering_in_a_line(manifest.rewrites, manifest.near_misses)
        if manifest.options["lower"]
        else "no",
        "cast": _cast_in_a_line(manifest.cast) if manifest.cast else "no",
    }
    print_made(console, manifest.onnx, manifest, facts)
    if manifest.sites:
        console.print()
        _print_sites(console, manifest.sites)
    if manifest.lines:
        console.print()
        print_lines(console, manifest.lines)
    console.print()
    print_parity(console, manifest.parity)
    print_notes(console, (*manifest.notes, *(manifest.cast.notes if manifest.cast else ())))


def _cast_in_a_line(record: CastRecord) -> str:
    ratios = [output.sqnr_db for output in record.parity.outputs if output.sqnr_db is not None]
    near = f"{min(ratios):.1f} dB" if ratios else "equal"
    return (
        f"{record.cast_nodes} nodes in {record.precision}, {len(record.kept)} kept; against float32"
        f" {near} (ranges: {record.audited_on})"
    )


def _print_sites(console: Console, sites: Sequence[PlacedSite]) -> None:
    noted = any(site.note for site in sites)
    rows = table(
        "site", "attention", "attends", "C×H×W", "parameters", *(["note"] if noted else [])
    )
    for site in sites:
        shape = "×".join(map(str, site.shape))
        row = (site.path, site.attention, site.target, shape, f"{site.params:,}")
        rows.add_row(*row, *([site.note] if noted else []))
    console.print(rows)
