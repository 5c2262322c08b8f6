"""`edgeattn sweep`: every combination of models, attentions, places, precisions, devices, hosts."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeattn.base.errors import CheckError, InputError
from edgeattn.options.cast import PRECISIONS as CASTABLE
from edgeattn.options.cast import CastOptions
from edgeattn.options.export import ExportOptions
from edgeattn.options.flags import Flag
from edgeattn.options.gate import GateOptions
from edgeattn.options.model import ModelRequest
from edgeattn.options.profile import ProfileOptions
from edgeattn.options.sweep import SweepOptions

from .gating import Gating, end_with_gate, print_gate
from .groups import Asked, grouped
from .options import (
    CASTING,
    attention_requests,
    cast_options,
    command_line,
    only_of,
    rules_of,
)
from .reporting import TOP, SweepChoice, print_sweep
from .screen import Screen

if TYPE_CHECKING:
    from rich.console import Console

    from edgeattn.report.sweep import Sweep
    from edgeattn.workflows.sweep import Swept


def _read_plan(context: typer.Context, path: Path | None) -> Path | None:
    """Take a plan's lists as the defaults of options that are not given."""
    if path is not None:
        options = {
            spelling.removeprefix("--").replace("-", "_"): one
            for one in context.command.params
            for spelling in one.opts
            if spelling.startswith("--")
        }
        known = {name: getattr(one, "multiple", False) for name, one in options.items()}
        found = plan_of(path, known)
        context.default_map = {str(options[name].name): one for name, one in found.items()}
    return path


def plan_of(path: Path, known: Mapping[str, bool]) -> dict[str, Any]:
    """Read a plan: options by their long names, without dashes before.

    Args:
        path: The TOML file.
        known: The names of options, as Python writes them, and whether each may be given again.

    Raises:
        InputError: It cannot be read, has a key that is no option, or a list that is empty.
    """
    from edgeattn.base import documents
    from edgeattn.base.nearest import did_you_mean, nearest

    names = known.keys() - {"plan", "json", "help", "quiet", "verbose"}
    text = documents.read_text(path, largest_mib=1, otherwise="is no TOML: it is no text")
    table = documents.parse_toml(text, str(path))
    found = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in names:
            dashed = [one.replace("_", "-") for one in names]
            raise InputError(
                f"{path} has a key {key!r}, which is no option of a sweep.",
                mend=did_you_mean(nearest(key, dashed)) or "See: edgeattn sweep --help",
            )
        is_list = isinstance(value, list)
        if value == [] or isinstance(value, dict) or (is_list and not known[name]):
            what = (
                "a table" if isinstance(value, dict) else "an empty list" if not value else "a list"
            )
            only = f"one {key}" if not known[name] else f"{key} = [...]"
            raise InputError(f"{path}: {key} is {what}.", mend=f"Write {only}, or leave it out.")
        found[name] = [value] if known[name] and not is_list else value
    return found


