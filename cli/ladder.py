"""`edgeattn parity --ladder`: the rungs from a model to its engine, and the first that falls."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgeattn.base.errors import InputError
from edgeattn.options.cast import CastOptions
from edgeattn.options.export import ExportOptions
from edgeattn.options.model import ModelRequest
from edgeattn.options.optimize import OptimizeOptions
from edgeattn.options.parity import ParityOptions
from edgeattn.report.grid import table

from .groups import Asked
from .options import request_of, rules_of
from .tables import print_notes

if TYPE_CHECKING:
    from rich.console import Console

    from edgeattn.models.build import BuiltModel
    from edgeattn.records.ladder import Comparison, Ladder, Rung
    from edgeattn.runtimes.onnxruntime import Array
    from edgeattn.workflows.pipeline import Top

_STYLES: Final = {"fell": "red", "not climbed": "yellow"}


def climb(
    subject: str,
    how: ParityOptions,
    choice: Asked[ModelRequest],
    lowering: Asked[ExportOptions],
    cast: CastOptions | None,
    inputs: list[Array] | None,
    stage: Callable[[str], None],
    *,
    built: BuiltModel | None = None,
    there: Top | None = None,
) -> Ladder:
    """Climb from a model, or from an ONNX file; on a host, without --ladder, with the file itself.

    Raises:
        InputError: Options of a model are given with a file.
    """
    from edgeattn.workflows.ladder import climb_file, climb_model

    usual: int = lowering.value("opset")
    if there is not None:
        usual = min(usual, there.opset or usual)
        own = {name: said for name, said in there.destined.items() if not lowering.values[name]}
        lowering |= Asked(ExportOptions, own)
    if not subject.endswith(".onnx"):
        options = lowering.read(
            opset=how.opset or usual,
            dynamic_batch=how.dynamic_batch,
            rules=rules_of(lowering),
            cast=cast,
        )
        return climb_model(
            request_of(choice, subject), options, inputs=inputs, there=there, on_stage=stage
        )
    if (choice.given() - {"seed", "shape"} and built is None) or how.dynamic_batch:
        raise InputError(
            f"Options of a model are given, and {subject} is a file that is exported already."
        )
    shapes = choice.value("shapes")
    if cast is not None:
        cast = dataclasses.replace(cast, shapes=shapes)
    return climb_file(
        Path(subject),
        OptimizeOptions(
            target=lowering.value("target"),
            tensorrt=lowering.value("tensorrt"),
            forms=lowering.value("forms"),
            rules=rules_of(lowering),
            opset=how.opset,
            shapes=shapes,
            seed=choice.value("seed"),
        ),
        cast=cast,
        inputs=inputs,
        lower=how.ladder or there is None,
        built=built,
        there=there,
        on_stage=stage,
    )


def print_ladder(console: Console, ladder: Ladder) -> None:
    """Print the rungs from the start up, and the first that fell."""
    console.print(f"{ladder.start}  {ladder.model}", style="bold")
    if ladder.machine is not None:
        console.print(f"on {ladder.machine.title}")
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
