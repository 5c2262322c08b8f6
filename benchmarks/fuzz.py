"""Whether broken input does harm: files are broken at random, and commands read them.

    python benchmarks/fuzz.py [--cases 10000] [--first 0] [--seed 0] [--jobs 2]
        [--kinds onnx,trace] [--keep DIR]
    python benchmarks/fuzz.py --again 1234 [--seed 0]        one case, with what it prints

Each case takes a good file (ONNX, a manifest, a trace, trtexec's JSON, a device's TOML, weights,
photos, arrays), breaks it in a place or a few, and runs a command that reads it in a process of
its own, which may take 60 s and 4 GB. Some break bytes; the most break fields, so that what is
broken is still read. A case is a fault where the command

- ends with 70, by a signal, or with a number that is no exit code;
- prints a traceback;
- takes longer, or more memory;
- leaves an output that is neither the old one nor a whole new one, or a file beside it;
- runs what a pickle holds.

Prints each fault, by the number that --again takes, and a table of what came of each kind; --keep
copies the files of faults there. Ends with 1 where there is one.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import pickle
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

LONGEST_S: Final = 60
LARGEST_BYTES: Final = 4 << 30
OLD: Final = b"old\n"
ENDS: Final = frozenset({0, 1, 2, 3})
REFUSED: Final = frozenset({2, 3})
# What breaks readers: limits of integers, sizes that no memory holds, text that steers terminals.
NUMBERS: Final = (0, -1, 1, 2**31 - 1, -(2**31), 2**31, 2**40, 2**63 - 1, -(2**63))
KINDS: Final = ("onnx", "manifest", "trace", "trtexec", "device", "weights", "samples")
WORDS: Final = ("", "x", "\x1b[2J", "\x00", "a" * 100_000, "../../x", "<b>&", "\u202e", "é", "-1")
VALUES: Final = (*NUMBERS, *WORDS, None, True, [], {}, [[]], 1e308, 0.5, float("nan"), 10**400)
OPERATORS: Final = ("Relu", "Add", "MatMul", "Softmax", "Reshape", "Transpose", "Concat", "Cast")
DEEP: Final = 20_000
PLACES: Final = (1, 1, 1, 2, 4)

NET: Final = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.squeeze = nn.Conv2d(8, 2, 1)
        self.excite = nn.Conv2d(2, 8, 1)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = torch.relu(self.norm(self.stem(x)))
        gate = self.excite(torch.relu(self.squeeze(x.mean((2, 3), keepdim=True))))
        return self.head((x * torch.sigmoid(gate)).mean((2, 3)))

def make():
    return Net()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A command, and the file of its folder that is broken before.

    Attributes:
        kind: The kind of file.
        broken: The file's name.
        words: The command; what it writes is called `new.…`.
        breaks: Breaks a file, in the form that it has.
    """

    kind: str
    broken: str
    words: tuple[str, ...]
    breaks: Callable[[random.Random, Path], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a case: its exit code, and what was wrong with that."""

    kind: str
    number: int
    code: int
    seconds: float
    fault: str


def main() -> int:
    """Break files, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--kinds", default="")
    parser.add_argument("--again", type=int)
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edgeattn-fuzz-") as folder:
        good = Path(folder) / "good"
        good.mkdir()
        make_good(good)
        kinds = asked.kinds.split(",") if asked.kinds else KINDS
        cases = [case for case in cases_of() if case.kind in kinds]
        numbers = (
            range(asked.first, asked.first + asked.cases) if asked.again is None else [asked.again]
        )
        _load_libraries()

        def run(number: int) -> Outcome:
            return one(cases, number, asked.seed, good, Path(folder), asked.keep, asked.again)

        outcomes = []
        with ThreadPoolExecutor(asked.jobs) as pool:
            for outcome in pool.map(run, numbers):
                outcomes.append(outcome)
                if outcome.fault:
                    print(f"{outcome.number} {outcome.kind}: {outcome.fault}", flush=True)
    print_table(outcomes)
    return int(any(outcome.fault for outcome in outcomes))


def one(
    cases: Sequence[Case],
    number: int,
    seed: int,
    good: Path,
    folder: Path,
    keep: Path | None,
    again: int | None,
) -> Outcome:
    """Run one case in a folder of its own."""
    chance = random.Random(f"{seed} {number}")
    case = cases[chance.randrange(len(cases))]
    home = folder / str(number)
    shutil.copytree(good, home)
    for name in ("new.onnx", "new.json", "new.html", "new.engine"):
        (home / name).write_bytes(OLD)
    case.breaks(chance, home / case.broken)
    before = {path.name for path in home.iterdir()}
    if again is not None:
        print(" ".join(["edgeattn", *case.words]))
    code, seconds, told = _run(case.words, home)
    fault = _fault(code, seconds, told, home, before)
    if again is not None:
        print(told)
    if fault and keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        shutil.copytree(home, keep / str(number), dirs_exist_ok=True)
    shutil.rmtree(home)
    return Outcome(kind=case.kind, number=number, code=code, seconds=seconds, fault=fault)


def _load_libraries() -> None:
    """Load what takes seconds before the first fork; none of them starts a thread for that."""
    for name in (
        "matplotlib",
        "onnxruntime",
        "PIL.Image",
        "rich.progress",
        "torch",
        "edgeattn.cli.commands",
        "edgeattn.workflows.build",
        "edgeattn.workflows.cast",
        "edgeattn.workflows.optimize",
        "edgeattn.workflows.profile",
    ):
        importlib.import_module(name)


def _run(words: Sequence[str], home: Path) -> tuple[int, float, str]:
    """Run a command in a fork of this process; return its exit code, its time, and its stderr."""
    log = home.with_suffix(".log")
    begin = time.perf_counter()
    child = os.fork()  # what multiprocessing starts, threads of one process may not wait for
    if not child:
        _child(words, home, log)
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if time.perf_counter() - begin > LONGEST_S:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.01)
    seconds = time.perf_counter() - begin
    told = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    log.unlink(missing_ok=True)
    return os.waitstatus_to_exitcode(ended[1]), seconds, told


