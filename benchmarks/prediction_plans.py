"""Plans of TensorRT-RTX against published times, on devices of which there is no engine here.

The times are those of docs/sources.md, at batch 1: MLPerf's single stream in INT8, and torch2trt
in FP16, which launches kernel by kernel, with no CUDA graph. INT8 is predicted on the kernels of
the FP16 plan: TensorRT fuses into its convolutions what a plan of Q/DQ keeps beside them.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from edgeattn.base.errors import EdgeattnError
from edgeattn.devices.architecture import TENSORRT_RTX, nearest_architecture
from edgeattn.devices.profile import find
from edgeattn.devices.schema import DeviceProfile
from edgeattn.engine.plan import plan
from edgeattn.engine.work import kind_of
from edgeattn.profiling.predict.gpu.predict import predict
from edgeattn.records.layers import Kernel, KernelTensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A published time; a range where several were."""

    model: str
    precision: str
    device: str
    low_ms: float
    high_ms: float
    power_mode: str | None = None


def _mlperf(device: str, *times_ms: float, power_mode: str | None = None) -> Published:
    return Published(
        model="resnet50",
        precision="int8",
        device=device,
        low_ms=min(times_ms),
        high_ms=max(times_ms),
        power_mode=power_mode,
    )


def _torch2trt(model: str, device: str, time_ms: float) -> Published:
    return Published(model=model, precision="fp16", device=device, low_ms=time_ms, high_ms=time_ms)


SHUFFLENET: Final = "torchvision:shufflenet_v2_x1_0"
PUBLISHED: Final = (
    _mlperf("jetson-xavier-nx", 2.42),
    _mlperf("jetson-agx-xavier", 1.82),
    _mlperf("jetson-orin-nx-16gb", 1.085, power_mode="MAXN"),
    _mlperf("jetson-agx-orin-64gb", 0.64, 0.69),
    _mlperf("a2", 0.70),
    _mlperf("t4", 1.00),
    _mlperf("l4", 0.355),
    _torch2trt("timm:resnet18", "jetson-nano", 11.4),
    _torch2trt("resnet50", "jetson-nano", 29.8),
    _torch2trt("timm:resnet18", "jetson-agx-xavier", 1.64),
    _torch2trt("resnet50", "jetson-agx-xavier", 3.37),
    _torch2trt("timm:mobilenetv2_100", "jetson-agx-xavier", 1.67),
    _torch2trt(SHUFFLENET, "jetson-agx-xavier", 2.43),
)


def print_plans() -> None:
    """Export the models, plan them for each device, and print both times."""
    print(
        f"{'model':32}{'':6}{'device':24}{'published':>12}{'predicted':>10}{'interval':>15}  error"
    )
    with tempfile.TemporaryDirectory() as folder:
        for one in PUBLISHED:
            device = find(one.device)
            try:
                kernels = planned(one.model, device, Path(folder))
            except EdgeattnError as error:
                print(f"{one.model:32}{one.precision:6}{one.device:24}no plan: {error.fact}")
                continue
            if one.precision == "int8":
                kernels = [in_int8(kernel) for kernel in kernels]
            found = predict(kernels, device, device.at(one.power_mode))
            predicted, low, high = (
                time / 1e3 for time in (found.end_to_end_us, found.low_us, found.high_us)
            )
            middle = (one.low_ms + one.high_ms) / 2
            said = f"{one.low_ms:g}" if one.low_ms == one.high_ms else f"{one.low_ms}-{one.high_ms}"
            print(
                f"{one.model:32}{one.precision:6}{one.device:24}{said:>9} ms{predicted:10.3f}"
                f"{low:8.3f} -{high:6.3f}{predicted / middle - 1:7.0%}"
            )


def planned(model: str, device: DeviceProfile, folder: Path) -> Sequence[Kernel]:
    """Plan a model in FP16 for the architecture that is nearest to the device's."""
    path = folder / f"{model.rpartition(':')[2]}.onnx"
    if not path.exists():
        edgeattn = str(Path(sys.executable).parent / "edgeattn")
        command = [edgeattn, "export", model, "--precision", "fp16", "-q", "-o", str(path)]
        subprocess.run(command, check=True)
    assert device.compute_capability is not None, "it is a GPU"
    # Turing's plans are the only ones of before Ampere, and write depthwise convolution otherwise.
    of_ampere = sorted(one for one in TENSORRT_RTX if one >= (8, 6))
    capability = nearest_architecture(max(device.compute_capability, (8, 6)), of_ampere)
    return plan(path, compute_capability=capability)


def in_int8(kernel: Kernel) -> Kernel:
    """Return a kernel in INT8, if it is a product or lies between two."""
    if kind_of(kernel) in {"shuffle", "reduction"}:
        return kernel

    def cast(tensors: Sequence[KernelTensor]) -> tuple[KernelTensor, ...]:
        return tuple(replace(one, dtype="int8") if one.dtype == "fp16" else one for one in tensors)

    return replace(
        kernel,
        inputs=cast(kernel.inputs),
        constants=cast(kernel.constants),
        outputs=cast(kernel.outputs),
    )
