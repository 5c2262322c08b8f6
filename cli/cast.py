"""`edgeattn cast`: an ONNX file in half precision or int8, compared with what it was."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Final

import typer

from edgeattn.base.errors import InputError
from edgeattn.graph.names import module_of
from edgeattn.options.cast import CastOptions
from edgeattn.options.flags import Flag
from edgeattn.report.grid import table

from .evaluate import print_accuracy
from .groups import Asked, grouped
from .options import CASTING, Input, Output, cast_options, command_line, onnx_output
from .screen import Screen
from .tables import located, print_made, print_notes, print_parity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from edgeattn.records.manifest import Cast, KeptNode


_ASKED: Final = (
    *CASTING,
    "min_sqnr",
    "shape",
    "seed",
    "data",
    "classes",
    "max_accuracy_drop",
)


@grouped
def cast(
    *,
    onnx: Input,
    context: typer.Context,
    output: Output,
    asked: Annotated[Asked[CastOptions], _ASKED],
    explain: Annotated[bool, Flag("--explain", "Print every node that stays float32.")] = False,
    screen: Screen,
) -> None:
    """Cast an ONNX file to half precision or int8, and compare it with what it was.

    What half cannot hold stays float32, and is named. Writes OUT.onnx, and beside it OUT.json.
    Nothing is written if the outputs differ by more than they may.
    """
    with screen.working() as stage:
        from edgeattn.workflows.cast import cast as cast_model

        options = cast_options(asked)
        if options is None:
            raise InputError(
                "No precision is given to cast to.",
                mend="Add --precision fp16 or --precision int8.",
            )
        path = onnx_output(output, onnx.name)
        manifest = cast_model(
            onnx, options, path, command=command_line(context.obj), on_stage=stage
        )
    document = located(manifest, path)
    screen.show(document, lambda console: _report(console, document, explain=explain))


def _report(console: Console, manifest: Cast, *, explain: bool) -> None:
    largest = manifest.largest
    facts = {
        "precision": manifest.precision,
        "nodes": f"{manifest.cast_nodes} in {manifest.precision}, {len(manifest.kept)} kept,"
        f" {manifest.added_nodes} added",
        "ranges": f"{manifest.audited_on}"
        + (f"; largest in half {largest.max_abs:.3g} ({largest.name})" if largest else ""),
        "compared on": manifest.parity_on,
    }
    print_made(console, manifest.onnx, manifest, facts)
    if manifest.kept:
        console.print()
        (_print_every if explain else _print_modules)(console, manifest.kept)
    console.print()
    print_parity(console, manifest.parity)
    print_notes(console, manifest.notes)
    if manifest.accuracy is not None:
        console.print()
        print_accuracy(console, manifest.accuracy)


def _print_modules(console: Console, kept: Sequence[KeptNode]) -> None:
    """Print what stays float32 by module: how many nodes, why, and how large they get."""
    rows = table("kept in float32", "nodes", "because of", "|x| up to")
    for module in dict.fromkeys(module_of(one.node) for one in kept):
        inside = [one for one in kept if module_of(one.node) == module]
        reasons = Counter(one.reason for one in inside if not one.reason.startswith("what reads"))
        told = [reason for reason, _ in reasons.most_common() if not reason.startswith("what it")]
        sizes = [one.max_abs for one in inside if one.max_abs is not None]
        largest = f"{max(sizes):.3g}" if sizes else ""
        rows.add_row(module or "(no module)", str(len(inside)), "; ".join(told), largest)
    console.print(rows)


def _print_every(console: Console, kept: Sequence[KeptNode]) -> None:
    rows = table("kept in float32", "operator", "because", "|x| up to")
    for one in kept:
        largest = "" if one.max_abs is None else f"{one.max_abs:.3g}"
        rows.add_row(one.node, one.op_type, one.reason, largest)
    console.print(rows)
