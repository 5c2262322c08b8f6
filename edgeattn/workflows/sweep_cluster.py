"""Clusters of Dask's: whatever started them (SSH, Slurm, Kubernetes), a scheduler is their address.

A worker of Dask's runs threads, and captures of torch's are not for threads; and what crashes must
not take a worker along. So each call runs in a process of the worker's own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from typing import Any, Final, TypeVar

from edgeattn.base.errors import InputError, MissingError, first_line
from edgeattn.base.pool import local
from edgeattn.base.versions import installed
from edgeattn.workflows.sweep_work import versions_apart

T = TypeVar("T")
_INSTALL: Final = 'pip install "edgeattn[cluster]"'
_CONNECT_S: Final = 10.0
# Calls that each thread of the cluster finds waiting.
_AHEAD: Final = 2


@contextlib.contextmanager
def connected(address: str) -> Iterator[tuple[Executor, int]]:
    """Yield an executor of a cluster, and how many calls it is handed at a time.

    Args:
        address: That of its scheduler: tcp://HOST:PORT.

    Raises:
        InputError: Its workers have other versions than are here.
        MissingError: distributed is not installed, or no scheduler answers, or it has no workers.
    """
    try:
        import distributed
    except ImportError as error:
        raise MissingError("--scheduler needs distributed.", mend=_INSTALL) from error
    try:
        make: Any = distributed.Client
        client = make(address, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise MissingError(
            f"No scheduler of Dask's answers at {address}: {first_line(error)}.",
            mend="Start one: dask scheduler; then workers: dask worker tcp://HOST:8786",
        ) from error
    with client:
        _check(client, address)
        threads = sum(client.nthreads().values())
        yield _Cluster(client), max(8, _AHEAD * threads)


def _check(client: Any, address: str) -> None:
    """Refuse a cluster whose workers would find something else."""
    if not client.nthreads():
        raise MissingError(
            f"The scheduler at {address} has no workers.",
            mend=f"Start some: dask worker {address}",
        )
    try:
        found = client.run(installed)
    except Exception as error:  # whatever a worker raises where edgeattn is not
        raise MissingError(
            f"The workers of {address} cannot run edgeattn: {first_line(error)}.",
            mend=f"Install it there: {_INSTALL}",
        ) from error
    faults = {worker: versions_apart(installed(), its) for worker, its in found.items()}
    if any(faults.values()):
        told = "; ".join(f"{name} has {', '.join(its)}" for name, its in faults.items() if its)
        raise InputError(
            f"Workers have other versions than are here, and results would differ: {told}.",
            mend="Install the same versions everywhere.",
        )


class _Cluster(Executor):
    """An executor of Dask's, each call in a process of the worker's own."""

    def __init__(self, client: Any) -> None:
        # Dask retries what a worker that goes away had; one that takes three along is given up.
        self._executor = client.get_executor(pure=False)

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = self._executor.submit(local, function, *args, **kwargs)
        return future
