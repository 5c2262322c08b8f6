"""Simplify: onnxsim in a process of its own, so that its crash or hang is not ours.

Run as a program this file is that process: it takes one graph after another.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from edgeattn.base.errors import InputError, in_one_line
from edgeattn.base.worker import DeathError, SlowError, Worker, serve

_PROGRAM: Final = "edgeattn.graph.simplify"
#: onnxsim imports them where they are, for what is not done here: without them it starts a second
#: sooner, and needs a third of the memory.
_NOT_NEEDED: Final = ("torch", "sympy")
#: What glibc gives back at once, the largest weights, and what it takes out of what was freed
#: before: to have all from the system each time, page by page, takes as long as the work.
_MEMORY: Final = {"MALLOC_MMAP_THRESHOLD_": str(1 << 22), "MALLOC_TRIM_THRESHOLD_": str(1 << 33)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Simplification:
    """A graph that onnxsim has in hand, or will have.

    Attributes:
        target: Where the simplified model will be.
        reason: Why it is not, once that is known; empty if it is.
    """

    target: Path
    reason: Future[str]

    def wait(self) -> str:
        """Wait for the end, and return why there is no simplified model; empty if there is one."""
        return self.reason.result()


class Simplifier:
    """A process of onnxsim, which starts at once, ahead of the first graph; ends with the block.

    Where a graph crashes it, the next gets another.
    """

    def __init__(self) -> None:
        self._worker = _started()
        self._thread = ThreadPoolExecutor(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it at once, whatever it does."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._worker.close()

    def begin(
        self, source: Path, target: Path, *, timeout_s: float, without: Collection[str] = ()
    ) -> Simplification:
        """Have a file simplified after those that were begun before.

        Args:
            source: The ONNX file.
            target: Where the simplified file goes; weights may land in files beside it.
            timeout_s: After how many seconds of its own it is given up.
            without: Names of onnxsim's passes that are left out.
        """
        job = {"source": str(source), "target": str(target), "without": list(without)}
        return Simplification(
            target=target, reason=self._thread.submit(self._simplified, job, timeout_s)
        )

    def _simplified(self, job: dict[str, Any], timeout_s: float) -> str:
        """Return why a file is not simplified; empty if it is."""
        if self._worker.process.poll() is not None:
            self._worker.close()
            self._worker = _started()
        try:
            self._worker.ask(job, limit_s=timeout_s)
        except SlowError:
            return f"onnxsim did not end within {timeout_s:g} s"
        except DeathError as error:
            if error.by:
                return f"onnxsim crashed ({error.by})"
            return f"onnxsim failed: {error.fact.partition(': ')[2]}"
        except InputError as error:
            return f"onnxsim failed: {error.fact}"
        return ""


def _started() -> Worker:
    return Worker(_PROGRAM, does="simplified", env={"PYTHONHASHSEED": "0", **_MEMORY})


def _simplify(job: dict[str, Any]) -> dict[str, Any]:
    import onnxsim

    try:
        onnxsim.simplify(
            job["source"],
            output_path=job["target"],
            external_data_threshold="1MB",
            skipped_optimizers=job["without"] or None,
        )
    except Exception as error:
        raise InputError(in_one_line(error)) from error
    return {}


def main() -> int:
    """Import onnxsim while there is nothing to do yet, then do what is asked."""
    for name in _NOT_NEEDED:
        sys.modules[name] = None  # type: ignore[assignment]  # how Python is told of no module
    import onnxsim  # noqa: F401

    return serve(_simplify)


if __name__ == "__main__":
    raise SystemExit(main())
