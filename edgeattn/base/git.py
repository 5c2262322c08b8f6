"""The commit of the folder that the user stands in."""

from __future__ import annotations

import subprocess
from typing import Final, NamedTuple

# Nothing that a repository's own settings name is run, and nothing is written.
_GIT: Final = ("git", "-c", "core.fsmonitor=false", "-c", "log.showSignature=false")
_SHOW: Final = ("log", "-1", "--no-show-signature", "--format=%H%x00%cI%x00%s")
_CHANGED: Final = (
    "--no-optional-locks", "diff", "--name-only", "--no-ext-diff", "--no-textconv",
    "--ignore-submodules", "HEAD", "--",
)  # fmt: skip
_LIMIT_S: Final = 20.0
_MOST: Final = 1 << 12


class Head(NamedTuple):
    """A commit that is checked out.

    Attributes:
        sha: Its whole name.
        date: When it was committed, as ISO 8601 has it.
        subject: The first line of its message.
        is_changed: Whether files differ from it that it has.
    """

    sha: str
    date: str
    subject: str
    is_changed: bool


def head() -> Head | None:
    """Return the commit that is checked out here; None outside a repository, or without git."""
    shown = _said(*_SHOW)
    if shown is None or shown.count("\0") != 2:
        return None
    sha, date, subject = shown.rstrip("\n").split("\0")
    return Head(sha, date, subject[:_MOST], is_changed=bool(_said(*_CHANGED)))


def _said(*arguments: str) -> str | None:
    try:
        ran = subprocess.run(
            [*_GIT, *arguments], capture_output=True, check=False, timeout=_LIMIT_S,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ran.stdout.decode(errors="replace") if ran.returncode == 0 else None
