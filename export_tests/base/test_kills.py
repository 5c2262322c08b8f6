"""Commands that are killed at random moments leave the old outputs, or the new ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

KILLS = Path(__file__).parents[2] / "benchmarks" / "kills.py"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="processes are found in /proc")
def test_a_dozen_kills():
    words = [KILLS, "--kills", "12", "--commands", "optimize,cast"]
    run = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.splitlines()[-1].split()[1] == "12"
