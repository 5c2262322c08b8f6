"""What makes the times of an engine doubtful, as trtexec has it."""

from __future__ import annotations

from edgeattn.profiling.samples import MOST_ENQUEUE, MOST_VARIATION
from edgeattn.records.trace import Latency


def doubts_of(latency: Latency, enqueue_us: float | None) -> list[str]:
    """Return why the latency of an engine is not to be trusted.

    Args:
        latency: GPU compute.
        enqueue_us: What the host took to enqueue a run; None where it is not known.
    """
    found = []
    if (latency.cv or 0) > MOST_VARIATION:
        found.append(
            f"The coefficient of variation is {latency.cv:.1%}, above {MOST_VARIATION:.1%}: lock"
            " the GPU's clocks, and let nothing else run on it."
        )
    if enqueue_us is not None and enqueue_us > MOST_ENQUEUE * 1e3 * latency.p50:
        found.append(
            f"Enqueuing a run takes the host {enqueue_us:.0f} µs, and the GPU computes for"
            f" {1e3 * latency.p50:.0f} µs: it may wait for the host. Capture the run in a CUDA"
            " graph (trtexec --useCudaGraph)."
        )
    return found
