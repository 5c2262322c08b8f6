"""`edgeattn sweep`: every combination of models, attentions, places, precisions, devices, hosts."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from edgeattn.base.errors import CheckError, InputError
from edgeattn.options.cast import PRECISIONS as CASTABLE
from edgeattn.options.cast import CastOptions
from edgeattn.options.export import ExportOptions
from edgeattn.options.model import ModelRequest
from edgeattn.options.profile import ProfileOptions
from edgeattn.options.sweep import SweepOptions

from .groups import Asked, grouped
from .options import CASTING, attention_requests, cast_options, only_of, rules_of
from .screen import Screen
from .tables import print_notes

if TYPE_CHECKING:
    from rich.console import Console

    from edgeattn.workflows.sweep import Swept

_MOST_FAILED: Final = 8


def _read_plan(context: typer.Context, path: Path | None) -> Path | None:
    """Take a plan's lists as the defaults of options that are not given."""
    if path is not None:
        options = [one for one in context.command.params if one.name]
        known = {str(one.name): getattr(one, "multiple", False) for one in options}
        context.default_map = plan_of(path, known)
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
    screen: Screen,
) -> None:
    """Go through every combination of models, attentions, places, precisions, devices and hosts.

    Each is exported and proven once, and predicted for each device, or measured. What is done is
    kept in one file, and never done again: a sweep that was ended goes on where it was. Ends with
    1 if a job failed; the others are done all the same. See: edgeattn report FILE.db
    """  # fmt: skip
    with screen.working() as stage, contextlib.ExitStack() as stack:
        from edgeattn.hosts.visit import guests
        from edgeattn.workflows.sweep import sweep as go_through
        from edgeattn.workflows.sweep_plan import Common, casts_of

        options = asked.read()
        seed = choice.value("seed")
        common = Common(
            request=choice.read(source="", attentions=()),
            attentions=attention_requests(
                options.attentions, choice.values["attention_arg"] or (), ()
            ),
            export=writing.read(rules=rules_of(writing)),
            casts=casts_of(options.precisions, lambda name: _cast(cast, name, seed)),
            profile=how.read(shapes=choice.value("shapes"), seed=seed),
        )
        there = stack.enter_context(guests(options.hosts, stage)) if options.hosts else ()
        output = options.output or Path(f"{plan.stem if plan else 'sweep'}.db")
        found = go_through(options, common, guests=there, output=output, on_stage=stage)
    document = _document(found, output)
    screen.show(document, lambda console: _print(console, found, output, is_dry=options.dry_run))
    if found.failed:
        raise typer.Exit(CheckError.exit_code)


def _cast(asked: Asked[CastOptions], precision: str, seed: int) -> CastOptions | None:
    if precision not in CASTABLE:
        return None
    return cast_options(asked | Asked(CastOptions, only_of(precision)), seed=seed)


def _document(found: Swept, output: Path) -> dict[str, Any]:
    planned = found.planned
    return {
        "output": str(output),
        "jobs": {
            "total": len(planned.jobs),
            "done_before": planned.done,
            "failed_before": planned.failed,
            "exports": planned.exports,
            "measured": planned.measured,
        },
        "expected_seconds": round(planned.seconds, 1),
        "rows": [row.model_dump(mode="json") for row in found.rows],
        "failed": [
            {"job": label, "key": one.key, "fact": one.fact, "mend": one.mend}
            for label, one in found.failed
        ],
    }


def _print(console: Console, found: Swept, output: Path, *, is_dry: bool) -> None:
    from edgeattn.workflows.sweep import in_words

    planned = found.planned
    left = len(planned.jobs) - planned.done - planned.failed
    facts = [f"{len(planned.jobs)} jobs", f"{planned.done} done before"]
    facts += [f"{planned.failed} failed before"] if planned.failed else []
    console.print(f"{output}: {', '.join(facts)}", style="bold")
    if is_dry:
        guess = ", a guess: nothing like it was made yet" if planned.is_guess else ""
        console.print(
            f"{left} to do: {planned.exports} exports, {planned.measured} measurements;"
            f" about {in_words(planned.seconds)}{guess}"
        )
        return
    console.print(f"{len(found.rows)} rows. See: edgeattn report {output}")
    for label, one in found.failed[:_MOST_FAILED]:
        console.print(f"failed: {label}: {one.fact} {one.mend}".strip())
    if len(found.failed) > _MOST_FAILED:
        console.print(f"and {len(found.failed) - _MOST_FAILED} more; --json has them all.")
    if found.failed:
        print_notes(console, ["--retry tries them again."])
