"""What names of tactics say."""

from __future__ import annotations

import pytest

from edgeattn.profiling.predict.gpu.tactic import read_tactic

XMMA = "sm80_xmma_fprop_implicit_gemm_"


@pytest.mark.parametrize(
    ("name", "tile", "depth", "stages", "slices"),
    [
        (
            f"{XMMA}f16f16_f16f16_f16_nhwckrsc_nhwc_tilesize256x64x32_stage3_tensor16x8x16_t1r3s3",
            (256, 64),
            32,
            3,
            1,
        ),
        ("ampere_h16816cudnn_128x64_sliced1x2_ldg8_relu_exp_stages_64x3_small_nhwc_tn_v1",
         (128, 64), 64, 3, 2),
        ("ampere_h1688cudnn_128x128_ldg8_relu_exp_interior_nhwc_tn_v1", (128, 128), None, None, 1),
        ("ampere_scudnn_128x64_relu_xregs_large_nn_v1", (128, 64), None, None, 1),
        ("volta_scudnn_128x32_sliced1x4_ldg4_relu_exp_small_nhwc_tn_v1", (128, 32), None, None, 4),
        ("volta_int8x4_icudnn_int8x4_128x32_relu_xregs_small_c32_nn_v1", (128, 32), None, None, 1),
        ("turing_fp16_i8816cudnn_int8_128x128_ldg16_relu_small_nt_v1", (128, 128), None, None, 1),
        ("volta_sgemm_32x128_nn", (32, 128), None, None, 1),
        ("sm70_xmma_fprop_conv1x1_i8f32_f32_f32_nchw_vect_c_4kcrs_simt_small_batch_bias_relu",
         None, None, None, 1),
        ("__myelin_CASK_STUB", None, None, None, 1),
        ("", None, None, None, 1),
    ],
)  # fmt: skip
def test_tiles(name, tile, depth, stages, slices):
    found = read_tactic(name)
    assert (found.tile, found.depth, found.stages, found.slices) == (tile, depth, stages, slices)


FLAGS = ("on_cuda_cores", "in_tf32", "accumulates_wide", "is_old", "is_winograd", "is_small_batch")


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        (f"{XMMA}f16f16_f16f16_f16_nhwckrsc_nhwc_tilesize256x64x32_tensor16x8x16", ""),
        (f"{XMMA}f16f16_f16f32_f32_nhwckrsc_nhwc_tilesize256x64x32_tensor16x8x16",
         "accumulates_wide"),
        (f"{XMMA}f32f32_tf32f32_f32_nhwckrsc_nhwc_tilesize256x64x32_tensor16x8x8",
         "in_tf32 is_old"),
        (f"{XMMA}f32f32_f32f32_f32_nhwckrsc_nhwc_tilesize128x128x8_stage3_ffma", "on_cuda_cores"),
        (f"{XMMA}interleaved_i8i8_i8i32_f32_nchw_vect_c_32_tilesize128x128x64_tensor16x8x32", ""),
        ("sm75_xmma_fprop_implicit_gemm_interleaved_i8i8_i8i32_f32_tensor8x8x16", "is_old"),
        ("ampere_scudnn_128x64_relu_xregs_large_nn_v1", "on_cuda_cores"),
        ("ampere_scudnn_winograd_128x128_ldg1_ldg4_relu_tile148t_nt_v1",
         "on_cuda_cores is_winograd"),
        ("trt_turing_cutlass_image_network_first_layer_hmma_fprop_f16f16f32_nhwc_nhwc_k64r7s7c4",
         "accumulates_wide is_old"),
        ("volta_int8x4_icudnn_int8x4_128x32_relu_nn_v1", "on_cuda_cores is_old"),
        ("sm70_xmma_fprop_conv1x1_i8f32_f32_f32_nchw_simt_small_batch_bias_relu",
         "on_cuda_cores is_old is_small_batch"),
        ("__myelin_CASK_STUB", ""),
    ],
)  # fmt: skip
def test_what_it_runs_on(name, flags):
    found = read_tactic(name)
    assert {flag for flag in FLAGS if getattr(found, flag)} == set(flags.split())
