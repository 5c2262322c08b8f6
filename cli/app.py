"""The app, and the one error boundary: every way a command can end becomes an exit code here."""

from __future__ import annotations

import json
import os
import signal
import sys
import typing
from collections.abc import Sequence
from typing import Annotated, Final, NoReturn

import typer

from edgeattn.base.errors import EdgeattnError, InputError, MissingError
from edgeattn.base.files import explain
from edgeattn.base.legible import legible, shortened
from edgeattn.base.nearest import did_you_mean
from edgeattn.base.versions import own_version

from . import build, cast, compare, devices, doctor, export, faults, inspect, optimize, parity
from . import list as listing
from . import profile as profiling
from . import report as reporting
from .options import command_line
from .screen import BROKEN_PIPE

INTERRUPTED: Final = 130  # 128 + SIGINT, as shells count
FAULT: Final = 70  # EX_SOFTWARE of sysexits.h

# Typer carries its own copy of click since 0.20-odd, and click itself before that; either way
# its usage errors are the bases of the one that it exports.
_UsageError: Final = typing.cast("type[Exception]", typer.BadParameter.__bases__[0])

app = typer.Typer(
    name="edgeattn",
    help=(
        "Export attention-augmented CNNs for edge devices, and prove them equal.\n\n"
        "Exit codes: 0 done; 1 a check failed; 2 a usage or input error; 3 something needed is"
        " not here; 70 a fault of ours."
    ),
    rich_markup_mode=None,  # plain help costs a third of what rich's costs
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(export.export)
app.command()(optimize.optimize)
app.command()(cast.cast)
app.command()(build.build)
app.command()(inspect.inspect)
app.command()(profiling.profile)
app.command()(compare.compare)
app.command()(reporting.report)
app.command()(parity.parity)
app.add_typer(listing.app)
app.add_typer(devices.app)
app.command()(doctor.doctor)


def _print_version(asked: bool) -> None:
    if asked:
        print(own_version())
        raise typer.Exit


@app.callback()
def edgeattn(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and end."
        ),
    ] = False,
) -> None:
    """Take the options that stand before a command; --version acts as it is read."""


def main() -> NoReturn:
    """Run the command line and end the process."""
    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # a killed command cleans up as after Ctrl-C
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character shows ?; it is no reason to fail.
        getattr(stream, "reconfigure", lambda **_: None)(errors="replace")
    code = run(sys.argv[1:])
    _silence_the_rest()
    sys.exit(code)


def _open_closed_streams() -> None:
    """Let what a closed stream (`2>&-`) would have shown go nowhere.

    Its number, left free, would be given to the next file that is opened: the model itself.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))


def run(arguments: Sequence[str]) -> int:
    """Run one command.

    Args:
        arguments: What stands after `edgeattn` on the command line.

    Returns:
        The exit code.
    """
    command = typer.main.get_command(app)
    try:
        code = command.main(
            args=list(arguments) or ["--help"],
            prog_name="edgeattn",
            standalone_mode=False,
            obj=tuple(arguments),
        )
        sys.stdout.flush()
    except BrokenPipeError:
        code = BROKEN_PIPE
    except SystemExit as error:  # click's own answer to a reader that left before all was told
        left = isinstance(error.__context__, BrokenPipeError)
        code = BROKEN_PIPE if left else _fault(arguments, error)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except EdgeattnError as error:
        code = _refuse(arguments, error)
    except _UsageError as error:
        code = _misused(arguments, error)
    except OSError as error:
        explained = explain(error)
        code = _refuse(arguments, explained) if explained else _fault(arguments, error)
    except ImportError as error:
        library = (error.name or "").partition(".")[0]
        ours = library in ("", "edgeattn")
        code = _fault(arguments, error) if ours else _refuse(arguments, _unloadable(error))
    except Exception as error:  # noqa: BLE001  # the one place that turns a fault into exit 70
        code = _fault(arguments, error)
    if code == INTERRUPTED:  # Typer, too, turns Ctrl-C into this number
        _report(arguments, "Interrupted", "Interrupted.", "", INTERRUPTED)
    return code if isinstance(code, int) else 0


def _refuse(arguments: Sequence[str], error: EdgeattnError) -> int:
    return _report(arguments, type(error).__name__, error.fact, error.mend, error.exit_code)


def _unloadable(error: ImportError) -> MissingError:
    return MissingError(
        f"A library that this needs does not load: {error}.",
        mend="See what works here, and how to mend what does not: edgeattn doctor",
    )


def _misused(arguments: Sequence[str], error: Exception) -> int:
    """Report an option or argument that does not exist, or is not what it must be."""
    context = getattr(error, "ctx", None)
    nearest = getattr(error, "possibilities", None)
    place = context.command_path if context is not None else "edgeattn"
    fact = str(getattr(error, "message", error))
    if nearest:
        mend = did_you_mean(sorted(nearest))
    else:
        fact = getattr(error, "format_message", lambda: fact)()
        mend = f"See: {place} --help"
    return _report(arguments, "UsageError", fact, mend, InputError.exit_code)


def _fault(arguments: Sequence[str], error: BaseException) -> int:
    verbose = _asks(arguments, "--verbose") or _asks(arguments, "-v")
    fact, mend = faults.record(error, command_line(arguments), verbose=verbose)
    return _report(arguments, "Fault", fact, mend, FAULT)


def _report(arguments: Sequence[str], kind: str, fact: str, mend: str, code: int) -> int:
    try:
        told = "\n".join(filter(None, [f"error: {fact}", mend]))
        print(shortened(legible(told)), file=sys.stderr, flush=True)
        if _asks(arguments, "--json"):
            error = {"kind": kind, "fact": fact, "mend": mend, "exit_code": code}
            print(json.dumps({"error": error}, indent=2), flush=True)
    except OSError:
        pass  # nobody listens; the exit code still says it
    return code


def _asks(arguments: Sequence[str], option: str) -> bool:
    """Return whether an option is given, by the raw words: they may not have been parsed."""
    words = list(arguments)
    return option in (words[: words.index("--")] if "--" in words else words)


def _silence_the_rest() -> None:
    """Keep stdout from what C libraries flush, or a broken pipe refuses, at the very end."""
    try:
        # click puts a wrapper before a stdout that is broken, which says nothing of that.
        for stream in filter(None, (sys.stdout, sys.__stdout__)):
            stream.flush()
        os.dup2(2, 1)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
