"""What runs where torch and timm cannot be imported: a Jetson has little room."""

from __future__ import annotations

import pytest

from export_tests.profiling.nets import residual


@pytest.fixture
def bare(stub):
    return stub(
        **{
            name: f"raise ModuleNotFoundError(\"No module named '{name}'\", name='{name}')"
            for name in ("torch", "timm", "torchvision")
        }
    )


def test_build_inspect_optimize_profile_report_devices(edgeattn, bare, tmp_path):
    residual(tmp_path / "net.onnx")
    for command in (
        "optimize net.onnx -o low.onnx --target onnxruntime",
        "build net.onnx --device rtx-3090 -o net.engine",
        "inspect net.engine",
        "profile net.engine --device rtx-3090 -o predicted.json",
        "profile low.onnx --limit 0.2 -o measured.json",
        "report measured.json predicted.json --report page.html",
        "devices list",
        "devices show jetson",
    ):
        found = edgeattn(*command.split(), stubs=bare)
        assert found.returncode == 0, f"{command}: {found.stderr}"
        assert found.stdout, command
    assert (tmp_path / "page.html").is_file()


def test_what_needs_torch_says_so(edgeattn, bare):
    found = edgeattn("profile", "resnet18", stubs=bare)
    assert found.returncode == 3
    assert "torch" in found.stderr
    assert "Traceback" not in found.stderr
