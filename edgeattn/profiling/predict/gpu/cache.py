"""What a kernel finds in L2: what the kernels before it left there, and did not push out again.

A tensor is there if all that has been touched since it was, itself included, fits. Replacement is
not strict, and an A100 keeps a copy in each half of its L2; so it is all there up to half of the
cache, not at all from the whole of it on, and in parts in between. Weights, and the caller's input,
are there from the inference before, if the whole inference fits: engines are timed, and run, one
inference after another.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgeattn.profiling.predict.cpu.cache import Cache
from edgeattn.profiling.predict.gpu.traffic import Traffic


def found_in_cache(traffic: Sequence[Traffic], capacity: float) -> list[float]:
    """Return the bytes of each kernel that never reach memory.

    A write stays in the cache, and is overwritten there later, if the kernel's whole traffic fits.

    Args:
        traffic: What each kernel moves, in the order in which they run.
        capacity: Bytes of the cache.
    """
    cache = Cache(capacity, holds_us=None)
    found = [0.0] * len(traffic)
    for is_second in (False, True):
        for place, moved in enumerate(traffic):
            if is_second:
                found[place] = sum(cache.found_bytes(moved, 0.0))
            cache.touch(moved, 0.0)
    return found
