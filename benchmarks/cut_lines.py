"""Cuts the line to a host while it is measured on, and looks at what is left there: nothing.

    python benchmarks/cut_lines.py [--trials 50] [--seed 14] [--way WAY]

Needs root, Debian's openssh-server and iproute2: the host is an sshd in a network namespace of its
own, with a small disk. In each trial `edgeattn profile --on` runs, and at a moment that is drawn
something happens: see WAYS. Then there must be no process of ours on the host and no file, and the
command must have ended as it should; after a power cut, the next run must remove what was left, and
say so.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import helper, numpy_helper

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from export_tests import sshd as hosts  # noqa: E402  # it is beside this folder

NAMESPACE: Final = "edgeattn-cut"
LINK: Final = "ea-cut0"
OURS, THEIRS = "10.213.7.1", "10.213.7.2"
DISK_MIB: Final = 64
# What is left must be gone by then: the keeper's patience, and some.
GONE_S: Final = 75.0
# What each way does, and what may come of the command: its exit codes.
WAYS: Final[dict[str, tuple[int, ...]]] = {
    "ssh is killed": (0, 3),
    "the link is down": (0, 3),
    "the link is down for 10 s": (0,),
    "the disk is full": (0, 2, 3),
    "KILL": (0, -signal.SIGKILL),
    "TERM": (0, 130, 143, -signal.SIGTERM),
    "INT": (0, 130, -signal.SIGINT),
    "the power is cut": (0, 3),
}


@dataclass
class Trial:
    """A run, and the host that it runs on."""

    host: hosts.Sshd
    process: subprocess.Popen[bytes]

    def do(self, way: str) -> None:
        """Make it happen."""
        if way in ("KILL", "TERM", "INT"):
            self.process.send_signal(getattr(signal, f"SIG{way}"))
        elif way == "ssh is killed":
            run("pkill", "-KILL", "-f", f"ssh -F {self.host.folder}", check=False)
        elif way.startswith("the link"):
            run("ip", "link", "set", LINK, "down")
            if way.endswith("10 s"):
                time.sleep(10)
                run("ip", "link", "set", LINK, "up")
        elif way == "the disk is full":
            with contextlib.suppress(OSError), (self.host.tmp / "full").open("wb") as file:
                while True:
                    file.write(bytes(1 << 20))
        elif way == "the power is cut":
            for pid in processes(everything=True):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def main() -> int:
    """Try it, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--seed", type=int, default=14)
    parser.add_argument("--way", choices=WAYS)
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the namespace is to go in any case
    drawn = random.Random(asked.seed)
    faults: list[str] = []
    done: Counter[tuple[str, int]] = Counter()
    with tempfile.TemporaryDirectory(prefix="cut-") as name:
        folder = Path(name)
        model = folder / "model.onnx"
        write(model)
        with namespace(folder) as host:
            began = time.monotonic()
            code, said = finish(started(host, model, folder))
            whole_s = time.monotonic() - began
            print(f"undisturbed: exit code {code} after {whole_s:.1f} s", flush=True)
            if code != 0:
                print(said)
                return 1
            for number in range(asked.trials):
                way = asked.way or list(WAYS)[number % len(WAYS)]
                moment_s = drawn.uniform(0.0, whole_s)
                fault, code = trial(host, model, folder, way, moment_s)
                done[way, code] += 1
                print(
                    f"{number:3} {way} after {moment_s:.1f} s: {fault or 'nothing left'}",
                    flush=True,
                )
                faults += [fault] if fault else []
    for (way, code), count in sorted(done.items()):
        print(f"{count:4} {way}: exit code {code}")
    print(f"{asked.trials} trials, {len(faults)} faults")
    return bool(faults)


def trial(
    host: hosts.Sshd, model: Path, folder: Path, way: str, moment_s: float
) -> tuple[str, int]:
    """Disturb a run, and return what is wrong afterwards, "" if nothing is; and its exit code."""
    process = started(host, model, folder)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(moment_s)
    Trial(host, process).do(way)
    code, said = finish(process)
    if way == "the disk is full":
        (host.tmp / "full").unlink()
    if way == "the power is cut":
        hosts.restart(host)
        was_left = bool(host.left)
        code_after, said_after = finish(started(host, model, folder))
        if code_after != 0 or was_left != ("had left" in said_after):
            return f"the next run ends with {code_after}: {said_after[-300:]}", code
    end = time.monotonic() + GONE_S
    while (host.left or processes()) and time.monotonic() < end:
        time.sleep(0.2)
    if way == "the link is down":
        run("ip", "link", "set", LINK, "up")
    if host.left or processes():
        return f"left: {host.left}, {len(processes())} processes", code
    if way.endswith("10 s") and code == 3 and "cannot be reached" in said:
        return "", code  # no login has begun by then, and none waits for longer
    if code not in WAYS[way] or "Traceback" in said or "report this" in said:
        return f"exit code {code}: {said[-300:]}", code
    return "", code