def _child(words: Sequence[str], home: Path, log: Path) -> NoReturn:
    """Be the process of a command: stdout and stderr go to `log`, memory is limited."""
    os.setpgrp()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number in (1, 2):
        os.dup2(descriptor, number)
    os.chdir(home)
    os.environ["TMPDIR"] = str(home.parent)
    tempfile.tempdir = None
    run = importlib.import_module("edgeattn.cli.app").run
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", errors="replace", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="replace", closefd=False)
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        code = run(words)
    except BaseException:  # noqa: BLE001  # that it gets here is a fault
        traceback.print_exc()
        code = 70
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        peak = resource.getrusage(who).ru_maxrss
        if peak * 1024 > LARGEST_BYTES and peak > own:
            sys.stderr.write(f"PEAK {peak} kB\n")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _fault(code: int, seconds: float, told: str, home: Path, before: set[str]) -> str:
    """Return what is wrong with how a command ended; "" if nothing is."""
    lines = [line[:200] for line in told.splitlines() if line.strip()]
    fact = next((line for line in lines if "A fault of edgeattn" in line), "".join(lines[-1:]))
    now = {path.name: path for path in home.iterdir()}
    strange = [name for name in now.keys() - before if not name.startswith("new.")]
    ours = {name: path for name, path in now.items() if name.startswith("new.")}
    damaged = [name for name, path in ours.items() if not _is_whole(path)]
    replaced = [name for name in before & ours.keys() if ours[name].read_bytes() != OLD]
    found = {
        f"over {LONGEST_S} s": seconds >= LONGEST_S,
        f"exit {code}: {fact}": code not in ENDS,
        f"a traceback: {fact}": "Traceback (most recent call last)" in told,
        f"over {LARGEST_BYTES >> 30} GiB: {fact}": "PEAK " in told,
        f"control characters reach the terminal: {fact!r}": "\x1b" in told,
        "a pickle was run": "canary" in now,
        f"left behind: {strange}": bool(strange),
        f"half-written: {damaged}": bool(damaged),
        f"exit {code}, and replaced: {replaced}": code in REFUSED and bool(replaced),
    }
    return next((fault for fault, is_so in found.items() if is_so), "")


def _is_whole(path: Path) -> bool:
    """Return whether a file is the old one, or a new one that can be read."""
    import onnx

    content = path.read_bytes()
    if content == OLD:
        return True
    with contextlib.suppress(Exception):
        if path.suffix == ".json":
            json.loads(content)
        elif path.suffix == ".onnx":
            onnx.load_from_string(content)
        elif path.suffix == ".html":
            return content.rstrip().endswith(b"</html>")
        return bool(content)
    return False


