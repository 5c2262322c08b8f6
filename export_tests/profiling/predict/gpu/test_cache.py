"""What kernels find in L2."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeattn.profiling.predict.gpu.cache import found_in_cache
from edgeattn.profiling.predict.gpu.traffic import Piece, Traffic


def moved(*, reads=(), writes=()):
    pieces = [tuple(Piece(name=name, size=size) for name, size in one) for one in (reads, writes)]
    return Traffic(product=None, reads=pieces[0], writes=pieces[1])


# Three kernels in a row, each with 40 of weights; what goes between them is 10.
CHAIN = [
    moved(reads=[("x", 10), ("w0", 40)], writes=[("a", 10)]),
    moved(reads=[("a", 10), ("w1", 40)], writes=[("b", 10)]),
    moved(reads=[("b", 10), ("w2", 40)], writes=[("c", 10)]),
]


def test_all_is_there_where_the_whole_inference_fits():
    assert found_in_cache(CHAIN, 1000) == [60, 60, 60]


def test_what_was_just_written_is_there_where_the_weights_are_not():
    """Half of the cache holds a kernel's 60, and not the 160 that come round."""
    assert found_in_cache(CHAIN, 120) == [10, 20, 20]


def test_nothing_is_there_in_a_small_cache():
    assert found_in_cache(CHAIN, 9) == [0, 0, 0]


def test_parts_in_between():
    """Of 60 in a cache of 80, 2 - 2 · 60 / 80 stays."""
    (found,) = found_in_cache([moved(reads=[("x", 50)], writes=[("y", 10)])], 80)
    assert found == pytest.approx(50 * 0.5 + 10 * 0.5)


sizes = st.floats(1, 1000)


@given(sizes, sizes, st.floats(1, 5000), st.floats(1, 2))
def test_a_larger_tensor_misses_no_less(written, read, capacity, more):
    """A kernel that reads twice as much never waits for less of memory."""

    def missed(size):
        chain = [
            moved(reads=[("x", read)], writes=[("a", size)]),
            moved(reads=[("a", size)], writes=[("y", read)]),
        ]
        found = found_in_cache(chain, capacity)
        return [one.size - there for one, there in zip(chain, found, strict=True)]

    small, large = missed(written), missed(written * more)
    assert all(one <= other + 1e-6 for one, other in zip(small, large, strict=True))


@given(st.lists(sizes, min_size=1, max_size=8), st.floats(1, 5000), st.floats(1, 2))
def test_a_larger_cache_holds_no_less(written, capacity, more):
    chain = [
        moved(reads=[(str(place), size)], writes=[(str(place + 1), size)])
        for place, size in enumerate(written)
    ]
    small, large = (found_in_cache(chain, one) for one in (capacity, capacity * more))
    for one, there, also in zip(chain, small, large, strict=True):
        assert 0 <= there <= also + 1e-6 <= one.size + 2e-6
