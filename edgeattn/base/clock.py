"""Reports the stages of a command as they begin, and sums up their seconds."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator


class Clock:
    """The stages of one command.

    Args:
        on_stage: Called with the name of each stage as it begins.
    """

    def __init__(self, on_stage: Callable[[str], None]) -> None:
        self._on_stage = on_stage
        self._started = time.perf_counter()
        self._seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Run a block as a stage; the seconds of a stage that comes back are summed."""
        self._on_stage(name)
        began = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - began
            self._seconds[name] = self._seconds.get(name, 0.0) + spent

    def tell(self, progress: str) -> None:
        """Tell how far a stage is."""
        self._on_stage(progress)

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds per stage and in total, to the millisecond."""
        total = time.perf_counter() - self._started
        return {name: round(value, 3) for name, value in (self._seconds | {"total": total}).items()}
