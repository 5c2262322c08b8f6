"""What each module of a torch model takes by itself, seen by hooks around its calls.

A call's own time is its time less that of the calls within it. What is within is what was called
meanwhile, and not what is registered inside: an attention is called from a hook of the module that
it attends, and its time is its own.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn

# No GPU's clock is much faster; a slower one is kept busy for longer.
_CLOCKS_PER_US: Final = 2000


class HostClock:
    """The processor's clock: it gives moments, and the time between two of them."""

    def begin(self, host_us: float) -> None:
        """Make ready for a run that the host takes this long to enqueue, in µs."""

    def now(self) -> Any:
        """Return this moment."""
        return time.perf_counter_ns()

    def us(self, start: Any, stop: Any) -> float:
        """Return the time between two moments, in µs, once `wait` was called."""
        return float(stop - start) / 1e3

    def wait(self) -> None:
        """Wait for what was begun."""


class CudaClock(HostClock):
    """The GPU's: events in its current stream.

    The host takes longer to enqueue small operations than the GPU to run them, and hooks add to it.
    So the GPU is kept busy first until the host is done: what it takes then is its own time.
    """

    def __init__(self) -> None:
        self._events: list[torch.cuda.Event] = []
        self._used = 0

    def begin(self, host_us: float) -> None:
        """Keep the GPU busy for half as long again as the host takes to enqueue a run."""
        self._used = 0
        # torch has no other way to have a GPU wait.
        sleep: Callable[[int], None] = torch.cuda._sleep  # noqa: SLF001
        sleep(round(_CLOCKS_PER_US * 1.5 * host_us))

    def now(self) -> torch.cuda.Event:
        """Return the moment at which the GPU gets here."""
        if self._used == len(self._events):
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            self._events.append(event)
        event = self._events[self._used]
        self._used += 1
        event.record()
        return event

    def us(self, start: torch.cuda.Event, stop: torch.cuda.Event) -> float:
        """Return the time between two moments, in µs."""
        return 1e3 * float(start.elapsed_time(stop))

    def wait(self) -> None:
        """Wait for the GPU."""
        torch.cuda.synchronize()


@dataclass(slots=True)
class _Call:
    path: str
    within: int | None
    start: Any
    stop: Any = None


class Calls:
    """The calls of a model's modules.

    Args:
        clock: What they are timed by.
    """

    def __init__(self, clock: HostClock) -> None:
        self._clock = clock
        self._calls: list[_Call] = []
        self._open: list[int] = []

    def here(self) -> str:
        """Return the path of the module that runs; "" for the root, and outside of it."""
        return self._calls[self._open[-1]].path if self._open else ""

    def enter(self, path: str) -> Any:
        """Return a hook for the beginning of a call of the module at `path`."""

        def hook(*_: Any) -> None:
            within = self._open[-1] if self._open else None
            self._open.append(len(self._calls))
            self._calls.append(_Call(path, within, self._clock.now()))

        return hook

    def leave(self, *_: Any) -> None:
        """Note the end of a call: it is the hook of every module."""
        self._calls[self._open.pop()].stop = self._clock.now()

    def take(self) -> dict[str, float]:
        """Return each module's own time since the last take, in µs, and begin anew.

        A module that was called several times has the sum.
        """
        self._clock.wait()
        own: dict[str, float] = defaultdict(float)
        for call in self._calls:
            inclusive = self._clock.us(call.start, call.stop)
            own[call.path] += inclusive
            if call.within is not None:
                own[self._calls[call.within].path] -= inclusive
        self._calls.clear()
        return dict(own)


@contextmanager
def observed(module: nn.Module, clock: HostClock) -> Iterator[Calls]:
    """Observe the calls of a model's modules, until the block ends.

    Args:
        module: The model; its own hooks run between those of ours.
        clock: What calls are timed by.
    """
    calls = Calls(clock)
    with ExitStack() as stack:
        for path, child in module.named_modules():
            before = child.register_forward_pre_hook(calls.enter(path), prepend=True)
            after = child.register_forward_hook(calls.leave)
            stack.callback(before.remove)
            stack.callback(after.remove)
        yield calls
