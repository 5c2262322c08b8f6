"""What runs where torch and timm cannot be imported: a Jetson has little room."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from export_tests.profiling.nets import residual

COMMANDS = (
    "optimize net.onnx -o low.onnx --target onnxruntime",
    "check low.onnx --device jetson-agx-orin --jetpack 6.2 --dla --gpu-fallback",
    "build net.onnx --device rtx-3090 -o net.engine",
    "inspect net.engine",
    "profile net.engine --device rtx-3090 -o predicted.json",
    "profile low.onnx --limit 0.2 -o measured.json",
    "report measured.json predicted.json --report page.html",
    "devices list",
    "devices show jetson",
)
# All in one process: each would begin one, and import the same.
RUN = """
import contextlib, io, json, sys
from edgeattn.cli import app

for command in sys.argv[1:]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = app.run(command.split())
    print(json.dumps([code, out.getvalue(), err.getvalue()]))
"""


@pytest.fixture
def bare(stub):
    return stub(
        **{
            name: f"raise ModuleNotFoundError(\"No module named '{name}'\", name='{name}')"
            for name in ("torch", "timm", "torchvision")
        }
    )


def test_build_inspect_optimize_profile_report_devices(bare, tmp_path):
    residual(tmp_path / "net.onnx")
    paths = [str(bare), *filter(None, [os.environ.get("PYTHONPATH")])]
    ran = subprocess.run(
        [sys.executable, "-P", "-c", RUN, *COMMANDS],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    for command, line in zip(COMMANDS, ran.stdout.splitlines(), strict=True):
        code, out, err = json.loads(line)
        assert code == 0, f"{command}: {err}"
        assert out, command
    assert (tmp_path / "page.html").is_file()


def test_what_needs_torch_says_so(edgeattn, bare):
    found = edgeattn("profile", "resnet18", stubs=bare)
    assert found.returncode == 3
    assert "torch" in found.stderr
    assert "Traceback" not in found.stderr
