"""What the name of a tactic says: the tile of a product, how it is fed, and what it runs on.

Names as TensorRT 8 to 10 write them. Those of TensorRT-RTX's plans say nothing, since the kernel is
compiled on the device.

    sm80_xmma_fprop_implicit_gemm_f16f16_f16f16_f16_nhwckrsc_nhwc_tilesize256x64x32_stage3_...
    ampere_h16816cudnn_128x64_sliced1x2_ldg8_relu_exp_stages_64x3_small_nhwc_tn_v1
    ampere_scudnn_128x64_relu_xregs_large_nn_v1, volta_int8x4_icudnn_int8x4_128x32_relu_..._nn_v1
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Final

_TILE: Final = re.compile(
    r"(?:tilesize|cudnn_(?:int8_|fp16_|int8x4_|winograd_)?|gemm_(?:fp16_|int8_)?)"
    r"(\d+)x(\d+)(?:x(\d+))?"
)
_STAGES: Final = re.compile(r"stages_(?P<depth>\d+)x(?P<both>\d+)|stage(?P<alone>\d+)")
_SLICES: Final = re.compile(r"sliced(\d+)x(\d+)")
_CUDA_CORES: Final = re.compile(
    r"simt|ffma|[sdh]cudnn|int8x4|dp4a|(?<![a-z])[sdh]gemm|f32f32_f32f32", re.IGNORECASE
)
_TF32: Final = re.compile(r"tf32|s1688|s16816")
# Accumulators of 32 bits beside operands of 16.
_WIDE: Final = re.compile(r"f16f16_?f16f32|f16f16f32|bf16bf16_|s884|s1688|s16816")
# Tensor-core instructions of Volta and Turing, and kernels that were written for them.
_OLD: Final = re.compile(r"884|1688cudnn|8816|tensor8x8|tensor16x8x8|volta|turing|sm7\d")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tactic:
    """What a name says.

    Attributes:
        tile: Rows and columns of the output that one block of threads makes; None if it is not
            said. Which of the two is which differs between families of kernels.
        depth: What one step of the loop takes of the product's depth; None if it is not said.
        stages: Steps that are in flight at once; None if it is not said.
        slices: Parts that the threads of a block cut the depth into.
        on_cuda_cores: Whether it leaves the tensor cores alone.
        in_tf32: Whether it rounds fp32 to TF32.
        accumulates_wide: Whether it adds up in fp32.
        is_old: Whether it uses the tensor-core instructions of Volta and Turing.
        is_winograd: Whether it saves multiplications by Winograd's transform.
        is_small_batch: Whether it is a product with few rows, cut by columns and depth alone.
    """

    tile: tuple[int, int] | None
    depth: int | None
    stages: int | None
    slices: int
    on_cuda_cores: bool
    in_tf32: bool
    accumulates_wide: bool
    is_old: bool
    is_winograd: bool
    is_small_batch: bool


@functools.cache
def read_tactic(name: str) -> Tactic:
    """Read the name of a tactic; what it does not say is None or False."""
    tile, stages, slices = _TILE.search(name), _STAGES.search(name), _SLICES.search(name)
    depth = tile[3] if tile is not None else None
    count = None
    if stages is not None:
        depth, count = depth or stages["depth"], stages["both"] or stages["alone"]
    return Tactic(
        tile=(int(tile[1]), int(tile[2])) if tile is not None else None,
        depth=int(depth) if depth else None,
        stages=int(count) if count else None,
        slices=int(slices[1]) * int(slices[2]) if slices is not None else 1,
        on_cuda_cores=_CUDA_CORES.search(name) is not None,
        in_tf32=_TF32.search(name) is not None,
        accumulates_wide=_WIDE.search(name) is not None,
        is_old=_OLD.search(name) is not None,
        is_winograd="winograd" in name,
        is_small_batch="small_batch" in name or "gemv" in name,
    )
