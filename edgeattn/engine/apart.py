"""Builds engines in a process of its own: a library that crashes takes that one along, not us.

Its C++ code does not hear of Ctrl-C either; the process is ended then.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from edgeattn.base import files
from edgeattn.base.errors import InputError
from edgeattn.base.worker import DeathError, Worker
from edgeattn.engine.build import Built
from edgeattn.engine.libraries import Capability, Library
from edgeattn.engine.log import Log
from edgeattn.engine.process import BUILT, JOB, LAYERS, REFUSALS, Job
from edgeattn.engine.refusals import Refusal, crashed
from edgeattn.options.build import EngineOptions
from edgeattn.records.layers import LayerInformation

_PROCESS: Final = "edgeattn.engine.process"
_BY_DEFAULT: Final = EngineOptions()
#: The process that waits for the next build, if there is one.
_waiting: Final[list[Worker]] = []


def start() -> None:
    """Start the process beforehand, to load what it needs while a model is read."""
    if _waiting and _waiting[0].process.poll() is not None:  # ended from outside
        _waiting.pop().close()
    if not _waiting:
        _waiting.append(Worker(_PROCESS, does="built the engine"))


def build(
    model: Path,
    library: Library,
    capability: Capability,
    options: EngineOptions = _BY_DEFAULT,
    *,
    engine: Path | None = None,
    log: Log | None = None,
    on_progress: Callable[[int, int], None] = lambda _, __: None,
    limit_s: float | None = None,
) -> Built:
    """Build an engine.

    A process that built without fault goes on to the next build, unless an engine is kept: that
    one may hold memory of a GPU.

    Args:
        model: An ONNX file, whose weights may lie in files beside it.
        library: What to build with.
        capability: The compute capability to build for; TensorRT builds for the GPU that is here.
        options: How to build.
        engine: Where the engine goes; None to throw it away.
        log: Where the library's messages go, those before a crash too.
        on_progress: Called with the number of steps that are done, and of all steps.
        limit_s: Seconds after which it is given up; None for no limit.

    Raises:
        InputError: As `build.build_engine`; or the library crashed (names the node), or it took
            longer than it may.
        MissingError: The engine is for something that is not here: a GPU, a DLA core.
    """
    if not model.is_file():
        raise InputError(f"There is no file {model}.")

    def said(what: Mapping[str, Any]) -> None:
        on_progress(what["done"], what["count"])

    with files.scratch() as folder:
        job = Job(
            task="build",
            file=files.absolute(model),
            runtime=library.runtime,
            log=folder / "log",
            capability=capability,
            options=options,
            engine=engine,
        )
        return BUILT.validate_python(_asked(job, library, log, on_progress=said, limit_s=limit_s))


def refusals(model: Path, library: Library) -> tuple[Refusal, ...]:
    """Return what a library's parser does not take of an ONNX file; nothing if it takes it all.

    Raises:
        InputError: The library crashed: names the node.
        MissingError: The library does not start here.
    """
    with files.scratch() as folder:
        job = Job(
            task="parse", file=files.absolute(model), runtime=library.runtime, log=folder / "log"
        )
        found: tuple[Refusal, ...] = REFUSALS.validate_python(_asked(job, library)["refusals"])
        return found


def read_layers(engine: Path, library: Library) -> LayerInformation:
    """Ask an engine for its layers, on its GPU.

    Raises:
        InputError: The library does not take it: quotes its message; or it crashed.
    """
    with files.scratch() as folder:
        job = Job(
            task="read", file=files.absolute(engine), runtime=library.runtime, log=folder / "log"
        )
        return LAYERS.validate_python(_asked(job, library))


def _asked(
    job: Job,
    library: Library,
    log: Log | None = None,
    *,
    on_progress: Callable[[Mapping[str, Any]], None] = lambda _: None,
    limit_s: float | None = None,
) -> dict[str, Any]:
    is_reusable = job.task == "build" and job.engine is None
    start()
    worker = _waiting.pop()
    try:
        found = worker.ask(JOB.dump_python(job, mode="json"), on_progress, limit_s=limit_s)
    except BaseException as error:
        worker.close()
        log = log or Log()
        log.read(job.log)
        if isinstance(error, DeathError):
            raise crashed(library, log, error, is_build=job.task != "read") from error
        raise
    if log is not None:
        log.read(job.log)
    if is_reusable:
        _waiting.append(worker)
    else:
        worker.close()
    return found


@atexit.register
def _end() -> None:
    while _waiting:
        _waiting.pop().close()
