"""The log of a build: every message of the library's, kept, and what is read from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

# As trtexec marks them.
_LETTERS: Final = {"INTERNAL_ERROR": "F", "ERROR": "E", "WARNING": "W", "INFO": "I", "VERBOSE": "V"}


@dataclass(slots=True)
class Log:
    """What a library said, in order: severity and text.

    A build says ten thousand things and waits for each to be heard, so a severity is kept as the
    library gives it, and read when it is asked for.
    """

    messages: list[tuple[Any, str]] = field(default_factory=list)

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

    def write(self, path: Path) -> None:
        """Write the whole log."""
        path.write_text(self.text, encoding="utf-8")


@cache
def _name(severity: Any) -> str:
    return str(severity).rpartition(".")[2]


def logger_of(trt: Any, log: Log) -> Any:
    """Make the logger that a library wants; it keeps all, and print nothing.

    Args:
        trt: The library's module.
        log: Where the messages go.
    """

    class Logger(trt.ILogger):  # type: ignore[misc]  # the library has no types
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            log.messages.append((severity, message))

    return Logger()


def monitor_of(trt: Any, on_progress: Callable[[int, int], None]) -> Any:
    """Make a progress monitor, None where the library has none (before TensorRT 8.6).

    Args:
        trt: The library's module.
        on_progress: Called with how many steps of the whole build are done, and how many there are.
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
            """Say nothing: the last step did."""

    return Monitor()
