"""A process of its own that answers jobs: each a JSON object a line, and so is what it answers.

It says how far it is, then its result or its error. What crashes or hangs there is not ours.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Self, TextIO

from edgeattn.base import signals
from edgeattn.base.errors import EdgeattnError, InputError, MissingError

Said = Mapping[str, Any]
#: Where a process that serves answers.
_answers: Final[list[TextIO]] = []
# Longer lines are none of ours.
_MOST_LINE: Final = 1 << 26
_MOST_SAID: Final = 1 << 16
_ERRORS: Final = {"error": InputError, "missing": MissingError}


def program(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module as a program, which ends when this process does."""
    # -P: what lies in the folder the user stands in is not to be imported.
    start = [sys.executable, "-P", "-m", "edgeattn.base.child", str(os.getpid())]
    return [*start, module, *arguments]


def start(command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
    """Start a process; a signal that comes meanwhile does not leave it to itself.

    Args:
        command: Its command.
        **options: As `subprocess.Popen` takes them.
    """
    process = None
    try:
        with signals.deferred():
            process = subprocess.Popen(command, **options)
    except KeyboardInterrupt:
        if process is not None:
            process.kill()
            process.wait()
        raise
    return process


def last_line(log: str) -> str:
    """Return the last line of a log that is not blank; "" if there is none."""
    return next((line.strip() for line in reversed(log.splitlines()) if line.strip()), "")


class SlowError(InputError):
    """A process was ended because it took longer than it may."""


class DeathError(InputError):
    """A process ended before it had an answer.

    Args:
        fact: What is wrong.
        mend: What to do about it.
        by: The name of the signal that ended it; "" if it ended by itself.
    """

    def __init__(self, fact: str, *, mend: str = "", by: str = "") -> None:
        super().__init__(fact, mend=mend)
        self.by = by


class Talk:
    """A process that answers one job after another.

    Args:
        process: The process: its stdin and stdout are pipes.
        does: What it does, for the error if it ends unasked: "the process that measured".
    """

    def __init__(self, process: subprocess.Popen[bytes], *, does: str) -> None:
        self.process, self._does = process, does

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it at once, whatever it does."""
        with signals.deferred():
            self.process.kill()
            with contextlib.suppress(BrokenPipeError), self.process:
                pass

    def ask(
        self,
        job: Mapping[str, Any],
        on_progress: Callable[[Said], None] = lambda _: None,
        *,
        limit_s: float | None = None,
    ) -> dict[str, Any]:
        """Have it do a job.

        Args:
            job: The job.
            on_progress: Called with each object that it prints before its result.
            limit_s: Seconds after which it is ended; None to let it take what it takes.

        Raises:
            DeathError: It ended before it had an answer: of what.
            InputError: It said so.
            SlowError: It took longer.
            MissingError: Something that it needs is not on this machine.
        """
        if limit_s is None:
            return self._asked(job, on_progress)
        timer = threading.Timer(limit_s, self.process.kill)
        timer.start()
        try:
            return self._asked(job, on_progress)
        except DeathError as error:
            if not timer.finished.is_set():
                raise
            raise SlowError(
                f"The process that {self._does} did not end within {limit_s:g} s."
            ) from error
        finally:
            timer.cancel()

    def _asked(self, job: Mapping[str, Any], on_progress: Callable[[Said], None]) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it died at once: its log says of what
            self.process.stdin.write(f"{json.dumps(job)}\n".encode())
            self.process.stdin.flush()
        answers = self.process.stdout
        for line in iter(lambda: answers.readline(_MOST_LINE), b""):
            try:
                said = json.loads(line)
            except (ValueError, RecursionError):
                continue  # what a library printed
            if not isinstance(said, dict):
                continue
            for key, error in _ERRORS.items():
                if key in said:
                    told = said[key] if isinstance(said[key], dict) else {"fact": said[key]}
                    fact, mend = (str(told.get(part, ""))[:_MOST_SAID] for part in ("fact", "mend"))
                    raise error(fact, mend=mend)
            if isinstance(result := said.get("result"), dict):
                return result
            on_progress(said)
        raise self._death()

    def finish(self) -> None:
        """Wait until it has ended by itself.

        Raises:
            InputError: It fails to.
        """
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        if self.process.wait() != 0:
            raise self._death()

    def _death(self) -> DeathError:
        code = self.process.wait()
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
            hint = "Is there memory enough?" if -code == getattr(signal, "SIGKILL", 9) else ""
            return DeathError(
                f"The process that {self._does} was ended by {name}.", mend=hint, by=name
            )
        last = last_line(self._said_besides()) or f"exit code {code}"
        return DeathError(f"The process that {self._does} failed: {last}")

    def _said_besides(self) -> str:
        """Return what it printed that is no answer."""
        return ""


class Worker(Talk):
    """A process of ours, here; it ends with the `with` block.

    Args:
        module: The module that is its program: its `main` is `serve`.
        does: As `Talk` has it.
        env: Variables of its environment, besides those of this process.
    """

    def __init__(self, module: str, *, does: str, env: Mapping[str, str] | None = None) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # it is closed when the process ends
        process = start(
            program(module),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            # OpenMP and BLAS have threads as well, and are not wanted here.
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **(env or {})},
        )
        super().__init__(process, does=does)

    def close(self) -> None:
        """End it at once, whatever it does."""
        super().close()
        self._log.close()

    def _said_besides(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")


def ask(
    module: str,
    job: Mapping[str, Any],
    *,
    does: str = "measured",
    on_progress: Callable[[Said], None],
) -> dict[str, Any]:
    """Have a process of its own do a single job.

    Args:
        module: The module that is its program: its `main` is `serve`.
        job: The job.
        does: What it does: see `Worker`.
        on_progress: Called with how far it is.

    Raises:
        InputError: It said so, or died: of what.
        MissingError: Something that it needs is not on this machine.
    """
    with Worker(module, does=does) as worker:
        result = worker.ask(job, on_progress)
        worker.finish()
        return result


def serve(do: Callable[[dict[str, Any]], dict[str, Any]]) -> int:
    """Do the jobs on stdin, and say what came of each.

    Args:
        do: Returns the result of a job.

    Returns:
        The exit code.
    """
    if sys.stdout is sys.__stdout__:
        _keep_stdout()
    for line in sys.stdin:
        try:
            say(result=do(json.loads(line)))
        except EdgeattnError as error:
            kind = "missing" if isinstance(error, MissingError) else "error"
            say(**{kind: {"fact": error.fact, "mend": error.mend}})
            return error.exit_code
    return 0


def _keep_stdout() -> None:
    """Send what libraries print, in C too, to stderr: a line of theirs might tear one of ours."""
    own = os.dup(1)
    os.dup2(2, 1)
    _answers.append(os.fdopen(own, "w", encoding="utf-8"))


def say(**what: object) -> None:
    """Print an object."""
    where = _answers[0] if _answers else sys.stdout
    print(json.dumps(what), file=where, flush=True)  # it is what is asked for
