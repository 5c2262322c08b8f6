"""Which runtime a file goes to, and whether it is measured or predicted, on a machine of no GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeattn.base.errors import InputError
from edgeattn.options.profile import ProfileOptions
from edgeattn.profiling.route import choose, is_model

ONNX = Path("model.onnx")


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch):
    monkeypatch.setattr("edgeattn.profiling.route.local_gpu", lambda: None)


@pytest.mark.parametrize(
    ("options", "runtime", "evidence", "device"),
    [
        ({}, "onnxruntime", "measured", None),
        ({"device": "generic-x86"}, "onnxruntime", "predicted", "generic-x86"),
        ({"device": "jetson"}, "tensorrt", "predicted", "jetson-orin-nano-8gb"),
        ({"device": "t4", "runtime": "tensorrt-rtx"}, "tensorrt-rtx", "predicted", "t4"),
        ({"runtime": "onnxruntime"}, "onnxruntime", "measured", None),
    ],
)  # fmt: skip
def test_an_onnx_file(options, runtime, evidence, device):
    found = choose(ONNX, ProfileOptions(**options))
    assert (found.runtime, found.evidence) == (runtime, evidence)
    assert (found.device and found.device.name) == device
    assert (found.point is None) == (device is None)


def test_a_power_mode():
    slow = choose(ONNX, ProfileOptions(device="jetson", power_mode="7W")).point
    fast = choose(ONNX, ProfileOptions(device="jetson", power_mode="15W")).point
    assert slow is not None
    assert fast is not None
    assert slow.bandwidth_gbps <= fast.bandwidth_gbps
    assert slow.power_mode == "7W"


@pytest.mark.parametrize(
    ("options", "fact", "mend"),
    [
        ({"device": "jetson-orin-nan"}, "jetson-orin-nan", "jetson-orin-nano-8gb"),
        ({"device": "jetson", "power_mode": "16W"}, "16W", "15W"),
        ({"power_mode": "15W"}, "--power-mode is a device's", "--device"),
        ({"runtime": "tensorrt"}, "No device is named", "--device"),
        ({"runtime": "tensorrtx"}, "tensorrtx", "tensorrt"),
        ({"runtime": "torch"}, "torch runs models", "--runtime torch"),
        ({"predict": True}, "--predict needs a device", "calibrate"),
        ({"runtime": "onnxruntime", "device": "jetson"}, "predicted for CPUs", "--runtime"),
        ({"runtime": "tensorrt", "device": "generic-x86"}, "runs no TensorRT engine", "--runtime"),
    ],
)
def test_what_does_not_fit(options, fact, mend):
    with pytest.raises(InputError) as caught:
        choose(ONNX, ProfileOptions(**options))
    assert fact in caught.value.fact
    assert mend in (caught.value.mend or "")


@pytest.mark.parametrize(
    ("name", "said"),
    [("resnet50", True), ("timm:resnet50", True), ("nets/mine.py:make", True), ("m.pt2", True),
     ("m.onnx", False), ("m.engine", False), ("m.json", False), ("m.plan", False)],
)  # fmt: skip
def test_what_is_a_model(name, said):
    assert is_model(name) is said
