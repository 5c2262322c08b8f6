"""Errors that a user can fix: each has a fact, a mend, and an exit code."""

from __future__ import annotations

import re
from typing import ClassVar, Final

# Hidden folders of `rooms`, which are gone when their names are read.
_STAGED: Final = re.compile(r"\.edgeattn-\w{8}/(?:new|old)/")
_SCRATCH: Final = re.compile(r"(?:/\.edgeattn-\w{8}/scratch)+/(?:\d+/)?")
_SCRATCH_ITSELF: Final = re.compile(r"(?:/\.edgeattn-\w{8}/scratch)+(?=[:,.\s]|$)")
_BEFORE_PATHS: Final = " \t\n'\""


class EdgeattnError(Exception):
    """The base of every error that a user can do something about.

    Args:
        fact: What is wrong, in one or more lines.
        mend: What to do about it; empty if the fact says it.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, fact: str, *, mend: str = "") -> None:
        fact, mend = shown(fact), shown(mend)
        super().__init__(fact if not mend else f"{fact}\n{mend}")
        self.fact = fact
        self.mend = mend


def shown(text: str) -> str:
    """Return a text without hidden folders: of a temporary file, its name is left.

    Without its hidden folder, the path of what is staged is that of what was asked; and such a
    folder itself is the one that it is in.
    """
    *before, last = _SCRATCH.split(_SCRATCH_ITSELF.sub("", _STAGED.sub("", text)))
    kept = (one[: max(map(one.rfind, _BEFORE_PATHS)) + 1] for one in before)
    return "".join([*kept, last])


class InputError(EdgeattnError):
    """What the user gave cannot be used: a name, an option, a file, a shape."""

    exit_code = 2


class CheckError(EdgeattnError):
    """A check that was asked for failed: parity, a precision audit."""

    exit_code = 1


class MissingError(EdgeattnError):
    """Something needed is not on this machine: a library, a device, a network."""

    exit_code = 3


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text that is not empty, or else its type."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def in_one_line(error: BaseException) -> str:
    """Return the type of an error, and the first line of what it says."""
    kind, line = type(error).__name__, first_line(error)
    return kind if line == kind else f"{kind}: {line}"
