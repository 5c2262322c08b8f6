"""Products cut into tiles: worked out by hand for an A100 and a TITAN RTX, and what must hold."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeattn.devices.profile import find
from edgeattn.engine.work import product_of
from edgeattn.profiling.predict.gpu.rate import rate_of
from edgeattn.profiling.predict.gpu.tactic import read_tactic
from edgeattn.profiling.predict.gpu.tiles import busy, joined
from export_tests.profiling.predict.gpu.kernels import convolution, kernel, tensor, weights

A100, RTX3090, TITAN, NANO = map(find, ("a100", "rtx-3090", "titan-rtx", "jetson-nano"))
XMMA = "sm80_xmma_fprop_implicit_gemm_f16f16_f16f16_f16_nhwckrsc_nhwc_"
OLD = "sm75_xmma_fprop_implicit_gemm_interleaved_i8i8_i8i32_f32_nchw_vect_c_32_"


def worked(one, device):
    return busy(one, product_of(one), read_tactic(one.tactic), device, device.at())


def test_a_convolution_on_an_a100():
    """100352 x 576 x 64 in tiles of 256 x 64: 392 tiles are four rounds on 108 SMs."""
    one = convolution(batch=32, tactic=f"{XMMA}tilesize256x64x32_stage3_tensor16x8x16")
    found = worked(one, A100)
    assert found.compute == pytest.approx(4 * 2 * 256 * 64 * 576 / (0.75 * 312e6 / 108))
    assert found.latency == pytest.approx(2 * 640 / 1410 * (2 + 18 / 2))
    assert found.feeding == pytest.approx(392 * 18 * (256 + 64) * 32 * 2 / (108 * 1.41e3 * 32))
    assert found.ideal == pytest.approx(2 * 100352 * 576 * 64 / (0.75 * 312e6))


def test_a_small_convolution_on_a_titan_waits():
    """49 x 960 x 160 in tiles of 32 x 32: ten blocks, fifteen steps each, one after another."""
    one = convolution(
        channels=(960, 160), size=7, area=1, dtype="int8", tactic=f"{OLD}tilesize32x32x64_stage1"
    )
    found = worked(one, TITAN)
    assert found.latency == pytest.approx(640 / 1770 * (2 + 15))
    assert found.latency > 5 * max(found.compute, found.feeding)


def test_either_side_of_a_tile_may_be_the_rows():
    """784 x 32: 13 tiles of 64 x 32, and not 25 of 32 x 64, whose second half would be padding."""
    one = convolution(
        channels=(192, 32), size=28, area=1, dtype="int8", tactic=f"{OLD}tilesize32x64x64_stage1"
    )
    assert worked(one, TITAN).feeding == pytest.approx(13 * 3 * 96 * 64 / (72 * 1.77e3 * 32))


def test_a_tile_that_is_not_said_is_the_best():
    bare = convolution(batch=32)
    named = [
        convolution(batch=32, tactic=f"{XMMA}tilesize{tile}x32_stage4_tensor16x8x16")
        for tile in ("256x128", "256x64", "128x128", "128x64", "64x64", "64x32", "32x32")
    ]
    best = min(worked(one, A100).together for one in named)
    assert worked(bare, A100).together == pytest.approx(best)


def test_a_tile_that_is_said_is_not_much_worse():
    """A tile of 256 columns for 32: seven eighths of it would be padding, and the builder knew."""
    said = convolution(channels=(64, 32), batch=32, tactic=f"{XMMA}tilesize256x256x32_stage3")
    best = convolution(channels=(64, 32), batch=32, tactic=f"{XMMA}tilesize256x32x32_stage3")
    limit = worked(replace(best, tactic=f"{XMMA}_stage3"), A100).together
    assert worked(said, A100).together == pytest.approx(1.5 * limit)
    assert worked(best, A100).together <= 1.5 * limit


def test_groups_are_products_of_their_own():
    """32 groups of 4 channels fill a 32nd of what they take tiles for."""
    x, y = (tensor(name, (1, 128, 28, 28)) for name in "xy")
    one = kernel("k", "CaskConvolution", [x], [y], [weights((128, 4, 3, 3))])
    found = worked(one, A100)
    assert found.compute > 8 * found.ideal


@pytest.mark.parametrize(("dtype", "step"), [("fp16", 32), ("int8", 64)])
def test_a_step_does_not_span_places_of_the_kernel(dtype, step):
    """For each place, few channels compute as those of a whole step; not of an image."""
    time = {
        (channels, area): worked(
            convolution(batch=8, channels=(channels, 64), area=area, dtype=dtype), RTX3090
        ).compute
        for channels in (4, step // 2, step, step + 8, 2 * step)
        for area in (1, 3)
    }
    assert time[step // 2, 3] == time[step, 3]
    assert time[step + 8, 3] == time[2 * step, 3] == pytest.approx(2 * time[step, 3])
    assert time[4, 3] < time[step, 3]
    assert time[step, 1] == time[step // 2, 1]


def test_depthwise_runs_on_cuda_cores():
    x, y = (tensor(name, (1, 32, 112, 112), "int8") for name in "xy")
    one = kernel("k", "CudaDepthwiseConvolution", [x], [y], [weights((288,), "int8")])
    found = worked(one, TITAN)
    assert found.compute == pytest.approx(2 * 112 * 112 * 32 * 9 / (0.2 * 16.3e6))
    assert found.feeding == 0


def test_a_product_of_few_rows_is_a_pass_over_its_weights():
    x, y = tensor("x", (1, 2048)), tensor("y", (1, 1000))
    one = kernel("__myl_Fc_myl0_1", "runtime_fusion", [x], [y], [weights((2048, 1000))])
    found = worked(one, RTX3090)
    assert found.latency == pytest.approx(3 * 640 / 1695)
    assert found.compute < 0.1


def test_winograd_saves_multiplications():
    plain = convolution(batch=32, dtype="fp32", tactic="ampere_scudnn_128x64_relu_nn_v1")
    saved = convolution(batch=32, dtype="fp32", tactic="ampere_scudnn_winograd_128x128_relu_v1")
    assert worked(saved, A100).compute == pytest.approx(worked(plain, A100).ideal / 2.25 / 0.75)


# TFLOP/s, or TOP/s: what a type and a tactic have for a peak.
RATES = [
    (A100, "fp16", f"{XMMA}tilesize128x64x32_tensor16x8x16", 312, True),
    (A100, "fp16", "trt_turing_cutlass_image_network_first_layer_hmma_fprop_f16f16f32", 156, True),
    (A100, "fp32", "sm80_xmma_f32f32_tf32f32_f32_tilesize128x64x32_tensor16x8x8", 156, True),
    (A100, "fp32", "ampere_scudnn_128x64_relu_nn_v1", 19.5, False),
    (A100, "fp32", "__myelin_CASK_STUB", 156, True),
    (A100, "fp32", "", 19.5, False),
    (A100, "bf16", "", 312, True),
    (A100, "fp8", "", 19.5, False),
    (RTX3090, "fp16", "sm80_xmma_f16f16_f16f32_f32_tilesize128x64x32", 71, True),
    (RTX3090, "bf16", "", 71, True),
    (RTX3090, "int8", "", 285, True),
    (TITAN, "int8", f"{OLD}tilesize64x32x64_stage1_tensor8x8x16", 261, True),
    (TITAN, "int8", "volta_int8x4_icudnn_int8x4_128x32_relu_nn_v1", 65.2, False),
    (TITAN, "fp32", "__myelin_CASK_STUB", 16.3, False),
    (NANO, "fp16", "maxwell_hcudnn_128x64_relu_nn_v1", 0.472, False),
    (NANO, "int8", "", 0.236, False),
]


@pytest.mark.parametrize(("device", "dtype", "tactic", "peak", "on_tensor_cores"), RATES)
def test_rates(device, dtype, tactic, peak, on_tensor_cores):
    one = convolution(dtype=dtype, tactic=tactic)
    found = rate_of(one, read_tactic(tactic), device, device.at())
    assert found.flop / 1e6 == pytest.approx(peak, rel=0.01)
    assert found.on_tensor_cores is on_tensor_cores


def test_what_is_joined():
    assert joined(5.0) == pytest.approx(5)
    assert joined(5.0, 5.0) == pytest.approx(5 * 2 ** (1 / 3))
    assert joined() == 0


@given(
    st.integers(1, 8),
    st.integers(1, 300),
    st.integers(1, 300),
    st.integers(1, 40),
    st.sampled_from(["batch", "inside", "outside", "size"]),
    st.integers(1, 50),
)
def test_more_work_takes_no_less(batch, inside, outside, size, what, more):
    known = {"batch": batch, "inside": inside, "outside": outside, "size": size}

    def time(of):
        one = convolution(
            batch=of["batch"], channels=(of["inside"], of["outside"]), size=of["size"]
        )
        return worked(one, RTX3090).together

    assert time(known) <= time({**known, what: known[what] + more}) * (1 + 1e-9)
