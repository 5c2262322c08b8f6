"""Runs a measurement in a process of its own, and hears what it says, a JSON object a line."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

from edgeattn.base.errors import InputError

Said = Mapping[str, Any]


def run(
    module: str, job: Mapping[str, Any], *, on_progress: Callable[[Said], None] = lambda _: None
) -> dict[str, Any]:
    """Run a module as a program that takes a job on stdin.

    Args:
        module: The module's name.
        job: The job, which is handed over as JSON.
        on_progress: Called with each object that it prints before its result.

    Returns:
        What it printed under `result`.

    Raises:
        InputError: It said so, or died before it was done: of what.
    """
    with tempfile.TemporaryFile() as log:
        with subprocess.Popen(
            # -P: what lies in the folder the user stands in is not to be imported.
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            encoding="utf-8",
            # OpenMP and BLAS have threads as well, and are not wanted here.
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        ) as process:
            try:
                result = _heard(process, job, on_progress)
                process.wait()
            finally:
                process.kill()
        if result is not None and process.returncode == 0:
            return result
        log.seek(0)
        raise _died(process.returncode, log.read().decode(errors="replace"))


def _heard(
    process: subprocess.Popen[str], job: Mapping[str, Any], on_progress: Callable[[Said], None]
) -> dict[str, Any] | None:
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(BrokenPipeError):  # it died at once: its log says of what
        process.stdin.write(json.dumps(job))
        process.stdin.close()
    result: dict[str, Any] | None = None
    for line in process.stdout:
        try:
            said = json.loads(line)
        except ValueError:
            continue  # what a library printed
        if not isinstance(said, dict):
            continue
        if (error := said.get("error")) is not None:
            raise InputError(error["fact"], mend=error["mend"])
        if "result" in said:
            result = said["result"]
        else:
            on_progress(said)
    return result


def _died(code: int, log: str) -> InputError:
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        hint = "Is there memory enough?" if -code == getattr(signal, "SIGKILL", 9) else ""
        return InputError(f"The process that measured was ended by {name}.", mend=hint)
    last = [line for line in log.splitlines() if line.strip()][-1:]
    return InputError("The process that measured failed: " + "".join(last or [f"exit code {code}"]))
