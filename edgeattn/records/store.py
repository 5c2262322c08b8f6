"""The file of a sweep: its jobs and what they found, in SQLite.

A job is there from the moment that it is planned. What came of it is written at once: the row of
what is done, the reason of what failed. Whoever reads sees whole rows, whenever that is.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from pydantic import TypeAdapter, ValidationError

from edgeattn.base import files
from edgeattn.base.errors import InputError
from edgeattn.base.rooms import lock
from edgeattn.records.sweep import SweepRow
from edgeattn.records.trace import Kernel

SCHEMA_VERSION: Final = 1
# What tells the file from other programs' SQLite files: "eatt".
_APPLICATION: Final = 0x65617474
_HEADER: Final = b"SQLite format 3\0"
# Seconds that a reader waits for a row that is being written.
_PATIENCE_S: Final = 60.0
_SCHEMA: Final = """
CREATE TABLE jobs (
    key TEXT PRIMARY KEY,
    label TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'done', 'failed')),
    tries INTEGER NOT NULL DEFAULT 0,
    fact TEXT NOT NULL DEFAULT '',
    mend TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE TABLE rows (
    number INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE REFERENCES jobs (key),
    row TEXT NOT NULL,
    basis BLOB
);
CREATE TABLE seconds (stage TEXT PRIMARY KEY, count INTEGER NOT NULL, total REAL NOT NULL);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What others are told above: a model that is predicted at one place.

    Attributes:
        latency_ms: What it takes.
        kernels: Its kernels, as far as a prediction's difference rests on them.
        shared_spread: The spread of the errors that all kernels share; None if it is not known.
    """

    latency_ms: float
    kernels: tuple[Kernel, ...]
    shared_spread: float | None


_BASIS: Final = TypeAdapter(Basis)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a job.

    Attributes:
        key: The job's key.
        row: What it found; None if it failed.
        basis: Of what is predicted, what others are told above.
        fact: Why it failed.
        mend: What to do about that.
    """

    key: str
    row: SweepRow | None = None
    basis: Basis | None = None
    fact: str = ""
    mend: str = ""


class Store:
    """The file of a sweep, to be written by one process at a time.

    Args:
        path: The file; it is made if it is not there.
        to_read: Whether it is read only, which another sweep may write meanwhile.

    Raises:
        InputError: It is something else, of a newer schema, or another sweep has it.
    """

    def __init__(self, path: Path, *, to_read: bool = False) -> None:
        self.path = files.absolute(path)
        self._turn = threading.RLock()  # hosts are measured on in threads
        self._lock: int | None = None
        if to_read:
            _check(self.path)
            self._database = _opened(self.path)
            return
        files.check_target(self.path)
        if not is_empty(self.path):
            _check(self.path)
        self._lock = self._taken()
        try:
            with self._told():
                self._open()
        except BaseException:
            self._let_go()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()
        self._let_go()

    def _open(self) -> None:
        self._database = sqlite3.connect(
            self.path, timeout=_PATIENCE_S, isolation_level=None, check_same_thread=False
        )
        if is_empty(self.path):
            with self._written() as database:
                database.execute(f"PRAGMA application_id = {_APPLICATION}")
                database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                for statement in filter(str.strip, _SCHEMA.split(";\n")):
                    database.execute(statement)

    def _let_go(self) -> None:
        if self._lock is not None:
            with contextlib.suppress(OSError):
                self._locked.unlink()
            os.close(self._lock)

    @property
    def _locked(self) -> Path:
        return self.path.with_name(f".{self.path.name}.lock")

    def _taken(self) -> int:
        """Return the descriptor of the lock, which is ours."""
        while True:
            descriptor = os.open(self._locked, os.O_RDWR | os.O_CREAT, 0o644)
            is_ours = lock(descriptor)
            with contextlib.suppress(FileNotFoundError):  # whoever had it has just removed it
                if is_ours and os.path.samestat(os.fstat(descriptor), self._locked.stat()):
                    return descriptor
            os.close(descriptor)
            if not is_ours:
                raise InputError(
                    f"Another sweep writes {self.path}.",
                    mend="Wait for it, or write elsewhere with -o.",
                )

    def add(self, jobs: Iterable[tuple[str, str]]) -> None:
        """Add jobs, those that are there already left as they are.

        Args:
            jobs: The key of each, and what it is called.
        """
        with self._written() as database:
            database.executemany("INSERT OR IGNORE INTO jobs (key, label) VALUES (?, ?)", jobs)

    def states(self) -> dict[str, str]:
        """Return by key whether a job waits, is done, or failed."""
        return dict(self._asked("SELECT key, state FROM jobs"))

    def wait(self, keys: Iterable[str]) -> None:
        """Have jobs that failed wait again."""
        with self._written() as database:
            database.executemany(
                "UPDATE jobs SET state = 'waiting', fact = '', mend = ''"
                " WHERE key = ? AND state = 'failed'",
                ((key,) for key in keys),
            )

    def begin(self, keys: Sequence[str]) -> None:
        """Count that jobs are tried."""
        with self._written() as database:
            database.executemany(
                "UPDATE jobs SET tries = tries + 1 WHERE key = ?", [(key,) for key in keys]
            )

    def finish(self, outcomes: Iterable[Outcome]) -> None:
        """Write what came of jobs, of all or of none."""
        with self._written() as database:
            for one in outcomes:
                state = "failed" if one.row is None else "done"
                database.execute(
                    "UPDATE jobs SET state = ?, fact = ?, mend = ? WHERE key = ?",
                    (state, one.fact, one.mend, one.key),
                )
                if one.row is not None:
                    database.execute(
                        "INSERT OR REPLACE INTO rows (key, row, basis) VALUES (?, ?, ?)",
                        (one.key, one.row.model_dump_json(), _packed(one.basis)),
                    )

    def basis(self, key: str) -> Basis | None:
        """Return what others are told above, of a job; None if it is not done, or was measured."""
        found = self._asked("SELECT basis FROM rows WHERE key = ?", key)
        return _basis(*found[0]) if found else None

    def failed(self, keys: Iterable[str]) -> list[Outcome]:
        """Return which of these jobs failed, and why, in their order."""
        found = {
            key: Outcome(key=key, fact=fact, mend=mend)
            for key, fact, mend in self._asked(
                "SELECT key, fact, mend FROM jobs WHERE state = 'failed'"
            )
        }
        return [found[key] for key in keys if key in found]

    def alone(self) -> set[str]:
        """Return the keys of rows that are above nothing, as where the plain model failed."""
        found = self._asked("SELECT key FROM rows WHERE json_extract(row, '$.above_ms') IS NULL")
        return {key for (key,) in found}

    def rows(self, keys: Iterable[str]) -> list[SweepRow]:
        """Return what these jobs found, in their order."""
        found = dict(self._asked("SELECT key, row FROM rows"))
        return [SweepRow.model_validate_json(found[key]) for key in keys if key in found]

    def spent(self, stage: str, seconds: Sequence[float]) -> None:
        """Remember what a stage took, each time."""
        with self._written() as database:
            database.execute(
                "INSERT INTO seconds VALUES (?, ?, ?) ON CONFLICT (stage) DO UPDATE"
                " SET count = count + excluded.count, total = total + excluded.total",
                (stage, len(seconds), sum(seconds)),
            )

    def seconds(self) -> dict[str, float]:
        """Return what each stage took, the mean of all that were made, in s."""
        found = self._asked("SELECT stage, total / count FROM seconds")
        return {stage: float(mean) for stage, mean in found}

    def _asked(self, question: str, *values: object) -> list[Any]:
        with self._turn, self._told():
            return self._database.execute(question, values).fetchall()

    @contextlib.contextmanager
    def _written(self) -> Iterator[sqlite3.Connection]:
        with self._turn, self._told():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._database.execute("ROLLBACK")
                raise

    def _told(self) -> contextlib.AbstractContextManager[None]:
        return _told(self.path)


