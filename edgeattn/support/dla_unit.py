"""A DLA as TensorRT reaches it, and the sources of what is said of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from edgeattn.base.versions import numbers
from edgeattn.support.answers import Answer

Generation: TypeAlias = Literal["xavier", "orin"]

GUIDE: Final = "NVIDIA TensorRT documentation, DLA Supported Layers and Restrictions"
GUIDE_82: Final = "NVIDIA TensorRT 8.2 Developer Guide, DLA Supported Layers"
GUIDE_84: Final = "NVIDIA TensorRT 8.4 Developer Guide, DLA Supported Layers"
OPERATORS_86: Final = "NVIDIA TensorRT 8.6 Operators documentation, DLA Restrictions"
OPERATORS_103: Final = "NVIDIA TensorRT 10.3 Operators documentation, DLA Support"
WORKING: Final = "NVIDIA TensorRT 11.4.1 documentation, Working with DLA"
TYPED: Final = "NVIDIA TensorRT 11.4.1 documentation, Strongly Typed Networks for DLA"
HEADER: Final = "TensorRT's NvInfer.h"
MATRIX: Final = "NVIDIA/Deep-Learning-Accelerator-SW, operators/README.md"
PARSER: Final = "onnx-tensorrt's importers"
# Build logs of devices.
LOG_84: Final = "build log in NVIDIA-AI-IOT/jetson_dla_tutorial (Orin, TensorRT 8.4)"
LOG_85: Final = "build log of a MobileNetV3, pastebin.com/r3meGUdD (TensorRT 8.5)"
LOG_85_ORIN: Final = "build log in ultralytics/ultralytics#18012 (AGX Orin, TensorRT 8.5)"
LOG_85_XAVIER: Final = "build log in ultralytics/ultralytics#23488 (Xavier NX, TensorRT 8.5)"
LOG_86: Final = "build log in ultralytics/ultralytics#16449 (AGX Orin, TensorRT 8.6)"
LOG_103: Final = "build log of a ResNet-50 (AGX Orin, TensorRT 10.3)"
TOO_LARGE: Final = "a convolution in NVIDIA/TensorRT#3499 (Orin, TensorRT 8.5)"
LOG_103_DETR: Final = "build log of a DETR (AGX Orin, TensorRT 10.3)"
LOG_103_NORMS: Final = "build log of SAM 2.1's memory encoder (Orin NX, TensorRT 10.3)"

ASK: Final = "Ask the device: edgeattn check --dla --on HOST."
LOWER: Final = "Lower the model for it, as far as that goes: --target dla."


@dataclass(frozen=True)
class Unit:
    """A DLA, as a version of TensorRT reaches it in a precision.

    Attributes:
        generation: Of the hardware.
        tensorrt: TensorRT's version, such as "8.5.2".
        precision: What it computes in.
    """

    generation: Generation
    tensorrt: str
    precision: Literal["fp16", "int8"]

    @property
    def version(self) -> tuple[int, ...]:
        """TensorRT's version as numbers."""
        return numbers(self.tensorrt)

    @property
    def element_bytes(self) -> int:
        """What an element takes."""
        return 1 if self.precision == "int8" else 2


def yes(source: str, reason: str = "") -> Answer:
    """Return that it runs there."""
    return Answer(verdict="yes", reason=reason, source=source)


def no(reason: str, source: str, mend: str = LOWER) -> Answer:
    """Return that it falls back to the GPU."""
    return Answer(verdict="no", reason=reason, source=source, mend=mend)


def unknown(reason: str, source: str = "", mend: str = ASK) -> Answer:
    """Return that nothing sure is said of it."""
    return Answer(verdict="unknown", reason=reason, source=source, mend=mend)
