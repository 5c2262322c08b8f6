"""How a model is cast to half or int8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from edgeattn.base.errors import InputError

PRECISIONS: Final = ("fp16", "int8")


RANDOM: Final = "random"


@dataclass(frozen=True, slots=True, kw_only=True)
class CastOptions:
    """How to cast.

    Attributes:
        precision: `fp16` or `int8`.
        half_io: Cast the inputs and outputs too; fp16 only.
        keep_fp32: Globs of node names and module paths that stay float32.
        calibration: What ranges are measured on: a folder, an .npz or .npy file, or `random`;
            None is random for fp16, and refused for int8.
        samples: How many samples are used at most; None for 4 random ones, or 128 of other data.
        seed: Seed of random samples.
        gates: Quantise gates and statistics too; int8 only.
        shapes: Shapes of the inputs, one each; needed only where dimensions other than the batch
            are open.
        min_sqnr_db: The smallest SQNR that passes; None for 40 dB in fp16, and none in int8.
    """

    precision: Literal["fp16", "int8"] = "fp16"
    half_io: bool = False
    keep_fp32: tuple[str, ...] = ()
    calibration: str | None = None
    samples: int | None = None
    seed: int = 0
    gates: bool = False
    shapes: tuple[tuple[int, ...], ...] = ()
    min_sqnr_db: float | None = None


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
