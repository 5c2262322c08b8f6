"""Runs a calibration's models in ONNX Runtime: the process that `calibrate` starts.

Models are run in interleaved rounds until the time is over: what disturbs the machine for a
while then disturbs a few runs of each. Rounds in which others computed count for nothing where
enough are left, and the slowest of the other runs count for nothing either.
"""

from __future__ import annotations

import math
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgeattn.base import files
from edgeattn.base.worker import say, serve
from edgeattn.graph.nodes import weights_bytes
from edgeattn.hosts.quiet import MOST_CORES_OF_OTHERS
from edgeattn.profiling.calibration.cases import cases, holds, wakes
from edgeattn.profiling.calibration.graphs import TIMED, chain
from edgeattn.profiling.measure.machine import Load, Watch
from edgeattn.profiling.predict.cpu.work import work_of
from edgeattn.runtimes.runner import NodeEvent, read_events, session_options

if TYPE_CHECKING:
    import onnx_ir as ir

# Runs of a model in a round: the first brings its weights back into the cache.
_WARM_RUNS: Final = 1
_TIMED_RUNS: Final = 2
_FEWEST_ROUNDS: Final = 4
_TYPICAL: Final = 0.95
# Reorders stand beside what is timed.
_BESIDE: Final = frozenset({"ReorderInput", "ReorderOutput"})
_PARTS: Final = 20


class _Session:
    """A session of ONNX Runtime's, set up as those that models are measured in."""

    def __init__(
        self,
        model: bytes,
        threads: int,
        folder: Path,
        name: str,
        *,
        profile: bool = True,
        pause_s: float = 0.0,
    ) -> None:
        import numpy as np
        import onnxruntime

        options = session_options(threads)
        self.graph = folder / f"{name}.onnx"
        options.optimized_model_filepath = str(self.graph)
        if profile:
            options.enable_profiling = True
            options.profile_file_prefix = str(folder / name)
        self._session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )
        draw = np.random.default_rng(0).normal
        self._feeds = {
            value.name: draw(0, 1, value.shape).astype(np.float32)
            for value in self._session.get_inputs()
        }
        self._pause_s = pause_s
        self.seconds: list[float] = []

    def run(self) -> None:
        for _ in range(_WARM_RUNS):
            self._session.run(None, self._feeds)
        for _ in range(_TIMED_RUNS):
            end = time.perf_counter() + self._pause_s
            while time.perf_counter() < end:
                pass
            began = time.perf_counter()
            self._session.run(None, self._feeds)
            self.seconds.append(time.perf_counter() - began)

    def events(self) -> dict[str, list[NodeEvent]]:
        """End the profiling, and return the runs of each node."""
        found = defaultdict(list)
        for event in read_events(self._session.end_profiling())[0]:
            found[event.name].append(event)
        return found


def measure(job: Mapping[str, Any]) -> dict[str, Any]:
    """Run all models in interleaved rounds.

    Args:
        job: `threads`, `seconds` that it may take, and `cache_kib`, as the system has it.

    Returns:
        `samples`: of each model, what its kernels do and take in µs, the profiler's share
        included; `wakes`: the same on one thread and on all; `node_us`: what the smallest node
        takes without the profiler, and `profiled_us` with it, by threads; `load`.
    """
    threads, end = int(job["threads"]), time.perf_counter() + float(job["seconds"])
    with files.scratch() as folder:
        waking = list(wakes()) if threads > 1 else []
        runs = [(case, threads) for case in cases()]
        runs += [(case, 1) for case in holds(job["cache_kib"])]
        runs += [(case, count) for case in waking for count in (1, threads)]
        sessions = []
        for place, (case, count) in enumerate(runs):
            session = _Session(case.model, count, folder, f"case{place}", pause_s=case.pause_s)
            sessions.append(session)
            say(stage=f"models {place + 1}/{len(runs)}")
        counts = sorted({1, threads})
        links, nodes = chain()
        plain = {n: _Session(links, n, folder, f"plain{n}", profile=False) for n in counts}
        seen = {n: _Session(links, n, folder, f"seen{n}") for n in counts}
        loads = _rounds([*sessions, *plain.values(), *seen.values()], end)
        kept = _kept(loads)
        found = [
            {
                "threads": n,
                "case": case.name,
                "role": case.role,
                "pause_us": 1e6 * case.pause_s,
                "kernels": _kernels(session, kept),
            }
            for (case, n), session in zip(runs, sessions, strict=True)
        ]
        return {
            "samples": found,
            "node_us": {n: 1e6 * _typical(one.seconds, kept) / nodes for n, one in plain.items()},
            "profiled_us": {n: _of_chain(one, kept) for n, one in seen.items()},
            "load": asdict(_load_of([loads[place] for place in kept])),
        }


