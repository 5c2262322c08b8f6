"""Simplify: onnxsim in a process of its own, so that its crash or hang is not ours.

Run as a program (`python -m edgeattn.graph.simplify IN OUT [PASS …]`) this file is that process.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from edgeattn.base.worker import last_line, program
from edgeattn.base.worker import start as start_process


@dataclass(frozen=True, slots=True, kw_only=True)
class Simplification:
    """An onnxsim run under way.

    Attributes:
        target: Where the simplified model will be.
        timeout_s: Seconds after which the run is given up.
        deadline: The end of these seconds, on the monotonic clock.
        process: The run.
    """

    target: Path
    timeout_s: float
    deadline: float
    process: subprocess.Popen[bytes]

    def wait(self) -> str:
        """Wait for the end.

        Returns:
            Why there is no simplified model at `target`; empty when there is one.
        """
        if self.process.poll() is None:
            try:
                self.process.wait(timeout=max(0.0, self.deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self.stop()
                return f"onnxsim did not end within {self.timeout_s:g} s"
        code = self.process.returncode
        if code == 0 and self.target.is_file():
            return ""
        if code < 0:
            return f"onnxsim crashed (signal {-code})"
        text = _log(self.target).read_text(encoding="utf-8", errors="replace")
        return f"onnxsim failed: {last_line(text) or f'exit code {code}'}"

    def stop(self) -> None:
        """End the run at once, if it is still under way."""
        self.process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=5.0)


def start(
    source: Path, target: Path, *, timeout_s: float, without: Collection[str] = ()
) -> Simplification:
    """Start onnxsim on a file.

    Args:
        source: The ONNX file to simplify.
        target: Where the simplified file goes; weights may land in files beside it.
        timeout_s: After how many seconds the run is given up.
        without: Names of onnxsim's passes that are left out.
    """
    with _log(target).open("wb") as log:
        process = start_process(
            program("edgeattn.graph.simplify", str(source), str(target), *without),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
    deadline = time.monotonic() + timeout_s
    return Simplification(target=target, timeout_s=timeout_s, deadline=deadline, process=process)


def _log(target: Path) -> Path:
    return target.with_suffix(".log")


def _child(source: str, target: str, *without: str) -> None:
    # onnxsim imports torch when it is there, for features that are not used here; without it the
    # child needs a third of the memory and starts a second sooner.
    sys.modules["torch"] = None  # type: ignore[assignment]  # how Python is told of no module
    import onnxsim

    onnxsim.simplify(
        source,
        output_path=target,
        external_data_threshold="1MB",
        skipped_optimizers=list(without) or None,
    )


if __name__ == "__main__":
    _child(*sys.argv[1:])
