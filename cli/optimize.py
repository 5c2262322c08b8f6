"""`edgeattn optimize`: an ONNX file, lowered for a target and proven equal to what it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from edgeattn.options.flags import Flag
from edgeattn.options.optimize import OptimizeOptions
from edgeattn.options.photos import PHOTO_NAMES

from .groups import Asked, grouped
from .options import (
    DESTINED,
    TUNING,
    Input,
    Output,
    command_line,
    for_device,
    onnx_output,
    rules_of,
)
from .screen import Screen
from .tables import (
    located,
    print_lowering,
    print_made,
    print_near_misses,
    print_notes,
    print_parity,
    print_rewrites,
    print_trials,
)

if TYPE_CHECKING:
    from rich.console import Console

    from edgeattn.records.manifest import Optimised

_FIRST: Final = (*DESTINED, "opset")
_LAST: Final = (
    "tune",
    "on",
    *TUNING,
    "shape",
    "input",
    *PHOTO_NAMES,
    "seed",
    "no_simplify",
    "simplify_timeout",
)


@grouped
def optimize(
    *,
    onnx: Input,
    context: typer.Context,
    output: Output,
    asked: Annotated[Asked[OptimizeOptions], _FIRST],
    explain: Annotated[
        bool, Flag("--explain", "Print every rewrite, and every near miss with its reason.")
    ] = False,
    more: Annotated[Asked[OptimizeOptions], _LAST],
    screen: Screen,
) -> None:
    """Lower an ONNX file for a target, by exact algebra, and prove it equal to what it was.

    Writes OUT.onnx, and beside it OUT.json, which says what was rewritten. Nothing is written if
    the proof fails.
    """
    with screen.working() as stage:
        from edgeattn.workflows.optimize import optimize as optimize_model

        path = onnx_output(output, onnx.name)
        asked, _, taken = for_device(asked | more)
        manifest = optimize_model(
            onnx,
            asked.read(rules=rules_of(asked)),
            path,
            command=command_line(context.obj),
            taken=taken,
            on_stage=stage,
        )
    document = located(manifest, path)
    screen.show(document, lambda console: _report(console, document, explain=explain))


def _report(console: Console, manifest: Optimised, *, explain: bool) -> None:
    opset, nodes = manifest.opset, manifest.nodes
    was = "" if opset.before == opset.after else f", read at {opset.before}"
    facts = {
        "opset": f"{opset.after} (IR version {manifest.ir_version}){was}",
        "target": manifest.target,
        "nodes": f"{nodes.before} read, {nodes.after} left",
    }
    print_made(console, manifest.onnx, manifest, facts)
    console.print()
    if explain:
        print_rewrites(console, manifest.rewrites)
        console.print()
        print_near_misses(console, manifest.near_misses)
        if manifest.trials:
            console.print()
            print_trials(console, manifest.trials)
    else:
        print_lowering(console, manifest.rewrites, manifest.near_misses)
    if manifest.trials:
        taken = sum(trial.is_taken for trial in manifest.trials)
        console.print(f"tournament: {len(manifest.trials)} forms tried, {taken} taken")
    console.print()
    print_parity(console, manifest.parity)
    print_notes(console, manifest.notes)
