"""What TensorRT runs for a plan of TensorRT-RTX: one stream, and passes where that has one kernel.

TensorRT's convolutions sum and clip on their way (ReLU). Any other activation, such as SiLU, is a
pass of its own over the map, with the sum behind it: always in FP32; in FP16 and INT8 before
Ampere, and behind depthwise convolutions and those of an image. So it is in the layers of a
YOLO26n that TensorRT 10.7 built in FP32 (87 passes behind 97 convolutions) and FP16 (21), docs/
sources.md. TensorRT-RTX compiles all of it into the convolution.

Streams beside the first came with TensorRT 8.6, and the same layers show none: none of them waits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from edgeattn.devices.schema import DeviceProfile
from edgeattn.engine.work import product_of, steps_of
from edgeattn.records.layers import Kernel

# Myelin's steps that a convolution of TensorRT takes on its way, or that no kernel is needed for.
_ON_THE_WAY: Final = frozenset(
    {"Corr", "Conv", "Add", "Relu", "Clip", "Max", "Min", "Cast", "Move", "Tran", "Resh", "Sque"}
)
_PRODUCTS: Final = frozenset({"Corr", "Conv"})
# The first architecture whose convolutions in FP16 and INT8 compute other activations too.
_AMPERE: Final = (8, 0)
_IMAGE_CHANNELS: Final = 4


def as_tensorrt(kernels: Sequence[Kernel], device: DeviceProfile) -> Iterator[tuple[int, Kernel]]:
    """Yield what a device runs for the kernels of a plan, and of which each is a part.

    Not for an engine of TensorRT, which runs as it is listed.

    Args:
        kernels: The kernels, in the order of the engine.
        device: What they are predicted for.
    """
    for place, kernel in enumerate(kernels):
        parts = _parted(kernel) if _is_apart(kernel, device) else (kernel,)
        yield from ((place, replace(one, stream=0)) for one in parts)


def _is_apart(kernel: Kernel, device: DeviceProfile) -> bool:
    """Return whether TensorRT leaves an activation to a pass behind the convolution."""
    first, *steps = steps_of(kernel) or ("",)
    if first not in _PRODUCTS or _ON_THE_WAY.issuperset(steps):
        return False
    product = product_of(kernel)
    if product is None or len(kernel.outputs) != 1:
        return False
    is_plain = not product.is_depthwise and product.channels > _IMAGE_CHANNELS
    is_fused = is_plain and (device.compute_capability or (0, 0)) >= _AMPERE
    return kernel.precision == "fp32" or not is_fused


def _parted(kernel: Kernel) -> tuple[Kernel, Kernel]:
    product = product_of(kernel)
    assert product is not None, "it is apart"
    between = replace(kernel.outputs[0], name=f"{kernel.outputs[0].name} before its activation")
    others = tuple(one for one in kernel.inputs if one is not product.data)
    return (
        replace(kernel, inputs=(product.data,), outputs=(between,)),
        replace(
            kernel,
            name="activation",
            kind="PointWise",
            inputs=(between, *others),
            constants=(),
            tactic="",
        ),
    )
