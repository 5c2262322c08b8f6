"""What trtexec says of a failure becomes an error with what to do about it."""

from __future__ import annotations

import subprocess

import pytest

from edgeattn.base.errors import InputError, MissingError
from edgeattn.hosts.trtexec.said import capability_of, failed, log_of
from export_tests.engine.nets import small
from export_tests.hosts.trtexec import install

STARTED = """&&&& RUNNING TensorRT.trtexec [TensorRT v8502] # trtexec --onnx=m.onnx
[11/29/2026-01:00:00] [I] === Device Information ===
[11/29/2026-01:00:00] [I] Compute Capability: 8.7
[11/29/2026-01:00:01] [W] [TRT] Skipping tactic 3 due to insuficient memory on requested size of 538
"""


def error(text, code=1):
    return failed("orin builds no engine of m.onnx", log_of(STARTED + text), code, host="orin")


STARVED = "[E] Error[2]: [buffer.cpp::resizePhysical::145] Error Code 2: OutOfMemory (no further)"
NO_TACTIC = "[E] Error[10]: Internal Error (Could not find any implementation for node x.)"
OTHER_GPU = "expecting compute 8.7 got compute 7.2, please rebuild."
OLDER = "expecting library version 8.5.2 got 8.2.1, please rebuild."
TAGS = "assertion stdVersionRead == serializationVersion failed.Version tag does not match"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", 137),
        ("Killed", 1),
        ("Cuda failure: out of memory", 134),
        (STARVED, 1),
        ("terminate called after throwing an instance of 'std::bad_alloc'", 134),
        (NO_TACTIC, 1),
    ],
)
def test_a_death_for_memory_says_so_and_what_helps(text, code):
    found = error(text, code)
    assert isinstance(found, MissingError)
    assert "its memory ran out" in found.fact
    for word in ("--workspace", "swap", "desktop", "--optimization-level", "batch"):
        assert word in found.mend


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            f"[E] 6: The engine plan file is generated on an incompatible device, {OTHER_GPU}",
            "built for compute capability 7.2, and the GPU of orin has 8.7",
        ),
        (
            f"[E] 6: The engine plan file is not compatible with this version of TensorRT, {OLDER}",
            "built with TensorRT 8.2.1, and orin has 8.5.2",
        ),
        (
            f"[E] Error[1]: Error Code 1: Serialization ({TAGS}. Note: Current Version: 232)",
            "built with another version of TensorRT than orin has",
        ),
    ],
)
def test_an_engine_of_elsewhere_is_told_apart(text, said):
    found = error(text)
    assert isinstance(found, MissingError)
    assert said in found.fact
    assert "edgeattn build MODEL.onnx --on orin" in found.mend


def test_another_failure_is_told_in_its_own_words():
    found = error(
        '[E] [TRT] ModelImporter.cpp:726: While parsing node number 0 [Foo -> "y"]:\n'
        "[E] [TRT] ModelImporter.cpp:731: ERROR: No importer registered for op: Foo\n"
        "[E] Failed to parse onnx file\n"
    )  # fmt: skip
    assert isinstance(found, InputError)
    assert "No importer registered for op: Foo" in found.fact
    assert "memory" not in str(found)
    assert "exit code 3" in str(failed("It failed", log_of(""), 3, host="orin"))


def test_the_gpu_that_is_taken_is_known():
    assert capability_of(log_of(STARTED)) == (8, 7)
    assert capability_of(log_of("nothing")) is None


@pytest.mark.parametrize("version", ["8.0.1", "8.5.2", "10.3.0"])
def test_the_reason_is_found_among_what_stands_around_it(tmp_path, version):
    small(tmp_path / "m.onnx", extra="Foo")
    command = [install(tmp_path, version), "--onnx=m.onnx"]
    done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True)
    found = failed("It failed", log_of(done.stdout), done.returncode, host="orin")
    assert "While parsing node number 5 [Foo" in found.fact
    assert "Plugin not found, are the plugin name" in found.fact
    for around in ("Begin node", "op_type", "Parsing model failed", "set up failed"):
        assert around not in found.fact
    assert "Try what lowering makes of last:" in found.mend
