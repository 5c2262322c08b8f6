"""Signals that end a program: none is lost, and none tears what is short."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

HEAD = "import os, signal, sys\nfrom edgeattn.base import signals\nsignals.catch()\n"


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", HEAD + code], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("sent", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_each_raises_what_ctrl_c_does(sent):
    code = (
        "try:\n"
        f"    os.kill(os.getpid(), signal.{sent})\n"
        "except KeyboardInterrupt:\n"
        "    print(signals.was_caught())\n"
    )
    assert run(code).stdout == "True\n"


def test_what_a_library_swallows_is_not_lost():
    code = (
        "try:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "except BaseException:\n"
        "    pass\n"
        "try:\n"
        "    signals.check()\n"
        "except KeyboardInterrupt:\n"
        "    print('still there')\n"
    )
    assert run(code).stdout == "still there\n"


def test_one_that_comes_in_a_deferred_block_waits_for_the_outermost_end():
    code = (
        "try:\n"
        "    with signals.deferred():\n"
        "        with signals.deferred():\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "        print('inside')\n"
        "    print('never')\n"
        "except KeyboardInterrupt:\n"
        "    print('after')\n"
    )
    assert run(code).stdout == "inside\nafter\n"


def test_one_that_comes_in_a_finaliser_is_known_and_prints_nothing():
    code = (
        "class Ends:\n"
        "    def __del__(self):\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        for _ in range(10): pass\n"
        "Ends()\n"
        "print(signals.was_caught())\n"
        "class Fails:\n"
        "    def __del__(self):\n"
        "        raise ValueError('another')\n"
        "Fails()\n"
    )
    found = run(code)
    assert found.stdout == "True\n"
    assert "KeyboardInterrupt" not in found.stderr
    assert "ValueError: another" in found.stderr


def test_what_nohup_ignores_stays_ignored():
    code = (
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "signals.catch()\n"
        "os.kill(os.getpid(), signal.SIGHUP)\n"
        "print('going on')\n"
    )
    assert run(code).stdout == "going on\n"


def test_at_the_end_they_are_ignored():
    code = "signals.ignore()\nos.kill(os.getpid(), signal.SIGTERM)\nprint('whole')\n"
    found = run(code)
    assert (found.returncode, found.stdout) == (0, "whole\n")
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
