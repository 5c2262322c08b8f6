"""What a process that measures says, and what whoever asked it makes of that.

The process reads a job as JSON on stdin, and prints one JSON object a line: how far it is, then its
result or its error. `child` starts it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from edgeattn.base import child
from edgeattn.base.errors import EdgeattnError, MissingError


def ask(
    module: str, job: Mapping[str, Any], *, on_progress: Callable[[child.Said], None]
) -> dict[str, Any]:
    """Have a process of its own do a job.

    Args:
        module: The module that is its program: its `main` is `serve`.
        job: The job.
        on_progress: Called with how far it is.

    Raises:
        InputError: It said so, or died: of what.
        MissingError: Something that it needs is not on this machine.
    """

    def hear(said: child.Said) -> None:
        if (missing := said.get("missing")) is not None:
            raise MissingError(missing["fact"], mend=missing["mend"])
        on_progress(said)

    return child.run(module, job, on_progress=hear)


def serve(do: Callable[[dict[str, Any]], dict[str, Any]]) -> int:
    """Do the job on stdin, and say what came of it.

    Args:
        do: Gives the result of a job.

    Returns:
        The exit code.
    """
    try:
        result = do(json.load(sys.stdin))
    except EdgeattnError as error:
        kind = "missing" if isinstance(error, MissingError) else "error"
        say(**{kind: {"fact": error.fact, "mend": error.mend}})
        return error.exit_code
    say(result=result)
    return 0


def say(**what: object) -> None:
    """Print an object."""
    print(json.dumps(what), flush=True)  # noqa: T201  # it is what the process is asked for
