"""The profiler of TensorRT: what each layer of a run took."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def profiler_of(trt: Any, on_layer: Callable[[str, float], None]) -> Any:
    """Make the profiler that a library reports to; whoever gives it to a context must keep it.

    Args:
        trt: The library's module.
        on_layer: Called for each layer of each run, with its name and what it took, in ms.
    """

    class Profiler(trt.IProfiler):  # type: ignore[misc]  # the library has no types
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            on_layer(layer_name, ms)

    return Profiler()
