"""Faults of ours: what is kept of one, and how it is to be reported."""

from __future__ import annotations

import platform
import sys
import tempfile
import traceback


def version() -> str:
    """The version of edgeattn that runs."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("edgeattn")
    except PackageNotFoundError:
        return "of a source tree that is not installed"


def record(error: Exception, command: str, *, verbose: bool) -> tuple[str, str]:
    """Saves the traceback of a fault of ours.

    Args:
        error: The exception that nothing foresaw.
        command: The command line that caused it.
        verbose: Whether to print the traceback too.

    Returns:
        What happened in one line, and what the user can do.
    """
    story = "".join(traceback.format_exception(error))
    if verbose:
        print(story, file=sys.stderr)
    fact = f"A fault of edgeattn {version()}: {type(error).__name__}: {_first_line(error)}"
    header = (
        f"edgeattn {version()}, Python {platform.python_version()}, {platform.platform()}\n"
        f"{command}\n\n"
    )
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="edgeattn-fault-", suffix=".txt", delete=False, encoding="utf-8"
        ) as file:
            file.write(header + story)
    except OSError:
        return fact, "Please report it to the authors, with what this command prints with -v."
    return fact, f"Please report it to the authors of edgeattn, with the file {file.name}"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "(no message)"