def print_table(outcomes: Sequence[Outcome]) -> None:
    """Print how many cases of each kind ended how."""
    codes = sorted({outcome.code for outcome in outcomes})
    print("\nkind".ljust(14), "cases", "faults", "slowest", *(f"rc {c}".rjust(7) for c in codes))
    for kind in [*sorted({outcome.kind for outcome in outcomes}), ""]:
        some = [outcome for outcome in outcomes if not kind or outcome.kind == kind]
        counts = Counter(outcome.code for outcome in some)
        print(
            (kind or "all").ljust(13),
            str(len(some)).rjust(5),
            str(sum(bool(outcome.fault) for outcome in some)).rjust(6),
            f"{max(outcome.seconds for outcome in some):5.1f} s",
            *(str(counts[code]).rjust(7) for code in codes),
        )


# What is good, and is broken


def make_good(folder: Path) -> None:
    """Fill a folder with good files of every kind."""
    (folder / "net.py").write_text(NET, encoding="utf-8")
    _edgeattn(folder, "export net.py:make --shape 1x3x16x16 -o net.onnx")
    _edgeattn(folder, "cast net.onnx --precision int8 --calibration random -o q.onnx")
    _edgeattn(folder, "profile net.onnx --device jetson -o trace.json")
    _edgeattn(folder, "profile net.onnx --limit 1 -o measured.json")
    _edgeattn(
        folder,
        "report trace.json --export-profile times.json --export-layer-info layers.json",
    )
    _edgeattn(folder, "report measured.json --export-times runs.json")
    shutil.copy(_profile_of_a_device(), folder / "device.toml")
    _make_graphs(folder)
    _make_weights(folder)
    _make_samples(folder)


def _edgeattn(folder: Path, words: str) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("edgeattn"), *words.split()],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"edgeattn {words}\n{done.stderr}")


def _profile_of_a_device() -> Path:
    import edgeattn.profiles

    return Path(next(iter(edgeattn.profiles.__path__))) / "jetson-orin-nano-8gb.toml"


def _make_graphs(folder: Path) -> None:
    """Write a graph with what an exporter seldom writes: If, sequences, a function, odd types."""
    import onnx

    text = """
    <ir_version: 8, opset_import: ["" : 17, "own" : 1]>
    odd (float[N, 3, 8, 8] x) => (float[N, K] y, int64[M] chosen)
    <int64[2] shape = {0, -1}, float zero = {0}>
    {
        conv = Conv <pads = [1, 1, 1, 1]> (x, w)
        kept = own.Swish (conv)
        sum = ReduceSum <keepdims = 0> (kept)
        flag = Greater (sum, zero)
        branch = If (flag) <
            then_branch = yes () => (float[N, 4, 8, 8] a) { a = Relu (kept) },
            else_branch = no () => (float[N, 4, 8, 8] b) { b = Neg (kept) }
        >
        parts = SplitToSequence <axis = 1> (branch)
        whole = ConcatFromSequence <axis = 1> (parts)
        y = Reshape (whole, shape)
        flat = Constant <value_ints = [-1]> ()
        line = Reshape (whole, flat)
        k = Constant <value_ints = [2]> ()
        best, chosen = TopK (line, k)
    }
    <domain: "own", opset_import: ["" : 17]>
    Swish (x) => (y) { s = Sigmoid (x) y = Mul (x, s) }
    """
    import numpy as np

    model = onnx.parser.parse_model(text)
    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    onnx.save(model, folder / "odd.onnx")
    onnx.save(
        model,
        folder / "outside.onnx",
        save_as_external_data=True,
        location="outside.data",
        size_threshold=0,
    )


