"""Whether a killed command does harm: commands over existing outputs are killed at random moments.

    python benchmarks/kills.py [--kills 200] [--seed 0] [--jobs 2] [--commands export,build]
    python benchmarks/kills.py --again 17 [--seed 0]        one kill, with what the command prints

Each kill runs a command over outputs that are there, in folders of its own, and sends SIGINT (to
the command alone, or to all its processes as a terminal does), SIGTERM or SIGKILL: half of them at
any moment of what the command takes when it is left alone, half in the last tenth, where files are
written. It is a fault where

- outputs are not all the old ones, or all new and whole (manifests have the hashes of their files);
- after SIGINT and SIGTERM the command ends with anything but 130, unless it was done: 0, all new;
- a traceback is printed;
- a process lives on;
- anything else is left: after SIGINT and SIGTERM at once, after SIGKILL when the command is run
  again, which also has to say so.

No moment is drawn in which Python itself still starts, and edgeattn is not there to hear of it.
Prints each fault and a table; ends with 1 where there is one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

INTERRUPTED: Final = 130
SIGNALS: Final = ("SIGINT", "SIGINT to all", "SIGTERM", "SIGKILL")
# What ONNX Runtime and torch leave among temporary files in any case.
_LIBRARIES: Final = (".ses", "torchinductor_")
#: What a process may take to end once its parent has.
LONGEST_END_S: Final = 5.0
LONGEST_S: Final = 300.0

NET: Final = """
from torch import nn

def make():
    return nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, 1, 1),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))
"""


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command, and what it writes.

    Attributes:
        words: What stands after `edgeattn`.
        outputs: The files that it writes: to them together the rule applies.
        old: What each of them held.
    """

    words: str
    outputs: tuple[str, ...]
    old: bytes = b"old\n"


