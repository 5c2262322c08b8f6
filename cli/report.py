"""`edgeattn report`: a report made again from what profile and compare wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeattn.base.errors import InputError
from edgeattn.options.flags import Flag
from edgeattn.options.gate import GateOptions

from .gating import Gating, end_with_gate, print_gate
from .groups import grouped
from .options import command_line
from .reporting import TOP, OutputChoice, SweepChoice, print_report, print_sweep
from .screen import Screen

if TYPE_CHECKING:
    from rich.console import Console


@grouped
def report(
    *,
    traces: Annotated[
        list[Path],
        Flag("TRACE.json…", "What profile, compare or sweep wrote, or printed with --json."),
    ],
    out: OutputChoice,
    export: Annotated[
        list[Path] | None,
        Flag("--export FILE.csv|parquet", "Of a sweep: its rows. May be given again."),
    ] = None,
    gate: GateOptions,
    top: Annotated[
        int | None, Flag("--top N", "Show N sites, or rows of a device, only. [8]", min=1)
    ] = None,
    context: typer.Context,
    screen: Screen,
) -> None:
    """Make a report again from saved traces; several are shown side by side.

    Nothing is measured. Of several files, as of several devices, the first is what others stand
    beside; they were not run together, so no difference is given. Of sweeps, the rows of all are
    in one report.
    """
    with screen.working() as stage:
        from edgeattn.report.document import document_of
        from edgeattn.report.saved import read_report
        from edgeattn.report.sweep import Sweep
        from edgeattn.report.sweep import document_of as sweep_document_of

        swept = SweepChoice(
            output=out.output,
            report=out.report,
            export=tuple(export or ()),
            summary=out.summary,
            junit=out.junit,
        )
        for files in (out, swept):
            files.check(read=[*traces, *filter(None, [gate.baseline])])
        stage("read")
        found = read_report(traces, command=command_line(context.obj))
        is_sweep = isinstance(found, Sweep)
        gating = Gating.of(gate, out, is_compared=True, is_sweep=is_sweep)
        document: Any
        judged = None
        if isinstance(found, Sweep):
            out.check_of_sweep()
            document = sweep_document_of(found)
            judged = gating.judge_sweep(found, traces, document) if gating else None
            stage("write")
            swept.write(found, document, judged)
        else:
            if export:
                raise InputError(
                    "--export is for the rows of a sweep.", mend="-o writes what profile found."
                )
            document = document_of(found)
            judged = gating.judge(found, document) if gating else None
            stage("write")
            out.write(found, document, gate=judged)
    shown = None if screen.verbose else top or TOP

    def show(console: Console) -> None:
        if isinstance(found, Sweep):
            print_sweep(console, found, top=shown)
        else:
            print_report(console, found, top=shown)
        print_gate(console, judged)

    screen.show(document, show)
    end_with_gate(judged)
