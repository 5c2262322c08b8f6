"""Makes a CPU's device profile of figures, and samples of traces that were measured on it.

A calibration measures all classes and operators, and its fastest are the peak and the cache's
bandwidth. Traces of models tell of those that the models have: these are parts of the peak that is
known, and what no trace tells of moves with the rest, by the median of what the others moved.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, get_args

from edgeattn.devices.schema import DeviceProfile
from edgeattn.profiling.calibration.figures import Figure, Fitted
from edgeattn.profiling.calibration.fit import Figures, Rate, Sample, fit
from edgeattn.profiling.predict.cpu.machine import OPERATORS, CpuMachine, machine_of
from edgeattn.profiling.predict.cpu.model import timed, work_of
from edgeattn.profiling.predict.cpu.predict import EXPOSED, time_of
from edgeattn.records.trace import Kernel, Trace
from edgeattn.records.work import Layer

# Parts are no less.
_LEAST_PART: Final = 0.0001
_LEAST_OF_PEAK: Final = 0.01
# A kernel tells of its rate if no more than this of its time goes to memory.
_MOST_OF_MEMORY: Final = 0.3
# One tells of memory if that takes so many times what it computes.
_BOUND: Final = 2.0
# One tells of its rate if it takes so many times the least.
_FLOORS: Final = 2.0
# So many kernels that do next to nothing tell of the floor.
_FEWEST: Final = 5
_NEXT_TO_NOTHING: Final = 0.3
_OWN_KEYS: Final[dict[Layer, str]] = {"dense": "compute", "depthwise": "depthwise"}
_WORDS: Final[dict[Layer, str]] = {
    "dense": "convolutions of several places",
    "pointwise": "1x1 convolutions",
    "stem": "convolutions of few channels, as of an image",
    "grouped": "groups of some channels each",
    "depthwise": "depthwise convolutions",
    "plain": "convolutions that are not blocked",
    "plain-depthwise": "depthwise convolutions that are not blocked",
    "product": "Gemm and MatMul",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A device with figures, and how each was got, by its key."""

    device: DeviceProfile
    how: Mapping[str, str]


def device_of(figures: Figures, start: DeviceProfile, *, is_whole: bool) -> Told:
    """Return a device with figures.

    Args:
        figures: Those that are known.
        start: The device as it is believed to be.
        is_whole: Whether they are those of a calibration, which measures all.
    """
    cores = figures.threads
    machine = machine_of(start, start.at(), min(cores, start.cores or cores))
    gflops = max((rate.value for rate in figures.layers.values()), default=0.0)
    gbps = max((rate.value for rate in figures.operators.values()), default=0.0)
    slower = 1.0
    if not is_whole:
        slower = _moved(figures, machine)
        gflops = max(gflops, machine.core_gflops["fp32"])
        gbps = max(gbps, machine.core_gbps * _operators_moved(figures, machine))
    said = start.efficiency
    layers = {
        **{name: _part(part * slower) for name, part in said.layers.items()},
        **{name: _part(rate.value / gflops) for name, rate in figures.layers.items()},
    }
    own = {
        "compute": _part(layers.get("dense", said.compute * slower), _LEAST_OF_PEAK),
        "depthwise": _part(
            layers.get("depthwise", (said.depthwise or said.compute / 3) * slower), _LEAST_OF_PEAK
        ),
    }
    was = machine.core_gbps / gbps
    operators = {
        **{name: _part(part * was) for name, part in said.operators.items()},
        **{name: _part(rate.value / gbps) for name, rate in figures.operators.items()},
    }
    efficiency = said.model_copy(
        update={
            **own,
            "layers": {
                name: _part(part, _LEAST_OF_PEAK)
                for name, part in layers.items()
                if name not in _OWN_KEYS
            },
            "ends": said.ends | {name: r.ends for name, r in figures.layers.items() if r.ends},
            "operators": operators,
            **({"bandwidth": {"other": 1.0}} if figures.memory_gbps is not None else {}),
        }
    )
    update: dict[str, Any] = {
        "cores": cores,
        "last_level_gbps": cores * gbps,
        "kernel_floor_us": figures.floor_us,
        "peak_tflops": dict(start.peak_tflops) | {"fp32": cores * gflops / 1e3},
        "efficiency": efficiency,
    }
    known = {
        "bandwidth_gbps": figures.memory_gbps,
        "wake_us": figures.wake_us,
        "last_level_holds_us": figures.holds_us,
    }
    update |= {key: value for key, value in known.items() if value is not None}
    return Told(device=start.model_copy(update=update), how=_how(figures))


