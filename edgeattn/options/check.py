"""What a model is checked for."""

from __future__ import annotations

from dataclasses import dataclass

from edgeattn.options.flags import flag, flags, switch
from edgeattn.options.hosts import on
from edgeattn.options.lowering import JETPACK
from edgeattn.options.photos import Photos
from edgeattn.options.precision import Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """What a model is checked for.

    Attributes:
        device: A device's name, an alias, or the path of a file; None for that of the host.
        jetpack: Its JetPack; None for its newest.
        tensorrt: Its TensorRT; None for the JetPack's.
        dla: Whether it is to run on the device's DLA.
        gpu_fallback: Whether what the DLA does not take may run on the GPU.
        on: The host that is asked itself, as it is typed; () for none.
        dla_core: The DLA core that it is asked for.
        precision: What it is to run in; None for what the file is in, or suits the device.
        shapes: The shape of each input; none for the model's own.
        calibration: What ranges are measured on, as a cast's; None for a random sample.
        pixels: How photos of it are brought to the input.
        samples: The most samples to take of it.
        seed: Seed of random samples.
    """

    device: str | None = flag(
        "--device NAME",
        "The device, or the path of a file of your own. See: edgeattn devices list. [the host's]",
    )
    jetpack: str | None = flags(JETPACK, default=None)
    tensorrt: str | None = flag(
        "--tensorrt VERSION", "Its TensorRT, such as 8.5. [that of its JetPack]"
    )
    dla: bool = switch("--dla", "Ask for its DLA: which nodes run there, and which do not.")
    gpu_fallback: bool = switch(
        "--gpu-fallback", "What the DLA cannot do may run on the GPU, and is no failure."
    )
    on: tuple[str, ...] = on(
        "Ask the device itself: its trtexec parses the model, and with --dla builds it."
    )
    dla_core: int = flag(
        "--dla-core N", "The DLA core that --on HOST is asked for.", default=0, min=0
    )
    precision: Precision | None = None
    shapes: tuple[tuple[int, ...], ...] = ()
    calibration: str | None = None
    pixels: Photos | None = None
    samples: int | None = None
    seed: int = 0
