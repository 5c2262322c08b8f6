"""A prediction against what was measured: as a whole, and by kind of kernel."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgeattn.records.kinds import Kind
from edgeattn.records.trace import KIND_TITLES, Expected, Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class KindPair:
    """What kernels of a kind take, without the profiler's part, and were predicted to."""

    kind: Kind
    measured_us: float
    predicted_us: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """A prediction beside a measurement.

    Attributes:
        expected: The prediction.
        error: What it misses, as a part of what was measured: -0.1 is 10 % too fast.
        holds: Whether what was measured lies in its interval.
        kinds: The same by kind; none where other kernels were predicted than ran.
        added_us: What the profiler is taken to have added to each kernel.
    """

    expected: Expected
    error: float
    holds: bool
    kinds: tuple[KindPair, ...]
    added_us: float


def beside(trace: Trace) -> Beside | None:
    """Set a trace's prediction against what was measured; None if there is none."""
    expected, measured_ms = trace.expected, trace.latency_ms.p50
    if expected is None or measured_ms <= 0:
        return None
    low, high = expected.interval_ms
    whole_us = math.fsum(one.time_us for one in trace.kernels)
    added_us = (whole_us - trace.end_to_end.latency_us) / max(1, len(trace.kernels))
    if trace.end_to_end.streams > 1:  # what overlaps is not the profiler's
        added_us = 0.0
    added_us = max(0.0, added_us)
    return Beside(
        expected=expected,
        error=expected.latency_ms / measured_ms - 1,
        holds=low <= measured_ms <= high,
        kinds=_kinds(trace, expected, added_us),
        added_us=added_us,
    )


def _kinds(trace: Trace, expected: Expected, added_us: float) -> tuple[KindPair, ...]:
    if not expected.kernels_us:
        return ()
    found = []
    for kind in KIND_TITLES:
        own = [place for place, one in enumerate(trace.kernels) if one.kind == kind]
        if own:
            found.append(
                KindPair(
                    kind=kind,
                    measured_us=sum(max(0.0, trace.kernels[at].time_us - added_us) for at in own),
                    predicted_us=sum(expected.kernels_us[at] for at in own),
                )
            )
    return tuple(found)
