"""Writes files so that a half-written one is never seen.

What is to be written goes into a hidden folder beside its destination, under its final name, and
is moved into place only when all of it is complete. An exception, Ctrl-C or a full disk leaves
the destination as it was.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shlex
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from edgeattn.base.errors import InputError

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FORBIDDEN: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_NO_NAME: Final = frozenset({errno.ENAMETOOLONG, errno.ELOOP})


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file to read; what would block, a pipe or a device, is not opened.

    Raises:
        InputError: There is no such file, it is something else, or it cannot be read.
    """
    if "\0" in str(path):
        raise InputError(f"{path} cannot be read: no file has such a name.")
    try:
        if path.exists():
            check_is_file(path)
        with path.open("rb") as file:
            yield file
    except OSError as error:
        mend = "Change its permissions." if isinstance(error, PermissionError) else ""
        fact = f"{path} cannot be read: {error.strerror or error}."
        raise InputError(fact, mend=mend) from error


def explain(error: OSError, place: Path | str | None = None) -> InputError | None:
    """Return what a user can do about an operating system error.

    Args:
        error: What the operating system answered.
        place: The file or folder to name, if the error names none or a hidden one.

    Returns:
        The error to raise instead, or None if the fault is not one of space, permission, or the
        name itself.
    """
    named = place or error.filename
    reason = os.strerror(error.errno) if error.errno is not None else str(error)
    fact = f"{named}: {reason}." if named else f"{reason}."
    if error.errno in _FULL:
        return InputError(fact, mend="Free some space there, or write elsewhere.")
    if error.errno in _FORBIDDEN:
        return InputError(fact, mend="Change its permissions, or use another place.")
    if error.errno in _NO_NAME:
        return InputError(fact, mend="Use another name.")
    return None


def check_is_file(path: Path) -> None:
    """Refuse what is no regular file: a pipe or a device may give data without end, or none.

    Raises:
        InputError: It is not there, or is something else.
    """
    if path.is_file():
        return
    if path.is_dir():
        raise InputError(f"{path} is a folder, not a file.")
    if path.exists():
        raise InputError(f"{path} is not a regular file.", mend="Copy what it gives into one.")
    raise InputError(f"There is no file {path}.")


def check_writable(folder: Path) -> None:
    """Refuse a folder that no file can be written to, before any work is done for it.

    A file is written, because permission bits say nothing of read-only file systems or root.

    Raises:
        InputError: The folder is missing, is no folder, or does not let a file be written.
    """
    if not folder.exists():
        raise InputError(
            f"The output folder {folder} does not exist.",
            mend=f"Create it: mkdir -p {shlex.quote(str(folder))}",
        )
    if not folder.is_dir():
        raise InputError(f"The output folder {folder} is not a folder.")
    try:
        with tempfile.TemporaryDirectory(prefix=".edgeattn-", dir=folder):
            pass
    except OSError as error:  # any: in /proc the error is that there is no such folder
        reason = os.strerror(error.errno) if error.errno is not None else str(error)
        raise (
            explain(error, folder)
            or InputError(f"Nothing can be written to {folder}: {reason}.", mend="Use another.")
        ) from error


def check_target(path: Path) -> None:
    """Refuse a file that cannot be written, before any work is done for it.

    Raises:
        InputError: Its folder is not writable, or something other than a file has its name.
    """
    try:
        path.stat()
    except OSError as error:  # that it does not exist yet is as it should be
        if explained := explain(error):
            raise explained from error
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "not a regular file"
        raise InputError(f"Cannot write {path}: it is {kind}.", mend="Name a file.")
    check_writable(path.resolve().parent)


def check_apart(written: Iterable[Path], read: Iterable[Path]) -> None:
    """Refuse to write over what is read.

    Raises:
        InputError: A file that is to be written is one of those that are read.
    """
    sources = list(read)
    for file in written:
        for source in sources:
            if file.exists() and source.exists() and file.samefile(source):
                raise InputError(
                    f"{file} is what the model is read from; it would be replaced.",
                    mend="Name another file with -o.",
                )


@contextlib.contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Let several files land in a folder together, or not at all.

    Args:
        folder: Where the files are to be.

    Yields:
        A hidden folder on the same file system. Every file written into it, under its final
        name, is moved to `folder` when the block ends; if the block raises, or a move fails,
        `folder` is as it was before.

    Raises:
        InputError: The disk is full, or the folder cannot be written to.
    """
    check_writable(folder)
    with (
        _explained(folder),
        tempfile.TemporaryDirectory(
            prefix=".edgeattn-", dir=folder, ignore_cleanup_errors=True
        ) as room,
    ):
        staging = Path(room) / "new"
        staging.mkdir()
        yield staging
        _move_all(sorted(staging.iterdir()), folder, Path(room))


def _move_all(files: list[Path], folder: Path, room: Path) -> None:
    """Move files into a folder; what they replace is kept in `room` until all have moved."""
    old = room / "old"
    old.mkdir()
    for file in files:
        target = folder / file.name
        if target.exists() and not target.is_file():
            raise InputError(f"Cannot write {target}: it is not a regular file.")
        if os.path.lexists(target):
            _keep(target, old / file.name)
    try:
        for file in files:
            file.replace(folder / file.name)
    except BaseException:
        for file in files:
            if os.path.lexists(old / file.name):
                (old / file.name).replace(folder / file.name)
            elif not file.exists():  # it was moved, to where nothing had been
                (folder / file.name).unlink()
        raise


def _keep(path: Path, kept: Path) -> None:
    """Give a file a second name, or copy it if the file system has no links."""
    try:
        os.link(path, kept, follow_symlinks=False)
    except (OSError, NotImplementedError):
        shutil.copy2(path, kept, follow_symlinks=False)


@contextlib.contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Turn a full disk or a forbidden folder into an error that a user can read."""
    try:
        yield
    except OSError as error:
        inside = error.filename is None or Path(error.filename).is_relative_to(folder)
        explained = explain(error, folder) if inside else None
        if explained is None:
            raise
        raise explained from error
