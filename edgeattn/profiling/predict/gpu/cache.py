"""What a kernel finds in L2: what the kernels before it left there, and did not push out again.

A tensor is there if all that has been touched since it was, itself included, fits. Replacement is
not strict, and an A100 keeps a copy in each half of its L2; so it is all there up to half of the
cache, not at all from the whole of it on, and in parts in between. Weights, and the caller's input,
are there from the inference before, if the whole inference fits: engines are timed, and run, one
inference after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from edgeattn.profiling.predict.gpu.traffic import Traffic


@dataclass(slots=True)
class _Cache:
    """What was touched last, and how much lies between."""

    capacity: float
    touched: dict[str, float] = field(default_factory=dict)

    def found(self, name: str, size: float) -> float:
        """Return the bytes of a tensor that are there."""
        since = 0.0
        for other, other_size in reversed(self.touched.items()):
            if other == name:
                return size * self.part(since + size)
            since += other_size
            if since >= self.capacity:
                break
        return 0.0

    def part(self, size: float) -> float:
        """Return the part that stays of what is as large as this."""
        return min(1.0, max(0.0, 2 - 2 * size / self.capacity))

    def touch(self, name: str, size: float) -> None:
        """Make it the last that was touched."""
        self.touched.pop(name, None)
        self.touched[name] = size


def found_in_cache(traffic: Sequence[Traffic], capacity: float) -> list[float]:
    """Return the bytes of each kernel that never reach memory.

    A write stays in the cache, and is overwritten there later, if the kernel's whole traffic fits.

    Args:
        traffic: What each kernel moves, in the order in which they run.
        capacity: Bytes of the cache.
    """
    cache = _Cache(capacity)
    found = [0.0] * len(traffic)
    for is_second in (False, True):
        for place, moved in enumerate(traffic):
            if is_second:
                found[place] = sum(cache.found(one.name, one.size) for one in moved.reads)
                stay = cache.part(moved.size)
                found[place] += sum(one.size for one in moved.writes) * stay
            for one in (*moved.reads, *moved.writes):
                cache.touch(one.name, one.size)
    return found
