"""A model in a process of its own, which runs it once when it is told: for interleaved rounds.

One session is faster than another of the same model by some per cent, as its memory happens to lie,
and sessions of one process have memory in common. So each model has a process, as where it is
deployed, and now and then a new one.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from edgeattn.base.worker import Worker, serve
from edgeattn.runtimes.timed import Job, Session


class Runner:
    """Runs a job's model in a process of its own.

    A run that is not timed goes before each, since the caches hold another model's weights.

    Raises:
        InputError: ONNX Runtime does not load the model, or fails while it runs.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.worker.close()

    def __call__(self) -> float:
        """Run it, and return the latency in ms."""
        return float(self.worker.ask({})["ms"])

    def renew(self) -> None:
        """Go on in a new process."""
        self.worker.close()
        self._start()

    def _start(self) -> None:
        self.worker = Worker(__name__, does=f"ran {self._job.models[0]}")
        try:
            self.worker.ask(asdict(self._job))
        except BaseException:
            self.worker.close()
            raise


class _Model:
    """A model in this process: the first job says which, and each one after that runs it."""

    def __init__(self) -> None:
        self._session: Session | None = None

    def do(self, asked: dict[str, Any]) -> dict[str, Any]:
        if self._session is None:
            job = Job(**asked)
            self._session = Session(Path(job.models[0]), job)
            self._session.warm_up(job)
            return {}
        self._session.run()
        return {"ms": self._session.run_ms()}


if __name__ == "__main__":
    sys.exit(serve(_Model().do))
