"""What is installed, what of it works, and how to mend what does not."""

from __future__ import annotations

import json
import platform
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from edgeattn.base.versions import EXPORTING, version_of
from edgeattn.base.worker import program
from edgeattn.workflows.doctor_steps import RESULTS

State = Literal["works", "fails", "crashes", "absent", "untried"]

DISTRIBUTIONS: Final = (*EXPORTING, "onnxruntime-gpu", "tensorrt", "tensorrt-rtx")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A thing to be tried.

    Attributes:
        title: What it is, for people.
        needed: Whether `edgeattn export` needs it.
        after: The steps without which it cannot be tried.
        mend: What to do if it does not work.
    """

    title: str
    needed: bool
    after: tuple[str, ...] = ()
    mend: str


STEPS: Final[Mapping[str, Step]] = {
    "torch": Step(
        title="torch computes",
        needed=True,
        mend="pip install --force-reinstall 'torch>=2.9,<2.14'",
    ),
    "timm": Step(
        title="timm loads",
        needed=True,
        after=("torch",),
        mend="pip install -U timm; and torchvision from the index that torch came from",
    ),
    "export": Step(
        title="torch exports to ONNX",
        needed=True,
        after=("torch",),
        mend="pip install -U onnx onnxscript onnx-ir",
    ),
    "onnxruntime": Step(
        title="ONNX Runtime agrees with torch",
        needed=True,
        after=("export",),
        mend="pip install --force-reinstall onnxruntime",
    ),
    "onnxsim": Step(
        title="onnxsim simplifies",
        needed=False,
        after=("export",),
        mend="export goes on without it; to have it: pip install -U onnxsim",
    ),
    "gpu": Step(
        title="an NVIDIA GPU answers",
        needed=False,
        mend="export needs none; engines and measurements do: install NVIDIA's driver",
    ),
    "tensorrt": Step(
        title="TensorRT loads",
        needed=False,
        mend="export needs none; to build engines: pip install 'edgeattn[tensorrt]'"
        " (on Jetson, JetPack brings it)",
    ),
    "tensorrt-rtx": Step(
        title="TensorRT for RTX loads",
        needed=False,
        mend="export needs none; x86-64 Linux and Windows: pip install tensorrt-rtx",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """How one thing was found: `mend` is empty where it works."""

    name: str
    title: str
    needed: bool
    state: State
    detail: str
    mend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Everything that doctor found; a version is None where nothing is installed."""

    system: Mapping[str, str]
    installed: Mapping[str, str | None]
    checks: tuple[Check, ...]

    @property
    def can_export(self) -> bool:
        """Whether everything that `edgeattn export` needs works."""
        return all(check.state == "works" for check in self.checks if check.needed)


def diagnose(
    *, on_stage: Callable[[str], None] = lambda _: None, timeout_s: float = 120
) -> Diagnosis:
    """Find out what is installed, and try it.

    Args:
        on_stage: Told what is being tried.
        timeout_s: How long one process of trials may take, in seconds.
    """
    checks: dict[str, Check] = {}
    with tempfile.TemporaryDirectory(prefix="edgeattn-doctor-") as folder:
        while waiting := [name for name in STEPS if name not in checks]:
            on_stage("trying what is installed")
            finding = _try(waiting, Path(folder), timeout_s)
            for name in waiting:
                if lacking := [
                    STEPS[before].title
                    for before in STEPS[name].after
                    if before in checks and checks[before].state != "works"
                ]:
                    checks[name] = _check(name, "untried", f"needs that {lacking[0]}")
                elif name in finding:
                    checks[name] = finding[name]
    return Diagnosis(
        system={"python": platform.python_version(), "platform": platform.platform()},
        installed={name: version_of(name) for name in DISTRIBUTIONS},
        checks=tuple(checks[name] for name in STEPS),
    )


def _try(names: list[str], folder: Path, timeout_s: float) -> dict[str, Check]:
    """Try steps in a new process; where it dies, the step that it died in is among the results.

    Returns:
        The steps that were come to, at least one.
    """
    results = folder / RESULTS
    results.unlink(missing_ok=True)
    try:
        child = subprocess.run(
            program("edgeattn.workflows.doctor_steps", str(folder), *names),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
        end = _death(child.returncode, child.stderr)
    except subprocess.TimeoutExpired:
        end = f"no answer within {timeout_s:g} s"
    found = {}
    for line in results.read_text(encoding="utf-8").splitlines() if results.exists() else []:
        answer = json.loads(line)
        found[answer["step"]] = _check(answer["step"], answer["state"], answer["detail"])
    for name in names:
        if name not in found:
            found[name] = _check(name, "crashes", end)
            break
    return found


def _check(name: str, state: State, detail: str) -> Check:
    step = STEPS[name]
    mend = step.mend if state not in ("works", "untried") else ""
    return Check(
        name=name, title=step.title, needed=step.needed, state=state, detail=detail, mend=mend
    )


def _death(code: int, stderr: str) -> str:
    """Return how a process ended before it was done."""
    cause = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    last = stderr.strip().splitlines()[-1:]
    return ": ".join([f"the process ended by {cause}", *last])
