"""Sum of kernels against end to end, and why they differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edgeattn.records.trace import MOST_ENQUEUE, Trace

# A gap below this part of the latency is none.
_EQUAL: Final = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """Sum of kernels against end to end.

    Attributes:
        gap_us: End to end less the sum.
        cause: Why they differ, as far as is known.
    """

    sum_us: float
    end_to_end_us: float
    gap_us: float
    cause: str


def reconciled(trace: Trace) -> Reconciliation:
    """Set the sum of a trace's kernels against its latency."""
    sum_us = sum(kernel.time_us for kernel in trace.kernels)
    gap_us = trace.end_to_end.latency_us - sum_us
    return Reconciliation(
        sum_us=sum_us,
        end_to_end_us=trace.end_to_end.latency_us,
        gap_us=gap_us,
        cause=_of_prediction(trace, gap_us)
        if trace.evidence == "predicted"
        else _of_measurement(trace, gap_us),
    )


def _of_prediction(trace: Trace, gap_us: float) -> str:
    if trace.end_to_end.streams > 1 and gap_us < 0:
        return f"{trace.end_to_end.streams} streams: kernels on them overlap."
    enqueue_us = trace.end_to_end.enqueue_us
    if enqueue_us is not None and enqueue_us > MOST_ENQUEUE * trace.end_to_end.latency_us:
        return (
            f"The host: launching one by one takes {enqueue_us:.0f} µs, so the GPU waits for it."
            " A CUDA graph would spare that."
        )
    if abs(gap_us) < _EQUAL * trace.end_to_end.latency_us:
        return "No gap: a prediction is the sum of its kernels."
    return "What lies between kernels."


def _of_measurement(trace: Trace, gap_us: float) -> str:
    known, count = trace.end_to_end, max(len(trace.kernels), 1)
    if abs(gap_us) < _EQUAL * known.latency_us:
        return "No gap: nothing was timed end to end, so the latency is the kernels' own sum."
    each = f"{abs(gap_us) / count:.1f} µs at each of {count} kernels"
    if known.enqueue_us is not None and known.enqueue_us > MOST_ENQUEUE * known.latency_us:
        return (
            f"The host: enqueuing takes {known.enqueue_us:.0f} µs, so the device waits for it."
            " Capture the run in a CUDA graph."
        )
    if gap_us < 0 and known.streams > 1:
        return f"{known.streams} streams overlap, and profiling adds to each kernel."
    if gap_us < 0:
        return f"Profiling adds to kernels: {each}."
    if trace.runtime in ("onnxruntime", "openvino"):
        return f"What lies between kernels, the runtime itself and its threads' waking up: {each}."
    return f"What lies between kernels: {each}."