def _how(figures: Figures) -> dict[str, str]:
    """Return how figures were got: `1x1 convolutions: 83.5, from 79.8 to 88.8 at 6 sizes`."""
    found = {
        "efficiency": "Parts of that peak; behind each, GFLOP/s of one core where runs are long.",
        "efficiency.ends": "Places of a row, or of a whole map, that its ends cost.",
        "efficiency.operators": "Parts of last_level_gbps; behind each, GB/s of one core. -strided:"
        " along an axis\nthat does not lie together; -broadcast: one of two tensors is stretched.",
    }
    for name, rate in figures.layers.items():
        key = _OWN_KEYS.get(name, f"layers.{name}")
        found[f"efficiency.{key}"] = f"{_WORDS[name]}: {_seen(rate)}"
    for operator, rate in figures.operators.items():
        found[f"efficiency.operators.{operator}"] = _seen(rate)
    return found


def _seen(rate: Rate) -> str:
    if len(rate.seen) < 2:
        return f"{rate.value:.3g}"
    low, high = min(rate.seen), max(rate.seen)
    return f"{rate.value:.3g}, from {low:.3g} to {high:.3g} at {len(rate.seen)} sizes"


def _part(value: float, least: float = _LEAST_PART) -> float:
    return min(1.0, max(least, value))


def _moved(figures: Figures, machine: CpuMachine) -> float:
    """Return how many times as fast layers are as was believed, the median."""
    ratios = [
        rate.value / machine.layer_gflops(name, "fp32") for name, rate in figures.layers.items()
    ]
    return statistics.median(ratios) if ratios else 1.0


def _operators_moved(figures: Figures, machine: CpuMachine) -> float:
    known = {**OPERATORS, **machine.efficiency.operators}
    ratios = [
        rate.value / (known[name] * machine.core_gbps)
        for name, rate in figures.operators.items()
        if name in known
    ]
    return statistics.median(ratios) if ratios else 1.0


def fit_models(traces: Sequence[Trace], start: DeviceProfile) -> Fitted:
    """Fit the figures of a CPU to models that ONNX Runtime was measured with.

    Args:
        traces: What was measured; all on as many threads.
        start: What is believed of the CPU.

    Raises:
        InputError: It has not so many cores.
    """
    threads = traces[0].machine.threads or start.cores or 1
    was = start = with_cores(start, threads)
    memory_gbps = _memory_gbps(traces, machine_of(start, start.at(), threads))
    if memory_gbps is not None:
        all_of_it = start.efficiency.model_copy(update={"bandwidth": {"other": 1.0}})
        start = start.model_copy(update={"bandwidth_gbps": memory_gbps, "efficiency": all_of_it})
    machine = machine_of(start, start.at(), threads)
    samples = [one for trace in traces for one in _samples(trace, machine)]
    told = _floor_us(samples, machine)
    floor_us = machine.floor_us if told is None else told
    found = fit(
        [one for one in samples if one.role == "table" and one.time_us > _FLOORS * floor_us],
        threads,
        floor_us,
        ends={name: machine.ends(name) for name in get_args(Layer)},
        wake_us=machine.wake_us,
    )
    known = {
        *([] if told is None else ["kernel_floor_us"]),
        *([] if memory_gbps is None else ["bandwidth_gbps"]),
    }
    device = device_of(replace(found, memory_gbps=memory_gbps), start, is_whole=False).device
    return Fitted(
        device=device,
        figures=tuple(_figures(found, was, device, known)),
        outliers=(),
    )


def with_cores(device: DeviceProfile, cores: int) -> DeviceProfile:
    """Return a CPU with as many cores, at what one of its own reaches."""
    by = cores / (device.cores or cores)
    cache = device.last_level_gbps
    return device.model_copy(
        update={
            "cores": cores,
            "peak_tflops": {name: peak * by for name, peak in device.peak_tflops.items()},
            "last_level_gbps": cache and cache * by,
        }
    )


