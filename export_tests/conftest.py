"""What tests of several rooms share."""

from __future__ import annotations

import contextlib
import copy
import functools
import io
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import hypothesis
import pytest

from export_tests.sshd import Sshd
from export_tests.sshd import is_here as sshd_is_here
from export_tests.sshd import start as start_sshd

# A loaded machine draws slowly, which is no fault. HYPOTHESIS_PROFILE=slow looks further.
for name, examples in (("default", 20), ("slow", 300)):
    hypothesis.settings.register_profile(
        f"edgeattn-{name}",
        max_examples=examples,
        derandomize=name == "default",
        deadline=None,
        suppress_health_check=[
            hypothesis.HealthCheck.too_slow,
            hypothesis.HealthCheck.data_too_large,
        ],
    )
hypothesis.settings.load_profile(f"edgeattn-{os.environ.get('HYPOTHESIS_PROFILE', 'default')}")
# torch and ONNX Runtime take every core they see, and two workers run beside each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Where tests run in a shell's background, Ctrl-C is ignored, and so it were in all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

Run = Callable[..., subprocess.CompletedProcess[str]]


def pytest_runtest_setup() -> None:
    """Keeps torch's table of translations, which it makes anew, in a second, for every export.

    Each export gets a copy: the translations of its own would be there for all that follow.
    """
    module = sys.modules.get("torch.onnx._internal.exporter._registration")
    if module is None or hasattr(module.ONNXRegistry.from_torchlib, "__wrapped__"):
        return
    kept = functools.cache(module.ONNXRegistry.from_torchlib)

    @functools.wraps(kept)
    def from_torchlib(**options: int) -> object:
        copied = copy.copy(kept(**options))
        copied.functions = {target: list(found) for target, found in copied.functions.items()}
        return copied

    module.ONNXRegistry.from_torchlib = staticmethod(from_torchlib)


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out the width of a terminal, which pytest's workers are given."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture(scope="session")
def _sshd() -> Iterator[Sshd]:
    if not sshd_is_here():
        pytest.skip("no openssh-server is installed")
    with tempfile.TemporaryDirectory(prefix="sshd-") as folder:
        host = start_sshd(Path(folder))
        yield host
        host.process.terminate()
        host.process.wait()


@pytest.fixture
def sshd(_sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sshd]:
    """Gives a host to test with, which the product finds; what is installed there is removed."""
    monkeypatch.setenv("EDGEATTN_SSH", _sshd.ssh)
    yield _sshd
    _sshd.clear()


@pytest.fixture
def edgeattn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command line in an empty folder, in this process.

    In a process of its own where modules stand before the installed ones (`stubs`), or where that
    is the point (`in_process=False`): what stands between a shell and the command line.
    """

    def run(
        *arguments: str, stubs: Path | None = None, in_process: bool = True, **settings: object
    ) -> subprocess.CompletedProcess[str]:
        if in_process and stubs is None:
            monkeypatch.chdir(tmp_path)
            return _within(arguments)
        environment = dict(os.environ)
        if stubs is not None:
            paths = [str(stubs), *filter(None, [environment.get("PYTHONPATH")])]
            environment["PYTHONPATH"] = os.pathsep.join(paths)
        command: Sequence[str] = [
            sys.executable,
            "-P",
            "-c",
            "from edgeattn.cli.app import main; main()",
            *arguments,
        ]
        return subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
            **settings,
        )

    return run


def _within(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    from edgeattn.cli import app

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = app.run(arguments)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


@pytest.fixture
def stub(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes modules that stand before the installed ones: `stub(torch="raise ImportError")`."""

    def make(**sources: str) -> Path:
        folder = tmp_path_factory.mktemp("stubs")
        for name, source in sources.items():
            (folder / f"{name}.py").write_text(source)
        return folder

    return make


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the matrix of attentions and backbones that test_matrix.py went through."""
    cells: dict[tuple[str, str], str] = {}
    for report in terminalreporter.getreports("passed"):
        for name, value in getattr(report, "user_properties", ()):
            if name == "matrix" and report.when == "call":
                cells[value[0], value[1]] = value[2]
    if not cells:
        return
    attentions = list(dict.fromkeys(attention for attention, _ in sorted(cells)))
    backbones = list(dict.fromkeys(backbone for _, backbone in sorted(cells)))
    terminalreporter.section(
        "SQNR in dB at opsets 13, 17, 20, random weights (x: refused, ~: judged by rounding)"
    )
    terminalreporter.write_line(" " * 10 + "".join(f"{name:>14}" for name in backbones))
    for attention in attentions:
        row = "".join(f"{cells.get((attention, name), '-'):>14}" for name in backbones)
        terminalreporter.write_line(f"{attention:10}{row}")
