"""Simplify: onnxsim in a process of its own, so that its crash or hang is not ours.

Run as a program (`python -m edgeattn.simplify IN OUT`) this file is that process.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

#: onnxsim reads and writes whole protobuf messages, which end at 2 GiB.
_LARGEST_BYTES = 2**31 - 2**24


@dataclass(slots=True, kw_only=True)
class Simplification:
    """An onnxsim run under way.

    Attributes:
        target: Where the simplified model will be.
        deadline: When the run is given up, on the monotonic clock in seconds.
    """

    target: Path
    deadline: float
    timeout_s: float
    process: subprocess.Popen[bytes] | None
    skipped: str = ""
    _started: float = field(default_factory=time.monotonic)

    def wait(self) -> str:
        """Waits for the end.

        Returns:
            Why there is no simplified model at `target`; empty when there is one.
        """
        if self.process is None:
            return self.skipped
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
        if self.process is None:
            return
        self.process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=5.0)
        if self.process.stderr is not None:
            self.process.stderr.close()


def start(source: Path, target: Path, *, timeout_s: float) -> Simplification:
    """Starts onnxsim on a file.

    Args:
        source: The ONNX file to simplify.
        target: Where the simplified file goes.
        timeout_s: After how many seconds the run is given up.
    """
    size_bytes = source.stat().st_size + sum(
        path.stat().st_size for path in source.parent.glob(f"{source.name}.data*")
    )
    deadline = time.monotonic() + timeout_s
    if size_bytes > _LARGEST_BYTES:
        why = "the model is above 2 GB, which onnxsim cannot take in one message"
        return Simplification(
            target=target, deadline=deadline, timeout_s=timeout_s, process=None, skipped=why
        )
    process = subprocess.Popen(
        [sys.executable, "-m", "edgeattn.simplify", str(source), str(target)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )
    return Simplification(target=target, deadline=deadline, timeout_s=timeout_s, process=process)


def _child(source: str, target: str) -> None:
    # onnxsim imports torch when it is there, for features that are not used here; without it the
    # child needs a third of the memory and starts a second sooner.
    sys.modules["torch"] = None  # type: ignore[assignment]
    import onnxsim

    onnxsim.simplify(source, output_path=target, external_data_threshold="1MB")


if __name__ == "__main__":
    _child(*sys.argv[1:])
