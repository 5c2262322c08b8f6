"""Runs a calibration's models in ONNX Runtime, here or on a host: by the one runner of both.

Models are run in interleaved rounds until the time is over: what disturbs the machine for a
while then disturbs a few runs of each. All rounds do the same, so those that took longest were
disturbed and count for nothing, and the slowest of the other runs count for nothing either.

The weights of all models are in one file, which the runner makes: a model is a few hundred bytes.
"""

from __future__ import annotations

import base64
import math
import statistics
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, NonNegativeFloat, NonNegativeInt, PositiveFloat

from edgeattn.base import documents
from edgeattn.base.errors import InputError
from edgeattn.graph.nodes import weights_bytes
from edgeattn.options.profile import Stage
from edgeattn.profiling.calibration.cases import Case, cases, holds, wakes
from edgeattn.profiling.calibration.fit import Sample
from edgeattn.profiling.calibration.graphs import TIMED, chain
from edgeattn.profiling.measure.machine import Load, Watch
from edgeattn.profiling.measure.place import HERE, Place
from edgeattn.profiling.predict.cpu.work import work_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

# Timed runs of a model in a round; one before them brings its weights back into the cache.
_TIMED_RUNS: Final = 2
_FEWEST_ROUNDS: Final = 4
# So much longer than the fewest that count may a round take that counts too.
_ALIKE: Final = 1.08
_TYPICAL: Final = 0.95
_PREEMPTED: Final = 4.0
# The profiler's part of a kernel's time is this at most.
_MOST_SHARE: Final = 0.9
# Reorders stand beside what is timed.
_BESIDE: Final = frozenset({"ReorderInput", "ReorderOutput"})
_PARTS: Final = 20
# Models are sent so many at a time; what loading some takes at most, and a round on a slow device.
_AT_ONCE: Final = 8
_LOAD_S, _ROUND_S = 60.0, 60.0
_LARGEST_GRAPH: Final = 1 << 26


class _Node(BaseModel):
    name: str
    us: list[NonNegativeFloat]
    activation_bytes: NonNegativeInt
    output_shapes: list[list[NonNegativeInt]]


class _Seen(BaseModel):
    ms: list[PositiveFloat]
    nodes: list[_Node]
    graph: str


class _All(BaseModel):
    cases: list[_Seen]