def started(host: hosts.Sshd, model: Path, folder: Path) -> subprocess.Popen[bytes]:
    """Start a run."""
    command = [Path(sys.executable).with_name("edgeattn"), "profile", str(model)]
    with (folder / "said").open("wb") as said:
        return subprocess.Popen(
            [*command, "--on", THEIRS, "--limit", "2", "--no-marginal"],
            env={**os.environ, "EDGEATTN_SSH": host.ssh, "TMPDIR": str(folder)},
            cwd=folder,
            stdout=said,
            stderr=subprocess.STDOUT,
        )


def finish(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Wait for the end of a run, and return its exit code, and what it printed."""
    try:
        process.wait(180)
    except subprocess.TimeoutExpired:
        process.kill()
        return -1, "it did not end within 180 s"
    said = next(Path(process.args[2]).parent.glob("said"))  # type: ignore[index]  # a list
    return process.returncode, said.read_text(errors="replace")


def processes(*, everything: bool = False) -> list[int]:
    """Return the processes in the namespace: those of ours, or sshd's too."""
    found = []
    for text in run("ip", "netns", "pids", NAMESPACE).split():
        with contextlib.suppress(OSError):
            name = Path(f"/proc/{text}/comm").read_text().strip()
            if everything or name != "sshd":
                found.append(int(text))
    return found


@contextlib.contextmanager
def namespace(folder: Path) -> Iterator[hosts.Sshd]:
    """Make a host: a network namespace with a link to here, an sshd and a small disk in it."""
    undo: list[Callable[[], object]] = []
    try:
        run("ip", "netns", "add", NAMESPACE)
        undo.append(lambda: run("ip", "netns", "del", NAMESPACE))
        run("ip", "link", "add", LINK, "type", "veth", "peer", "name", "eth0", "netns", NAMESPACE)
        undo.append(lambda: run("ip", "link", "del", LINK, check=False))
        run("ip", "addr", "add", f"{OURS}/30", "dev", LINK)
        run("ip", "link", "set", LINK, "up")
        for words in (
            ("addr", "add", f"{THEIRS}/30", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
        ):
            run("ip", "-n", NAMESPACE, *words)
        home = folder / "host"
        (home / "tmp").mkdir(parents=True)
        run("mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(home / "tmp"))
        undo.append(lambda: run("umount", "-l", str(home / "tmp")))
        python = f"{Path(sys.executable).parent}:/usr/bin:/bin"
        host = hosts.start(home, path=python, ip=THEIRS, within=("ip", "netns", "exec", NAMESPACE))
        undo.append(lambda: (host.process.terminate(), host.process.wait()))
        yield host
    finally:
        for step in reversed(undo):
            step()


def run(*command: str, check: bool = True) -> str:
    """Run a program, and return what it prints."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if check and done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def write(path: Path) -> None:
    """Write a small network that takes some milliseconds."""
    drawn = np.random.default_rng(0)
    nodes, weights, last = [], [], "x"
    for place in range(8):
        kernel = drawn.normal(size=(64, 64 if place else 3, 3, 3)).astype("f4")
        weights.append(numpy_helper.from_array(kernel, f"w{place}"))
        conv, relu = f"conv{place}", f"relu{place}"
        nodes += [
            helper.make_node("Conv", [last, f"w{place}"], [conv], pads=[1] * 4, name=conv),
            helper.make_node("Relu", [conv], [relu], name=relu),
        ]
        last = relu
    value = helper.make_tensor_value_info
    ends = [value("x", 1, [1, 3, 56, 56])], [value(last, 1, None)]
    graph = helper.make_graph(nodes, "net", *ends, weights)
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)


if __name__ == "__main__":
    if shutil.which("ip") is None or not hosts.is_here() or os.geteuid() != 0:
        sys.exit("This needs root, openssh-server and iproute2.")
    sys.exit(main())