def _timed(trace: Trace, machine: CpuMachine) -> Iterator[tuple[Kernel, float, float]]:
    """Yield kernels, what they take without the profiler's share, and what is not in the cache.

    Together they take what the model does, which was measured better than each of them: what lies
    between kernels is a part of each.
    """
    kernels = [one for one in trace.kernels if one.work is not None]
    whole_us = sum(one.time_us for one in trace.kernels)
    latency_us = trace.end_to_end.latency_us
    share_us = max(0.0, (whole_us - latency_us) / max(1, len(trace.kernels)))
    share_us = min([share_us, *(one.time_us / 2 for one in kernels if one.time_us)])
    slower = max(1.0, latency_us / whole_us) if whole_us else 1.0
    for kernel, (_, missed) in zip(kernels, timed(kernels, machine), strict=True):
        time_us = slower * kernel.time_us - share_us
        if time_us > 0 and kernel.precision in ("", "fp32"):
            yield kernel, time_us, missed


def _memory_gbps(traces: Sequence[Trace], machine: CpuMachine) -> float | None:
    """Return what kernels read of memory that do little else, the median; None for too few."""
    found = []
    for trace in traces:
        for kernel, time_us, missed in _timed(trace, machine):
            busy_us = time_of(work_of(kernel), 0, machine).time_us
            took_us = time_us - machine.floor_us - EXPOSED * busy_us
            if missed / machine.memory_gbps / 1e3 > _BOUND * busy_us and took_us > 0:
                found.append(missed / took_us / 1e3)
    return statistics.median(found) if len(found) >= _FEWEST else None


def _samples(trace: Trace, machine: CpuMachine) -> Iterator[Sample]:
    """Return the kernels of a trace, and what they do in the cache."""
    for kernel, time_us, missed in _timed(trace, machine):
        work, memory_us = work_of(kernel), missed / machine.memory_gbps / 1e3
        role = "table"
        if not work.moved_bytes or memory_us > _MOST_OF_MEMORY * time_us:
            role = "other"  # a view, or bound by memory
        yield Sample(
            case=kernel.name,
            role=role,
            threads=machine.threads,
            work=work,
            time_us=time_us - EXPOSED * memory_us,
        )


def _floor_us(samples: Sequence[Sample], machine: CpuMachine) -> float | None:
    """Return the median of what kernels take that do next to nothing; None for too few."""
    most_us = (1 + _NEXT_TO_NOTHING) * machine.floor_us
    tiny = [one.time_us for one in samples if time_of(one.work, 0, machine).time_us <= most_us]
    return statistics.median(tiny) if len(tiny) >= _FEWEST else None


def _figures(
    found: Figures, start: DeviceProfile, device: DeviceProfile, known: Collection[str]
) -> Iterator[Figure]:
    def figure(key: str, before: float | None, after: float, rate: Rate | None) -> Figure:
        seen = () if rate is None else rate.seen
        return Figure(
            key=key,
            before=before,
            after=after,
            spread=_spread(seen),
            is_known=bool(seen) or key in known,
            kernels=len(seen),
        )

    was, now = start.efficiency, device.efficiency
    yield figure("kernel_floor_us", start.kernel_floor_us, device.kernel_floor_us, None)
    yield figure("bandwidth_gbps", start.bandwidth_gbps, device.bandwidth_gbps, None)
    yield figure("peak_tflops.fp32", start.peak_tflops["fp32"], device.peak_tflops["fp32"], None)
    cache = start.last_level_gbps
    yield figure("last_level_gbps", cache, device.last_level_gbps or 0.0, None)
    yield figure("efficiency.compute", was.compute, now.compute, found.layers.get("dense"))
    depthwise = found.layers.get("depthwise")
    yield figure("efficiency.depthwise", was.depthwise, now.depthwise or now.compute, depthwise)
    for name, part in now.layers.items():
        yield figure(
            f"efficiency.layers.{name}", was.layers.get(name), part, found.layers.get(name)
        )
    for operator, part in now.operators.items():
        yield figure(
            f"efficiency.operators.{operator}",
            was.operators.get(operator),
            part,
            found.operators.get(operator),
        )


def _spread(seen: Sequence[float]) -> float | None:
    logs = [math.log(one) for one in seen if one > 0]
    return statistics.stdev(logs) / math.sqrt(len(logs)) if len(logs) > 1 else None