class Canary:
    """Leaves a file where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch canary",)


def _make_weights(folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    space: dict[str, Any] = {}
    exec(NET, space)  # the text above
    torch.manual_seed(0)
    state = space["make"]().state_dict()
    torch.save(state, folder / "w.pth")
    torch.save({"epoch": 3, "model": state, "ema": {"module": state}}, folder / "nested.pth")
    torch.save(state, folder / "old.pth", _use_new_zipfile_serialization=False)
    save_file(state, folder / "w.safetensors")
    torch.save({"state_dict": state, "hook": Canary()}, folder / "code.pth")
    (folder / "code.pkl").write_bytes(pickle.dumps({"state_dict": Canary()}))


def _make_samples(folder: Path) -> None:
    import numpy as np
    from PIL import Image

    chance = np.random.default_rng(0)
    (folder / "photos").mkdir()
    for name in ("a.png", "b.jpg"):
        pixels = chance.integers(0, 255, (24, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / name)
    samples = chance.normal(size=(2, 3, 16, 16)).astype(np.float32)
    np.save(folder / "samples.npy", samples[:1])
    np.savez(folder / "samples.npz", input=samples)
    (folder / "val.csv").write_text("file,label\nphotos/a.png,b\nphotos/b.jpg,d\n")
    (folder / "classes.txt").write_text("a\nb\nc\nd\n")


def cases_of() -> list[Case]:
    """Return every command with every file that it reads."""
    names = {
        "onnx": ("net.onnx", "q.onnx", "odd.onnx", "outside.onnx"),
        "weights": ("w.pth", "nested.pth", "old.pth", "w.safetensors", "code.pth", "code.pkl"),
        "arrays": ("samples.npy", "samples.npz"),
        "photos": ("photos/a.png", "photos/b.jpg"),
        "lists": ("val.csv", "classes.txt"),
    }
    shape = "--shape 1x3x16x16"
    commands = [
        *(("onnx", n, f"optimize {n} -o new.onnx") for n in names["onnx"]),
        *(("onnx", n, f"optimize {n} -o new.onnx --target onnxruntime") for n in names["onnx"]),
        *(("onnx", n, f"optimize {n} -o new.onnx --opset 13 --no-simplify") for n in names["onnx"]),
        *(("onnx", n, f"cast {n} --precision fp16 -o new.onnx") for n in names["onnx"]),
        *(
            ("onnx", n, f"cast {n} --precision int8 --calibration random -o new.onnx")
            for n in names["onnx"]
        ),
        *(
            ("onnx", n, f"profile {n} --predict --device generic-x86 -o new.json")
            for n in names["onnx"]
        ),
        *(("onnx", n, f"profile {n} --limit 1 -o new.json") for n in names["onnx"]),
        *(("onnx", n, f"profile {n} --device jetson -o new.json") for n in names["onnx"]),
        *(("onnx", n, f"build {n} --compute-capability 8.6 -o new.engine") for n in names["onnx"]),
        *(("onnx", n, f"parity {n} net.onnx") for n in names["onnx"]),
        *(("onnx", n, f"parity {n} --runtime openvino") for n in names["onnx"]),
        ("manifest", "net.json", "profile net.onnx --predict --device generic-x86 -o new.json"),
        ("manifest", "net.json", "optimize net.onnx -o new.onnx"),
        ("manifest", "net.json", "parity net.onnx --reference net.py:make"),
        *(
            ("trace", name, words)
            for name in ("trace.json", "measured.json")
            for words in (
                f"report {name} --report new.html -o new.json",
                f"report {name} --trace new.json --figure new.svg",
                f"report {name}",
            )
        ),
        ("trtexec", "layers.json", "inspect layers.json"),
        ("trtexec", "layers.json", "inspect layers.json --json"),
        *(
            (
                "trtexec",
                name,
                "profile --layers layers.json --profile times.json --times runs.json -o new.json",
            )
            for name in ("layers.json", "times.json", "runs.json")
        ),
        ("device", "device.toml", "devices show ./device.toml"),
        ("device", "device.toml", "profile net.onnx --device ./device.toml --predict -o new.json"),
        *(
            ("weights", name, f"export net.py:make {shape} --weights {name} -o new.onnx")
            for name in names["weights"]
        ),
        *(
            ("samples", name, f"cast net.onnx --precision int8 --calibration {where} -o new.onnx")
            for name, where in (
                *((n, n) for n in names["arrays"]),
                *((n, "photos") for n in names["photos"]),
            )
        ),
        *(
            ("samples", name, f"parity net.onnx q.onnx --input {name}")
            for name in (*names["arrays"], *names["photos"])
        ),
        *(("onnx", n, f"evaluate {n} --data val.csv --classes classes.txt") for n in names["onnx"]),
        *(
            ("samples", name, f"evaluate net.onnx --data val.csv --classes classes.txt{more}")
            for name in (*names["lists"], *names["photos"])
            for more in ("", " --skip-broken")
        ),
    ]
    forms = {".onnx": break_onnx, ".json": break_json}
    return [
        Case(
            kind=kind,
            broken=name,
            words=tuple(words.split()),
            breaks=forms.get(Path(name).suffix, break_bytes),
        )
        for kind, name, words in commands
    ]


# How files are broken


def break_bytes(chance: random.Random, path: Path) -> None:
    """Break bytes: flip, cut, repeat, put others in."""
    content = bytearray(path.read_bytes())
    for _ in range(chance.choice(PLACES)):
        at = chance.randrange(len(content) + 1)
        match chance.randrange(6):
            case 0:
                content[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del content[at : at + chance.choice((1, 4, 64))]
            case 2:
                content[at:at] = content[at : at + chance.choice((4, 64, 1024))]
            case 3:
                content[at : at + 8] = chance.choice(NUMBERS).to_bytes(8, "little", signed=True)
            case 4:
                content[at:at] = chance.choice(WORDS).encode()
            case _:
                del content[max(at, 1) :]
    path.write_bytes(content)


def break_json(chance: random.Random, path: Path) -> None:
    """Break values of a document; sometimes its bytes, or all of it."""
    if chance.random() < 0.2:
        break_bytes(chance, path)
        return
    document = json.loads(path.read_bytes())
    if chance.random() < 0.05:
        text = chance.choice(("[" * DEEP, '{"a":' * DEEP, "[]", "null", "1", "9" * 5000, ""))
        path.write_text(text, encoding="utf-8")
        return
    for _ in range(chance.choice(PLACES)):
        holder = document
        while True:  # walk to any place
            keys = list(holder) if isinstance(holder, dict) else range(len(holder))
            if not keys:
                break
            key = chance.choice(list(keys))
            if isinstance(holder[key], dict | list) and holder[key] and chance.random() < 0.8:
                holder = holder[key]
                continue
            match chance.randrange(4):
                case 0:
                    del holder[key]
                case 1 if isinstance(holder, list):
                    holder.extend([holder[key]] * chance.choice((1, 100)))
                case _:
                    holder[key] = chance.choice(VALUES)
            break
    sys.set_int_max_str_digits(0)
    path.write_text(json.dumps(document), encoding="utf-8")


def break_onnx(chance: random.Random, path: Path) -> None:
    """Break fields of a model's messages; sometimes its bytes."""
    import onnx

    if chance.random() < 0.15:
        break_bytes(chance, path)
        return
    model = onnx.load(path, load_external_data=False)
    names = [
        *OPERATORS,
        *(name for node in model.graph.node for name in (*node.input, *node.output)),
    ]
    for _ in range(chance.choice(PLACES)):
        message: Any = model
        while True:
            fields = message.ListFields()
            if not fields:
                break
            field, value = chance.choice(fields)
            is_repeated = hasattr(value, "append") or hasattr(value, "add")
            if field.message_type is not None:
                inside = chance.choice(list(value)) if is_repeated else value
                if chance.random() < 0.85:
                    message = inside
                    continue
                _break_messages(chance, message, field.name, value if is_repeated else None)
            else:
                _break_field(chance, message, field, value, names, is_repeated=is_repeated)
            break
    path.write_bytes(model.SerializeToString())


