"""Sizes that no memory holds are refused before they are allocated; what is freed is given back."""

from __future__ import annotations

import contextlib
import gc
import os
from typing import Final

from edgeattn.base.errors import InputError

#: So many objects are made before it is looked for those that hold each other: libraries make
#: millions that live as long as the process does, and with Python's 700 that takes a fifth of it.
_ALLOCATIONS: Final = 50_000
#: As much as glibc keeps of what is freed, where it is to keep it.
_MOST_KEPT_BYTES: Final = 1 << 30
#: No tensor of a network for an edge device is larger; a message of ONNX's holds no more.
_LARGEST_BYTES: Final = 2**31


def check_size(size_bytes: int, what: str) -> None:
    """Refuse to allocate what is absurd, or what this machine cannot hold.

    Args:
        size_bytes: The size of one tensor.
        what: What it is, for the message: it begins the sentence.

    Raises:
        InputError: It is too large.
    """
    largest = min(_LARGEST_BYTES, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2)
    if size_bytes > largest:
        raise InputError(
            f"{what} takes {size_bytes / 2**30:,.1f} GiB, and {largest / 2**30:.1f} at most are"
            " given to one tensor here.",
            mend="Give smaller shapes; if nobody meant this size, the file is broken.",
        )


def collect_seldom() -> None:
    """Have Python look seldom for objects that hold each other, in a process of ours alone."""
    gc.set_threshold(_ALLOCATIONS)


def keep_to_the_end() -> None:
    """Have Python not look for them once more as it ends, which takes a second: all goes then."""
    gc.freeze()


def keep_freed(*, above_bytes: int | None) -> None:
    """Have glibc keep what is freed for what comes next, but for blocks above a size.

    Args:
        above_bytes: The size; None for none. What was kept before is given back.
    """
    import ctypes

    give_memory_back()
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
    with contextlib.suppress(OSError, AttributeError, TypeError):
        library = ctypes.CDLL(None)
        library.mallopt(trim_threshold, _MOST_KEPT_BYTES)
        library.mallopt(mmap_threshold, above_bytes or _MOST_KEPT_BYTES)


def give_memory_back() -> None:
    """Return to the system what was freed; glibc would keep it for the next."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