class _Round(BaseModel):
    seconds: PositiveFloat


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a calibration's models took.

    Attributes:
        samples: Each kernel that counts, without what the profiler adds to it.
        floor_us: What the smallest kernel takes on all threads.
        load: What this machine did meanwhile, in the rounds that count; None of a host.
    """

    samples: tuple[Sample, ...]
    floor_us: float
    load: Load | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    case: Case
    threads: int
    profile: bool = True

    def job(self) -> dict[str, Any]:
        return {
            "name": f"the calibration's {self.case.name}",
            "model": base64.b64encode(self.case.model.data).decode(),
            "inputs": self.case.model.inputs,
            "threads": self.threads,
            "pause_s": self.case.pause_s,
            "runs": _TIMED_RUNS,
            "profile": self.profile,
        }


def run_cases(
    threads: int,
    seconds: float,
    cache_kib: int | None,
    *,
    place: Place = HERE,
    on_stage: Stage = lambda _: None,
) -> Found:
    """Run all models in interleaved rounds.

    Args:
        threads: Threads of sessions.
        seconds: How long rounds go on.
        cache_kib: The last cache, as the system has it; None if it does not say.
        place: Where.
        on_stage: Called with how far it is.

    Raises:
        InputError: ONNX Runtime there does not load a model, or fails while it runs.
    """
    waking = list(wakes()) if threads > 1 else []
    runs = [_Run(case=case, threads=threads) for case in cases(cache_kib)]
    runs += [_Run(case=case, threads=1) for case in holds(cache_kib)]
    runs += [_Run(case=case, threads=count) for case in waking for count in (1, threads)]
    counts = sorted({1, threads})
    links, nodes = chain()
    linked = Case(name="chain", model=links, role="chain")
    chains = [_Run(case=linked, threads=n, profile=seen) for seen in (False, True) for n in counts]
    every = [*runs, *chains]
    with place.folder() as folder, place.runner("calibrated") as runner:
        for first in range(0, len(every), _AT_ONCE):
            on_stage(f"models {first}/{len(every)}")
            job = {
                "task": "cases",
                "cases": [one.job() for one in every[first : first + _AT_ONCE]],
                "folder": folder,
                "first": first == 0,
                "weights_bytes": max(one.case.model.weights_bytes for one in every),
            }
            runner.ask(job, limit_s=place.limit_s(_LOAD_S))
        took: list[float] = []
        loads: list[Load] = []
        began = time.perf_counter()
        while len(took) < _FEWEST_ROUNDS or time.perf_counter() - began < seconds:
            watch = Watch() if place is HERE else None
            said = runner.ask({"task": "round"}, limit_s=place.limit_s(_ROUND_S))
            took.append(documents.checked(_Round, said, "The runner gives no round").seconds)
            if watch is not None:
                loads.append(watch.load())
            part = min(1.0, (time.perf_counter() - began) / max(1e-9, seconds))
            on_stage(f"runs {5 * int(_PARTS * part)}/100")
        said = runner.ask({"task": "seen"}, limit_s=place.limit_s(_LOAD_S))
        runner.finish()
    seen = documents.checked(_All, said, "The runner does not say what was seen").cases
    if len(seen) != len(every):
        raise InputError("The runner saw other models than it was given.")
    kept = _kept(took)
    plain, profiled = seen[len(runs) : -len(counts)], seen[-len(counts) :]
    node_us = {
        n: 1e3 * _typical(one.ms, kept) / nodes for n, one in zip(counts, plain, strict=True)
    }
    share = {
        n: statistics.median(_typical(node.us, kept) for node in one.nodes) - node_us[n]
        for n, one in zip(counts, profiled, strict=True)
    }
    kernels = [list(_kernels(one, kept, place.block_channels)) for one in seen[: len(runs)]]
    for n in counts:  # no kernel takes less than what the profiler adds to it
        own = [us for run, one in zip(runs, kernels, strict=True) for _, us in one
               if run.threads == n]  # fmt: skip
        share[n] = min([share[n], *(_MOST_SHARE * us for us in own)])
    samples = [
        Sample(
            case=run.case.name,
            role=run.case.role,
            threads=run.threads,
            work=work,
            time_us=max(0.0, time_us - share[run.threads]),
            pause_us=1e6 * run.case.pause_s,
        )
        for run, one in zip(runs, kernels, strict=True)
        for work, time_us in one
    ]
    load = _load_of([loads[number] for number in kept]) if loads else None
    return Found(samples=tuple(samples), floor_us=node_us[threads], load=load)


def _kept(took: Sequence[float]) -> list[int]:
    """Return the rounds that count: those that took about as long as the fastest ones."""
    by_time = sorted(range(len(took)), key=lambda number: took[number])
    most = _ALIKE * took[by_time[_FEWEST_ROUNDS - 1]]
    return sorted(number for number in by_time if took[number] <= most)


def _load_of(loads: Sequence[Load]) -> Load:
    """Sum up the load of rounds of like length."""
    clocks = [mhz for load in loads for mhz in load.clock_mhz or ()]
    return replace(
        loads[-1],
        cores_of_others=sum(load.cores_of_others for load in loads) / len(loads),
        clock_mhz=(min(clocks), max(clocks)) if clocks else None,
    )


def _kernels(seen: _Seen, kept: Sequence[int], block: int) -> Iterator[tuple[Any, float]]:
    """Yield what each kernel that counts does, and takes."""
    import onnx
    import onnx_ir as ir

    unpacking = zlib.decompressobj()
    data = unpacking.decompress(base64.b64decode(seen.graph), _LARGEST_GRAPH)
    graph = ir.from_proto(onnx.ModelProto.FromString(data)).graph
    nodes = {one.name: one for one in seen.nodes}
    for node in graph:
        own = nodes.get(node.name or "")
        for value, shape in zip(node.outputs, own.output_shapes if own else (), strict=False):
            value.shape = ir.Shape(shape)
    for node in graph:
        name = node.name or ""
        if name in nodes and (name.startswith(TIMED) or node.op_type in _BESIDE):
            own = nodes[name]
            traffic = float(own.activation_bytes + weights_bytes(node))
            yield work_of(node, traffic, 0, block), _typical(own.us, kept)


def _typical(values: Sequence[float], kept: Sequence[int]) -> float:
    """Return the mean of the timed runs of some rounds, but for the slowest twentieth of them.

    A network is many kernels: whatever slows some of them now and then is in all of its runs, and
    would not be in a median of a single kernel's. What takes many times the median was not run:
    another process was.
    """
    import numpy as np

    by_round = np.asarray(values).reshape(-1, _TIMED_RUNS)
    own = np.sort(by_round[list(kept)], axis=None)
    own = own[own <= _PREEMPTED * np.median(own)]
    return float(own[: math.ceil(_TYPICAL * len(own))].mean())
