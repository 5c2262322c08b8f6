"""Loads classifiers where they are to run: here or on a host, in a runtime or as an engine."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from pydantic import BaseModel

from edgeattn.base import documents, files
from edgeattn.base.errors import InputError
from edgeattn.base.worker import Talk, Worker
from edgeattn.engine.libraries import TITLES
from edgeattn.engine.libraries import check_runtime as check_library
from edgeattn.engine.log import Log
from edgeattn.engine.parity import source_of
from edgeattn.engine.runtime import open_engine
from edgeattn.graph.reading import as_read, read
from edgeattn.hosts.engines import Engines, check_engine
from edgeattn.hosts.onnxruntime import Bench, limit_s
from edgeattn.hosts.probe import PYTHON_RUNTIMES, PythonRuntime
from edgeattn.hosts.trtexec.commands import Trtexec
from edgeattn.hosts.visit import Guest, Visit, guests
from edgeattn.options.evaluate import EvaluateOptions
from edgeattn.options.hosts import only
from edgeattn.precision.accuracy import (
    Array,
    Batches,
    Classifier,
    Images,
    Ints,
    Ranks,
    Subject,
    classes_of,
    in_onnxruntime,
)
from edgeattn.records.trace import RUNTIMES
from edgeattn.runtimes import openvino, runner
from edgeattn.runtimes.onnxruntime import limit_of

ENGINE: Final = ".engine"
# So much goes to another process at once, and so many images at most.
_SENT_BYTES, _MOST_SENT = 10_000_000, 256
# What a run of a batch may take on a small board.
_RUN_S: Final = 60.0

OnStage = Callable[[str], None]


class Loader(Protocol):
    """Loads classifiers, which end with it.

    Attributes:
        notes: What a user should know of how they run.
    """

    notes: tuple[str, ...]

    def load(self, path: Path, subject: Subject) -> Classifier:
        """Load one."""


def check_runtime(paths: Sequence[Path], options: EvaluateOptions) -> None:
    """Refuse what cannot be asked together.

    Raises:
        InputError: Says what.
    """
    onnx = [path for path in paths if path.suffix != ENGINE]
    runtime = options.runtime
    if runtime not in (None, *PYTHON_RUNTIMES):
        raise InputError(
            f"--runtime {runtime} runs no ONNX file itself.",
            mend="Build an engine and evaluate that: edgeattn build MODEL.onnx",
        )
    if runtime is not None and not onnx:
        raise InputError("Engines are run by their own library.", mend="Leave --runtime out.")
    if options.openvino_device is not None and runtime != "openvino":
        raise InputError(
            "--openvino-device is given, and not --runtime openvino.",
            mend="Add --runtime openvino.",
        )


@contextlib.contextmanager
def loading(paths: Sequence[Path], options: EvaluateOptions, on_stage: OnStage) -> Iterator[Loader]:
    """Return what loads models where the options say.

    Args:
        paths: The models.
        options: Where, and by what.
        on_stage: Called with what is done.

    Raises:
        MissingError: The host cannot be reached, or has not what is to run them.
    """
    with contextlib.ExitStack() as stack:
        if not options.on:
            yield _Here(stack, options)
            return
        (guest,) = stack.enter_context(guests([only(options.on)], on_stage))
        runtime = _runtime_there(guest, options.runtime) if _has_onnx(paths) else None
        trtexec = Trtexec.of(guest.facts) if len(paths) > _has_onnx(paths) else None
        yield _There(stack, stack.enter_context(guest.visit()), options, runtime, trtexec)


def _has_onnx(paths: Sequence[Path]) -> int:
    return sum(path.suffix != ENGINE for path in paths)


def _runtime_there(guest: Guest, asked: str | None) -> PythonRuntime:
    """Return what runs ONNX files on a host.

    Raises:
        MissingError: It is not there.
    """
    for runtime in PYTHON_RUNTIMES:
        if asked in (None, runtime) and guest.facts.python(runtime):
            return runtime
    guest.runtime(asked or PYTHON_RUNTIMES[0])  # says what is missing
    raise AssertionError


class _Here:
    """Loads models on this machine."""

    def __init__(self, stack: contextlib.ExitStack, options: EvaluateOptions) -> None:
        self.notes: tuple[str, ...] = ()
        self._stack, self._runtime = stack, options.runtime
        self._device = options.openvino_device or openvino.CPU

    def load(self, path: Path, subject: Subject) -> Classifier:
        """Load one; see `Loader`."""
        enter = self._stack.enter_context
        if path.suffix == ENGINE:
            engine = enter(open_engine(path))
            run = functools.partial(_run, engine.run, subject, threading.Lock())
            by = engine.manifest
            title = f"{TITLES[check_library(by.runtime)]} {by.runtime_version}"
            return Batches(subject, run, title)
        if self._runtime != "openvino":
            return enter(in_onnxruntime(path, subject, as_is=self._runtime is not None))
        openvino.check_installed()
        folder = enter(files.scratch())
        talk = enter(Worker(runner.__name__, does=f"ran {path} in OpenVINO"))

        def send(images: Images) -> str:
            place = folder / "images.npy"
            np.save(place, images)
            return str(place)

        return _ByRunner(
            subject,
            talk,
            send,
            _model(path, str(enter(as_read(path))), "openvino", self._device),
            f"OpenVINO {openvino.version()} on {self._device}",
        )


class _There:
    """Loads models on a host."""

    def __init__(
        self,
        stack: contextlib.ExitStack,
        visit: Visit,
        options: EvaluateOptions,
        runtime: PythonRuntime | None,
        trtexec: Trtexec | None,
    ) -> None:
        self.notes: tuple[str, ...] = visit.room.notes
        self._stack, self._visit, self._device = stack, visit, options.openvino_device
        self._runtime, self._trtexec = runtime, trtexec
        self._bench = None
        if runtime is not None:
            self._bench = stack.enter_context(Bench(visit.room, visit.facts, [runtime]))
        # One thing at a time: all goes through one connection.
        self._lock = threading.Lock()
        self._count = 0

    def load(self, path: Path, subject: Subject) -> Classifier:
        """Load one; see `Loader`."""
        address = self._visit.facts.address
        if path.suffix == ENGINE:
            return self._engine(path, subject)
        assert self._bench is not None
        assert self._runtime is not None
        bench, runtime = self._bench, self._runtime
        title = f"{RUNTIMES[runtime]} {bench.versions[runtime]} on {address}"
        return _ByRunner(
            subject,
            self._stack.enter_context(bench.start(f"ran {path}")),
            bench.send_images,
            _model(path, bench.send(path), runtime, self._device or openvino.CPU),
            title,
            lock=self._lock,
        )

    def _engine(self, path: Path, subject: Subject) -> Classifier:
        assert self._trtexec is not None
        facts, trtexec = self._visit.facts, self._trtexec
        manifest = check_engine(path, facts, trtexec)
        source = read(source_of(path, manifest))
        self._count += 1
        name = f"{self._count}.engine"
        self._visit.room.put(path, name)
        core: Any = manifest.options.get("dla_core")
        engines = Engines(room=self._visit.room, trtexec=trtexec, dla_core=core)
        note = (
            f"trtexec on {facts.address} is started anew, and loads the engine, for every"
            f" {subject.batch} images."
        )
        self.notes = tuple(dict.fromkeys((*self.notes, note)))

        def once(feeds: dict[str, Array]) -> dict[str, Array]:
            return engines.run(name, source, feeds, log=Log())

        run = functools.partial(_run, once, subject, self._lock)
        return Batches(subject, run, f"{trtexec.title} on {facts.address}")


def _run(
    once: Callable[[dict[str, Array]], dict[str, Array]],
    subject: Subject,
    lock: threading.Lock,
    array: Array,
) -> Array:
    """Run an engine, one batch at a time."""
    with lock:
        return once({subject.input_name: array})[subject.output_name]


def _model(path: Path, file: str, runtime: str, device: str) -> dict[str, Any]:
    """Return a model as `runner.opened` takes it, but for its inputs."""
    return {
        "path": file,
        "name": str(path),
        "limit_s": limit_of(path),
        "runtime": runtime,
        "device": device,
    }


class _Ranked(BaseModel):
    ranks: list[tuple[int, int]]
    shape: list[int]


class _ByRunner:
    """A classifier that a runner has loaded, in a process of its own; see `Classifier`.

    Args:
        subject: What is known of it.
        talk: The runner.
        send: Puts images where it reads them, and returns where.
        model: The model, as it loads it.
        runtime: What runs it, in words.
        lock: What it must have to talk.
    """

    def __init__(
        self,
        subject: Subject,
        talk: Talk,
        send: Callable[[Images], str],
        model: dict[str, Any],
        runtime: str,
        *,
        lock: threading.Lock | None = None,
    ) -> None:
        self.subject, self.runtime = subject, runtime
        image_bytes = subject.zeros()[0].size
        images = min(max(_SENT_BYTES // image_bytes, 1), _MOST_SENT)
        self.chunk = -(-images // subject.batch) * subject.batch
        self._talk, self._send, self._model = talk, send, model
        self._lock = lock or threading.Lock()
        self.classes = classes_of(subject, self._ask(subject.zeros(), ()).shape)

    def rank(self, images: Images, labels: Ints) -> Ranks:
        """Run it on images; see `Classifier`."""
        found = self._ask(images, labels.tolist()).ranks
        if len(found) != len(images) or not all(
            max(pair) < self.classes and min(pair) >= -1 for pair in found
        ):
            raise InputError(f"What ran {self.subject.name} says what no runner says.")
        return found

    def _ask(self, images: Images, labels: Sequence[int]) -> _Ranked:
        subject = self.subject
        with self._lock:
            job = {
                "task": "rank",
                "model": self._model,
                "images": self._send(images),
                "labels": labels,
                "name": subject.input_name,
                "output": subject.output,
                "batch": subject.batch,
                "numbers": subject.view.numbers(),
            }
            runs = 1 + len(images) / subject.batch
            try:
                said = self._talk.ask(job, limit_s=limit_s(_RUN_S * runs))
            except InputError as error:
                raise openvino.explained(error, Path(self._model["name"])) from error
        found: _Ranked = documents.checked(
            _Ranked, said, f"What ran {subject.name} says what no runner says"
        )
        return found
