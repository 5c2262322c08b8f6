"""Hidden folders of a process, for as long as it works; those of killed processes are removed.

A process that is killed removes nothing, so each folder holds a file that its owner keeps locked:
the system lets go of a lock when its process ends, however it ends. What can be locked by another
is of use to nobody, and goes when a room is next made beside it. That is said where it held
something: an empty one may be another thread's or process's, not locked yet or emptied just now.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from edgeattn.base import signals

PREFIX: Final = ".edgeattn-"
_NAME: Final = re.compile(re.escape(PREFIX) + r"\w{8}")  # as mkdtemp makes them
_LOCK: Final = "lock"
#: The rooms of this process, and what holds the lock of each.
_own: Final[dict[Path, int]] = {}
_owner: Final = os.getpid()


class LeftoverWarning(UserWarning):
    """What a killed run left was removed."""


@contextlib.contextmanager
def room(parent: Path) -> Iterator[Path]:
    """Make a folder in another for as long as the block lasts.

    Args:
        parent: Where it is to be; what killed processes left there is removed.

    Yields:
        The folder. It is empty but for the lock.
    """
    _sweep(parent)
    made = None
    try:
        with signals.deferred():
            made = _made(parent)
        yield made
    finally:
        if made is not None:
            with signals.deferred():
                _remove(made)


def _made(parent: Path) -> Path:
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        with contextlib.suppress(FileNotFoundError):  # another found it unlocked, and removed it
            descriptor = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            lock(descriptor, wait=True)
            if (path / _LOCK).exists():
                _own[path] = descriptor
                return path
            os.close(descriptor)


def lock(descriptor: int, *, wait: bool = False) -> bool:
    """Lock an open file or folder, and return whether that is done; not everywhere can it be."""
    if sys.platform == "win32":
        return True  # a file that is open cannot be removed there, which is lock enough
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _sweep(parent: Path) -> None:
    """Remove the rooms in a folder whose processes are gone."""
    try:
        found = [Path(one.path) for one in os.scandir(parent) if _NAME.fullmatch(one.name)]
    except OSError:
        return  # whoever makes a room there is told why
    for path in found:
        if path not in _own and not path.is_symlink() and _removed(path):
            warnings.warn(
                f"removed {path}, which a run that was killed had left",
                LeftoverWarning,
                stacklevel=2,
            )


def _removed(path: Path) -> bool:
    """Remove a room unless a process has it, and return whether something in it is gone."""
    if sys.platform == "win32":
        held = False
        with contextlib.suppress(OSError):
            (path / _LOCK).unlink()
            held = any(path.iterdir())
            shutil.rmtree(path, ignore_errors=True)
        return held
    try:
        descriptor = os.open(path / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        with contextlib.suppress(OSError):
            path.rmdir()  # killed before it had a lock; one that is not empty is none of ours
        return False
    except OSError:
        return False  # another user's
    try:
        if not lock(descriptor):
            return False
        held = any(entry.name != _LOCK for entry in path.iterdir())
        _clear(path)
        return held and not path.exists()
    except OSError:
        return False  # its owner has removed it meanwhile
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    descriptor = _own.pop(path, None)
    _clear(path)
    if descriptor is not None:
        os.close(descriptor)
    shutil.rmtree(path, ignore_errors=True)  # where an open file cannot be removed, it can now


def _clear(path: Path) -> None:
    """Remove a room, its lock last: what is left if that is cut short is still told by it."""
    with contextlib.suppress(OSError):
        _empty(path)
        if [entry.name for entry in path.iterdir()] == [_LOCK]:
            shutil.rmtree(path, ignore_errors=True)


def _empty(path: Path) -> None:
    for entry in path.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name != _LOCK:
            with contextlib.suppress(OSError):
                entry.unlink()


@atexit.register
def _remove_all() -> None:
    """Remove what an interrupt in an odd moment left."""
    if os.getpid() == _owner:  # and not a process that was forked off
        for path in list(_own):
            _remove(path)
