"""Simplify: onnxsim in a process of its own, so that its crash or hang is not ours.

Run as a program (`python -m edgeattn.simplify IN OUT`) this file is that process.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path


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
        """Waits for the end.

        Returns:
            Why there is no simplified model at `target`; empty when there is one.
        """
        try:
            _, errors = self.process.communicate(timeout=max(0.0, self.deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.stop()
            return f"onnxsim did not end within {self.timeout_s:g} s"
        code = self.process.returncode
        if code == 0 and self.target.is_file():
            return ""
        if code < 0:
            return f"onnxsim crashed (signal {-code})"
        lines = [line for line in errors.decode(errors="replace").splitlines() if line.strip()]
        return f"onnxsim failed: {lines[-1].strip() if lines else f'exit code {code}'}"

    def stop(self) -> None:
        """Ends the run at once, if it is still under way, and lets go of it."""
        self.process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=5.0)
        if self.process.stderr is not None:
            self.process.stderr.close()


def start(source: Path, target: Path, *, timeout_s: float) -> Simplification:
    """Starts onnxsim on a file.

    Args:
        source: The ONNX file to simplify.
        target: Where the simplified file goes; weights may land in files beside it.
        timeout_s: After how many seconds the run is given up.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "edgeattn.simplify", str(source), str(target)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )
    deadline = time.monotonic() + timeout_s
    return Simplification(target=target, timeout_s=timeout_s, deadline=deadline, process=process)


def _child(source: str, target: str) -> None:
    # onnxsim imports torch when it is there, for features that are not used here; without it the
    # child needs a third of the memory and starts a second sooner.
    sys.modules["torch"] = None  # type: ignore[assignment]  # how Python is told of no module
    import onnxsim

    onnxsim.simplify(source, output_path=target, external_data_threshold="1MB")


if __name__ == "__main__":
    _child(*sys.argv[1:])
