"""The first moment of a command, and its last: every way it can end becomes an exit code here.

Nothing heavy is imported before signals are caught.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from edgeattn.base import memory, signals
from edgeattn.base.errors import EdgeattnError, InputError, MissingError

INTERRUPTED: Final = 130  # 128 + SIGINT, as shells count
BROKEN_PIPE: Final = 141  # 128 + SIGPIPE
FAULT: Final = 70  # EX_SOFTWARE of sysexits.h


def main() -> NoReturn:
    """Run the command line and end the process."""
    try:
        memory.collect_seldom()
        signals.catch()
        _open_closed_streams()
        for stream in (sys.stdout, sys.stderr):
            # A terminal that cannot show a character shows ?; it is no reason to fail.
            getattr(stream, "reconfigure", lambda **_: None)(errors="replace")
        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = INTERRUPTED
    signals.ignore()
    _silence_the_rest()
    memory.keep_to_the_end()
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
    try:
        code = _run(arguments)
    except BaseException as error:  # noqa: BLE001  # the one place that turns each into a code
        # Libraries turn Ctrl-C into errors of their own, and Typer into this number.
        is_interrupt = _is_interrupt(error) or signals.was_caught()
        code = INTERRUPTED if is_interrupt else _answer(arguments, error)
    if code == INTERRUPTED or signals.was_caught():
        return _report(arguments, "Interrupted", "Interrupted.", "", INTERRUPTED)
    return code


def _run(arguments: Sequence[str]) -> int:
    import typer

    from .commands import app

    _check_names(arguments)

    command = typer.main.get_command(app)
    code = command.main(
        args=list(arguments) or ["--help"],
        prog_name="edgeattn",
        standalone_mode=False,
        obj=tuple(arguments),
    )
    sys.stdout.flush()
    return code if isinstance(code, int) else 0


def _check_names(arguments: Sequence[str]) -> None:
    """Refuse names that libraries cannot take, and a folder that is gone.

    Raises:
        InputError: Says which.
    """
    try:
        here = os.getcwd()  # noqa: PTH109  # pathlib costs more to import
    except FileNotFoundError:
        raise InputError(
            "The folder that this was started in is gone.", mend="Go to another: cd"
        ) from None
    for name in (*arguments, here):
        try:
            name.encode()
        except UnicodeEncodeError:
            raise InputError(
                f"The name {name} is not in UTF-8, and libraries take no other.", mend="Rename it."
            ) from None


def _is_interrupt(error: BaseException) -> bool:
    typer = sys.modules.get("typer")
    return isinstance(
        error, KeyboardInterrupt if typer is None else (KeyboardInterrupt, typer.Abort)
    )


def _is_usage(error: BaseException) -> bool:
    # Typer carries its own copy of click since 0.20-odd, and click itself before that; either way
    # its usage errors are the bases of the one that it exports.
    typer = sys.modules.get("typer")
    return typer is not None and isinstance(error, typer.BadParameter.__bases__[0])


def _answer(arguments: Sequence[str], error: BaseException) -> int:
    """Say what ended a command, and return its exit code."""
    # click's own answer to a reader that left before all was told has another error behind it.
    left = isinstance(error, SystemExit) and isinstance(error.__context__, BrokenPipeError)
    if left or isinstance(error, BrokenPipeError):
        return BROKEN_PIPE
    if isinstance(error, EdgeattnError):
        return _refuse(arguments, error)
    if _is_usage(error):
        return _misused(arguments, error)
    if isinstance(error, OSError):
        from edgeattn.base.files import explain

        explained = explain(error)
        return _refuse(arguments, explained) if explained else _fault(arguments, error)
    if isinstance(error, ImportError):
        library = (error.name or "").partition(".")[0]
        ours = library in ("", "edgeattn")
        return _fault(arguments, error) if ours else _refuse(arguments, _unloadable(error))
    return _fault(arguments, error)


def _refuse(arguments: Sequence[str], error: EdgeattnError) -> int:
    return _report(arguments, type(error).__name__, error.fact, error.mend, error.exit_code)


def _unloadable(error: ImportError) -> MissingError:
    return MissingError(
        f"A library that this needs does not load: {error}.",
        mend="See what works here, and how to mend what does not: edgeattn doctor",
    )


def _misused(arguments: Sequence[str], error: BaseException) -> int:
    """Report an option or argument that does not exist, or is not what it must be."""
    from edgeattn.base.nearest import did_you_mean

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
    from . import faults
    from .options import command_line

    verbose = _asks(arguments, "--verbose") or _asks(arguments, "-v")
    fact, mend = faults.record(error, command_line(arguments), verbose=verbose)
    return _report(arguments, "Fault", fact, mend, FAULT)


def _report(arguments: Sequence[str], kind: str, fact: str, mend: str, code: int) -> int:
    from edgeattn.base.legible import legible, shortened

    try:
        told = "\n".join(filter(None, [f"error: {fact}", mend]))
        print(shortened(legible(told)), file=sys.stderr, flush=True)
        if _asks(arguments, "--json"):
            import json

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