def _rounds(sessions: Sequence[_Session], end: float) -> list[Load]:
    """Run each session in each round; return the load of each round."""
    began = time.perf_counter()
    loads: list[Load] = []
    part = -1
    while len(loads) < _FEWEST_ROUNDS or time.perf_counter() < end:
        watch = Watch()
        for session in sessions:
            session.run()
        loads.append(watch.load())
        now = int(_PARTS * min(1.0, (time.perf_counter() - began) / max(1e-9, end - began)))
        if now > part:
            part = now
            say(stage=f"runs {100 * part // _PARTS}/100")
    return loads


def _kept(loads: Sequence[Load]) -> list[int]:
    """Return the rounds that count: the quiet ones, or the quietest where there are too few."""
    by_load = sorted(range(len(loads)), key=lambda place: loads[place].cores_of_others)
    quiet = [one for one in by_load if loads[one].cores_of_others <= MOST_CORES_OF_OTHERS]
    return sorted(quiet if len(quiet) >= _FEWEST_ROUNDS else by_load[:_FEWEST_ROUNDS])


def _load_of(loads: Sequence[Load]) -> Load:
    """Sum up the load of rounds of like length."""
    clocks = [mhz for load in loads for mhz in load.clock_mhz or ()]
    return replace(
        loads[-1],
        cores_of_others=sum(load.cores_of_others for load in loads) / len(loads),
        clock_mhz=(min(clocks), max(clocks)) if clocks else None,
    )


def _kernels(session: _Session, kept: Sequence[int]) -> list[dict[str, Any]]:
    """Return what each kernel that counts does, and take."""
    import onnx_ir as ir

    graph = ir.load(session.graph).graph
    events = session.events()
    for node in graph:
        outputs = events[node.name or ""][-1].outputs
        for value, (_, shape) in zip(node.outputs, outputs, strict=False):
            value.shape = ir.Shape(shape)
    return [
        {
            "work": asdict(work_of(node, _traffic_bytes(node, events[node.name or ""][-1]), 0)),
            "time_us": _typical(_timed(events[node.name or ""]), kept),
        }
        for node in graph
        if (node.name or "").startswith(TIMED) or node.op_type in _BESIDE
    ]


def _traffic_bytes(node: ir.Node, event: NodeEvent) -> float:
    return float(event.activation_bytes + weights_bytes(node))


def _timed(events: Sequence[NodeEvent]) -> list[float]:
    """Return what the runs that are timed took, in µs, in their order."""
    each = _WARM_RUNS + _TIMED_RUNS
    return [event.time_us for place, event in enumerate(events) if place % each >= _WARM_RUNS]


def _of_chain(session: _Session, kept: Sequence[int]) -> float:
    lows = [_typical(_timed(own), kept) for own in session.events().values()]
    return sum(lows) / len(lows)


def _typical(values: Sequence[float], kept: Sequence[int]) -> float:
    """Return the mean of the timed runs of some rounds, but for the slowest twentieth of them.

    A network is many kernels: whatever slows some of them now and then is in all of its runs, and
    would not be in a median of a single kernel's.
    """
    import numpy as np

    by_round = np.asarray(values).reshape(-1, _TIMED_RUNS)
    own = np.sort(by_round[list(kept)], axis=None)
    return float(own[: math.ceil(_TYPICAL * len(own))].mean())


if __name__ == "__main__":
    sys.exit(serve(measure))
