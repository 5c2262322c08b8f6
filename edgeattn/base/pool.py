"""Calls that run wide: an executor of processes of this machine, and the results as they come.

Whatever has the interface of `concurrent.futures.Executor` will do in its place. A process that
dies takes the call that it was in along, and no other: the next call gets a new process.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import functools
import os
import pickle
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    CancelledError,
    Executor,
    Future,
    ThreadPoolExecutor,
    wait,
)
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from edgeattn.base import files
from edgeattn.base.errors import first_line
from edgeattn.base.worker import Worker, say, serve

T = TypeVar("T")
_PROGRAM: Final = "edgeattn.base.pool"
# Characters of an answer that are said in a line.
_PART: Final = 1 << 24


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A call that an executor is to make, here or in another process.

    Attributes:
        name: What it is called where progress is told.
        function: What is called: of a module, so that another process finds it.
        arguments: With what; all can be pickled.
    """

    name: str
    function: Callable[..., T]
    arguments: tuple[Any, ...] = ()


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def processes(count: int | None = None) -> Iterator[Executor]:
    """Yield an executor of Python processes of this machine.

    They start as they are needed, with one thread each for OpenMP, and end with the block, or with
    this process however that ends. Their temporary files are in a folder of this process's: what
    they leave as they are ended goes with it.

    Args:
        count: How many; None for as many as there are cores.
    """
    with files.scratch() as folder:
        executor = _Processes(count or cores(), folder)
        try:
            yield executor
        finally:
            executor.shutdown(cancel_futures=True)


def outcomes(
    executor: Executor,
    calls: Iterable[Call[T]],
    *,
    at_once: int | None = None,
    on_start: Callable[[Call[T]], None] = lambda _: None,
) -> Iterator[tuple[Call[T], T | Exception]]:
    """Make calls, and yield each with its result, or the error that it raised, as it is done.

    Args:
        executor: Makes them.
        calls: The calls. More may be put into a deque meanwhile: it is emptied from the left.
        at_once: How many are handed over at a time; None for all.
        on_start: Called with each before it is handed over.
    """
    left = calls if isinstance(calls, deque) else deque(calls)
    running: dict[Future[T], Call[T]] = {}
    try:
        while left or running:
            while left and (at_once is None or len(running) < at_once):
                call = left.popleft()
                on_start(call)
                running[executor.submit(call.function, *call.arguments)] = call
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                call, error = running.pop(future), future.exception()
                if error is not None and not isinstance(error, Exception):
                    raise error  # an interrupt
                yield call, future.result() if error is None else error
    finally:
        for future in running:
            future.cancel()


def local(function: Callable[..., T], /, *args: Any) -> T:
    """Make a call in a process of this thread's own, which is kept for its next ones."""
    return _Processes.of_threads().here(function, args)


class _Processes(Executor):
    """A thread for each process, which waits for its answers."""

    def __init__(self, count: int, folder: Path | None = None) -> None:
        self._threads = ThreadPoolExecutor(count)
        self._local = threading.local()
        self._workers: set[Worker] = set()
        self._env = None if folder is None else {"TMPDIR": str(folder)}
        self._is_over, self._turn = False, threading.Lock()

    @classmethod
    @functools.cache
    def of_threads(cls) -> _Processes:
        """Return the one whose processes are those of threads that are not its own."""
        found = cls(1)
        atexit.register(found.shutdown, cancel_futures=True)
        return found

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        return self._threads.submit(self.here, function, args, kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        if cancel_futures:
            self._threads.shutdown(wait=False, cancel_futures=True)
            with self._turn:  # none starts from here on
                self._is_over = True
            for worker in list(self._workers):
                self._end(worker)
        self._threads.shutdown(wait=wait)
        for worker in list(self._workers):
            self._end(worker)

    def here(self, function: Callable[..., T], args: Any, kwargs: Any = None) -> T:
        """Make a call in the process of this thread."""
        worker = getattr(self._local, "worker", None)
        if worker not in self._workers:
            with self._turn:
                if self._is_over:
                    raise CancelledError
                worker = self._local.worker = Worker(_PROGRAM, does="made it", env=self._env)
                self._workers.add(worker)
        try:
            parts: list[str] = []
            call = {"call": _packed((function, args, kwargs or {}))}
            worker.ask(call, lambda said: parts.append(said["part"]))
        except BaseException:
            self._end(worker)
            raise
        value, error = _unpacked("".join(parts))
        if error is not None:
            raise error
        result: T = value
        return result

    def _end(self, worker: Worker) -> None:
        self._workers.discard(worker)
        worker.close()


def _packed(value: object) -> str:
    return base64.b64encode(pickle.dumps(value)).decode()


def _unpacked(text: str) -> Any:
    return pickle.loads(base64.b64decode(text))  # noqa: S301  # from a process of ours


def _answer(job: dict[str, Any]) -> dict[str, Any]:
    """Make a call, and say what it returned or raised, in parts that fit a line."""
    try:
        function, args, kwargs = _unpacked(job["call"])
        answer = _packed((function(*args, **kwargs), None))
    except Exception as error:  # noqa: BLE001  # whatever it is, it is for the caller
        error.add_note(traceback.format_exc())
        try:
            answer = _packed((None, error))
        except Exception:  # noqa: BLE001  # it cannot be pickled
            answer = _packed((None, RuntimeError(first_line(error))))
    for start in range(0, len(answer), _PART):
        say(part=answer[start : start + _PART])
    return {}


if __name__ == "__main__":
    raise SystemExit(serve(_answer))
