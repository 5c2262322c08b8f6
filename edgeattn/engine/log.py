"""The log of a build: every message of the library's, kept, and what is read from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

# As trtexec marks them.
_LETTERS: Final = {"INTERNAL_ERROR": "F", "ERROR": "E", "WARNING": "W", "INFO": "I", "VERBOSE": "V"}


@dataclass(slots=True)
class Log:
    """What a library said, in order: severity and text."""

    messages: list[tuple[str, str]] = field(default_factory=list)

    @property
    def errors(self) -> list[str]:
        """The errors, each in one line."""
        return [" ".join(t.split()) for s, t in self.messages if s in ("ERROR", "INTERNAL_ERROR")]

    @property
    def warnings(self) -> list[str]:
        """The warnings, each once and in one line."""
        found = (
            " ".join(text.split()) for severity, text in self.messages if severity == "WARNING"
        )
        return list(dict.fromkeys(found))

    def starting_with(self, heading: str) -> list[str]:
        """Gives the messages that start with these words."""
        return [text for _, text in self.messages if text.startswith(heading)]

    @property
    def text(self) -> str:
        """The whole log, a letter for the severity before each message, as trtexec writes it."""
        return "".join(f"[{_LETTERS.get(s, s)}] {text}\n" for s, text in self.messages)

    def write(self, path: Path) -> None:
        """Writes the whole log."""
        path.write_text(self.text, encoding="utf-8")


def logger_of(trt: Any, log: Log) -> Any:
    """Makes the logger that a library wants; it keeps all, and prints nothing.

    Args:
        trt: The library's module.
        log: Where the messages go.
    """

    class Logger(trt.ILogger):  # type: ignore[misc]  # the library has no types
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            log.messages.append((str(severity).rpartition(".")[2], message))

    return Logger()


def monitor_of(trt: Any, on_progress: Callable[[int, int], None]) -> Any:
    """Makes a progress monitor, None where the library has none (before TensorRT 8.6).

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
            """Says nothing: the last step did."""

    return Monitor()
