"""What a developer runs, and what .ci/run runs after README.md's commands.

    nox                      lint, types, imports, tests
    nox -s tests -- PATH …   tests of a part
    nox -s slow gpu device   what the default run leaves out

Sessions run in the environment that nox is installed in, made by `pip install -e '.[test]'`:
nothing is installed twice.
"""

from __future__ import annotations

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "imports", "tests"]

_GPU = """
from edgeattn.engine.gpu import local_gpu
raise SystemExit(None if local_gpu() else "no NVIDIA GPU is here")
"""


@nox.session
def lint(session: nox.Session) -> None:
    """Look for faults, and for what is not formatted."""
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Check types."""
    session.run("mypy")


@nox.session
def imports(session: nox.Session) -> None:
    """Check that each layer imports only lower ones."""
    session.run("lint-imports")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests, but for slow ones."""
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def slow(session: nox.Session) -> None:
    """Run the slow tests, and property tests with more examples."""
    session.env["HYPOTHESIS_PROFILE"] = "slow"
    session.run("python", "-m", "pytest", "-m", "slow or hypothesis", *session.posargs)


@nox.session
def gpu(session: nox.Session) -> None:
    """Run the tests that are skipped where there is no GPU; fail where there is none."""
    session.run("python", "-c", _GPU)
    session.run("python", "-m", "pytest", "-n0", "-k", "on_a_gpu", *session.posargs)


@nox.session
def device(session: nox.Session) -> None:
    """Measure on an aarch64 host that is emulated, by onnxruntime's real wheel; takes root."""
    session.run("python", "benchmarks/aarch64.py", *session.posargs)
