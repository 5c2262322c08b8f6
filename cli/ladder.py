"""`edgeattn parity --ladder`: the rungs from a model to its engine, and the first that falls."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from edgeattn.base.errors import InputError
from edgeattn.report.grid import table

from .options import CastChoice, LoweringChoice, ModelChoice
from .tables import print_notes

if TYPE_CHECKING:
    from rich.console import Console

    from edgeattn.options.cast import CastOptions
    from edgeattn.records.ladder import Comparison, Ladder, Rung
    from edgeattn.runtimes.onnxruntime import Array

_STYLES: Final = {"fell": "red", "not climbed": "yellow"}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LadderChoice:
    """Whether to climb the ladder, and how the model is exported on it."""

    ladder: Annotated[
        bool,
        typer.Option(
            "--ladder",
            help="Climb torch → onnx → lowered → cast → engine, and name the first rung that"
            " falls. The cast is climbed with --precision, the engine where a GPU is.",
        ),
    ] = False
    opset: Annotated[
        int | None, typer.Option("--opset", min=13, help="The opset, with --ladder. [17]")
    ] = None
    dynamic_batch: Annotated[
        bool, typer.Option("--dynamic-batch", help="Export with an open batch, with --ladder.")
    ] = False


def climb(
    subject: str,
    choice: ModelChoice,
    how: LadderChoice,
    lowering: LoweringChoice,
    cast: CastOptions | None,
    inputs: list[Array] | None,
    stage: Callable[[str], None],
) -> Ladder:
    """Climb from a model, or from an ONNX file.

    Raises:
        InputError: Options of a model are given with a file.
    """
    from edgeattn.workflows.ladder import climb_file, climb_model

    if not subject.endswith(".onnx"):
        from edgeattn.options.export import ExportOptions

        options = ExportOptions(
            opset=17 if how.opset is None else how.opset,
            dynamic_batch=how.dynamic_batch,
            target=lowering.chosen_target(),
            rules=lowering.chosen_rules(),
            cast=cast,
        )
        return climb_model(choice.request(subject), options, inputs=inputs, on_stage=stage)
    if choice != ModelChoice(seed=choice.seed, shape=choice.shape) or how.dynamic_batch:
        raise InputError(
            f"Options of a model are given, and {subject} is a file that is exported already."
        )
    from edgeattn.options.optimize import OptimizeOptions

    shapes = choice.request(subject).shapes
    if cast is not None:
        cast = dataclasses.replace(cast, shapes=shapes)
    return climb_file(
        Path(subject),
        OptimizeOptions(
            target=lowering.chosen_target(),
            rules=lowering.chosen_rules(),
            opset=how.opset,
            shapes=shapes,
            seed=choice.seed,
        ),
        cast=cast,
        inputs=inputs,
        on_stage=stage,
    )


def cast_of(cast: CastChoice, min_sqnr: float | None, *, seed: int) -> CastOptions | None:
    """Read how to cast.

    Raises:
        InputError: Options of a cast are given, and no precision.
    """
    options = cast.options(seed=seed)
    if options is not None:
        return dataclasses.replace(options, min_sqnr_db=min_sqnr)
    if min_sqnr is not None:
        raise InputError(
            "--min-sqnr is what the cast is held to, and none is asked for.",
            mend="Add --precision fp16 or --precision int8.",
        )
    return None


def print_ladder(console: Console, ladder: Ladder) -> None:
    """Print the rungs from the start up, and the first that fell."""
    console.print(f"{ladder.start}  {ladder.model}", style="bold")
    rows = table("rung", "", "against", "weights", "SQNR dB", "max rel", "argmax", "held to", "s")
    for rung in ladder.rungs:
        style = _STYLES.get(rung.state)
        seconds = f"{rung.seconds:.1f}" if rung.seconds else ""
        head: tuple[str, ...] = (rung.rung, rung.state)
        tail: tuple[str, ...] = (_held_to(rung), seconds)
        for comparison in rung.comparisons:
            rows.add_row(*head, *_figures(comparison), *tail, style=style)
            head, tail = ("", ""), ("", "")
        if not rung.comparisons:
            rows.add_row(*head, "", "", "", "", "", *tail, style=style)
    console.print(rows)
    for rung in ladder.rungs:
        if rung.reason:
            console.print(f"{rung.rung} {rung.state}: {rung.reason}", style=_STYLES[rung.state])
    if ladder.first_fall is not None:
        first = ladder.first_difference
        where = f", at {first}" if first else "; no single module or tensor could be named"
        console.print(f"the first rung that falls: {ladder.first_fall}{where}")
    print_notes(console, ladder.notes)


def _held_to(rung: Rung) -> str:
    """Return what a rung is held to; with random weights and without, it is the same."""
    if not rung.comparisons:
        return rung.precision
    least = rung.comparisons[0].min_sqnr_db
    return (
        f"{rung.precision}: {least:.0f} dB"
        if least > float("-inf")
        else f"{rung.precision}: reported"
    )


def _figures(comparison: Comparison) -> tuple[str, ...]:
    """Return the figures of the output that differs most."""
    ratios = [output.sqnr_db for output in comparison.outputs if output.sqnr_db is not None]
    return (
        comparison.against,
        comparison.weights,
        f"{min(ratios):.1f}" if ratios else "exact",
        f"{max(output.max_rel for output in comparison.outputs):.2g}",
        f"{min(output.argmax_agreement for output in comparison.outputs):.2%}",
    )
