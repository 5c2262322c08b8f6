"""Runs torch models in eager mode and times them: the process that `torch` starts."""

from __future__ import annotations

import itertools
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch

from edgeattn.base.errors import MissingError
from edgeattn.base.worker import serve
from edgeattn.graph.names import is_inside
from edgeattn.models.build import BuiltModel, build
from edgeattn.profiling.measure.rounds import (
    PROFILED_RUNS,
    PROFILED_S,
    WARM_UP_RUNS,
    WARM_UP_S,
    Run,
    host_us,
    orders_from,
)
from edgeattn.profiling.measure.tensorrt.nvml import ClockWatch
from edgeattn.profiling.measure.torch.costs import CountCosts
from edgeattn.profiling.measure.torch.modules import Calls, CudaClock, HostClock, observed
from edgeattn.profiling.measure.torch.run import REQUEST
from edgeattn.records.trace import Kernel, Node, Site
from edgeattn.runtimes.runner import repeat, window

_ENQUEUED_RUNS: Final = 5
# Fewest rounds of a window, most, and seconds: a process takes as long to start, and longer.
_WINDOW: Final = (5, 200, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ready:
    """A model on its device.

    Attributes:
        model: The model.
        inputs: What it is run on.
        enqueue: Runs it once; on a GPU, it does not wait for it.
        is_on_gpu: Whether it is on a GPU.
    """

    model: BuiltModel
    inputs: Sequence[torch.Tensor]
    enqueue: Callable[[], None]
    is_on_gpu: bool

    def run(self) -> None:
        """Run it once, and wait until it has run."""
        self.enqueue()
        if self.is_on_gpu:
            torch.cuda.synchronize()


def time_models(job: Mapping[str, Any]) -> dict[str, Any]:
    """Measure models end to end, without hooks, in a window of interleaved rounds.

    Beside other models, one run that is not timed goes before each that is, since the caches hold
    another's weights.

    Returns:
        `rows`, what each took in each round; the name of the `gpu`, "" of a CPU, and its `clocks`.
    """
    ready = [_ready(request, job) for request in job["models"]]
    for one in ready:
        repeat(one.run, fewest=WARM_UP_RUNS, seconds=WARM_UP_S)
    timers = [_timer(one.run, is_alone=len(ready) == 1) for one in ready]
    fewest, most, seconds = _WINDOW
    seconds = min(seconds, job["limit_s"] / 10)
    rows = window(timers, orders_from(job["number"], len(timers)), fewest, most, seconds)
    if not ready[0].is_on_gpu:
        return {"rows": rows, "gpu": "", "clocks": []}
    clocks = ClockWatch(_bus_id())
    clocks.look()
    return {"rows": rows, "gpu": torch.cuda.get_device_name(), "clocks": clocks.looks}


def profile_model(job: Mapping[str, Any]) -> dict[str, Any]:
    """Measure each module of a model by hooks.

    Returns:
        A node for each module that was called, in the order of the module tree, and a kernel for
        each that took time of its own; what the whole run took meanwhile, and the host to enqueue
        it on a GPU without hooks, in µs; and what is known of the model.
    """
    ready = _ready(job["models"][0], job)
    module = ready.model.module
    repeat(ready.run, fewest=WARM_UP_RUNS, seconds=WARM_UP_S)
    enqueue_us = None
    if ready.is_on_gpu:
        enqueue_us = host_us(ready.enqueue, ready.run, runs=_ENQUEUED_RUNS)
    clock: HostClock = CudaClock() if ready.is_on_gpu else HostClock()
    with observed(module, clock) as calls:
        counting = CountCosts(calls.here)
        with counting:
            ready.run()
        calls.take()
        owns_us = _own_times(ready, calls, clock)
    sites = ready.model.sites
    kernels, nodes = [], []
    for path, child in module.named_modules():
        own = [one[path] for one in owns_us if path in one]
        if not own:
            continue
        cost, op = counting.costs[path], type(child).__name__
        name = path or op  # the root's path is empty: it goes by its class
        nodes.append(
            Node(
                name=name,
                op_type=op,
                module=path,
                site=next((site.path for site in sites if is_inside(path, site.path)), ""),
                macs=cost.macs,
                element_ops=cost.element_ops,
                traffic_bytes=cost.traffic_bytes,
            )
        )
        if (time_us := statistics.median(own)) > 0:
            kernels.append(
                Kernel(
                    name=name,
                    op=op,
                    kind=cost.kind,
                    time_us=time_us,
                    traffic_bytes=cost.traffic_bytes,
                    macs=cost.macs,
                    nodes=(name,),
                    precision=cost.precision,
                )
            )
    return {
        "kernels": [one.model_dump() for one in kernels],
        "nodes": [one.model_dump() for one in nodes],
        "profiled_us": statistics.median(sum(one.values()) for one in owns_us),
        "enqueue_us": enqueue_us,
        "sites": [
            Site(path=s.path, attention=s.attention, shape=s.shape, params=s.params).model_dump()
            for s in sites
        ],
        "params": ready.model.params,
        "batch": next((size for one in ready.inputs for size in one.shape[:1]), None),
        "weights_bytes": sum(
            one.nbytes for one in itertools.chain(module.parameters(), module.buffers())
        ),
        "source": ready.model.source,
        "is_program": ready.model.program is not None,
        "notes": ready.model.notes,
    }


def _own_times(ready: _Ready, calls: Calls, clock: HostClock) -> list[dict[str, float]]:
    """Return each module's own time, in µs, for each of several runs."""

    def run(enqueued_us: float) -> tuple[float, dict[str, float]]:
        clock.begin(enqueued_us)
        began = time.perf_counter()
        ready.enqueue()
        return 1e6 * (time.perf_counter() - began), calls.take()

    warm = repeat(lambda: run(0.0), fewest=WARM_UP_RUNS, seconds=WARM_UP_S)
    enqueued_us = statistics.median(taken_us for taken_us, _ in warm)
    fewest, most = PROFILED_RUNS
    runs = repeat(lambda: run(enqueued_us), fewest=fewest, most=most, seconds=PROFILED_S)
    return [own_us for _, own_us in runs]


def _ready(asked: Mapping[str, Any], job: Mapping[str, Any]) -> _Ready:
    torch.set_num_threads(job["threads"])
    is_on_gpu = _is_on_gpu(job["device"])
    model = build(REQUEST.validate_python(asked))
    try:
        module = model.module.to("cuda" if is_on_gpu else "cpu")
        inputs = [
            (torch.cat([tensor] * job["batch"]) if tensor.ndim else tensor).to(
                "cuda" if is_on_gpu else "cpu"
            )
            for tensor in model.inputs
        ]
    except torch.OutOfMemoryError as error:
        raise MissingError(f"The GPU has not memory enough for {model.source}.") from error

    def enqueue() -> None:
        with torch.no_grad():
            module(*inputs)

    return _Ready(model=model, inputs=inputs, enqueue=enqueue, is_on_gpu=is_on_gpu)


def _is_on_gpu(device: str | None) -> bool:
    is_here = torch.cuda.is_available()
    if device == "cuda" and not is_here:
        raise MissingError(
            "torch sees no GPU.", mend="Run it on the CPU, or install torch with CUDA."
        )
    return is_here if device is None else device == "cuda"


def _bus_id() -> str:
    found: Any = torch.cuda.get_device_properties()  # torch's types know less of it
    return f"{found.pci_domain_id:08x}:{found.pci_bus_id:02x}:{found.pci_device_id:02x}.0"


def _timer(run: Callable[[], None], *, is_alone: bool) -> Run:
    def timed() -> float:
        if not is_alone:
            run()
        began = time.perf_counter()
        run()
        return 1e3 * (time.perf_counter() - began)

    return timed


def _do(job: dict[str, Any]) -> dict[str, Any]:
    return time_models(job) if job["task"] == "time" else profile_model(job)


if __name__ == "__main__":
    sys.exit(serve(_do))
