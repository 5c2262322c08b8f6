"""When kernels run: after what they read is written, in their stream's order, sharing the GPU.

Kernels of several streams overlap. Each uses a part of the GPU while it runs alone: a kernel that
waits, for its launch or for memory, leaves room beside it. While the parts of those that run add up
to more than the whole, all of them slow down alike. So two kernels take no longer beside each other
than one after the other, and no less than the longer one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

# What is left of a kernel when it counts as done, of a microsecond.
_DONE: Final = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A kernel, as its stream sees it.

    Attributes:
        stream: Its stream; the kernels of one run in the order in which they are given.
        time_us: What it takes alone.
        use: The part of the GPU that it uses meanwhile, up to 1.
        after: The places of the kernels that it waits for.
    """

    stream: int
    time_us: float
    use: float
    after: frozenset[int]


def schedule(tasks: Sequence[Task], launch_us: float = 0.0) -> list[tuple[float, float]]:
    """Return when each kernel starts and ends, in µs.

    Args:
        tasks: The kernels, in the order of the engine; each waits for earlier ones only.
        launch_us: What the host takes to launch one after the other; 0 if it launches all at once.
    """
    launched = [launch_us * (place + 1) for place in range(len(tasks))]
    queues: dict[int, list[int]] = {}
    for place, task in enumerate(tasks):
        queues.setdefault(task.stream, []).append(place)
    if len(queues) < 2:
        return _in_turn(tasks, launched)
    for queue in queues.values():
        queue.reverse()
    starts, ends = [0.0] * len(tasks), [0.0] * len(tasks)
    done: set[int] = set()
    left: dict[int, float] = {}
    now = 0.0
    while len(done) < len(tasks):
        busy = {tasks[place].stream for place in left}
        awaited = []
        for stream, queue in queues.items():
            if queue and stream not in busy and tasks[queue[-1]].after <= done:
                if launched[queue[-1]] > now:
                    awaited.append(launched[queue[-1]])
                    continue
                place = queue.pop()
                left[place], starts[place] = tasks[place].time_us, now
        speed = 1 / max(1.0, sum(tasks[place].use for place in left))
        until = min([now + time / speed for time in left.values()] + awaited)
        step, now = (until - now) * speed, until
        for place in list(left):
            left[place] -= step
            if left[place] <= _DONE:
                del left[place]
                ends[place] = now
                done.add(place)
    return list(zip(starts, ends, strict=True))


def _in_turn(tasks: Sequence[Task], launched: Sequence[float]) -> list[tuple[float, float]]:
    found, now = [], 0.0
    for task, ready in zip(tasks, launched, strict=True):
        start = max(now, ready)
        now = start + task.time_us
        found.append((start, now))
    return found
