"""Where ONNX files are measured: a place starts runners, and has files for them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from edgeattn.base import files
from edgeattn.base.worker import Talk, Worker
from edgeattn.graph.reading import as_read
from edgeattn.profiling.measure.machine import Watch, warnings_of
from edgeattn.records.trace import Power
from edgeattn.runtimes import runner


class Place:
    """This machine; other places are classes of their own, made of this one."""

    #: Whether files come back only in what a runner says; and whether the machine's power is told.
    packs = tells_power = False

    @property
    def cores(self) -> int:
        """The cores that a runner there may run on."""
        return runner.usable_cores()

    @property
    def block_channels(self) -> int:
        """The channels of a block that a runner there computes with."""
        return runner.block_channels()

    def runner(self, does: str) -> Talk:
        """Start a runner.

        Args:
            does: What it does, as `Talk` has it.
        """
        return Worker(runner.__name__, does=does)

    @contextlib.contextmanager
    def lent(self, path: Path) -> Iterator[str]:
        """Yield the path there of a model that is here, in the form that it is read in."""
        with as_read(path) as file:
            yield str(file)

    def inputs(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return inputs that are to be drawn, as a runner there is to have them."""
        return asked

    @contextlib.contextmanager
    def folder(self) -> Iterator[str]:
        """Yield the path there of a new folder."""
        with files.scratch() as folder:
            yield str(folder)

    def limit_s(self, expected_s: float) -> float | None:
        """Return the seconds that a job gets which should take so long; None for any."""
        del expected_s
        return None

    def power(self, spans: Sequence[tuple[float, float]], runs: Sequence[int]) -> Power | None:
        """Return what was drawn in spans of the system's uptime, with so many runs in each."""
        del spans, runs
        return None

    def watch(self) -> Watched:
        """Watch the machine from now on."""
        return Watched()


class Watched:
    """Watches a machine while models are timed: this one."""

    def __init__(self) -> None:
        self._watch = Watch()

    def look(self) -> None:
        """Note what it does at this moment; nothing is timed meanwhile."""
        self._watch.look()

    def warnings(self) -> Sequence[str]:
        """Return why what was timed so far is not to be trusted."""
        return warnings_of(self._watch.load())


HERE: Final = Place()
