"""Calls in processes: results and errors come back, and a death takes one call along."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from pathlib import Path

import psutil
import pytest

from edgeattn.base.errors import CheckError
from edgeattn.base.pool import Call, outcomes, processes
from edgeattn.base.worker import DeathError

FAILS = "from edgeattn.base.errors import *; raise CheckError('It differs.', mend='Mend it.')"


def test_results_errors_and_deaths_come_back_with_their_calls() -> None:
    calls = deque([Call("die", os._exit, (7,)), Call("pid", os.getpid)])
    calls.append(Call("no number", int, ("x",)))
    calls.append(Call("check", exec, (FAILS,)))
    with processes(2) as executor:
        found = {}
        for call, result in outcomes(executor, calls, at_once=2):
            found[call.name] = result
            if call.name == "pid":  # more may be added meanwhile
                calls.append(Call("late", len, ([1, 2],)))
    assert isinstance(found["die"], DeathError)
    assert isinstance(found["no number"], ValueError)
    assert "Traceback" in found["no number"].__notes__[0]
    assert isinstance(found["check"], CheckError)
    assert (found["check"].fact, found["check"].mend) == ("It differs.", "Mend it.")
    assert found["pid"] != os.getpid()
    assert found["late"] == 2


def test_what_libraries_print_is_no_answer() -> None:
    with processes(1) as executor:
        assert executor.submit(print, '{"result": {}}').result() is None
        assert executor.submit(os.getpid).result() == executor.submit(os.getpid).result()


def test_large_answers_come_whole() -> None:
    with processes(1) as executor:
        assert executor.submit(bytes, 80_000_000).result() == bytes(80_000_000)


def test_processes_end_with_the_block_and_with_what_they_do() -> None:
    began = time.monotonic()
    with processes(1) as executor:
        pid = executor.submit(os.getpid).result()
        late = executor.submit(time.sleep, 60)
        while not late.running():
            time.sleep(0.01)
    assert time.monotonic() - began < 30
    assert late.exception() is not None
    assert not psutil.pid_exists(pid)


def test_what_is_ended_leaves_nothing_among_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with processes(1) as executor:
        made = Path(executor.submit(tempfile.mkdtemp).result())
        executor.submit(time.sleep, 60)
        assert made.is_relative_to(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="the system's own way is Linux's")
def test_processes_end_with_one_that_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # it leaves a folder, which others would tell of
    program = (
        "import os, time\n"
        "from edgeattn.base.pool import processes\n"
        "with processes(1) as executor:\n"
        "    print(executor.submit(os.getpid).result(), flush=True)\n"
        "    executor.submit(time.sleep, 60).result()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
        child.wait(timeout=10)
