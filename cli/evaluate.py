"""`edgeattn evaluate`: how often classifiers are right on images of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from edgeattn.options.evaluate import EvaluateOptions
from edgeattn.options.flags import Flag
from edgeattn.report.grid import table

from .groups import grouped
from .screen import Screen
from .tables import print_notes

_MOST_SKIPPED: Final = 5

if TYPE_CHECKING:
    from rich.console import Console

    from edgeattn.records.accuracy import Accuracy


@grouped
def evaluate(
    *,
    models: Annotated[
        list[Path],
        Flag("MODEL...", "ONNX files or engines; the first is what the others are told against."),
    ],
    how: EvaluateOptions,
    screen: Screen,
) -> None:
    """Find how often classifiers are right on labelled images, several side by side.

    All are run on the same images. Of each but the first, the change of top-1 is told with an
    interval that holds the true one with 95 %: where it spans 0, the data cannot tell the change
    from chance.
    """
    with screen.working() as stage:
        from edgeattn.workflows.evaluate import evaluate as evaluate_models

        found = evaluate_models(models, how, on_stage=stage)
    screen.show(found, lambda console: print_accuracy(console, found))


def print_accuracy(console: Console, found: Accuracy) -> None:
    """Print how often models are right, and of which classes others than the first lose most."""
    skipped = f", {len(found.skipped)} skipped" if found.skipped else ""
    console.print(
        f"{found.data}: {found.images} images{skipped}, {found.classes} classes,"
        f" {found.images_per_s:,.0f} images/s"
    )
    rows = table(
        "model", "top-1 %", "95 %", "top-5 %", "change", "95 %", "as the first", right=(1, 3, 4, 6)
    )
    for one in found.models:
        low, high = one.top1_interval
        against = ["", "", ""]
        if one.change is not None and one.interval is not None and one.agreement is not None:
            below, above = one.interval
            against = [
                f"{one.change:+.2f}",
                f"{below:+.2f} to {above:+.2f}",
                f"{one.agreement:.2f} %",
            ]
        top5 = "" if one.top5 is None else f"{one.top5:.2f}"
        rows.add_row(one.model, f"{one.top1:.2f}", f"{low:.2f} to {high:.2f}", top5, *against)
    console.print(rows)
    for one in found.models:
        if one.losses:
            console.print()
            lost = table(f"{one.model} loses", "images", "right before", "right now",
                         right=(1, 2, 3))  # fmt: skip
            for loss in one.losses:
                lost.add_row(loss.name, str(loss.images), str(loss.before), str(loss.after))
            console.print(lost)
    wrong = [
        f"{one.model} gives NaN or infinity for {one.not_numbers} images, which count as wrong."
        for one in found.models
        if one.not_numbers
    ]
    unread = [f"{path} cannot be read, and was skipped." for path in found.skipped[:_MOST_SKIPPED]]
    if len(found.skipped) > _MOST_SKIPPED:
        unread.append(f"So were {len(found.skipped) - _MOST_SKIPPED} more; --json names all.")
    unsure = [
        f"{one.model}: {one.images} images do not tell its change from chance."
        for one in found.models
        if one.change and one.interval and one.interval[0] <= 0 <= one.interval[1]
    ]
    by = dict[str, list[str]]()
    for one in found.models:
        by.setdefault(one.runtime, []).append(one.model)
    ran = [f"{', '.join(names)} ran in {runtime}." for runtime, names in by.items()]
    print_notes(console, [*wrong, *unread, *unsure, *ran, *found.notes])
