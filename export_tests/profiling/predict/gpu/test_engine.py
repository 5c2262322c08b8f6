"""The roof that kernels are drawn under is that of the fastest that any of them computes in."""

from __future__ import annotations

import pytest

from edgeattn.devices.profile import find
from edgeattn.profiling.predict.gpu.engine import machine_of, peak_of
from export_tests.report.traces import kernel


@pytest.mark.parametrize(
    ("device", "precisions", "peak"),
    [
        ("a100", ["fp32"], "tf32"),
        ("a100", ["", "fp32"], "tf32"),
        ("a100", ["fp32", "fp16"], "fp16"),
        ("a100", ["fp32", "fp16", "int8"], "int8"),
        ("a100", ["bf16"], "fp16"),
        ("titan-rtx", ["fp32"], "fp32"),
        ("jetson-nano", ["int8"], "fp32"),
        ("raspberry-pi-5", ["fp32"], "fp32"),
    ],
)
def test_the_peak_is_that_of_the_fastest_precision(device, precisions, peak):
    found = find(device)
    kernels = [kernel(one, "matmul", 1.0, [], precision=one, macs=9) for one in precisions]
    kernels.append(kernel("gate", "pointwise", 1.0, [], precision="int8"))
    point = found.at(None)
    assert peak_of(kernels, point) == (peak, point.peak_tflops[peak])
    machine = machine_of(found, point, kernels, None)
    assert machine.peak_precision == peak
