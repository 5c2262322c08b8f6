"""`edgeattn optimize`: an ONNX file, lowered for a target and proven equal to what it was."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeattn.report.grid import columns

from .groups import grouped
from .options import LoweringChoice, Texts, command_line, onnx_output, parse_shape
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


@grouped
def optimize(
    *,
    onnx: Annotated[Path, typer.Argument(metavar="IN.onnx", help="The file to read.")],
    context: typer.Context,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="OUT.onnx", help="Where to write; a folder will do."
        ),
    ],
    choice: LoweringChoice,
    opset: Annotated[
        int | None,
        typer.Option(
            "--opset",
            min=13,
            help="The opset: exactly this one, or none. [the file's own, at least 13]",
        ),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Print every rewrite, and every near miss with its reason."),
    ] = False,
    tune: Annotated[
        bool,
        typer.Option(
            "--tune",
            help="Let forms compete on this model, measured; takes a minute or more, once.",
        ),
    ] = False,
    shape: Annotated[
        Texts,
        typer.Option(
            "--shape",
            metavar="1x3x224x224",
            help="Shape to check a file with whose height or width is open; once per input.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Seed of the inputs that it is checked with.")
    ] = 0,
    no_simplify: Annotated[bool, typer.Option("--no-simplify", help="Leave onnxsim out.")] = False,
    simplify_timeout: Annotated[
        float,
        typer.Option("--simplify-timeout", metavar="S", min=1, help="Seconds that onnxsim gets."),
    ] = 300.0,
    screen: Screen,
) -> None:
    """Lower an ONNX file for a target, by exact algebra, and prove it equal to what it was.

    Writes OUT.onnx, and beside it OUT.json, which says what was rewritten. Nothing is written if
    the proof fails.
    """
    with screen.working() as stage:
        from edgeattn.options.optimize import OptimizeOptions
        from edgeattn.workflows.optimize import optimize as optimize_model

        path = onnx_output(output, onnx)
        manifest = optimize_model(
            onnx,
            OptimizeOptions(
                target=choice.chosen_target(),
                rules=choice.chosen_rules(),
                opset=opset,
                tune=tune,
                simplify=not no_simplify,
                simplify_timeout_s=simplify_timeout,
                shapes=tuple(parse_shape(text) for text in shape or ()),
                seed=seed,
            ),
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
