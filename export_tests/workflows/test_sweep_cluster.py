"""Sweeps on a cluster of Dask's: the same rows as here, though a worker dies and comes back."""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from export_tests.cli.test_compare import NET

pytest.importorskip("distributed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="network namespaces are Linux's"),
]
WAIT_S = 180
Start = Callable[[int], subprocess.Popen[bytes]]


@contextlib.contextmanager
def namespaces(count: int) -> Iterator[list[tuple[Sequence[str], str]]]:
    """Yields for each namespace what stands before a command there, and the address of here."""
    made = []
    try:
        for number in range(1, count + 1):
            name, ours, theirs = f"edgeattn{number}", f"ea{number}", f"ea{number}p"
            net = f"10.77.{number}"
            for command in (
                f"ip netns add {name}",
                f"ip link add {ours} type veth peer name {theirs}",
                f"ip link set {theirs} netns {name}",
                f"ip addr add {net}.1/24 dev {ours}",
                f"ip link set {ours} up",
                f"ip -n {name} addr add {net}.2/24 dev {theirs}",
                f"ip -n {name} link set {theirs} up",
                f"ip -n {name} link set lo up",
            ):
                subprocess.run(command.split(), check=True, capture_output=True)
            made.append((["ip", "netns", "exec", name], f"{net}.1"))
        yield made
    finally:
        for number in range(1, count + 1):
            subprocess.run(["ip", "netns", "del", f"edgeattn{number}"], capture_output=True)  # noqa: PLW1510


@contextlib.contextmanager
def cluster(
    places: Sequence[tuple[Sequence[str], str]], folder: Path
) -> Iterator[tuple[str, Start]]:
    """Yields the address of a scheduler, and what starts the worker of a place again."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    dask = [sys.executable, "-m", "dask"]
    with contextlib.ExitStack() as stack:

        def start(command: Sequence[str]) -> subprocess.Popen[bytes]:
            log = stack.enter_context((folder / "dask.log").open("ab"))
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        def worker(number: int) -> subprocess.Popen[bytes]:
            before, here = places[number]
            how = ["--nthreads", "1", "--no-dashboard", "--no-nanny", "--death-timeout", "60"]
            return start([*before, *dask, "worker", f"tcp://{here}:{port}", *how])

        start([*dask, "scheduler", "--port", str(port), "--no-dashboard"])
        yield f"tcp://127.0.0.1:{port}", worker


def rows_of(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    with contextlib.closing(sqlite3.connect(path, timeout=60)) as database:
        return dict(database.execute("SELECT key, row FROM rows").fetchall())


@pytest.mark.parametrize("where", ["this machine", "namespaces"])
def test_a_worker_is_killed_and_comes_back(where: str, tmp_path: Path) -> None:
    if where == "namespaces" and os.geteuid() != 0:
        pytest.skip("namespaces are made by root")
    (tmp_path / "net.py").write_text(NET)
    command = [
        sys.executable, "-P", "-c", "from edgeattn.cli.app import main; main()", "sweep",
        "--model", "net.py:make", "-a", "simam,se,eca", "--at", "block-end", "--precision",
        "fp32,fp16", "--device", "jetson,raspberry-pi-5", "--shape", "1x3x32x32", "--no-simplify",
    ]  # fmt: skip
    with contextlib.ExitStack() as stack:
        places: Sequence[tuple[Sequence[str], str]] = [([], "127.0.0.1")] * 2
        if where == "namespaces":
            places = stack.enter_context(namespaces(2))
        address, worker = stack.enter_context(cluster(places, tmp_path))
        first = worker(0)
        worker(1)
        time.sleep(5)
        on_cluster = [*command, "-o", "cluster.db", "--scheduler", address]
        sweep = subprocess.Popen(on_cluster, cwd=tmp_path, stderr=subprocess.PIPE)
        stack.callback(sweep.kill)
        end = time.monotonic() + WAIT_S
        while not rows_of(tmp_path / "cluster.db") and sweep.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.2)
        first.kill()
        first.wait()
        time.sleep(3)
        worker(0)
        _, said = sweep.communicate(timeout=WAIT_S)
        assert sweep.returncode == 0, said.decode()
    subprocess.run([*command, "-o", "here.db"], cwd=tmp_path, check=True, capture_output=True)
    here = rows_of(tmp_path / "here.db")
    assert len(here) == 16
    assert rows_of(tmp_path / "cluster.db") == here
