"""`edgeattn report`: a report made again from what profile and compare wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeattn.options.flags import Flag

from .groups import grouped
from .options import Top, command_line
from .reporting import TOP, OutputChoice, print_report
from .screen import Screen


@grouped
def report(
    *,
    traces: Annotated[
        list[Path],
        Flag("TRACE.json…", "What profile or compare wrote with -o, or printed with --json."),
    ],
    out: OutputChoice,
    top: Top = None,
    context: typer.Context,
    screen: Screen,
) -> None:
    """Make a report again from saved traces; several are shown side by side.

    Nothing is measured. Of several files, as of several devices, the first is what others stand
    beside; they were not run together, so no difference is given.
    """
    with screen.working() as stage:
        from edgeattn.report.content import report_of
        from edgeattn.report.document import document_of
        from edgeattn.report.saved import read_saved

        out.check(read=traces)
        stage("read")
        found = report_of(read_saved(traces), command=command_line(context.obj))
        document = document_of(found)
        stage("write")
        out.write(found, document)
    shown = None if screen.verbose else top or TOP
    screen.show(document, lambda console: print_report(console, found, top=shown))
