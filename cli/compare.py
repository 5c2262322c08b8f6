"""`edgeattn compare`: what attentions cost one backbone, in one command."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeattn.base import files
from edgeattn.base.errors import CheckError, InputError
from edgeattn.options.export import ExportOptions
from edgeattn.options.flags import Flag
from edgeattn.options.gate import GateOptions
from edgeattn.options.model import AttentionRequest, ModelRequest
from edgeattn.options.profile import ProfileOptions

from .gating import Gating, end_with_gate, print_gate
from .groups import Asked, grouped
from .options import (
    TUNING,
    Casting,
    Lowering,
    Model,
    Modelling,
    Writing,
    attentions_of,
    command_line,
)
from .profile import Models, connected, end_with, failures
from .reporting import OutputChoice, print_report
from .screen import Screen

if TYPE_CHECKING:
    from rich.console import Console


@grouped
def compare(
    *,
    model: Model,
    stock: Annotated[
        bool, Flag("--stock", "Run each as torch writes it too, beside the lowered one.")
    ] = False,
    keep: Annotated[Path | None, Flag("--keep FOLDER", "Keep the models' files there.")] = None,
    where: Asked[ProfileOptions],
    out: OutputChoice,
    gate: GateOptions,
    choice: Modelling,
    cast: Casting,
    lowering: Lowering,
    tuning: Annotated[Asked[ExportOptions], ("tune", *TUNING)],
    writing: Writing,
    context: typer.Context,
    screen: Screen,
) -> None:
    """Compare attentions on one backbone: export, lower, prove each; run all in interleaved rounds.

    --attention takes several, with commas between. The plain model comes first; each attention's
    cost is its latency above that, with a 95 % interval over the rounds in which all were run.
    Ends with 1 if an attention could not be exported; the others are compared all the same.
    """
    with screen.working() as stage, contextlib.ExitStack() as stack:
        from edgeattn.report.content import report_of
        from edgeattn.report.document import comparison_document
        from edgeattn.workflows.compare import compare as compare_models

        out.check(read=[gate.baseline] if gate.baseline else [])
        gating = Gating.of(gate, out, is_compared=True)
        folder = _folder(keep, stack)
        texts = choice.values["attention"] or ()
        names = tuple(dict.fromkeys(name for text in texts for name in text.split(",")))
        guests = stack.enter_context(connected(where, stage))
        writing |= lowering | tuning
        models = Models(where, choice, cast, writing, folder, stage, guests, gating=gating)
        aims = models.aims()
        out.check_runtime(lambda: aims[0].target)
        command = command_line(context.obj)
        found = compare_models(
            choice.read(source=model, attentions=()),
            _attentions(choice, names),
            {aim.name: models.export(aim) for aim in aims},
            models.options(),
            folder,
            hosts=[(guest, aim.name) for guest in guests for aim in models.aims_of(guest)],
            runtimes={aim.name: aim.runtime for aim in aims if aim.runtime},
            casts=models.casts(),
            stock=stock,
            command=command,
            on_stage=stage,
        )
        labels = ", ".join(AttentionRequest(name=one).label for one in names)
        report = report_of(found.rows, title=f"{model} with {labels}", command=command)
        document = comparison_document(report) | failures(found.failed)
        document["left_out"] = found.left_out
        if found.trials:
            document["trials"] = {
                name: [trial.model_dump() for trial in trials]
                for name, trials in found.trials.items()
            }
        judged = gating.judge(report, document) if gating else None
        stage("write")
        out.write(report, document, gate=judged)

    def show(console: Console) -> None:
        print_report(console, report, top=None)
        print_gate(console, judged)

    screen.show(document, show)
    end_with(found.failed)
    end_with_gate(judged)
    if found.left_out:
        raise typer.Exit(CheckError.exit_code)


def _attentions(
    choice: Asked[ModelRequest], names: tuple[str, ...]
) -> tuple[AttentionRequest, ...]:
    wanted = [name for name in names if name != "none"]
    if not wanted:
        raise InputError("No attention is named.", mend="Add --attention se,simam,ulsam.")
    return attentions_of(choice, wanted)


def _folder(keep: Path | None, stack: contextlib.ExitStack) -> Path:
    if keep is None:
        return stack.enter_context(files.scratch())
    if keep.exists() and not keep.is_dir():
        raise InputError(f"--keep {keep} is no folder.")
    keep.mkdir(parents=True, exist_ok=True)
    return keep