COMMANDS: Final = {
    "export": Command(
        words="export net.py:make --shape 1x3x32x32 -a se --at 2 -o one/m.onnx",
        outputs=("one/m.onnx", "one/m.json"),
    ),
    "optimize": Command(
        words="optimize net.onnx -o one/m.onnx", outputs=("one/m.onnx", "one/m.json")
    ),
    "cast": Command(
        words="cast net.onnx --precision fp16 -o one/m.onnx", outputs=("one/m.onnx", "one/m.json")
    ),
    "build": Command(
        words="build net.onnx --compute-capability 8.6 -o one/m.engine",
        outputs=("one/m.engine", "one/m.json"),
        old=b'{"artifact": "engine"}\n',  # another JSON there would be left
    ),
    "profile": Command(
        words="profile net.onnx --limit 0.2 -o one/r.json --report two/r.html --figure three/f.svg",
        outputs=("one/r.json", "two/r.html", "three/f.svg"),
    ),
    "predict": Command(
        words="profile net.onnx --device jetson -o one/r.json --report two/r.html",
        outputs=("one/r.json", "two/r.html"),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a kill.

    Attributes:
        number: Its number, which --again takes.
        command: The command's name.
        sent: The signal.
        state: What the outputs are: old or new, or what is wrong with them.
        faults: What is wrong.
    """

    number: int
    command: str
    sent: str
    state: str
    faults: tuple[str, ...]


def main() -> int:
    """Kill, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--commands", default=",".join(COMMANDS))
    parser.add_argument("--again", type=int)
    asked = parser.parse_args()
    names = asked.commands.split(",")
    # Where this runs in a shell's background, Ctrl-C is ignored, and so it were in all it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="kills-") as scratch:
        folder = Path(scratch)
        good = folder / "good"
        good.mkdir()
        make_good(good)
        took_s = {name: _duration(COMMANDS[name], good, folder / name) for name in names}
        start_s = _start_of_python()
        print(", ".join(f"{name} {seconds:.1f} s" for name, seconds in took_s.items()), flush=True)
        one = partial(kill, good, folder, asked.seed, took_s, start_s)
        if asked.again is not None:
            outcomes = [one(asked.again, is_shown=True)]
        else:
            with ThreadPoolExecutor(asked.jobs) as pool:
                outcomes = list(pool.map(one, range(asked.kills)))
    print_table(outcomes)
    return 1 if any(outcome.faults for outcome in outcomes) else 0


def kill(
    good: Path,
    folder: Path,
    seed: int,
    took_s: dict[str, float],
    start_s: float,
    number: int,
    *,
    is_shown: bool = False,
) -> Outcome:
    """Run a command, send it a signal at a random moment, and look at what is left."""
    chance = random.Random(f"{seed} {number}")
    names = sorted(took_s)  # what takes longer is run less often
    (name,) = chance.choices(names, [1 / took_s[name] for name in names])
    sent = chance.choice(SIGNALS)
    command, whole_s = COMMANDS[name], took_s[name]
    moment_s = chance.uniform(*((start_s, whole_s) if number % 2 else (0.9 * whole_s, whole_s)))
    home = folder / str(number)
    _lay_out(command, good, home)
    run = _started(command, home)
    time.sleep(moment_s)
    _send(run, sent)
    told = home / "stderr"
    faults = []
    try:
        code = run.wait(LONGEST_S)
    except subprocess.TimeoutExpired:
        code = -1
        faults.append(f"lived on for {LONGEST_S:g} s")
        run.kill()
    if living := _still_living(run.pid):
        faults.append(f"processes live on: {living}")
    text = told.read_text(encoding="utf-8", errors="replace")
    faults += _of_the_end(sent, code, text)
    state = _state(command, home)
    if state not in ("old", "new"):
        faults.append(f"outputs are {state}")
    if code == 0 and state != "new":
        faults.append(f"ended with 0, and outputs are {state}")
    left = sorted(_left(home))
    if left and sent == "SIGKILL":
        faults += _of_the_next_run(command, home, left)
    elif left:
        faults.append(f"left behind: {left}")
    if is_shown:
        print(f"edgeattn {command.words}\n{sent} after {moment_s:.3f} s: {code}\n{text}")
    for fault in faults:
        print(f"{number}: {name}, {sent} after {moment_s:.3f} s: {fault}", flush=True)
    shutil.rmtree(home, ignore_errors=True)
    return Outcome(number=number, command=name, sent=sent, state=state, faults=tuple(faults))


def _of_the_end(sent: str, code: int, told: str) -> Iterator[str]:
    allowed = (0, -signal.SIGKILL) if sent == "SIGKILL" else (0, INTERRUPTED)
    if code not in allowed:
        yield f"ended with {code}: {told[-300:]!r}"
    if "Traceback" in told or "Exception ignored" in told:
        yield f"a traceback: {told[-300:]!r}"


def _of_the_next_run(command: Command, home: Path, left: Sequence[str]) -> Iterator[str]:
    """Run the command again, to its end: it has to remove what is left, and to say so."""
    again = _started(command, home)
    code = again.wait(LONGEST_S)
    told = (home / "stderr").read_text(encoding="utf-8", errors="replace")
    if code:
        yield f"the next run ended with {code}: {told[-300:]!r}"
    if still := sorted(_left(home)):
        yield f"left behind after the next run: {still}"
    rooms = {path.split("/")[1] for path in left if path.count("/")}
    if unsaid := [room for room in rooms if room not in told]:
        yield f"the next run does not say what it removed: {unsaid}"


def _lay_out(command: Command, good: Path, home: Path) -> None:
    """Make the folder of a run: its inputs, and old outputs."""
    shutil.copytree(good, home)
    (home / "tmp").mkdir()
    for output in command.outputs:
        (home / output).parent.mkdir(exist_ok=True)
        (home / output).write_bytes(command.old)


def _started(command: Command, home: Path) -> subprocess.Popen[bytes]:
    with (home / "stderr").open("wb") as told:
        return subprocess.Popen(
            [Path(sys.executable).with_name("edgeattn"), *command.words.split()],
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=told,
            start_new_session=True,
            env={**os.environ, "TMPDIR": str(home / "tmp"), "OMP_NUM_THREADS": "1"},
        )


def _duration(command: Command, good: Path, home: Path) -> float:
    """Return what a command takes if nobody kills it, in seconds: its second run."""
    _lay_out(command, good, home)
    for _ in range(2):
        began = time.perf_counter()
        run = _started(command, home)
        code = run.wait(LONGEST_S)
        seconds = time.perf_counter() - began
        state = _state(command, home)
        if code or state != "new":
            sys.exit(f"edgeattn {command.words}: {code}, {state}\n{(home / 'stderr').read_text()}")
    return seconds


def _start_of_python() -> float:
    """Return what Python takes to the first line of a program, twice over, in seconds."""
    slowest = 0.0
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import edgeattn.cli.app"], check=True)
        slowest = max(slowest, time.perf_counter() - began)
    return 2 * slowest


def _send(run: subprocess.Popen[bytes], sent: str) -> None:
    if sent == "SIGINT to all":
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGINT)
    else:
        run.send_signal(signal.Signals[sent])


def _still_living(session: int) -> list[int]:
    """Return the processes of a session that do not end in time."""
    end = time.monotonic() + LONGEST_END_S
    while (living := list(_living(session))) and time.monotonic() < end:
        time.sleep(0.05)
    return living


def _living(session: int) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has just ended
            if int(fields[3]) == session and fields[0] != "Z":
                yield int(entry.name)


def _state(command: Command, home: Path) -> str:
    """Return what the outputs are: old, new, or what is wrong with them."""
    missing = [name for name in command.outputs if not (home / name).is_file()]
    if missing:
        return f"missing: {missing}"
    contents = {name: (home / name).read_bytes() for name in command.outputs}
    old = [name for name, content in contents.items() if content == command.old]
    if len(old) == len(contents):
        return "old"
    if old:
        return f"mixed: {old} are old"
    broken = [name for name, content in contents.items() if not _is_whole(name, content, contents)]
    return f"broken: {broken}" if broken else "new"


def _is_whole(name: str, content: bytes, contents: dict[str, bytes]) -> bool:
    if name.endswith(".html"):
        return content.rstrip().endswith(b"</html>")
    if name.endswith(".svg"):
        return content.rstrip().endswith(b"</svg>")
    if not name.endswith(".json"):
        return True  # its manifest has its hash
    try:
        said = json.loads(content)
    except ValueError:
        return False
    return all(
        _hash_in(said, Path(other).name) == hashlib.sha256(data).hexdigest()
        for other, data in contents.items()
        if other.endswith((".onnx", ".engine"))
    )


def _hash_in(manifest: dict[str, Any], name: str) -> object:
    said = manifest["sha256"]
    return said.get(name) if isinstance(said, dict) else said


def _left(home: Path) -> Iterator[str]:
    """Yield what a run left: hidden folders, and temporary files."""
    for folder in ("one", "two", "three", "tmp"):
        for path in (home / folder).glob("*"):
            is_ours = folder == "tmp" and not path.name.startswith(_LIBRARIES)
            if is_ours or path.name.startswith(".edgeattn"):
                yield str(path.relative_to(home))


def make_good(folder: Path) -> None:
    """Fill a folder with what the commands read."""
    (folder / "net.py").write_text(NET, encoding="utf-8")
    edgeattn = Path(sys.executable).with_name("edgeattn")
    words = "export net.py:make --shape 1x3x32x32 --no-lower -o net.onnx -q"
    subprocess.run([edgeattn, *words.split()], cwd=folder, check=True)


def print_table(outcomes: Sequence[Outcome]) -> None:
    """Print what came of the kills, by command and signal."""
    print("\ncommand    signal          kills  old  new  faults")
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for one in outcomes:
        groups.setdefault((one.command, one.sent), []).append(one)
    for (command, sent), some in [*sorted(groups.items()), (("all", ""), outcomes)]:
        states = Counter(one.state for one in some)
        faults = sum(bool(one.faults) for one in some)
        counts = f"{len(some):6} {states['old']:4} {states['new']:4} {faults:7}"
        print(f"{command:10} {sent:14} {counts}")


if __name__ == "__main__":
    sys.exit(main())
