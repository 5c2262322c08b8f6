"""What runs models by a host's Python, ONNX Runtime or OpenVINO: its runner, models, outputs."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from pydantic import BaseModel, NonNegativeInt, PositiveFloat, PositiveInt

from edgeattn.base import documents, files
from edgeattn.base.errors import InputError, MissingError
from edgeattn.base.worker import DeathError, Said, SlowError, Talk, last_line
from edgeattn.graph.reading import as_read
from edgeattn.hosts import parcels
from edgeattn.hosts.probe import PythonRuntime
from edgeattn.records.trace import Runtime
from edgeattn.runtimes import runner
from edgeattn.runtimes.arrays import read_npy
from edgeattn.runtimes.onnxruntime import limit_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from edgeattn.hosts.connection import Room
    from edgeattn.hosts.probe import HostFacts, PythonFacts

T = TypeVar("T", bound=BaseModel)
_RUNNER: Final = "runner.py"
_LOG: Final = "runner.log"
# onnxruntime leaves a file among the temporary ones.
_START: Final = f'export TMPDIR="$PWD"; exec "$1" {_RUNNER} 2>{_LOG}'
_SMALL_BYTES: Final = 1 << 20
_COPIES_S: Final = 30.0
_OF_SIGNALS: Final = 128
_END_S: Final = 2.0
# What a job gets above what it is expected to take, and its factor: others may be on the device.
_GRACE_S, _SLOW = 60.0, 10.0
_OPSET: Final = re.compile(r"Opset (\d{1,9}) is under development.* is till opset (\d{1,9})\b")
_IR: Final = re.compile(
    r"Unsupported model IR version: (\d{1,9}), max supported IR version: (\d{1,9})\b"
)
_NEWEST_OPSET: Final = 40


class _About(BaseModel):
    python: str
    versions: dict[Runtime, str]
    numpy: str
    cores: int
    processor: str
    cache_kib: PositiveInt | None
    block_channels: PositiveInt
    system: str


class Copies(BaseModel):
    """How fast a host copies, and what its last cache holds; see `Machine`."""

    threads: int
    bandwidth_gbps: PositiveFloat
    cache_gbps: PositiveFloat
    cache_bytes: NonNegativeInt | None


class _Hash(BaseModel):
    sha256: str


class _Files(BaseModel):
    files: list[list[str]]


class Bench:
    """What runs models by a host's Python; it ends with the `with` block.

    Args:
        room: Our folder there.
        facts: What is there.
        runtimes: What runs them: ONNX Runtime, OpenVINO, or both.

    Raises:
        MissingError: No Python there has that, or the connection broke.
    """

    def __init__(
        self,
        room: Room,
        facts: HostFacts,
        runtimes: Sequence[PythonRuntime] = ("onnxruntime",),
    ) -> None:
        python = _python_of(facts, runtimes)
        self._room, self._host = room, str(room.host.address)
        self._sent: dict[Path, str] = {}
        self._known: dict[bytes, parcels.Part] = {}
        self._inputs: dict[str, Mapping[str, Any]] = {}
        self._names = (f"{count}" for count in itertools.count())
        room.put(Path(runner.__file__), _RUNNER)
        self._clerk = _Clerk(room, python)
        #: What is there: versions, the processor.
        self.about: Final = self._asked(_About, {"task": "about", "runtimes": runtimes})
        #: The version there of each runtime.
        self.versions: Final[dict[Runtime, str]] = {
            one: self.about.versions.get(one, "unknown") for one in runtimes
        }
        self._clerk.runtime = f"{self.versions.get('onnxruntime')} on {self._host}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._clerk.close()

    def _asked(self, kind: type[T], job: Mapping[str, Any], expected_s: float = 0.0) -> T:
        said = self._clerk.ask(job, limit_s=limit_s(expected_s))
        found: T = documents.checked(kind, said, f"{self._host} says what no runner says")
        return found

    def start(self, does: str) -> Talk:
        """Start a process there that does jobs.

        Args:
            does: What it does, as `Talk` has it.
        """
        return _Apart(self._clerk, f"{does} on {self._host}")

    def copies(self, threads: int) -> Copies:
        """Measure how fast the host copies."""
        return self._asked(Copies, {"task": "machine", "threads": threads}, _COPIES_S)

    def folder(self) -> str:
        """Return the path there of a new folder."""
        path = f"{self._room.folder}/{next(self._names)}"
        self._clerk.ask({"task": "make_folder", "path": path}, limit_s=limit_s(0))
        return path

    def send(self, path: Path) -> str:
        """Send an ONNX file, and what is beside it, unless it is there; return its path there."""
        if path not in self._sent:
            with as_read(path) as file, files.scratch() as scratch:
                self._sent[path] = self._send(file, scratch / path.name)
        return self._sent[path]

    def _send(self, path: Path, rest: Path) -> str:
        folder, weights = self.folder(), list(parcels.weights_of(path))
        named = {one: f"{folder}/{name}" for one, name in parcels.beside(path).items()}
        jobs = []
        with rest.open("wb") as sink:
            for file, there in named.items():
                parent = there.rpartition("/")[0]
                self._clerk.ask({"task": "make_folder", "path": parent}, limit_s=limit_s(0))
                known = {
                    (one.offset, one.size): self._known[one.digest]
                    for one in weights
                    if one.file == file and one.digest in self._known
                }
                size = file.stat().st_size
                if not known and size > _SMALL_BYTES:
                    self._room.put(file, self._within(there))
                    continue
                parts = parcels.split(file, known, sink, f"{folder}/rest")
                jobs.append(
                    {"task": "join", "path": there, "parts": parts, "sha256": files.sha256(file)}
                )
        if jobs:
            self._room.put(rest, self._within(f"{folder}/rest"))
        for job in jobs:
            self._clerk.ask(job, limit_s=limit_s(path.stat().st_size / 1e7))
        for one in weights:
            self._known.setdefault(one.digest, (named[one.file], one.offset, one.size))
        return named[path]

    def _within(self, there: str) -> str:
        return there.removeprefix(f"{self._room.folder}/")

    def inputs(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return inputs as a runner there is to have them.

        They are drawn there, and are those that are drawn here; where numpy there draws others,
        they are sent.
        """
        key = json.dumps(asked)
        if key not in self._inputs:
            drawn = runner.feeds(dict(asked))
            there = self._asked(_Hash, {"task": "draws", "inputs": asked})
            is_same = there.sha256 == runner.digest(list(drawn.values()))
            self._inputs[key] = asked if is_same else self.given(drawn)
        return self._inputs[key]

    def given(self, arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
        """Send inputs, by name; return them as a runner there takes them."""
        import numpy as np

        folder = self.folder()
        with files.scratch() as scratch:
            given = {}
            for place, (key, array) in enumerate(arrays.items()):
                path = scratch / f"{place}.npy"
                np.save(path, array, allow_pickle=False)
                given[key] = self._room.put(path, self._within(f"{folder}/{place}.npy"))
        return {"files": given}

    def send_images(self, images: npt.NDArray[np.uint8]) -> str:
        """Send images for a runner there to rank, which removes them; return their path there."""
        import numpy as np

        with files.scratch() as scratch:
            path = scratch / "images.npy"
            np.save(path, images, allow_pickle=False)
            return self._room.put(path, path.name)

    def outputs(
        self,
        path: Path,
        inputs: Sequence[Mapping[str, npt.NDArray[Any]]],
        *,
        runtime: PythonRuntime = "onnxruntime",
        optimise: bool = True,
        device: str | None = None,
    ) -> list[list[npt.NDArray[np.generic]]]:
        """Run a model there.

        Args:
            path: The ONNX file.
            inputs: Of each run, the inputs by name.
            runtime: What runs it.
            optimise: Whether ONNX Runtime optimises the graph.
            device: OpenVINO's device; None for the CPU.

        Returns:
            Of each run, the outputs in the model's order.

        Raises:
            InputError: The runtime there does not load the model, or fails while it runs.
        """
        given = [self.given(one) for one in inputs]
        folder = self.folder()
        job = {
            "task": "outputs",
            "model": {
                "path": self.send(path),
                "name": str(path),
                "inputs": given[0],
                "limit_s": limit_of(path),
                "runtime": runtime,
                "device": device or "CPU",
            },
            "inputs": given,
            "folder": folder,
            "optimise": optimise,
        }
        with self.start("ran the model") as talk:
            said = talk.ask(job, limit_s=limit_s(60.0 * len(given)))
        told = documents.checked(_Files, said, f"{self._host} says what no runner says").files
        found = []
        with files.scratch() as scratch:
            for run, names in enumerate(told):
                paths = [
                    self._room.get(
                        self._within(f"{folder}/{Path(name).name}"), scratch / f"{run}-{place}.npy"
                    )
                    for place, name in enumerate(names)
                ]
                found.append([read_npy(one).copy() for one in paths])
        return found


def limit_s(expected_s: float) -> float:
    """Return the seconds that a job gets on a host."""
    return _GRACE_S + _SLOW * expected_s


class _Clerk(Talk):
    """A runner on a host, which does small jobs itself, and starts processes for others.

    Args:
        room: Our folder there, with the runner in it.
        python: What runs it.
    """

    def __init__(self, room: Room, python: PythonFacts) -> None:
        channel = room.talk(_START, python.path)
        super().__init__(channel, does=f"measured on {room.host.address}")
        self._room = room
        #: ONNX Runtime there, for errors.
        self.runtime = ""

    def ask(
        self,
        job: Mapping[str, Any],
        on_progress: Callable[[Said], None] = lambda _: None,
        *,
        limit_s: float | None = None,
    ) -> dict[str, Any]:
        """Have it do a job; see `Talk.ask`."""
        try:
            return super().ask(job, on_progress, limit_s=limit_s)
        except (DeathError, SlowError):
            raise
        except InputError as error:
            raise _too_new(error, self.runtime) from error

    def close(self) -> None:
        """End it: by itself, if it is waiting for a job."""
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            assert self.process.stdin is not None
            self.process.stdin.close()
            self.process.wait(_END_S)
        super().close()

    def _death(self) -> DeathError:
        code = self.process.wait()
        said = last_line(self._room.read(_LOG).decode(errors="replace"))  # or the line is cut
        by = ""
        if code > _OF_SIGNALS:
            with contextlib.suppress(ValueError):
                by = signal.Signals(code - _OF_SIGNALS).name
        why = f"was ended by {by}" if by else f"failed: {said or f'exit code {code}'}"
        mend = "Is there memory enough?" if by == "SIGKILL" else ""
        return DeathError(f"The process that {self._does} {why}.", mend=mend, by=by)


class _Apart(Talk):
    """A process that a clerk starts for jobs of one kind; it ends with the `with` block."""

    def __init__(self, clerk: _Clerk, does: str) -> None:
        super().__init__(clerk.process, does=does)
        self._clerk, self._is_on = clerk, False

    def ask(
        self,
        job: Mapping[str, Any],
        on_progress: Callable[[Said], None] = lambda _: None,
        *,
        limit_s: float | None = None,
    ) -> dict[str, Any]:
        """Have it do a job; see `Talk.ask`."""
        self._is_on = True
        return self._clerk.ask({**job, "apart": self._does}, on_progress, limit_s=limit_s)

    def finish(self) -> None:
        """End it."""
        if self._is_on:
            self._is_on = False
            self._clerk.ask({"task": "end", "apart": self._does}, limit_s=limit_s(0))

    def close(self) -> None:
        """End it; with its clerk, if it failed."""
        if self._is_on:
            self._clerk.close()


def _python_of(facts: HostFacts, runtimes: Sequence[PythonRuntime]) -> PythonFacts:
    """Return the Python that runs models.

    Raises:
        MissingError: There is none: what was found, and what helps.
    """
    python = facts.python(*runtimes)
    if python is not None:
        return python
    found = [
        f"{one.path} ({': '.join(filter(None, (one.version, *map(one.fault_of, runtimes))))})"
        for one in facts.pythons
    ]
    first = facts.pythons[0].path if facts.pythons else "python3"
    raise MissingError(
        f"No Python on {facts.address} has {', '.join(runtimes)} and numpy:"
        f" {'; '.join(found) or 'there is none'}.",
        mend=f"Install it there, in a Python of yours: {first} -m pip install --user"
        f" {' '.join(runtimes)}."
        " Nothing is installed for you.",
    )


def _too_new(error: InputError, runtime: str) -> InputError:
    """Return an error that says what to do, where a model is too new for ONNX Runtime there."""
    name = error.fact.removeprefix("ONNX Runtime cannot load ").partition(": ")[0]
    if found := _OPSET.search(error.fact):
        asked, most = map(int, found.groups())
        what, last = f"opset {asked}", most
    elif found := _IR.search(error.fact):
        asked, most = map(int, found.groups())
        what, last = f"IR version {asked}", _opset_of_ir(most)
    else:
        return error
    return InputError(
        f"{name} has {what}, and ONNX Runtime {runtime} takes {what.rpartition(' ')[0]} {most} at"
        " most.",
        mend=f"Write it with an opset that it takes: edgeattn optimize {name} --opset {last}"
        f" --target onnxruntime -o {Path(name).stem}-{last}.onnx; or install a newer onnxruntime"
        " there.",
    )


def _opset_of_ir(version: int) -> int:
    """Return the highest opset whose files have an IR version of at most this."""
    from onnx import helper

    fits = (
        opset
        for opset in range(_NEWEST_OPSET, 0, -1)
        if helper.find_min_ir_version_for([helper.make_opsetid("", opset)], ignore_unknown=True)
        <= version
        and ("ai.onnx", opset) in helper.OP_SET_ID_VERSION_MAP
    )
    return next(fits, 1)
