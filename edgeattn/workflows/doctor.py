"""Finds out what is installed, what works, and how to mend what does not."""

from __future__ import annotations

import json
import platform
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from edgeattn.base import files
from edgeattn.base.versions import EXPORTING, version_of
from edgeattn.base.worker import program
from edgeattn.workflows.doctor_steps import RESULTS, STEPS

State = Literal["works", "fails", "crashes", "absent", "untried"]

DISTRIBUTIONS: Final = (*EXPORTING, "onnxruntime-gpu", "openvino", "tensorrt", "tensorrt-rtx")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The result of a step; `mend` is empty if it works."""

    name: str
    title: str
    needed: bool
    state: State
    detail: str
    mend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Everything that doctor found; the version of what is not installed is None."""

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
    with files.scratch() as folder:
        while waiting := [name for name in STEPS if name not in checks]:
            on_stage("trying what is installed")
            finding = _try(waiting, folder, timeout_s)
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
    """Try steps in a new process; if it dies, the step that it died in crashed.

    Returns:
        The steps that were reached, at least one.
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
