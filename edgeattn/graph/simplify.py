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
from edgeattn.base.memory import keep_freed
from edgeattn.base.worker import DeathError, SlowError, Worker, serve

#: Weights of this size are given back at once where that is asked.
_LARGE_BYTES: Final = 1 << 22
_PROGRAM: Final = "edgeattn.graph.simplify"
#: onnxsim imports them where they are, for what is not done here: without them it starts a second
#: sooner, and needs a third of the memory.
_NOT_NEEDED: Final = ("torch", "sympy")


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
        self,
        source: Path,
        target: Path,
        *,
        timeout_s: float,
        without: Collection[str] = (),
        is_sparing: bool = False,
    ) -> Simplification:
        """Have a file simplified after those that were begun before.

        Args:
            source: The ONNX file.
            target: Where the simplified file goes; weights may land in files beside it.
            timeout_s: After how many seconds of its own it is given up.
            without: Names of onnxsim's passes that are left out.
            is_sparing: Whether memory is given back at once, as the caller needs it meanwhile;
                to have it from the system again and again takes a third longer.
        """
        job = {
            "source": str(source),
            "target": str(target),
            "without": list(without),
            "is_sparing": is_sparing,
        }
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
    return Worker(_PROGRAM, does="simplified", env={"PYTHONHASHSEED": "0"})


def _simplify(job: dict[str, Any]) -> dict[str, Any]:
    import onnxsim

    keep_freed(above_bytes=_LARGE_BYTES if job["is_sparing"] else None)
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
