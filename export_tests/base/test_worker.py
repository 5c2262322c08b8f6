"""Processes of our own: what they answer, what they die of, and with whom."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgeattn.base.errors import InputError, MissingError
from edgeattn.base.worker import DeathError, Talk, Worker

PROGRAM = """
import ctypes, os, sys, time
from edgeattn.base.errors import InputError, MissingError
from edgeattn.base.worker import say, serve

def do(job):
    task = job["task"]
    if task == "noise":
        print("from Python", end="")
        ctypes.CDLL(None).printf(b"from C")
        ctypes.CDLL(None).fflush(None)
        say(step=1)
    elif task == "sleep":
        time.sleep(60)
    elif task == "fail":
        raise ZeroDivisionError("one over nothing")
    elif task == "refuse":
        raise InputError("No.", mend="Ask otherwise.")
    elif task == "miss":
        raise MissingError("Not here.")
    elif task == "die":
        os.kill(os.getpid(), job["by"])
    return {"done": task, "pid": os.getpid()}

if __name__ == "__main__":
    sys.exit(serve(do))
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "answers.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "answers"


def test_what_libraries_print_does_not_tear_an_answer(module):
    seen = []
    with Worker(module, does="answered") as worker:
        assert worker.ask({"task": "noise"}, seen.append)["done"] == "noise"
        assert worker.ask({"task": "again"})["done"] == "again"
        worker.finish()
    assert seen == [{"step": 1}]


@pytest.mark.parametrize(
    ("job", "error", "said"),
    [
        ({"task": "refuse"}, InputError, "No."),
        ({"task": "miss"}, MissingError, "Not here."),
        ({"task": "fail"}, DeathError, "process that answered failed: ZeroDivisionError"),
        ({"task": "die", "by": 11}, DeathError, "process that answered was ended by SIGSEGV"),
        ({"task": "die", "by": 9}, DeathError, "process that answered was ended by SIGKILL"),
    ],
)
def test_how_it_ends_is_told(module, job, error, said):
    with Worker(module, does="answered") as worker, pytest.raises(error, match=said):
        worker.ask(job)


def test_one_that_takes_too_long_is_ended(module):
    with Worker(module, does="answered") as worker:
        assert worker.ask({"task": "x"}, limit_s=30)["done"] == "x"
        with pytest.raises(InputError, match=r"answered did not end within 0\.2 s"):
            worker.ask({"task": "sleep"}, limit_s=0.2)
        assert worker.process.wait() == -signal.SIGKILL


def test_ctrl_c_is_its_parents(module):
    with Worker(module, does="answered") as worker:
        worker.ask({"task": "x"})
        worker.process.send_signal(signal.SIGINT)
        assert worker.ask({"task": "y"})["done"] == "y"


def test_it_ends_with_its_parent_however_that_ends(module):
    code = (
        "from edgeattn.base.worker import Worker\n"
        f"worker = Worker({module!r}, does='answered')\n"
        "import json; print(json.dumps(worker.ask({'task': 'x'})), flush=True)\n"
        "worker.ask({'task': 'sleep'})\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as parent:
        child = json.loads(parent.stdout.readline())["pid"]
        parent.kill()
    end = time.monotonic() + 10
    while _lives(child):
        assert time.monotonic() < end
        time.sleep(0.02)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{process}/stat")  # where nobody waits for it, it stays as a zombie
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize(
    ("line", "fact"),
    [
        ("[" * 200_000, "ended"),
        (json.dumps({"error": 5}), "5"),
        (json.dumps({"error": {}}), ""),
        (json.dumps({"error": {"fact": 5, "mend": []}}), "5"),
        (json.dumps({"error": {"fact": "x" * 10**6, "mend": "y"}}), "x" * (1 << 16)),
    ],
)
def test_what_others_answer_is_not_trusted(line, fact, tmp_path):
    (tmp_path / "said").write_text(f"{line}\n")
    program = f"read -r job; cat {tmp_path}/said; echo ended >&2; exit 1"
    process = subprocess.Popen(
        ["sh", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with Talk(process, does="answered") as talk, pytest.raises(InputError) as raised:
        talk.ask({})
    assert raised.value.fact == fact or "exit code 1" in raised.value.fact
