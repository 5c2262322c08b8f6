"""How fast a kernel could compute: on tensor cores or beside them, and in which type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edgeattn.devices.efficiency import Peak
from edgeattn.devices.schema import DeviceProfile, OperatingPoint
from edgeattn.profiling.predict.gpu.tactic import Tactic
from edgeattn.records.layers import BITS, Kernel

#: Whose peak a type has.
PEAKS: Final[dict[str, Peak]] = {
    "fp32": "fp32", "fp16": "fp16", "bf16": "fp16", "fp8": "fp8", "fp4": "fp8", "int8": "int8",
    "uint8": "int8", "int4": "int8",
}  # fmt: skip
# FLOP per clock and SM of Volta's and Turing's tensor cores, docs/sources.md. A kernel
# with their instructions does not go faster where the SM could: the first convolution of
# ResNet-18 on an A100 (trt_turing_..._first_layer_hmma) reaches 72 of its 312 TFLOP/s.
_OLD: Final[dict[Peak, int]] = {"fp16": 1024, "fp16_fp32_accumulate": 1024, "int8": 2048}
# The same of CUDA cores from Volta on: pairs of fp16 in 128 lanes, dp4a in 64.
_CUDA_CORES: Final[dict[Peak, int]] = {"fp16": 256, "int8": 512}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How fast a kernel could compute.

    Attributes:
        flop: FLOP, or OP, per µs, all SMs together.
        peak: The type whose peak it is a part of.
        on_tensor_cores: Whether tensor cores do it.
        width: Bytes of an operand.
    """

    flop: float
    peak: Peak
    on_tensor_cores: bool
    width: int


def rate_of(kernel: Kernel, tactic: Tactic, device: DeviceProfile, point: OperatingPoint) -> Rate:
    """Return how fast a kernel could compute at a device's operating point.

    Args:
        kernel: A convolution or a product.
        tactic: What the name of its tactic says.
        device: A GPU.
        point: One of its operating points.
    """
    precision = kernel.precision or "fp32"
    peak = PEAKS.get(precision, "fp32")
    width = max(1, BITS[precision] // 8)
    has_tensor_cores = (device.compute_capability or (0, 0)) >= (7, 0)
    wants_them = has_tensor_cores and not tactic.on_cuda_cores
    if not wants_them or not _is_taken(peak, kernel, tactic, point):
        known = point.peak_tflops["fp32"]
        if has_tensor_cores:  # the peak of another type is theirs
            known = max(known, _per_clock(_CUDA_CORES.get(peak, 0), point))
        else:
            known = point.peak_tflops.get(peak, known)
        return Rate(flop=known * 1e6, peak=peak, on_tensor_cores=False, width=width)
    if peak == "fp32":
        peak = "tf32"
    elif peak == "fp16" and (tactic.accumulates_wide or precision == "bf16"):
        peak = "fp16_fp32_accumulate" if "fp16_fp32_accumulate" in point.peak_tflops else "fp16"
    known = point.peak_tflops[peak]
    if tactic.is_old and peak in _OLD:
        known = min(known, _per_clock(_OLD[peak], point))
    return Rate(flop=known * 1e6, peak=peak, on_tensor_cores=True, width=width)


def _is_taken(peak: Peak, kernel: Kernel, tactic: Tactic, point: OperatingPoint) -> bool:
    """Return whether tensor cores take the type: fp32 only as TF32, the usual default."""
    if peak != "fp32":
        return peak in point.peak_tflops
    is_left_to_the_device = "__my" in (kernel.name[:4], kernel.tactic[:4])
    return "tf32" in point.peak_tflops and (tactic.in_tf32 or is_left_to_the_device)


def _per_clock(flop: int, point: OperatingPoint) -> float:
    """Return TFLOP/s."""
    assert point.sms is not None, "it is a GPU"
    return flop * point.sms * point.clock_mhz / 1e6
