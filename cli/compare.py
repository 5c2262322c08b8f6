"""`edgeattn compare`: what attentions cost one backbone, in one command."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeattn.base.errors import CheckError, InputError

from .groups import grouped
from .options import CastChoice, ExportChoice, LoweringChoice, ModelChoice, command_line
from .profile import DeviceChoice, Models
from .reporting import OutputChoice, print_report
from .screen import Screen

if TYPE_CHECKING:
    from edgeattn.options.model import AttentionRequest


@grouped
def compare(
    *,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A model as `edgeattn export` takes.")
    ],
    stock: Annotated[
        bool,
        typer.Option("--stock", help="Run each as torch writes it too, beside the lowered one."),
    ] = False,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", metavar="FOLDER", help="Keep the models' files there."),
    ] = None,
    where: DeviceChoice,
    out: OutputChoice,
    choice: ModelChoice,
    cast: CastChoice,
    lowering: LoweringChoice,
    writing: ExportChoice,
    context: typer.Context,
    screen: Screen,
) -> None:
    """Compare attentions on one backbone: export, lower and prove each, and run all in turns.

    --attention takes several, with commas between. The plain model comes first; each attention's
    cost is its latency above that, with a 95 % interval over the rounds in which all were run.
    Ends with 1 if an attention could not be exported; the others are compared all the same.
    """
    with screen.working() as stage, contextlib.ExitStack() as stack:
        from edgeattn.report.content import report_of
        from edgeattn.report.document import comparison_document
        from edgeattn.workflows.compare import compare as compare_models

        out.check()
        out.check_runtime(where.target)
        folder = _folder(keep, stack)
        names = tuple(dict.fromkeys(n for text in choice.attention or () for n in text.split(",")))
        models = Models(where, choice, cast, lowering, writing, folder, stage)
        command = command_line(context.obj)
        found = compare_models(
            dataclasses.replace(choice, attention=None, attention_arg=None, at=None).request(model),
            _attentions(choice, names),
            models.export(),
            models.options(),
            folder,
            stock=stock,
            command=command,
            on_stage=stage,
        )
        report = report_of(found.rows, title=f"{model} with {', '.join(names)}", command=command)
        document = comparison_document(report) | {"left_out": found.left_out}
        stage("write")
        out.write(report, document)
    screen.show(document, lambda console: print_report(console, report, top=None))
    if found.left_out:
        raise typer.Exit(CheckError.exit_code)


def _attentions(choice: ModelChoice, names: tuple[str, ...]) -> list[AttentionRequest]:
    """Read the attentions, each with the options and the place that are its own."""
    from .options import attention_requests

    wanted = [name for name in names if name != "none"]
    if not wanted:
        raise InputError("No attention is named.", mend="Add --attention se,simam,ulsam.")
    return list(attention_requests(wanted, choice.attention_arg or (), choice.at or ()))


def _folder(keep: Path | None, stack: contextlib.ExitStack) -> Path:
    if keep is None:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgeattn-")))
    if keep.exists() and not keep.is_dir():
        raise InputError(f"--keep {keep} is no folder.")
    keep.mkdir(parents=True, exist_ok=True)
    return keep
