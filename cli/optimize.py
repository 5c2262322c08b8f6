"""`edgeattn optimize`: an ONNX file, lowered for a target and proven equal to what it was."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from edgeattn.options.optimize import OptimizeOptions
from edgeattn.report.grid import columns

from .groups import Asked, grouped, only, without
from .options import Input, Output, command_line, onnx_output, rules_of
from .screen import Screen
from .tables import (
    print_lowering,
    print_near_misses,
    print_notes,
    print_parity,
    print_rewrites,
    print_trials,
    size,
)

if TYPE_CHECKING:
    from rich.console import Console

    from edgeattn.records.manifest import Optimised

# `--explain` stands between these options and the others.
_FIRST: Final = ("target", "rules", "opset")


@grouped
def optimize(
    *,
    onnx: Input,
    context: typer.Context,
    output: Output,
    asked: Annotated[Asked[OptimizeOptions], only(*_FIRST)],
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Print every rewrite, and every near miss with its reason."),
    ] = False,
    more: Annotated[Asked[OptimizeOptions], without(*_FIRST)],
    screen: Screen,
) -> None:
    """Lower an ONNX file for a target, by exact algebra, and prove it equal to what it was.

    Writes OUT.onnx, and beside it OUT.json, which says what was rewritten. Nothing is written if
    the proof fails.
    """
    with screen.working() as stage:
        from edgeattn.workflows.optimize import optimize as optimize_model

        path = onnx_output(output, onnx)
        asked |= more
        manifest = optimize_model(
            onnx,
            asked.read(rules=rules_of(asked)),
            path,
            command=command_line(context.obj),
            on_stage=stage,
        )
    # The manifest names the file as it lies beside it; who reads stdout stands elsewhere.
    document = manifest.model_copy(update={"onnx": str(path)})
    screen.show(document, lambda console: _report(console, manifest, path, explain=explain))


def _report(console: Console, manifest: Optimised, path: Path, *, explain: bool) -> None:
    console.print(f"{path}  {size(manifest.size_bytes)}", style="bold")
    opset, nodes = manifest.opset, manifest.nodes
    was = "" if opset.before == opset.after else f", read at {opset.before}"
    facts = {
        "opset": f"{opset.after} (IR version {manifest.ir_version}){was}",
        "target": manifest.target,
        "nodes": f"{nodes.before} read, {nodes.after} left",
        "seconds": ", ".join(f"{name} {s:.1f}" for name, s in manifest.seconds.items()),
    }
    console.print(columns(facts.items()))
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
