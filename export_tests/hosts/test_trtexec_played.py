"""The stand-in for trtexec: what a test with it rests on."""

from __future__ import annotations

import subprocess

import pytest

from export_tests.engine.nets import small
from export_tests.hosts import trtexec


def run(folder, version, *flags, **settings):
    program = trtexec.install(folder, version, **settings)
    command = [program, *flags]
    return subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("version", "flags", "said"),
    [
        ("8.0.1", ["--exportLayerInfo=l.json"], "Unknown option: --exportLayerInfo l.json"),
        ("8.5.2", ["--skipInference"], "Unknown option: --skipInference"),
        ("8.6.2", ["--stronglyTyped"], "Unknown option: --stronglyTyped"),
        ("10.3.0", ["--workspace=64"], "Unknown option: --workspace 64"),
        ("10.3.0", ["--buildOnly"], "Unknown option: --buildOnly"),
        ("10.3.0", ["--stronglyTyped", "--fp16"], "not allowed if graph is strongly typed"),
        ("11.1.0", ["--fp16"], "Unknown option: --fp16"),
        ("8.5.2", ["--minShapes=x:1x3x16x16"], "Must specify only --optShapes or all of"),
        ("8.5.2", ["--shapes=x:1x3x16x16"], "Static model does not take explicit shapes"),
        ("8.5.2", ["--loadEngine=e", "--saveEngine=e"], "Incompatible load and save"),
    ],
)
def test_it_refuses(tmp_path, version, flags, said):
    small(tmp_path / "m.onnx")
    done = run(tmp_path, version, "--onnx=m.onnx", *flags)
    assert done.returncode == 1
    assert said in done.stdout
    assert trtexec.SAYS in done.stdout
    assert ("&&&& FAILED TensorRT.trtexec [TensorRT v" in done.stdout) == (version != "11.1.0")


def test_it_only_warns_from_11_on(tmp_path):
    small(tmp_path / "m.onnx")
    done = run(tmp_path, "11.1.0", "--onnx=m.onnx", "--useCudaGraph", "--separateProfileRun")
    assert done.returncode == 0
    assert "[W] --useCudaGraph is deprecated" in done.stdout
    assert "&&&& PASSED TensorRT.trtexec [TensorRT v110100]" in done.stdout
