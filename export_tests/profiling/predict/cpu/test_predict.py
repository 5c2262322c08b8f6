"""What a kernel is predicted to take on a CPU, and the cache beside it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeattn.base.errors import InputError
from edgeattn.devices.profile import find
from edgeattn.profiling.predict.cpu.cache import Cache, alive_bytes
from edgeattn.profiling.predict.cpu.machine import is_known, machine_of
from edgeattn.profiling.predict.cpu.predict import CALL, EXPOSED, one_core_us, shared_us, time_of
from edgeattn.profiling.predict.gpu.traffic import Piece, Traffic
from edgeattn.records.work import Work

X86 = find("generic-x86")
TWO = X86.model_copy(
    update={
        "cores": 2,
        "peak_tflops": {"fp32": 0.2, "int8": 0.4},
        "last_level_gbps": 100.0,
        "bandwidth_gbps": 10.0,
        "kernel_floor_us": 1.0,
        "wake_us": 10.0,
        "efficiency": X86.efficiency.model_copy(
            update={
                "compute": 0.8,
                "layers": {"pointwise": 0.5},
                "ends": {"dense": 3.0},
                "operators": {"Sigmoid": 0.2, "Gemm": 0.4, "HardSigmoid": 0.5},
            }
        ),
    }
)


def machine(threads=None):
    return machine_of(TWO, TWO.at(), threads)


def moving(operator="Sigmoid", megabytes=1.0):
    return Work(operator=operator, kind="pointwise", moved_bytes=1e6 * megabytes)


def layer(**said):
    return Work(**{"operator": "Conv", "kind": "matmul", "layer": "pointwise", "flops": 1e8} | said)


def test_an_operator_moves_what_it_moves():
    """A fifth of 50 GB/s is 10 GB/s: 100 µs for a MB on one core."""
    assert time_of(moving(), 0, machine(1)).time_us == pytest.approx(101)
    assert time_of(moving(), 0, machine(2)).time_us == pytest.approx(1 + 50 + 10)


def test_little_work_is_not_shared():
    assert time_of(moving(megabytes=0.1), 0, machine(2)).time_us == pytest.approx(11)


def test_some_operators_have_one_thread_only():
    known = TWO.efficiency.model_copy(update={"operators": {"Concat": 0.2}})
    point = TWO.model_copy(update={"efficiency": known})
    own = machine_of(point, point.at(), 2)
    assert time_of(moving("Concat"), 0, own).time_us == pytest.approx(101)


def test_a_layer_computes():
    """Half of 100 GFLOP/s is 50: 2000 µs for 1e8 on one core, 1010 on two."""
    assert time_of(layer(), 0, machine(1)).time_us == pytest.approx(2001)
    assert time_of(layer(), 0, machine(2)).time_us == pytest.approx(1011)
    assert time_of(layer(), 0, machine(2)).bound == "compute"


def test_the_ends_of_rows_cost():
    """Rows of 6 cost as those of 9; dense layers reach 80 GFLOP/s."""
    found = time_of(layer(layer="dense", run=6), 0, machine(1)).time_us
    assert found == pytest.approx(1 + 1250 * 9 / 6)


def test_a_layer_wakes_the_others_always():
    tiny = layer(flops=1e5)
    assert time_of(tiny, 0, machine(1)).time_us == pytest.approx(3)
    assert time_of(tiny, 0, machine(2)).time_us == pytest.approx(3 + 10 * CALL)


def test_a_fused_activation_is_one_more_pass():
    """Half of 50 GB/s is 25: 40 µs for a MB."""
    found = time_of(layer(activation="HardSwish", activation_bytes=1e6), 0, machine(1)).time_us
    assert found == pytest.approx(2001 + 40)


def test_a_row_by_weights_reads_them():
    """Two fifths of 100 GB/s is 40: all threads read 4 MB in 100 µs."""
    gemm = Work(operator="Gemm", kind="matmul", layer="product", flops=1e3, moved_bytes=4e6)
    assert time_of(gemm, 0, machine(2)).time_us == pytest.approx(101)


def test_memory_is_hidden_in_part():
    """10 GB/s: a MB in 100 µs, beside the 100 that the operator takes."""
    assert time_of(moving(), 1e6, machine(1)).time_us == pytest.approx(1 + 100 + EXPOSED * 100)
    assert time_of(moving(), 3e6, machine(1)).time_us == pytest.approx(1 + 300 + EXPOSED * 100)
    assert time_of(moving(), 3e6, machine(1)).bound == "traffic"


def test_a_precision_with_a_peak_of_its_own():
    assert time_of(layer(), 0, machine(1), "int8").time_us == pytest.approx(1001)
    assert time_of(layer(), 0, machine(1), "fp16").time_us == pytest.approx(2001)


def test_nothing_takes_the_floor():
    found = time_of(Work(operator="Reshape", kind="shuffle"), 0, machine(2))
    assert (found.time_us, found.bound) == (1.0, "floor")


def test_one_operator_stands_for_those_like_it():
    own = machine()
    assert own.operator_gbps("HardSwish", "pointwise") == own.operator_gbps(
        "HardSigmoid", "pointwise"
    )
    assert is_known("Sub")
    assert is_known("LogSoftmax-strided")
    assert not is_known("GridSample")
    # What is not known reaches what its kind does.
    assert own.operator_gbps("GridSample", "other") == 50


def test_a_profile_without_the_tables_is_guessed():
    own = machine_of(X86, X86.at(), None)
    assert own.threads == 4
    assert own.layer_gflops("dense", "fp32") == pytest.approx(0.6 * 96)
    assert own.layer_gflops("depthwise", "fp32") < own.layer_gflops("dense", "fp32")
    assert own.operator_gbps("Erf", "pointwise") < own.operator_gbps("Relu", "pointwise")
    assert (own.cache_bytes, own.cache_holds_us) == (8192 * 1024, None)


def test_more_threads_than_were_calibrated():
    with pytest.raises(InputError, match="are of 2 threads") as caught:
        machine(4)
    assert "devices calibrate --threads 4" in caught.value.mend


@given(st.floats(0, 1e5), st.integers(1, 16), st.floats(0.5, 50), st.booleans())
def test_the_work_is_told_from_the_time(work_us, threads, wake_us, always):
    took = shared_us(work_us, threads, wake_us, always=always)
    again = shared_us(
        one_core_us(took, threads, wake_us, always=always), threads, wake_us, always=always
    )
    assert again == pytest.approx(took, abs=1e-6)


def moves(reads, writes):
    return Traffic(
        product=None,
        reads=tuple(Piece(name=name, size=size) for name, size in reads),
        writes=tuple(Piece(name=name, size=size) for name, size in writes),
    )


KERNELS = [moves([("x", 10)], [("y", 10)]), moves([("y", 10)], [("z", 10)])]


def missed(cache, again=True):
    """What two kernels miss, 100 µs each; the second time, where it is run again."""
    found = []
    for place, kernel in enumerate(KERNELS * (2 if again else 1)):
        found.append(cache.missed_bytes(kernel, 100.0 * place))
        cache.touch(kernel, 100.0 * (place + 1))
    return found


def test_what_was_just_written_is_there():
    assert missed(Cache(1000, None)) == [10, 0, 0, 0]


def test_what_does_not_fit_is_not():
    """Each kernel moves 20: what it writes does not stay, and y alone fits."""
    assert missed(Cache(20, None), again=False) == [20, 10]
    # Halfway between half of the cache and the whole of it.
    assert missed(Cache(80 / 3, None), again=False) == pytest.approx([15, 5])


def test_what_is_old_is_not():
    """The second time, x was touched 100 µs ago."""
    assert missed(Cache(1000, 100)) == [10, 0, 0, 0]
    assert missed(Cache(1000, 80)) == pytest.approx([10, 0, 2.5, 0])
    assert missed(Cache(1000, 50)) == [10, 0, 10, 0]


def test_weights_are_there_if_all_fit_and_not_much_time_went_by():
    cache = Cache(100, 1000.0)
    assert cache.part_of_weights(50, 900) == 1
    assert cache.part_of_weights(75, 900) == 0.5
    assert cache.part_of_weights(50, 1500) == 0.5
    assert cache.part_of_weights(100, 0) == 0
    assert Cache(100, None).part_of_weights(50, 1e9) == 1


def test_what_is_alive_at_once():
    assert alive_bytes(KERNELS) == 20
    assert alive_bytes([*KERNELS, moves([("x", 10)], [("w", 5)])]) == 30
    assert alive_bytes([]) == 0
