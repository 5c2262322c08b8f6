"""When kernels of several streams run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeattn.profiling.predict.gpu.streams import Task, schedule


def task(time_us, *, stream=0, use=1.0, after=()):
    return Task(stream=stream, time_us=time_us, use=use, after=frozenset(after))


def end(tasks):
    return max(end for _, end in schedule(tasks))


def test_one_stream_runs_in_turn():
    assert schedule([task(3), task(4), task(5)]) == [(0, 3), (3, 7), (7, 12)]


def test_two_that_leave_room_run_beside_each_other():
    assert end([task(5, use=0.4), task(3, use=0.4, stream=1)]) == pytest.approx(5)


def test_two_that_leave_none_take_as_long_as_in_turn():
    assert end([task(5), task(3, stream=1)]) == pytest.approx(8)


def test_two_that_share():
    """Together they use 1.5 of the GPU for 3 of the shorter; then the longer has it alone."""
    assert end([task(5, use=0.75), task(3, use=0.75, stream=1)]) == pytest.approx(3 * 1.5 + 2)


def test_a_kernel_waits_for_what_it_reads():
    tasks = [task(5, use=0), task(2, stream=1, after=[0]), task(1, use=0)]
    assert schedule(tasks) == [(0, 5), (5, 7), (5, 6)]


def test_a_stream_waits_for_its_first():
    """The second of stream 1 could run, but stands behind the first, which waits."""
    tasks = [task(4, use=0), task(1, use=0, stream=1, after=[0]), task(1, use=0, stream=1)]
    assert schedule(tasks) == [(0, 4), (4, 5), (5, 6)]


@pytest.mark.parametrize("streams", [1, 2])
def test_a_host_that_launches_one_by_one(streams):
    """Short kernels wait for their launch, long ones hide it, and the first waits for one."""
    short = [task(1, stream=place % streams, use=0.2) for place in range(4)]
    assert schedule(short, 10) == [(10, 11), (20, 21), (30, 31), (40, 41)]
    long = [task(50) for _ in range(4)]
    assert schedule(long, 10) == [(10, 60), (60, 110), (110, 160), (160, 210)]
    assert schedule(short, 0) == schedule(short)


def test_a_launch_meanwhile():
    """The first runs alone until the other is launched; then each has half of the GPU."""
    assert schedule([task(10), task(5, stream=1)], 4) == [(4, 19), (8, 18)]


def test_nothing():
    assert schedule([]) == []


@st.composite
def graphs(draw):
    count = draw(st.integers(1, 12))
    return [
        task(
            draw(st.floats(0.5, 50)),
            stream=draw(st.integers(0, 3)),
            use=draw(st.floats(0, 1)),
            after=draw(st.sets(st.integers(0, place - 1), max_size=3)) if place else (),
        )
        for place in range(count)
    ]


@given(graphs())
def test_between_the_longest_chain_and_the_sum(tasks):
    chain = []
    for place, one in enumerate(tasks):
        before = [chain[other] for other in one.after]
        before += [chain[other] for other in range(place) if tasks[other].stream == one.stream]
        chain.append(max(before, default=0) + one.time_us)
    spans = schedule(tasks)
    assert max(chain) - 1e-6 <= end(tasks) <= sum(one.time_us for one in tasks) + 1e-6
    for one, (start, stop) in zip(tasks, spans, strict=True):
        assert stop - start >= one.time_us - 1e-6
        assert all(spans[other][1] <= start + 1e-6 for other in one.after)
