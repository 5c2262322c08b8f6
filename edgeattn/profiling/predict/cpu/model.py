"""What a model is predicted to take on a CPU: its kernels, in order, one after another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgeattn.profiling.predict.cpu import interval
from edgeattn.profiling.predict.cpu.cache import Cache, alive_bytes
from edgeattn.profiling.predict.cpu.machine import CpuMachine
from edgeattn.profiling.predict.cpu.machine import is_known as has_rate
from edgeattn.profiling.predict.cpu.predict import KernelTime, time_of
from edgeattn.profiling.predict.gpu.traffic import Piece, Traffic
from edgeattn.records.trace import Kernel
from edgeattn.records.work import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedModel:
    """What a model is predicted to take.

    Attributes:
        kernels: Its kernels, with their times.
        latency_us: All of them, one after another.
        low_us: It takes no less, in 19 cases of 20.
        high_us: It takes no more, in 19 cases of 20.
    """

    kernels: tuple[Kernel, ...]
    latency_us: float
    low_us: float
    high_us: float


def predict_model(
    kernels: Sequence[Kernel], machine: CpuMachine, shared: Sequence[float]
) -> PredictedModel:
    """Predict what the kernels of one inference take.

    Args:
        kernels: The kernels, in the order in which they run, each with its work.
        machine: The CPU.
        shared: Spreads of the errors that all kernels share.
    """
    works = [work_of(kernel) for kernel in kernels]
    times = [one for one, _ in timed(kernels, machine)]
    spreads = [interval.KNOWN if is_known(work) else interval.UNKNOWN for work in works]
    found = tuple(
        kernel.model_copy(
            update={
                "time_us": one.time_us,
                "interval_us": interval.bounds(one.time_us, spread, *shared),
                "bound": one.bound,
            }
        )
        for kernel, one, spread in zip(kernels, times, spreads, strict=True)
    )
    each_us = [one.time_us for one in times]
    total = math.fsum(each_us)
    low, high = interval.bounds(total, interval.of_many(each_us, spreads), *shared)
    return PredictedModel(kernels=found, latency_us=total, low_us=low, high_us=high)


def timed(kernels: Sequence[Kernel], machine: CpuMachine) -> list[tuple[KernelTime, float]]:
    """Run kernels one after another, twice: the second time, as after another inference.

    Returns:
        What each takes, and the bytes that are not in the last cache for it.
    """
    works, traffic = [work_of(one) for one in kernels], [traffic_of(one) for one in kernels]
    cache = Cache(machine.cache_bytes, machine.cache_holds_us)
    needed = sum(work.weights_bytes for work in works) + alive_bytes(traffic)
    now_us, latency_us = 0.0, 0.0
    found: list[tuple[KernelTime, float]] = []
    for _ in range(2):
        began_us, found = now_us, []
        missing = 1 - cache.part_of_weights(needed, latency_us)
        for kernel, work, moved in zip(kernels, works, traffic, strict=True):
            missed = cache.missed_bytes(moved, now_us) + missing * work.weights_bytes
            time = time_of(work, missed, machine, kernel.precision or "fp32")
            found.append((time, missed))
            now_us += time.time_us
            cache.touch(moved, now_us)
        latency_us = now_us - began_us
    return found


def is_known(work: Work) -> bool:
    """Return whether a kernel's work has a rate of its own: a class of layers, a loop, a view."""
    return work.layer is not None or not work.moved_bytes or has_rate(work.operator)


def work_of(kernel: Kernel) -> Work:
    """Return what a kernel does; of one whose work nobody knows, the bytes that it moves.

    Such are those of branches and loops, which the optimised graph holds elsewhere.
    """
    return kernel.work or Work(
        operator=kernel.op, kind=kernel.kind, moved_bytes=float(kernel.traffic_bytes or 0)
    )


def traffic_of(kernel: Kernel) -> Traffic:
    """Return which tensors a kernel touches, weights left out; a view touches none."""
    work = work_of(kernel)
    if not work.moved_bytes:
        return Traffic(product=None, reads=(), writes=())
    return Traffic(
        product=None,
        reads=_pieces(kernel.inputs, work.reads_bytes),
        writes=_pieces(kernel.outputs, work.writes_bytes),
    )


def _pieces(names: Sequence[str], sizes: Sequence[float]) -> tuple[Piece, ...]:
    return tuple(Piece(name=name, size=size) for name, size in zip(names, sizes, strict=False))
