"""`edgeattn doctor`: what is installed, what works, and how to mend what does not."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import typer

from edgeattn.base.errors import MissingError

from .groups import grouped
from .screen import Screen

if TYPE_CHECKING:
    from rich.console import Console

    from edgeattn.workflows.doctor import Diagnosis


@grouped
def doctor(screen: Screen) -> None:
    """Try what edgeattn needs, and say how to mend what does not work.

    Ends with 0 if models can be exported here, and with 3 if not.
    """
    from edgeattn.workflows.doctor import diagnose

    with screen.working() as stage:
        diagnosis = diagnose(on_stage=stage)
    document = dataclasses.asdict(diagnosis) | {"can_export": diagnosis.can_export}
    screen.show(document, lambda console: _report(console, diagnosis))
    if not diagnosis.can_export:
        raise typer.Exit(MissingError.exit_code)


def _report(console: Console, diagnosis: Diagnosis) -> None:
    from rich.table import Table

    installed = Table("installed", "version", box=None)
    for name, found in {**diagnosis.system, **diagnosis.installed}.items():
        installed.add_row(name, found or "-")
    checks = Table("check", "", "found", box=None)
    colours = {"works": "green", "absent": "dim", "untried": "dim"}
    for check in diagnosis.checks:
        colour = "red" if check.needed and check.state != "works" else colours.get(check.state)
        checks.add_row(check.title, check.state, check.detail, style=colour)
    console.print(installed)
    console.print()
    console.print(checks)
    console.print()
    for check in diagnosis.checks:
        if check.mend:
            console.print(f"{check.title}: {check.state}. To mend it: {check.mend}")
    console.print(
        "edgeattn export works here" if diagnosis.can_export else "edgeattn export cannot work here"
    )
