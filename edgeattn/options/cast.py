"""How a model is cast to half or int8."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from edgeattn.base.errors import InputError
from edgeattn.options.evaluate import CLASSES, DATA
from edgeattn.options.flags import flag, flags, switch
from edgeattn.options.photos import PHOTOS, Photos, parse
from edgeattn.options.precision import named
from edgeattn.options.shapes import parse_shapes

PRECISIONS: Final = ("fp16", "int8")


RANDOM: Final = "random"
#: What brings a cast nearer to what was cast.
NEARER: Final = {
    "fp16": "Keep more in float32: --keep-fp32 MODULE",
    "int8": "Calibrate on more data, or on data nearer to what the model takes.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CastOptions:
    """How to cast.

    Attributes:
        calibration: None is random for fp16, and refused for int8.
        pixels: How photos among it are brought to the input; None for what the model's files say,
            or else ImageNet's mean and deviation.
        samples: None for 4 random ones, or 128 of other data.
        shapes: Needed only where dimensions other than the batch are open.
        data: Images with labels, that the accuracy before and after is found on; None for not.
        classes: The names of their classes.
        min_sqnr_db: None for 40 dB in fp16, and no bound in int8.
        runtime: What is to run it in int8; "" for what the file was lowered for.
    """

    precision: Literal["fp16", "int8"] = flag(
        "--precision P",
        "fp32, fp16 or int8. [what the model is in] compare and profile take several, with commas"
        " between, and bf16 of OpenVINO.",
        default="fp16",
        takes=str,
        read=named,
    )
    half_io: bool = switch("--half-io", "Make inputs and outputs float16 too.")
    keep_fp32: tuple[str, ...] = flag(
        "--keep-fp32 GLOB",
        "Nodes or modules to keep in float32, beside those that the audit finds.",
        default=(),
    )
    calibration: str | None = flag(
        "--calibration DATA",
        "What int8 is calibrated on, and ranges are taken from: a folder of images or arrays,"
        " an .npz or .npy file, or the word random.",
    )
    pixels: Photos | None = flags(*PHOTOS, default=None, read=parse)
    samples: int | None = flag("--samples N", "The most samples to take of it.", min=1)
    seed: int = flag("--seed", "Seed of random samples.", default=0, min=0)
    gates: bool = switch("--quantise-gates", "Quantise gates and statistics too, for int8.")
    shapes: tuple[tuple[int, ...], ...] = flag(
        "--shape 1x3x224x224",
        "Shape to run a file with whose height or width is open; once per input.",
        default=(),
        read=parse_shapes,
    )
    data: Path | None = flags(DATA, default=None, read=Path)
    classes: Path | None = flags(CLASSES, default=None, read=Path)
    max_accuracy_drop: float | None = flag(
        "--max-accuracy-drop POINTS",
        "How many points of top-1 a classifier may lose on --data; it is refused beyond.",
        min=0,
    )
    min_sqnr_db: float | None = flag(
        "--min-sqnr DB", "Smallest SQNR of an output against float32. [fp16 40; int8 none]"
    )
    runtime: str = ""


def check_options(options: CastOptions) -> None:
    """Refuse options that contradict each other, before anything is read.

    Raises:
        InputError: Says which.
    """
    if options.precision not in PRECISIONS:
        raise InputError(
            f"There is no precision {options.precision!r} to cast to;"
            f" there are {' and '.join(PRECISIONS)}."
        )
    if options.calibration is not None and not options.calibration.strip():
        raise InputError(
            "--calibration is given, and names nothing.",
            mend="Give a folder of images or arrays, an .npz or .npy file, or the word random.",
        )
    if options.max_accuracy_drop is not None and options.data is None:
        raise InputError(
            "--max-accuracy-drop is given, and no images to find it on.",
            mend="Add --data FOLDER, with a folder for each class.",
        )
    if options.classes is not None and options.data is None:
        raise InputError("--classes names those of --data, which is not given.")
    if options.precision == "int8" and options.calibration is None:
        raise InputError(
            "int8 needs data to calibrate on, and none is given.",
            mend="Give --calibration FOLDER of images or arrays, or --calibration FILE.npz; with"
            " --calibration random the scales are those of noise.",
        )
    for name, given, precision in (
        ("--half-io", options.half_io, "fp16"),
        ("--quantise-gates", options.gates, "int8"),
    ):
        if given and options.precision != precision:
            raise InputError(f"{name} is for {precision} only.")
