"""The signals that ask a program to end: Ctrl-C, SIGTERM, and SIGHUP of a terminal that closes.

The command line catches them from its first moment on. Each then raises KeyboardInterrupt, as
Ctrl-C does by itself; but what a library makes of that exception does not hide that it came, and
what must not be torn in two is not.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from typing import Final

_ENDING: Final = ("SIGINT", "SIGTERM", "SIGHUP")


class _State:
    """What has come so far.

    Attributes:
        caught: Whether a signal has.
        waiting: Whether one came while signals were deferred.
        depth: How many blocks defer them.
    """

    caught = False
    waiting = False
    depth = 0


def catch() -> None:
    """Raise KeyboardInterrupt for each of these signals, but for those that are ignored."""
    for name in _ENDING:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _take)
    sys.unraisablehook = _tell_no_interrupt


def _tell_no_interrupt(raised: sys.UnraisableHookArgs) -> None:
    """Print what Python cannot raise, as in a finaliser, but for an interrupt: that is known."""
    if not issubclass(raised.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(raised)


def ignore() -> None:
    """Ignore these signals: what is left to do is to end."""
    for name in _ENDING:
        if (number := getattr(signal, name, None)) is not None:
            signal.signal(number, signal.SIG_IGN)


def was_caught() -> bool:
    """Return whether one came, whatever became of its exception."""
    return _State.caught


def check() -> None:
    """Raise KeyboardInterrupt if one came and a library swallowed the exception."""
    if _State.caught:
        raise KeyboardInterrupt


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Hold a signal that is caught back until the block ends: it is short, and not to be torn."""
    _State.depth += 1
    try:
        yield
    finally:
        _State.depth -= 1
        if _State.waiting and not _State.depth:
            _State.waiting = False
            raise KeyboardInterrupt


def _take(_number: int, _frame: object) -> None:
    _State.caught = True
    if _State.depth:
        _State.waiting = True
    else:
        raise KeyboardInterrupt
