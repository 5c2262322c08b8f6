"""Plans an engine: finds the kernels that TensorRT-RTX builds from a model. No GPU is needed.

The engine is built for a compute capability and thrown away; only the layer information that the
builder prints is kept. It is a plan: on the device, kernels are compiled from it, and TensorRT
proper fuses differently. So its kernels and bytes serve to compare graphs, and are no times.
"""

from __future__ import annotations

from pathlib import Path

from edgeattn.base.errors import InputError
from edgeattn.engine import apart
from edgeattn.engine.libraries import Capability, load
from edgeattn.engine.target import DEFAULT_CAPABILITY
from edgeattn.records.layers import Kernel


def plan(model: Path, *, compute_capability: Capability = DEFAULT_CAPABILITY) -> tuple[Kernel, ...]:
    """Build an engine and read its layer information.

    Args:
        model: An ONNX file, whose weights may lie in files beside it. Its shapes must be static.
        compute_capability: What the engine is for: major and minor number.

    Returns:
        The kernels, in the order of the engine.

    Raises:
        InputError: TensorRT-RTX does not take the model (names the node and the reason), has open
            shapes, or does not build for this compute capability.
        MissingError: TensorRT-RTX is not installed.
    """
    built = apart.build(model, load("tensorrt-rtx"), compute_capability)
    if built.profiles:
        raise InputError(
            f"Input {next(iter(built.profiles[0].opt))} has open dimensions.",
            mend="A plan is for one shape: export the model without --dynamic-batch.",
        )
    return built.information.kernels
