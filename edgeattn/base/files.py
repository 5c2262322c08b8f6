"""Writes files so that a half-written one is never seen.

What is to be written goes into a hidden folder beside its destination, under its final name, and
is moved into place only when all of it is complete. An exception, Ctrl-C or a full disk leaves
the destination as it was.

A symbolic link is written through, as a shell's `>` does it: what it points to is replaced, or
made, and the link stays. What belongs to a file stands beside the name that was asked, where
whoever knows that name looks for it. A hard link is one name of several: the others keep what was
there.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from edgeattn.base import signals
from edgeattn.base.errors import InputError
from edgeattn.base.rooms import PREFIX, lock, room

#: What the operating system says where there is no space left.
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FORBIDDEN: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_NO_NAME: Final = frozenset({errno.ENAMETOOLONG, errno.ELOOP})
# Who holds a folder for longer is not moving files: `flock FOLDER edgeattn ...` does.
_LONGEST_WAIT_S: Final = 1.0


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


def absolute(path: Path) -> Path:
    """Return an absolute path of the same name: a link is not followed, folders' links are."""
    return Path(os.path.realpath(path.parent)) / path.name


def final(path: Path) -> Path:
    """Return the file that is replaced, or made, where this path is written: see above."""
    return Path(os.path.realpath(path))


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
    if error.errno in FULL:
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
        made = tempfile.mkdtemp(prefix=PREFIX, dir=folder)
        with contextlib.suppress(FileNotFoundError):
            Path(made).rmdir()
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
    check_writable(final(path).parent)


def check_apart(written: Iterable[Path], read: Iterable[Path] = ()) -> None:
    """Refuse to write over what is read, or two things to one file.

    Raises:
        InputError: A file that is to be written is one of those that are read, or is named twice.
    """
    sources, taken = list(read), set()
    for file in written:
        for source in sources:
            if file.exists() and source.exists() and file.samefile(source):
                raise InputError(
                    f"{file} is what the model is read from; it would be replaced.",
                    mend="Name another file with -o.",
                )
        if final(file) in taken:
            raise InputError(
                f"{file} is named for two things that are to be written.", mend="Name two files."
            )
        taken.add(final(file))


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Make an empty folder among the temporary files for as long as the block lasts.

    Raises:
        InputError: The disk is full, or there is no place for temporary files.
    """
    try:
        folder = Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise InputError(
            f"There is no place for temporary files: {error.strerror}.",
            mend="Free some space, or name a folder that can be written to in TMPDIR.",
        ) from error
    mend = "Free some space there, or name another folder in TMPDIR."
    with _explained([folder], mend=mend), room(folder) as made:
        (made / "scratch").mkdir()
        yield made / "scratch"


def write(path: Path, content: bytes | str) -> None:
    """Write a file, whole or not at all.

    Raises:
        InputError: The disk is full, or the folder cannot be written to.
    """
    path = absolute(path)
    with staged(path.parent) as staging:
        data = content.encode() if isinstance(content, str) else content
        (staging / path.name).write_bytes(data)


@contextlib.contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Let several files land in a folder together, or not at all.

    Args:
        folder: Where the files are to be.

    Yields:
        A hidden folder on the same file system. Every file written into it, under its final
        name, is moved to `folder` when the block ends, or to where a link of that name leads; if
        the block raises, or a move fails, all is as it was before.

    Raises:
        InputError: The disk is full, or the folder cannot be written to.
    """
    with staged_in([folder]) as stagings:
        yield stagings[folder]


