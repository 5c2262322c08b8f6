"""Sum of kernels against end to end: the gap, and what it is put down to."""

from __future__ import annotations

import pytest

from edgeattn.profiling.reconciliation import reconciled
from edgeattn.records.trace import EndToEnd
from export_tests.profiling.traces import kernel, trace

KERNELS = [kernel("a", time_us=60), kernel("b", time_us=40)]


@pytest.mark.parametrize(
    ("evidence", "runtime", "known", "gap_us", "cause"),
    [
        ("measured", "onnxruntime", {"latency_us": 120}, 20, "threads' waking up: 10.0 µs at each"),
        ("measured", "onnxruntime", {"latency_us": 90}, -10, "Profiling adds to kernels: 5.0 µs"),
        ("measured", "tensorrt", {"latency_us": 110}, 10, "lies between kernels: 5.0 µs at each"),
        ("measured", "tensorrt", {"latency_us": 80, "streams": 2}, -20, "2 streams overlap"),
        ("measured", "tensorrt", {"latency_us": 110, "enqueue_us": 95}, 10, "Capture the run in a"),
        ("measured", "tensorrt", {"latency_us": 110, "enqueue_us": 30}, 10, "between kernels"),
        ("measured", "tensorrt", {"latency_us": 100}, 0, "nothing was timed end to end"),
        ("predicted", "tensorrt", {"latency_us": 100}, 0, "a prediction is the sum"),
        ("predicted", "tensorrt", {"latency_us": 90, "streams": 3}, -10, "3 streams"),
        ("predicted", "onnxruntime", {"latency_us": 105}, 5, "lies between kernels"),
    ],
)
def test_causes(evidence, runtime, known, gap_us, cause):
    found = reconciled(
        trace(KERNELS, evidence=evidence, runtime=runtime, end_to_end=EndToEnd(**known))
    )
    assert (found.sum_us, found.end_to_end_us) == (100, known["latency_us"])
    assert found.gap_us == pytest.approx(gap_us)
    assert cause in found.cause
