"""Predicts what the kernels of ONNX Runtime take on a CPU.

    time = floor + max(busy, memory, bytes) + 0.5 min(busy, memory)
    busy = min(work + wake / 2, work / threads + wake)

Of a layer, work is the arithmetic by the rate of its class, lengthened by what the ends of each run
cost, and the pass of a fused activation; of other kernels, what their loops move by the rate of
their operator: both of one core. Of n threads each does a part once it has been woken, unless one
has done it all before; other kernels than layers wake nobody then, which saves the half. bytes are
a layer's, by the rate at which weights are read out of the cache. memory is what is not in there,
by the memory's bandwidth: prefetching hides about half of the shorter of it and the work.

What it does badly, by benchmarks/prediction_cpu.py: networks of hundreds of tiny kernels take 5 to
20 % longer than it says, and single reorders, pools and resizes of large maps up to twice as long.
What a machine does otherwise from one minute to the next, it does not know.

A time is what the kernel adds to the latency without a profiler, which itself adds 5 µs and more
to each kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from edgeattn.profiling.predict.cpu.machine import CpuMachine
from edgeattn.records.work import Work

Bound = Literal["compute", "traffic", "floor"]

#: What prefetching does not hide of the shorter of two that go on at once.
EXPOSED: Final = 0.5
# These copy on one thread.
_ALONE: Final = frozenset(
    [
        "Concat", "Expand", "Gather", "InstanceNormalization", "Pad", "Slice", "Softmax-strided",
        "Split", "Tile", "Transpose",
    ]
)  # fmt: skip
#: What calling the others takes of what it takes until they are awake.
CALL: Final = 0.5
#: Layers read what they need out of the cache as this operator does, all threads together: a
#: product of one row, which is weights and little else.
READS: Final = "Gemm"


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelTime:
    """What a kernel is predicted to take, in µs, and what most of it goes to."""

    time_us: float
    bound: Bound


def is_shared(work: Work) -> bool:
    """Return whether several threads do it together."""
    return work.operator not in _ALONE


def shared_us(one_us: float, threads: int, wake_us: float, *, always: bool) -> float:
    """Return what several threads take for what one takes `one_us` for.

    Args:
        one_us: What one takes.
        threads: How many there are.
        wake_us: What waking the others adds.
        always: Whether they are woken however little there is to do.
    """
    if threads == 1:
        return one_us
    alone = one_us + (CALL * wake_us if always else 0.0)
    return min(alone, one_us / threads + wake_us)


def one_core_us(took_us: float, threads: int, wake_us: float, *, always: bool) -> float:
    """Return what one takes for what several took that long for: the inverse of `shared_us`."""
    if threads == 1:
        return took_us
    call_us = CALL * wake_us if always else 0.0
    # Where both of its forms give the same.
    least = (wake_us - call_us) * threads / (threads - 1)
    return (
        max(0.0, took_us - call_us) if took_us <= least + call_us else threads * (took_us - wake_us)
    )


def time_of(
    work: Work, memory_bytes: float, machine: CpuMachine, precision: str = "fp32"
) -> KernelTime:
    """Predict what a kernel takes.

    Args:
        work: What it does.
        memory_bytes: Bytes that are not in the last cache.
        machine: The CPU.
        precision: What it computes in.
    """
    memory = memory_bytes / machine.memory_gbps / 1e3
    if work.layer is None:
        reading = 0.0
        busy = work.moved_bytes / machine.operator_gbps(work.operator, work.kind) / 1e3
        if is_shared(work):
            busy = shared_us(busy, machine.threads, machine.wake_us, always=False)
    else:
        reading = work.moved_bytes / machine.operator_gbps(READS, work.kind) / 1e3
        reading /= machine.threads
        slower = 1 + machine.ends(work.layer) / work.run
        busy = work.flops * slower / machine.layer_gflops(work.layer, precision) / 1e3
        if work.activation:
            rate = machine.operator_gbps(work.activation, "pointwise")
            busy += work.activation_bytes / rate / 1e3
        busy = shared_us(busy, machine.threads, machine.wake_us, always=True)
    time_us = machine.floor_us + max(busy, memory, reading) + EXPOSED * min(busy, memory)
    computes = work.layer is not None and busy > max(memory, reading)
    bound: Bound = "compute" if computes else "traffic"
    return KernelTime(time_us=time_us, bound=bound if time_us > 2 * machine.floor_us else "floor")