@grouped
def sweep(
    *,
    plan: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PLAN.toml]",
            help="Lists of what to go through: the options below, by their long names.",
            callback=_read_plan,
            is_eager=True,
        ),
    ] = None,
    asked: Asked[SweepOptions],
    choice: Annotated[
        Asked[ModelRequest],
        (
            "attention_arg",
            "model_arg",
            "pretrained",
            "weights",
            "trust_checkpoint",
            "num_classes",
            "seed",
            "shape",
        ),
    ],
    cast: Annotated[Asked[CastOptions], tuple(one for one in CASTING if one != "precision")],
    how: Annotated[
        Asked[ProfileOptions],
        ("threads", "batch", "limit", "plan_timeout", "no_cuda_graph", "openvino_device"),
    ],
    writing: Annotated[
        Asked[ExportOptions], ("dynamic_batch", "no_simplify", "simplify_timeout", "rules")
    ],
    page: Annotated[
        Path | None, Flag("--report FILE.html", "A page with pictures, whole in one file.")
    ] = None,
    export: Annotated[
        list[Path] | None,
        Flag("--export FILE.csv|parquet", "The rows, for other programs. May be given again."),
    ] = None,
    gate: GateOptions,
    summary: Annotated[
        Path | None, Flag("--summary FILE.md", "A summary in Markdown, as in $GITHUB_STEP_SUMMARY.")
    ] = None,
    junit: Annotated[
        Path | None, Flag("--junit FILE.xml", "The verdicts of --fail-above, as JUnit's.")
    ] = None,
    context: typer.Context,
    screen: Screen,
) -> None:
    """Go through every combination of models, attentions, places, precisions, devices and hosts.

    Each is exported and proven once, and predicted for each device, or measured. What is done is
    kept in one file, and never done again: a sweep that was ended goes on where it was. Ends with
    1 if a job failed; the others are done all the same. See: edgeattn report FILE.db
    """  # fmt: skip
    with screen.working() as stage, contextlib.ExitStack() as stack:
        from edgeattn.hosts.visit import guests
        from edgeattn.report.sweep import sweep_of
        from edgeattn.workflows.sweep import sweep as go_through
        from edgeattn.workflows.sweep_plan import Common

        options = asked.read()
        seed = choice.value("seed")
        common = Common(
            request=choice.read(source="", attentions=()),
            attentions=attention_requests(
                [one for one in options.attentions if one != "none"],  # it is there by itself
                choice.values["attention_arg"] or (),
                (),
            ),
            export=writing.read(rules=rules_of(writing)),
            casts=_casts(cast, options.precisions, seed),
            profile=how.read(shapes=choice.value("shapes"), seed=seed),
        )
        output = options.output or Path(f"{plan.stem if plan else 'sweep'}.db")
        files = SweepChoice(report=page, export=tuple(export or ()), summary=summary, junit=junit)
        files.check(read=filter(None, [plan, gate.baseline]), written=[output])
        is_compared = bool(common.attentions)
        gating = Gating.of(gate, files, is_compared=is_compared, is_sweep=True)
        there = stack.enter_context(guests(options.hosts, stage)) if options.hosts else ()
        found = go_through(options, common, guests=there, output=output, on_stage=stage)
        failed = {label: f"{one.fact} {one.mend}".strip() for label, one in found.failed}
        shown = sweep_of(found.rows, failed, command=command_line(context.obj))
        document = _document(found, shown, output)
        judged = None
        if not options.dry_run:
            if gating:
                judged = gating.judge_sweep(shown, [output], document, errors=failed)
            stage("write")
            files.write(shown, document, judged)

    def show(console: Console) -> None:
        _print(console, found, output, is_dry=options.dry_run)
        if found.rows or found.failed:
            print_sweep(console, shown, top=None if screen.verbose else TOP)
        print_gate(console, judged)

    screen.show(document, show)
    end_with_gate(judged)
    if found.failed:
        raise typer.Exit(CheckError.exit_code)


def _casts(
    asked: Asked[CastOptions], precisions: Sequence[str], seed: int
) -> dict[str, CastOptions | None]:
    from edgeattn.workflows.sweep_plan import casts_of

    def one(precision: str | None) -> CastOptions | None:
        known = {"precision": None} if precision is None else only_of(precision)
        return cast_options(asked | Asked(CastOptions, known), seed=seed)

    found = casts_of(precisions, lambda name: one(name) if name in CASTABLE else None)
    if not any(found.values()):
        one(None)  # or options of a cast are given, and are of none
    return found


def _document(found: Swept, shown: Sweep, output: Path) -> dict[str, Any]:
    from edgeattn.report.sweep import document_of

    planned = found.planned
    jobs = {
        "total": len(planned.jobs),
        "done_before": planned.done,
        "failed_before": planned.failed,
        "exports": planned.exports,
        "measured": planned.measured,
        "expected_s": round(planned.seconds, 1),
        "is_guess": planned.is_guess,
    }
    failed = [
        {"job": label, "key": one.key, "fact": one.fact, "mend": one.mend}
        for label, one in found.failed
    ]
    return document_of(shown) | {"output": str(output), "jobs": jobs, "failed": failed}


def _print(console: Console, found: Swept, output: Path, *, is_dry: bool) -> None:
    from edgeattn.workflows.sweep import in_words

    planned = found.planned
    left = len(planned.jobs) - planned.done - planned.failed
    said = [f"{output}: {len(planned.jobs)} jobs", f"{planned.done} done before"]
    said += [f"{planned.failed} failed before"] if planned.failed else []
    console.print(", ".join(said))
    if is_dry:
        guess = ", a guess: nothing like it was made yet" if planned.is_guess else ""
        console.print(
            f"{left} to do: {planned.exports} exports, {planned.measured} measurements;"
            f" about {in_words(planned.seconds)}{guess}"
        )
    elif found.failed:
        console.print("What failed is tried again with --retry.")
