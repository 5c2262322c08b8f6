"""`edgeattn sweep --on`: rows of a host, and what becomes of them as it goes away."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from edgeattn.cli import app
from edgeattn.records.store import read_rows
from export_tests.sshd import Sshd

from .test_compare import NET

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="has no sshd")]
QUICK = ["--shape", "1x3x32x32", "--no-simplify", "--threads", "1", "--at", "block-end"]


@pytest.fixture
def asked(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of a host whose python3 is this one, with its ONNX Runtime."""
    python = sshd.path / "python3"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    return ["sweep", "--model", "net.py:make", "--on", sshd.address, *QUICK]


def begun(asked: list[str], *more: str) -> subprocess.Popen[str]:
    """Begin a sweep, and return when its first row is there."""
    command = [sys.executable, "-P", "-c", "from edgeattn.cli.app import main; main()"]
    process = subprocess.Popen(
        [*command, *asked, *more], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    while process.poll() is None:
        time.sleep(0.1)
        if Path("sweep.db").exists() and Path("sweep.db").stat().st_size and read_rows_now():
            return process
    raise AssertionError(process.communicate()[1])


def read_rows_now() -> list[Any]:
    return read_rows(Path("sweep.db"))[0]


def finished(capsys: pytest.CaptureFixture[str], asked: list[str], *more: str) -> Any:
    assert app.run([*asked, *more, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def left(sshd: Sshd) -> list[str]:
    until = time.monotonic() + 20
    while [one for one in sshd.left if one != ".ses"] and time.monotonic() < until:
        time.sleep(0.2)
    return [one for one in sshd.left if one != ".ses"]  # ONNX Runtime's own


def test_rows_of_a_host_and_of_devices(
    capsys: pytest.CaptureFixture[str], sshd: Sshd, asked: list[str], tmp_path: Path
) -> None:
    more = ["-a", "simam", "--device", "jetson", "--limit", "0.3"]
    found = finished(capsys, asked, *more)
    assert [(row["evidence"], row["device"]) for row in found["rows"]] == [
        ("predicted", "jetson"), ("predicted", "jetson"),
        ("measured", sshd.address), ("measured", sshd.address),
    ]  # fmt: skip
    assert found["rows"][3]["above_interval_percent"] is not None
    again = finished(capsys, asked, *more)
    assert (again["rows"], again["jobs"]["done_before"]) == (found["rows"], 4)
    assert left(sshd) == []
    assert sorted(one.name for one in tmp_path.iterdir()) == ["net.py", "sweep.db"]


def test_a_host_that_goes_away_takes_one_job_along_and_the_others_wait(
    capsys: pytest.CaptureFixture[str], sshd: Sshd, asked: list[str]
) -> None:
    more = ["-a", "simam,se,eca", "--limit", "4"]
    process = begun(asked, *more)
    for one in psutil.Process(sshd.process.pid).children():
        one.kill()
    _, said = process.communicate(timeout=120)
    assert process.returncode == 3
    assert "give the same command again" in said
    rows, failed = read_rows(Path("sweep.db"))
    assert (len(rows), len(failed)) == (1, 1)
    assert left(sshd) == []
    found = finished(capsys, asked, *more[:2], "--limit", "4", "--retry")
    assert len(found["rows"]) == 4
    assert found["rows"][0]["latency_ms"] == rows[0].latency_ms


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_is_no_jobs_fault(sshd: Sshd, asked: list[str], number: int) -> None:
    process = begun(asked, "-a", "simam,se", "--limit", "4")
    os.kill(process.pid, number)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert read_rows(Path("sweep.db"))[1] == {}
    assert left(sshd) == []
    assert {one.name for one in Path().iterdir()} == {"net.py", "sweep.db", "sweep.db.files"}