def is_empty(path: Path) -> bool:
    """Return whether nothing is there yet, or nothing was written yet."""
    return not path.exists() or (path.is_file() and path.stat().st_size == 0)


def is_store(path: Path) -> bool:
    """Return whether a file is one of SQLite's."""
    with files.opened(path) as file:
        return file.read(len(_HEADER)) == _HEADER


def read_rows(path: Path) -> tuple[list[SweepRow], dict[str, str]]:
    """Read what a sweep has found so far.

    Args:
        path: Its file; a sweep may be writing it.

    Returns:
        The rows, in the order in which they were found, of the same model at the same place the
        last; and why jobs failed, and what to do about it, by what they are called.

    Raises:
        InputError: It is no file of a sweep, or of a newer schema.
    """
    _check(path)
    with _told(path), contextlib.closing(_opened(path)) as database:
        rows = database.execute("SELECT row FROM rows ORDER BY number").fetchall()
        failed = database.execute(
            "SELECT label, trim(fact || ' ' || mend) FROM jobs WHERE state = 'failed'"
            # And was not mended since, which gives another key.
            " AND label NOT IN (SELECT label FROM jobs WHERE state = 'done') ORDER BY label"
        ).fetchall()
    try:
        found = [SweepRow.model_validate_json(row) for (row,) in rows]
        return list({row.coordinates: row for row in found}.values()), dict(failed)
    except ValidationError as error:
        raise InputError(f"{path} holds rows that are none of a sweep's.") from error


def read_basis(paths: Iterable[Path], key: str) -> Basis | None:
    """Return what others are told above, of a row of sweeps; None of one that was measured.

    Raises:
        InputError: One is no file of a sweep, or of a newer schema.
    """
    for path in filter(is_store, paths):
        _check(path)
        with _told(path), contextlib.closing(_opened(path)) as database:
            if found := database.execute("SELECT basis FROM rows WHERE key = ?", (key,)).fetchall():
                return _basis(*found[0])
    return None


def _basis(packed: bytes | None) -> Basis | None:
    return None if packed is None else _BASIS.validate_json(zlib.decompress(packed))


def _check(path: Path) -> None:
    """Refuse what is no file of a sweep.

    Raises:
        InputError: It is something else, or of a newer schema.
    """
    other = f"{path} is no file of a sweep."
    if not is_store(path):
        raise InputError(other, mend="Name another file.")
    with _told(path), contextlib.closing(_opened(path)) as database:
        (application,) = database.execute("PRAGMA application_id").fetchone()
        (version,) = database.execute("PRAGMA user_version").fetchone()
    if application != _APPLICATION:
        raise InputError(other, mend="It is another program's database: name another file.")
    if version != SCHEMA_VERSION:
        raise InputError(
            f"{path} has schema version {version}, and this edgeattn reads {SCHEMA_VERSION}.",
            mend="Use the edgeattn that wrote it, or write elsewhere with -o.",
        )


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_PATIENCE_S)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn what SQLite says of a file into an error that a user can read."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        full = "full" in str(error) or isinstance(error.__context__, OSError)
        mend = (
            "Free some space, and give the same command again: nothing that was found is lost."
            if full
            else "Give another file, or a copy that is whole."
        )
        raise InputError(f"{path}: {error}.", mend=mend) from error


def _packed(basis: Basis | None) -> bytes | None:
    return None if basis is None else zlib.compress(_BASIS.dump_json(basis))