def _break_messages(chance: random.Random, message: Any, name: str, repeated: Any) -> None:
    """Take a message out, or put one in twice, or in another's place."""
    if repeated is None or not len(repeated):
        message.ClearField(name)
        return
    one, other = (chance.randrange(len(repeated)) for _ in range(2))
    match chance.randrange(3):
        case 0:
            del repeated[one]
        case 1:
            repeated.add().CopyFrom(repeated[one])
        case _:
            kept = type(repeated[one])()
            kept.CopyFrom(repeated[one])
            repeated[one].CopyFrom(repeated[other])
            repeated[other].CopyFrom(kept)


def _break_field(
    chance: random.Random,
    message: Any,
    field: Any,
    value: Any,
    names: Sequence[str],
    *,
    is_repeated: bool,
) -> None:
    """Put another value in the place of one: a limit, a word, a name of the model's, or nothing."""
    if chance.random() < 0.2:
        message.ClearField(field.name)
        return
    with contextlib.suppress(ValueError, TypeError):  # one that does not fit the field's type
        old = value[0] if is_repeated else value
        new: Any = chance.choice(NUMBERS)
        if isinstance(old, str):
            new = chance.choice(chance.choice((WORDS, names)))
        elif isinstance(old, bytes):
            new = old[: chance.randrange(len(old) + 1)]
        elif isinstance(old, int) and abs(new) >= 2**31 and chance.random() < 0.5:
            new = old + chance.choice((-1, 1))
        elif isinstance(old, float):
            new = chance.choice((0.0, -1.0, 1e38, float("nan"), float("inf")))
        if is_repeated:
            value[chance.randrange(len(value))] = new
        else:
            setattr(message, field.name, new)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(main())