@contextlib.contextmanager
def staged_in(folders: Iterable[Path]) -> Iterator[Mapping[Path, Path]]:
    """Let files land in several folders together, or not at all.

    Args:
        folders: Where the files are to be.

    Yields:
        For each folder a hidden one: see `staged`.

    Raises:
        InputError: A disk is full, or a folder cannot be written to.
    """
    places = list(dict.fromkeys(folders))
    for folder in places:
        check_writable(folder)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_explained(places))
        rooms = _Rooms(stack)
        stagings = {folder: rooms.inside(folder, "new") for folder in places}
        yield stagings
        moves = [
            _Move(file, folder / file.name)
            for folder, staging in stagings.items()
            for file in sorted(staging.iterdir())
        ]
        near = [_near(move, rooms) for move in moves]
        stack.enter_context(_one_at_a_time(sorted({move.target.parent for move in near})))
        old = [_kept(move.target, rooms, f"{place}") for place, move in enumerate(near)]
        with signals.deferred():
            _move_all(near, old)


class _Move(NamedTuple):
    """A file that is complete, and where it goes."""

    file: Path
    target: Path


class _Rooms:
    """Rooms in the folders that are written to, one in each."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._rooms: dict[Path, Path] = {}

    def inside(self, parent: Path, name: str) -> Path:
        """Return a folder of this name in the room of another folder."""
        if parent not in self._rooms:
            self._rooms[parent] = self._stack.enter_context(room(parent))
        made = self._rooms[parent] / name
        made.mkdir(exist_ok=True)
        return made


def _near(move: _Move, rooms: _Rooms) -> _Move:
    """Follow a link, and bring the file to the file system of what is to be replaced."""
    target = final(move.target)
    if target.exists() and not target.is_file():
        raise InputError(f"Cannot write {move.target}: it is not a regular file.")
    if target.parent == final(move.target.parent):
        return _Move(move.file, target)
    check_writable(target.parent)
    near = rooms.inside(target.parent, "new") / target.name
    try:
        shutil.move(move.file, near)
    except OSError as error:  # it may name the file that is read
        if explained := explain(error, target.parent):
            raise explained from error
        raise
    return _Move(near, target)


def _kept(path: Path, rooms: _Rooms, name: str) -> Path | None:
    """Give a file that is to be replaced a second name; None if nothing is there."""
    kept = rooms.inside(path.parent, "old") / name
    try:
        os.link(path, kept, follow_symlinks=False)
    except FileNotFoundError:
        return None
    except (OSError, NotImplementedError):  # the file system has no links
        shutil.copy2(path, kept, follow_symlinks=False)
    return kept


def _move_all(moves: Sequence[_Move], old: Sequence[Path | None]) -> None:
    """Move files to their places; if one cannot be, put what stood there back."""
    try:
        for move in moves:
            move.file.replace(move.target)
    except BaseException:
        for move, kept in zip(moves, old, strict=True):
            if kept is not None:
                kept.replace(move.target)
            elif not move.file.exists():  # it was moved, to where nothing had been
                move.target.unlink()
        raise


@contextlib.contextmanager
def _one_at_a_time(folders: Sequence[Path]) -> Iterator[None]:
    """Keep others that write here from moving their files in between, where folders can be locked.

    Args:
        folders: The folders, in an order that is everybody's.
    """
    with contextlib.ExitStack() as stack:
        for folder in folders:
            with contextlib.suppress(OSError):
                descriptor = os.open(folder, os.O_RDONLY)
                stack.callback(os.close, descriptor)
                end = time.monotonic() + _LONGEST_WAIT_S
                while not lock(descriptor) and time.monotonic() < end:
                    time.sleep(0.01)
        yield


@contextlib.contextmanager
def _explained(folders: Sequence[Path], *, mend: str = "") -> Iterator[None]:
    """Turn a full disk or a forbidden folder into an error that a user can read."""
    try:
        yield
    except OSError as error:
        inside = [
            folder
            for folder in folders
            if error.filename is None or Path(error.filename).is_relative_to(folder)
        ]
        explained = explain(error, ", ".join(map(str, inside))) if inside else None
        if explained is None:
            raise
        if mend and error.errno in FULL:
            explained = InputError(explained.fact, mend=mend)
        raise explained from error
