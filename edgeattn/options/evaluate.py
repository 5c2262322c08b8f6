"""On what, and how, the accuracy of classifiers is found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgeattn.options.flags import Flag, flag, flags, switch
from edgeattn.options.hosts import on
from edgeattn.options.photos import PHOTOS, Photos, parse

DATA: Final = Flag(
    "--data FOLDER",
    "Images with labels: a folder with one for each class, in the order of their names; or a list"
    " (.csv, .tsv, .txt) of files and labels.",
    takes=str,
)
CLASSES: Final = Flag(
    "--classes FILE",
    "The name of each class in a line, in the model's order, where the data's are others or fewer.",
    takes=str,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateOptions:
    """How accuracy is found.

    Attributes:
        pixels: How photos are brought to every model; None for what each says.
        runtime: None for ONNX Runtime here, with half values rounded as devices store them.
        samples: None for all.
        batch: Images of a run, where the batch is open.
        threads: None for all cores.
    """

    data: Path | None = flags(DATA, default=None, read=Path)
    classes: Path | None = flags(CLASSES, default=None, read=Path)
    pixels: Photos | None = flags(*PHOTOS, default=None, read=parse)
    runtime: str | None = flag(
        "--runtime NAME",
        "What runs ONNX files, as it is: onnxruntime or openvino. [ONNX Runtime, with half values"
        " rounded as devices store them, and int8 in its own kernels only if lowered for it]",
    )
    openvino_device: str | None = flag(
        "--openvino-device NAME", "OpenVINO's device, as in CPU, GPU, NPU. [CPU]"
    )
    on: tuple[str, ...] = on(
        "Run the models there: ONNX files by the onnxruntime or openvino of its Python, engines by"
        " its trtexec."
    )
    samples: int | None = flag("--samples N", "The most images to take, drawn. [all]", min=1)
    seed: int = flag("--seed", "Seed of that draw.", default=0, min=0)
    batch: int | None = flag(
        "--batch N", "Images of a run, where the batch is open. [8; fewer large ones]", min=1
    )
    threads: int | None = flag("--threads N", "Threads that read and run. [all cores]", min=1)
    skip_broken: bool = switch("--skip-broken", "Leave out images that cannot be read.")
