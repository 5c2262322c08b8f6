"""How a model is cast to half or int8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from edgeattn.base.errors import InputError
from edgeattn.options.flags import flag
from edgeattn.options.precision import named
from edgeattn.options.shapes import parse_shapes

PRECISIONS: Final = ("fp16", "int8")


RANDOM: Final = "random"


@dataclass(frozen=True, slots=True, kw_only=True)
class CastOptions:
    """How to cast.

    Attributes:
        calibration: None is random for fp16, and refused for int8.
        samples: None for 4 random ones, or 128 of other data.
        shapes: Needed only where dimensions other than the batch are open.
        min_sqnr_db: None for 40 dB in fp16, and no bound in int8.
    """

    precision: Literal["fp16", "int8"] = flag(
        "--precision",
        default="fp16",
        metavar="P",
        takes=str,
        read=named,
        help="fp32, fp16 or int8. [what the model is in]",
    )
    keep_fp32: tuple[str, ...] = flag(
        "--keep-fp32",
        default=(),
        metavar="GLOB",
        help="Nodes or modules to keep in float32, beside those that the audit finds.",
    )
    half_io: bool = flag("--half-io", default=False, help="Make inputs and outputs float16 too.")
    calibration: str | None = flag(
        "--calibration",
        metavar="DATA",
        help="What int8 is calibrated on, and ranges are taken from: a folder of images or arrays,"
        " an .npz or .npy file, or the word random.",
    )
    samples: int | None = flag(
        "--samples", metavar="N", min=1, help="The most samples to take of it."
    )
    gates: bool = flag(
        "--quantise-gates", default=False, help="Quantise gates and statistics too, for int8."
    )
    min_sqnr_db: float | None = flag(
        "--min-sqnr",
        metavar="DB",
        help="Smallest SQNR of an output against float32. [fp16 40; int8 none]",
    )
    shapes: tuple[tuple[int, ...], ...] = flag(
        "--shape",
        default=(),
        metavar="1x3x224x224",
        read=parse_shapes,
        help="Shape to run a file with whose height or width is open; once per input.",
    )
    seed: int = flag("--seed", default=0, min=0, help="Seed of random samples.")


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
