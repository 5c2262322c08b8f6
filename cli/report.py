"""`edgeattn report`: a report made again from what another command saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeattn.base.errors import InputError
from edgeattn.options.flags import Flag
from edgeattn.options.gate import GateOptions

from .check import CheckFiles, print_checked
from .gating import Gating, end_with_gate, print_gate
from .groups import grouped
from .options import command_line
from .place import PlaceFiles, print_placement
from .reporting import TOP, OutputChoice, SweepChoice, print_history, print_report, print_sweep
from .screen import Screen

if TYPE_CHECKING:
    from rich.console import Console

    from edgeattn.profiling.gate import Gate
    from edgeattn.records.check import Checked
    from edgeattn.records.place import Placement

#: A document, what prints the same, and what a gate found.
_Made = tuple[Any, Callable[["Console"], None], "Gate | None"]


@grouped
def report(
    *,
    traces: Annotated[
        list[Path],
        Flag(
            "TRACE.json…",
            "What profile, compare, sweep, place or check wrote, or printed with --json.",
        ),
    ],
    history: Annotated[
        bool,
        Flag("--history", "Latency by commit: that of the folder in which each was measured."),
    ] = False,
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
    command = command_line(context.obj)
    with screen.working() as stage:
        stage("read")
        if history:
            document, show, judged = _history(traces, out, gate, export, command)
        else:
            shown = None if screen.verbose else top or TOP
            document, show, judged = _report(traces, out, gate, export, command, shown)
    screen.show(document, show)
    end_with_gate(judged)


def _history(
    traces: list[Path],
    out: OutputChoice,
    gate: GateOptions,
    export: list[Path] | None,
    command: str,
) -> _Made:
    from edgeattn.report.history import document_of
    from edgeattn.workflows.gate import history

    out.check(read=traces)
    out.check_without_traces(
        "a history is of their latency", mend="Its picture is in --report FILE.html."
    )
    if gate.fail_above or export:
        named = "--fail-above" if gate.fail_above else "--export"
        raise InputError(
            f"{named} is not for --history.", mend="To compare two: --baseline SAVED.json"
        )
    found = history(traces, command=command)
    document = document_of(found)
    out.write_history(found, document)
    return document, lambda console: print_history(console, found), None


def _report(
    traces: list[Path],
    out: OutputChoice,
    gate: GateOptions,
    export: list[Path] | None,
    command: str,
    top: int | None,
) -> _Made:
    from edgeattn.records.check import Checked
    from edgeattn.records.place import Placement
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
    found = read_report(traces, command=command)
    if isinstance(found, Placement):
        return _placed(found, out, gate, export, traces)
    if isinstance(found, Checked):
        return _checked(found, out, gate, export, traces)
    gating = Gating.of(gate, out, is_compared=True, is_sweep=isinstance(found, Sweep))
    document: Any
    judged = None
    if isinstance(found, Sweep):
        out.check_without_traces(
            "a sweep keeps none",
            mend="Its pictures are in --report FILE.html, its rows in --export FILE.csv.",
            besides=("summary", "junit"),
        )
        document = sweep_document_of(found)
        judged = gating.judge_sweep(found, traces, document) if gating else None
        swept.write(found, document, judged)
    else:
        if export:
            raise InputError(
                "--export is for the rows of a sweep.", mend="-o writes what profile found."
            )
        document = document_of(found)
        judged = gating.judge(found, document) if gating else None
        out.write(found, document, gate=judged)

    def show(console: Console) -> None:
        if isinstance(found, Sweep):
            print_sweep(console, found, top=top)
        else:
            print_report(console, found, top=top)
        print_gate(console, judged)

    return document, show, judged


def _placed(
    found: Placement,
    out: OutputChoice,
    gate: GateOptions,
    export: list[Path] | None,
    traces: list[Path],
) -> _Made:
    out.check_without_traces(
        "what place found keeps none",
        mend="Its picture is in --figure FILE.svg and --report FILE.html.",
        besides=("figure",),
    )
    _refuse("what place found", gate, export)
    files = PlaceFiles(output=out.output, report=out.report, figure=out.figure)
    files.check(read=traces[0])
    files.write(found)
    return found, lambda console: print_placement(console, found), None


def _checked(
    found: Checked,
    out: OutputChoice,
    gate: GateOptions,
    export: list[Path] | None,
    traces: list[Path],
) -> _Made:
    out.check_without_traces("a check keeps none", mend="Its page is in --report FILE.html.")
    _refuse("a check", gate, export)
    files = CheckFiles(output=out.output, report=out.report)
    files.check(read=traces)
    files.write(found)
    return found, lambda console: print_checked(console, found), None


def _refuse(what: str, gate: GateOptions, export: list[Path] | None) -> None:
    """Refuse options that are for traces or sweeps."""
    if gate.fail_above or export:
        named = "--fail-above" if gate.fail_above else "--export"
        raise InputError(f"{named} is not for {what}.", mend="Leave it out.")
