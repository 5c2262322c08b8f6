"""A trace as trtexec exports a run, so that what opens its files opens ours.

What trtexec writes and a trace does not know is made up, so that it disturbs nothing:

- a profile counts one run: what a trace has of a kernel is the median of many. That of a prediction
  says so beside the count, where no reader looks;
- times follow each other from the end of trtexec's warm-up on, and take nothing to copy. What is
  not TensorRT's has its latency as its compute.
"""

from __future__ import annotations

from typing import Any, Final

from edgeattn.base.errors import InputError
from edgeattn.records.trace import Trace

_WARM_UP_MS: Final = 200.0


def profile_json(trace: Trace) -> list[dict[str, Any]]:
    """Return what `trtexec --exportProfile` writes.

    Returns:
        The count of runs, and an entry for each kernel, in the order of `layer_info_json`.
    """
    head: dict[str, Any] = {"count": 1}
    if trace.evidence == "predicted":
        head["evidence"] = trace.evidence
    whole_us = sum(kernel.time_us for kernel in trace.kernels)
    return [
        head,
        *(
            {
                "name": kernel.name,
                "timeMs": kernel.time_us / 1e3,
                "averageMs": kernel.time_us / 1e3,
                "medianMs": kernel.time_us / 1e3,
                "percentage": 100 * kernel.time_us / whole_us if whole_us else 0.0,
            }
            for kernel in trace.kernels
        ),
    ]


def times_json(trace: Trace) -> list[dict[str, float]]:
    """Return what `trtexec --exportTimes` writes.

    Raises:
        InputError: The trace has no runs: it is a prediction, or was read from a profile alone.
    """
    if not trace.latency_ms.samples:
        raise InputError(
            f"The trace of {trace.name} has no runs to export the times of: it is {trace.evidence},"
            " by the sum of its kernels.",
            mend="Export its profile and its layers.",
        )
    enqueue_ms = (trace.end_to_end.enqueue_us or 0.0) / 1e3
    found, start_ms = [], _WARM_UP_MS
    for compute_ms in trace.latency_ms.samples:
        end_ms = start_ms + compute_ms
        found.append(
            {
                "startEnqMs": start_ms,
                "endEnqMs": start_ms + enqueue_ms,
                "startH2dMs": start_ms,
                "endH2dMs": start_ms,
                "startComputeMs": start_ms,
                "endComputeMs": end_ms,
                "startD2hMs": end_ms,
                "endD2hMs": end_ms,
                "h2dMs": 0.0,
                "computeMs": compute_ms,
                "d2hMs": 0.0,
                "latencyMs": compute_ms,
            }
        )
        start_ms = end_ms
    return found
