"""What a file, an engine or a model is compared with, and what passes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgeattn.options.flags import Flag, flag, flags, switch
from edgeattn.options.hosts import on

DATA: Final = Flag(
    "--input FILE",
    "Real data instead of random, once per input: an .npy file, or a photo, which is brought to the"
    " input as --mean, --resize and the like say, or the model.",
)


def paths(texts: Iterable[str]) -> tuple[Path, ...]:
    """Read paths."""
    return tuple(map(Path, texts))


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityOptions:
    """How to compare."""

    reference: str | None = flag(
        "--reference MODEL", "The model to compare it with, as for export."
    )
    ladder: bool = switch(
        "--ladder",
        "Climb torch → onnx → lowered → cast → engine, and name the first rung that falls. The cast"
        " is climbed with --precision, the engine where a GPU is, OpenVINO in its place with"
        " --runtime openvino.",
    )
    opset: int | None = flag("--opset", "The opset, with --ladder. [17]", min=13)
    dynamic_batch: bool = switch("--dynamic-batch", "Export with an open batch, with --ladder.")
    on: tuple[str, ...] = on(
        "Run it on the device itself, as an engine of its trtexec or in its onnxruntime: the last"
        " rung of the ladder."
    )
    runtime: str | None = flag(
        "--runtime NAME",
        "What runs it: onnxruntime, or openvino, which is the last rung of a ladder. [onnxruntime;"
        " of an engine, its own]",
    )
    openvino_device: str | None = flag(
        "--openvino-device NAME", "OpenVINO's device, as in CPU, GPU, NPU. [CPU]"
    )
    data: tuple[Path, ...] = flags(DATA, default=(), read=paths)
    max_rel: float | None = flag(
        "--max-rel",
        "Largest error over |value| + its root mean square. [1e-3; fp16 and engines 0.1; int8"
        " none]",
        min=0,
    )
    min_sqnr: float | None = flag(
        "--min-sqnr DB",
        "Smallest SQNR in dB; on a ladder, of the cast. [80; fp16 and engines 40; int8 none]",
    )
