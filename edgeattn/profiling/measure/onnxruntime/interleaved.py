"""A model that takes turns with others: a session in a process of its own, run when it is told.

One session is faster than another of the same model by some per cent, as its memory happens to lie,
and sessions of one process have memory in common. So each model has a process, as where it is
deployed, and now and then a new one.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from edgeattn.base.errors import InputError
from edgeattn.base.worker import say
from edgeattn.runtimes.timed import Job, Session


class Turn:
    """The turns of a job's model.

    A run that is not timed goes before, since the caches hold another model's weights.

    Raises:
        InputError: ONNX Runtime does not load the model, or fails while it runs.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def __call__(self) -> float:
        """Take the turn, and return the latency in ms."""
        return float(self._asked("")["ms"])

    def renew(self) -> None:
        """Go on in a new process."""
        self._end()
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        try:
            self._asked(json.dumps(asdict(self._job)))
        except InputError:
            self._end()
            raise

    def _asked(self, line: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # its last words are read all the same
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
        said = self._process.stdout.readline()
        if not said:
            raise InputError(f"The process that ran {self._job.models[0]} ended.")
        found: dict[str, Any] = json.loads(said)
        if (error := found.get("error")) is not None:
            raise InputError(error["fact"], mend=error["mend"])
        return found

    def _end(self) -> None:
        self._process.kill()
        with contextlib.suppress(BrokenPipeError), self._process:
            pass


def main() -> int:
    """Read a job, then run its model at every line."""
    try:
        job = Job(**json.loads(sys.stdin.readline()))
        session = Session(Path(job.models[0]), job)
        session.warm_up(job)
        say(ready=True)
        for _ in sys.stdin:
            session.run()
            say(ms=session.run_ms())
    except InputError as error:
        say(error={"fact": error.fact, "mend": error.mend})
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
