"""Faults of ours: what is kept of one, and how it is to be reported."""

from __future__ import annotations

import platform
import sys
import tempfile
import traceback

from edgeattn.base.errors import in_one_line
from edgeattn.base.legible import legible
from edgeattn.base.versions import own_version


def record(error: BaseException, command: str, *, verbose: bool) -> tuple[str, str]:
    """Save the traceback of a fault of ours.

    Args:
        error: The exception that nothing foresaw.
        command: The command line that caused it.
        verbose: Whether to print the traceback too.

    Returns:
        What happened in one line, and what the user can do.
    """
    story = "".join(traceback.format_exception(error))
    if verbose:
        print(legible(story), file=sys.stderr)
    fact = f"A fault of edgeattn {own_version()}: {in_one_line(error)}"
    header = (
        f"edgeattn {own_version()}, Python {platform.python_version()}, {platform.platform()}\n"
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
