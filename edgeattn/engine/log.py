"""What a library calls back: its log, the progress of a build, the times of layers."""

from __future__ import annotations

import contextlib
import gc
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final, TextIO

# As trtexec marks them.
_LETTERS: Final = {"INTERNAL_ERROR": "F", "ERROR": "E", "WARNING": "W", "INFO": "I", "VERBOSE": "V"}


@dataclass(slots=True)
class Log:
    """The messages of a library, in order: severity and text.

    A build logs ten thousand messages and waits for each call, so a severity is kept as the library
    gives it, and read only when it is needed.

    Attributes:
        messages: The messages.
        stream: Where each is written too, so that a crash does not take it along.
    """

    messages: list[tuple[Any, str]] = field(default_factory=list)
    stream: TextIO | None = None

    def add(self, severity: Any, text: str) -> None:
        """Take a message; write it to the stream, if there is one, before anything else is done."""
        self.messages.append((severity, text))
        if self.stream is not None:
            self.stream.write(f"{json.dumps([_name(severity), text])}\n")

    def read(self, path: Path) -> None:
        """Take the messages of a stream in the place of those that are here."""
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self.messages.clear()
        for line in lines:
            with contextlib.suppress(ValueError):  # the last, where a crash cut it off
                severity, text = json.loads(line)
                self.messages.append((severity, text))

    @property
    def errors(self) -> list[str]:
        """The errors, each in one line."""
        return list(self._of("ERROR", "INTERNAL_ERROR"))

    @property
    def warnings(self) -> list[str]:
        """The warnings, each once and in one line."""
        return list(dict.fromkeys(self._of("WARNING")))

    def starting_with(self, heading: str) -> list[str]:
        """Return the messages that start with these words."""
        return [text for _, text in self.messages if text.startswith(heading)]

    @property
    def text(self) -> str:
        """The whole log, a letter for the severity before each message, as trtexec writes it."""
        return "".join(f"[{_LETTERS.get(_name(s), '?')}] {text}\n" for s, text in self.messages)

    def _of(self, *names: str) -> Iterator[str]:
        return (" ".join(text.split()) for s, text in self.messages if _name(s) in names)


@cache
def _name(severity: Any) -> str:
    return str(severity).rpartition(".")[2]


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Keep Python's collector of cycles away for as long as a library is called, which logs.

    A library logs while it holds a lock; what is collected in that moment, a builder of a build
    that failed, waits for the same lock for ever.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def logger_of(trt: Any, log: Log) -> Any:
    """Make the logger that a library takes; it keeps all messages, and prints none.

    What calls the library with it is to be `uncollected`.

    Args:
        trt: The library's module.
        log: Where the messages go.
    """

    class Logger(trt.ILogger):  # type: ignore[misc]  # the library has no types
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            log.add(severity, message)

    return Logger()


def monitor_of(trt: Any, on_progress: Callable[[int, int], None]) -> Any:
    """Make a progress monitor, or None if the library has none (before TensorRT 8.6).

    Args:
        trt: The library's module.
        on_progress: Called with the number of steps of the build that are done, and of all steps.
    """
    if not hasattr(trt, "IProgressMonitor"):
        return None

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # the library has no types
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._whole: tuple[str, int] | None = None

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            if parent is None and self._whole is None:
                self._whole = (phase, steps)

        def step_complete(self, phase: str, step: int) -> bool:
            if self._whole is not None and phase == self._whole[0]:
                on_progress(step + 1, self._whole[1])
            return True

        def phase_finish(self, phase: str) -> None:
            """Do nothing: the last step reported it."""

    return Monitor()


def profiler_of(trt: Any, on_layer: Callable[[str, float], None]) -> Any:
    """Make the profiler that a library reports to; the caller must keep it as long as its context.

    Args:
        trt: The library's module.
        on_layer: Called for each layer of each run, with its name and what it took, in ms.
    """

    class Profiler(trt.IProfiler):  # type: ignore[misc]  # the library has no types
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            on_layer(layer_name, ms)

    return Profiler()
