"""What a device file may say, and what follows from it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeattn.base.errors import InputError
from edgeattn.devices.architecture import TENSORRT_RTX, nearest_architecture
from edgeattn.devices.profile import find, names

DEVICES = {name: find(name) for name in names()}
# docs/sources.md: FLOP per clock and SM of the tensor cores, FP16.
TENSOR_FLOP = dict.fromkeys([(7, 2), (7, 5), (8, 6), (8, 9), (12, 0)], 1024)
TENSOR_FLOP |= {(8, 0): 2048, (8, 7): 2048, (9, 0): 4096}
# The others, worked out by hand from the table: two a core and clock, FP32; FP16 twice that where
# there are no tensor cores.
FP32_FLOP = dict.fromkeys([(5, 3), (6, 2), (11, 0), (8, 6), (8, 7), (8, 9), (12, 0), (9, 0)], 256)
FP32_FLOP |= dict.fromkeys([(7, 2), (7, 5), (8, 0)], 128)
TENSOR_FLOP |= {(5, 3): 512, (6, 2): 512, (11, 0): 8192}
GPUS = [name for name, device in DEVICES.items() if device.sms]
MODES = [(name, mode.name) for name in GPUS for mode in DEVICES[name].power_mode]


@pytest.mark.parametrize("name", GPUS)
def test_peaks_are_sms_times_clock(name):
    device = DEVICES[name]
    clocks = device.sms * device.clock_mhz * 1e6 / 1e12
    # Published peaks have two or three digits; Hopper's tensor peaks are at 1830 of 1980 MHz.
    at_tensor_clock = 1830 / 1980 if device.compute_capability == (9, 0) else 1
    fp16 = TENSOR_FLOP[device.compute_capability] * clocks * at_tensor_clock
    assert device.peak_tflops["fp32"] == pytest.approx(
        FP32_FLOP[device.compute_capability] * clocks, rel=0.015
    )
    assert device.peak_tflops["fp16"] == pytest.approx(fp16, rel=0.015)
    if "int8" in device.peak_tflops:
        assert device.peak_tflops["int8"] == pytest.approx(2 * fp16, rel=0.015)
    if "fp16_fp32_accumulate" in device.peak_tflops:
        assert device.peak_tflops["fp16_fp32_accumulate"] == device.peak_tflops["fp16"] / 2


def test_geforce_halves_what_it_accumulates_in_fp32():
    halved = {name for name, one in DEVICES.items() if "fp16_fp32_accumulate" in one.peak_tflops}
    assert halved == {"rtx-3060-12gb", "rtx-3090", "rtx-4060", "rtx-4090", "rtx-5090"}


@pytest.mark.parametrize(("name", "flop"), [("raspberry-pi-4", 8), ("raspberry-pi-5", 16),
                                            ("rk3588", 16), ("generic-x86", 32)])  # fmt: skip
def test_peaks_of_cores(name, flop):
    device = DEVICES[name]
    assert device.peak_tflops["fp32"] == pytest.approx(
        device.cores * flop * device.clock_mhz / 1e6, rel=0.01
    )


@pytest.mark.parametrize(("name", "mode"), MODES)
def test_no_mode_is_faster_than_the_device(name, mode):
    device, point = DEVICES[name], DEVICES[name].at(mode)
    assert point.power_mode == mode
    assert 0 < point.bandwidth_gbps <= device.bandwidth_gbps
    assert 0 < point.sms <= device.sms
    for precision, peak in point.peak_tflops.items():
        assert 0 < peak <= device.peak_tflops[precision]
    assert device.kernel_floor_us <= point.kernel_floor_us < 100
    assert 0 < point.last_level_gbps <= device.sms * device.clock_mhz * 32 / 1e3 * (1 + 1e-9)


def test_what_follows_from_clock_and_sms():
    """L2 gives 32 bytes per clock and SM, and a load takes 640 clocks."""
    orin = DEVICES["jetson-agx-orin-64gb"]
    fast, slow = orin.at("MAXN"), orin.at("30W")
    assert fast.last_level_gbps == pytest.approx(16 * 1.3 * 32)
    assert slow.last_level_gbps == pytest.approx(8 * 0.612 * 32)
    assert (fast.load_us, slow.load_us) == (640 / 1300, pytest.approx(640 / 612))
    assert (fast.kernel_floor_us, slow.kernel_floor_us) == (5, pytest.approx(5 * 1300 / 612))


def test_what_a_file_says_goes_before_it():
    said = {"last_level_gbps": 500, "load_us": 0.3}
    point = DEVICES["jetson-agx-orin-64gb"].model_copy(update=said).at("15W")
    assert point.last_level_gbps == pytest.approx(500 * 408 * 6 / (1300 * 16))
    assert point.load_us == pytest.approx(0.3 * 1300 / 408)


def test_a_cpu_has_no_such_figures():
    point = DEVICES["raspberry-pi-5"].at()
    assert (point.last_level_gbps, point.load_us, point.kernel_floor_us) == (None, None, 5)


def test_the_bandwidth_that_a_kind_reaches():
    efficiency = DEVICES["a100-80g-pcie"].efficiency
    assert efficiency.of_bandwidth("pooling") == 0.8
    assert efficiency.of_bandwidth("pointwise") == efficiency.bandwidth["other"] == 0.85


@pytest.mark.parametrize("name", sorted({name for name, _ in MODES}))
def test_some_mode_reaches_the_devices_figures(name):
    device = DEVICES[name]
    points = [device.at(mode.name) for mode in device.power_mode]
    assert max(point.peak_tflops["fp16"] for point in points) == device.peak_tflops["fp16"]
    assert max(point.bandwidth_gbps for point in points) == device.bandwidth_gbps


# docs/sources.md, typed again by hand: a mode's clock, SMs, FP16 peak and bandwidth.
FIGURES = [
    ("jetson-nano", "MAXN", 921.6, 1, 0.472, 25.6),
    ("jetson-nano", "5W", 640, 1, 0.328, 25.6),
    ("jetson-tx2", "MAXQ", 850, 2, 0.870, 42.6),
    ("jetson-xavier-nx", "20W", 1109, 6, 6.8, 59.7),
    ("jetson-xavier-nx", "15W", 1109, 6, 6.8, 51.2),
    ("jetson-xavier-nx", "10W", 803, 6, 4.93, 51.2),
    ("jetson-agx-xavier", "30W", 900, 8, 7.37, 102.4),
    ("jetson-orin-nano-4gb", "10W", 625, 4, 5.1, 34.1),
    ("jetson-orin-nano-4gb", "25W", 1020, 4, 8.4, 51.2),
    ("jetson-orin-nano-8gb", None, 625, 8, 10.2, 68.2),
    ("jetson-orin-nano-8gb", "MAXN_SUPER", 1020, 8, 16.7, 102.4),
    ("jetson-orin-nano-8gb", "7W", 408, 4, 3.34, 68.2),
    ("jetson-orin-nx-8gb", "10W", 612, 4, 5.0, 68.2),
    ("jetson-orin-nx-16gb", None, 918, 8, 15.0, 102.4),
    ("jetson-orin-nx-16gb", "40W", 1173, 8, 19.2, 102.4),
    ("jetson-agx-orin-32gb", "15W", 408, 6, 5.0, 136.5),
    ("jetson-agx-orin-64gb", None, 1300, 16, 42.6, 204.8),
    ("jetson-agx-orin-64gb", "15W", 408, 6, 5.0, 136.5),
    ("jetson-agx-orin-64gb", "30W", 612, 8, 10.0, 204.8),
    ("jetson-agx-thor-t5000", None, 1575, 20, 258, 273),
    ("a100-80g-pcie", None, 1410, 108, 312, 1935),
    ("h200", None, 1980, 132, 989, 4890),
    ("l4", None, 2040, 58, 121, 300),
]


@pytest.mark.parametrize(("name", "mode", "clock_mhz", "sms", "fp16", "bandwidth_gbps"), FIGURES)
def test_figures(name, mode, clock_mhz, sms, fp16, bandwidth_gbps):
    point = DEVICES[name].at(mode)
    assert (point.clock_mhz, point.sms) == (clock_mhz, sms)
    assert point.peak_tflops["fp16"] == pytest.approx(fp16, rel=0.015)
    assert point.bandwidth_gbps == pytest.approx(bandwidth_gbps, rel=0.002)


# What serves a device: TensorRT, opset, DLA cores, precisions.
SERVED = [
    ("jetson-nano", "8.2.1", 13, 0, ("fp32", "fp16")),
    ("jetson-tx2", "8.2.1", 13, 0, ("fp32", "fp16")),
    ("jetson-agx-xavier", "8.5.2", 17, 2, ("fp32", "fp16", "int8")),
    ("jetson-xavier-nx", "8.5.2", 17, 2, ("fp32", "fp16", "int8")),
    ("jetson-orin-nano-8gb", "10.16.2", 24, 0, ("fp32", "fp16", "int8")),
    ("jetson-orin-nx-8gb", "10.16.2", 24, 1, ("fp32", "fp16", "int8")),
    ("jetson-agx-orin-64gb", "10.16.2", 24, 2, ("fp32", "fp16", "int8")),
    ("jetson-agx-thor-t5000", "10.16.2", 24, 0, ("fp32", "fp16", "int8")),
    ("rtx-3090", None, None, 0, ("fp32", "fp16", "int8")),
    ("raspberry-pi-4", None, None, 0, ("fp32",)),
]


@pytest.mark.parametrize(("name", "tensorrt", "opset", "dla_cores", "precisions"), SERVED)
def test_what_serves_a_device(name, tensorrt, opset, dla_cores, precisions):
    device = DEVICES[name]
    assert (device.tensorrt, device.opset, device.dla_cores) == (tensorrt, opset, dla_cores)
    assert device.precisions == precisions


def test_runtimes():
    assert DEVICES["rtx-3090"].runtimes == ("tensorrt", "tensorrt-rtx")
    assert DEVICES["h100-sxm"].runtimes == ("tensorrt",)
    assert DEVICES["jetson-orin-nano-8gb"].runtimes == ("tensorrt",)
    assert DEVICES["raspberry-pi-5"].runtimes == ()


def test_jetpacks_of_an_orin_in_order():
    assert [row.jetpack for row in DEVICES["jetson-orin-nx-16gb"].jetpack] == [
        "5.1", "6.0", "6.1-6.2", "7.2",
    ]  # fmt: skip


def test_which_floors_are_no_guesses_and_three_gpus_compute():
    """The TITAN RTX's engine is all small kernels; those of two others say what kernels reach.

    All Orins have the floor that was fitted on two of them, in clocks.
    """
    known = {name for name in GPUS if not DEVICES[name].is_guess("kernel_floor_us")}
    orins = {name for name in GPUS if "orin" in name}
    assert known == {"titan-rtx", "jetson-nano", *orins}
    for orin in (DEVICES[name] for name in orins):
        assert orin.kernel_floor_us * orin.clock_mhz == pytest.approx(6500, rel=0.01)
    reached = {name for name in GPUS if not DEVICES[name].is_guess("efficiency.compute")}
    assert reached == {"titan-rtx", "rtx-3090", "a100-80g-pcie"}
    assert DEVICES["rtx-3090"].is_guess("efficiency.bandwidth.shuffle")
    assert not DEVICES["rtx-3090"].is_guess("efficiency.bandwidth.other")
    assert DEVICES["jetson-nano"].is_guess("efficiency.bandwidth.other")


@pytest.mark.parametrize(
    ("name", "mode", "said"),
    [
        ("jetson-orin-nano-8gb", "30W", "MAXN_SUPER, 25W, 15W, 7W"),
        ("jetson-orin-nano-8gb", "15w", "Did you mean 15W?"),
        ("jetson-orin-nano-8gb", "", "MAXN_SUPER"),
        ("rtx-3090", "15W", "no power modes"),
    ],
)
def test_a_mode_that_there_is_not(name, mode, said):
    with pytest.raises(InputError, match="power mode") as caught:
        DEVICES[name].at(mode)
    assert said in str(caught.value)


# What stands in for a device where TensorRT-RTX builds.
@pytest.mark.parametrize(
    ("wanted", "nearest"),
    [
        ((8, 7), (8, 6)),
        ((7, 2), (7, 5)),
        ((5, 3), (7, 5)),
        ((6, 2), (7, 5)),
        ((9, 0), (8, 9)),
        ((10, 0), (12, 0)),
        ((11, 0), (12, 0)),
        ((12, 1), (12, 1)),
        ((13, 0), (12, 1)),
    ],
)
def test_the_nearest_architecture(wanted, nearest):
    assert nearest_architecture(wanted, TENSORRT_RTX) == nearest
    assert nearest_architecture(wanted, sorted(TENSORRT_RTX, reverse=True)) == nearest


capabilities = st.tuples(st.integers(5, 13), st.integers(0, 9))


@given(capabilities, st.sets(capabilities, min_size=1))
def test_the_nearest_is_one_of_those_and_itself_where_it_is_there(wanted, available):
    assert nearest_architecture(wanted, available) in available
    assert nearest_architecture(wanted, {*available, wanted}) == wanted
    same_major = {one for one in available if one[0] == wanted[0]}
    assert not same_major or nearest_architecture(wanted, available) in same_major
