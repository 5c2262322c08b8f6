"""Timm can be imported beside a broken torchvision, and a whole one keeps its operators."""

import _json  # a compiled module of Python's own, as a library that does load
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(code, *, path=()):
    script = f"import sys; sys.path[:0] = {[*map(str, path), str(ROOT)]!r}\n{code}"
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT
    )


@pytest.mark.slow  # doctor imports it in a process of its own, too
def test_timm_imports():
    done = run(
        "from edgeattn.base.torchvision_ops import declare_missing_operators as declare\n"
        "declare(); declare()\n"
        "import timm, torchvision\n"
        "print(timm.__version__)"
    )
    assert done.returncode == 0, done.stderr


def fake_torchvision(folder, *, library):
    package = folder / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('not to be imported here')")
    if library is not None:
        (package / "_C.so").write_bytes(library)


DECLARED = (
    "from edgeattn.base.torchvision_ops import declare_missing_operators as declare\n"
    "import torch\ndeclare()\n"
    "print([hasattr(torch.ops.torchvision, name) for name in ('nms', 'qnms', 'roi_align')])"
)


@pytest.mark.slow
def test_operators_are_declared_where_the_library_does_not_load(tmp_path):
    fake_torchvision(tmp_path, library=b"no library")
    assert run(DECLARED, path=[tmp_path]).stdout.strip() == "[True, True, True]"


def test_operators_are_declared_where_there_is_no_library(tmp_path):
    fake_torchvision(tmp_path, library=None)
    assert run(DECLARED, path=[tmp_path]).stdout.strip() == "[True, True, True]"


@pytest.mark.slow
def test_a_whole_torchvision_keeps_its_own(tmp_path):
    fake_torchvision(tmp_path, library=None)
    origin = getattr(_json, "__file__", None)
    if origin is None:  # built into this interpreter: any other shared library of torch's will do
        import torch

        origin = torch._C.__file__
    shutil.copy(origin, tmp_path / "torchvision" / "_C.so")
    assert run(DECLARED, path=[tmp_path]).stdout.strip() == "[False, False, False]"
