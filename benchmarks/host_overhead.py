"""What measuring on a host costs and changes: a host on loopback against this machine.

    python benchmarks/host_overhead.py MODEL.onnx [--pairs 5] [--limit 10] [--threads 1]

Profiles the model here and on this same machine over SSH, by turns, and prints: how far the medians
are apart; the bytes that went over the line, both ways, with SSH's own; and what the way there
adds to the time that it takes, but for the two seconds in which the host is watched while it idles.
Run it on a quiet machine: others show in each figure.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

from edgeattn.hosts.visit import guests
from edgeattn.options.profile import Item, ProfileOptions
from edgeattn.records.trace import Trace
from edgeattn.workflows.profile import Lane, profile, profile_on

sys.path.insert(0, str(Path(__file__).parents[1]))
from export_tests import sshd  # it is beside this folder

_APART_PERCENT, _ADDED_S, _ADDED_BYTES = 2.0, 3.0, 1_000_000
_IDLE_S: Final = 2.0


def main() -> int:
    """Measure, and return 1 if something is above its bound."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="an ONNX file")
    parser.add_argument("--pairs", type=int, default=5, help="how often it is measured each way")
    parser.add_argument("--limit", type=float, default=10.0, help="--limit of each, in seconds")
    parser.add_argument("--threads", type=int, help="threads of each [all cores]")
    asked = parser.parse_args()
    item = Item(path=asked.model, name=asked.model.stem)
    options = ProfileOptions(limit_s=asked.limit, threads=asked.threads)
    with tempfile.TemporaryDirectory(prefix="overhead-") as folder:
        host = sshd.start(
            Path(folder) / "sshd", path=f"{Path(sys.executable).parent}:/usr/bin:/bin"
        )
        relay = Relay(host.port)
        addresses = {"here": None, "there": f"127.0.0.1:{relay.port}"}
        alias = f"HostKeyAlias=[{host.ip}]:{host.port}"
        os.environ["EDGEATTN_SSH"] = f"{host.ssh} -o {alias}"
        apart, fastest, added, sent = [], [], [], []
        try:
            for pair in range(asked.pairs):
                both = {}
                for way in ("here", "there")[:: (-1) ** pair]:
                    both[way] = taken(item, options, addresses[way])
                (ours, ours_s), (theirs, theirs_s) = both["here"], both["there"]
                sent.append(relay.count)
                relay.count = 0
                apart.append(100 * (theirs.latency_ms.p50 / ours.latency_ms.p50 - 1))
                fastest.append(100 * (theirs.latency_ms.min / ours.latency_ms.min - 1))
                added.append(theirs_s - ours_s - _IDLE_S)
                print(
                    f"here {ours.latency_ms.p50:.3f} ms in {ours_s:.1f} s, there"
                    f" {theirs.latency_ms.p50:.3f} ms in {theirs_s:.1f} s: {apart[-1]:+.2f} %,"
                    f" {added[-1]:+.1f} s, {sent[-1]:,} bytes", flush=True,
                )  # fmt: skip
        finally:
            host.process.terminate()
    size = asked.model.stat().st_size
    figures = {
        "apart, %": (abs(statistics.median(apart)), _APART_PERCENT),
        "apart in the fastest run, %": (abs(statistics.median(fastest)), _APART_PERCENT),
        "added, s": (statistics.median(added), _ADDED_S),
        "bytes above the file's": (max(sent) - size, _ADDED_BYTES),
    }
    for name, (figure, most) in figures.items():
        print(f"{name}: {figure:,.2f}, of {most:,} at most{'' if figure <= most else ': TOO MUCH'}")
    return int(any(figure > most for figure, most in figures.values()))


def taken(item: Item, options: ProfileOptions, address: str | None) -> tuple[Trace, float]:
    """Profile a model, and return its trace and the seconds that it took."""
    began = time.perf_counter()
    ended = []
    if address is None:
        (found,) = profile([item], options)
        return found.row.trace, time.perf_counter() - began

    def on_stage(said: str) -> None:
        if said.endswith("predict"):  # beside what was measured, which is not done here
            ended.append(time.perf_counter() - began)

    with guests([address]) as (guest,):
        found = profile_on([Lane(guest=guest, items=[item])], options, on_stage=on_stage).found[0]
        predicted = time.perf_counter() - began - ended[0]
    return found.row.trace, time.perf_counter() - began - predicted


class Relay:
    """Carries connections to a port, and counts their bytes, both ways."""

    def __init__(self, port: int) -> None:
        self._to, self._listens = port, socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listens.getsockname()[1]
        self.count = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            ours = self._listens.accept()[0]
            theirs = socket.create_connection(("127.0.0.1", self._to))
            for way in ((ours, theirs), (theirs, ours)):
                threading.Thread(target=self._carry, args=way, daemon=True).start()

    def _carry(self, reads: socket.socket, writes: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while block := reads.recv(1 << 18):
                self.count += len(block)
                writes.sendall(block)
            writes.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    sys.exit(main())
