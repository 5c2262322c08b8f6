"""How the pixels of photos become a model's input."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from edgeattn.base.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Pixels:
    """What pixels, brought to 0...1, are normalised by: (x - mean) / std.

    Attributes:
        mean: One number for all channels, or three for red, green and blue.
        std: Likewise.
        said_by: Who says that the model takes that; "" if it is assumed.

    Raises:
        InputError: They are no such numbers.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    said_by: str = ""

    def __post_init__(self) -> None:
        for option, values in (("--mean", self.mean), ("--std", self.std)):
            if len(values) not in (1, 3) or not all(map(math.isfinite, values)):
                raise InputError(
                    f"{option} {told(values)} is neither one number nor three.",
                    mend=f"For example: {option} 0.5, or {option} 0.485,0.456,0.406",
                )
        if max(map(abs, self.mean)) > 1 or not 0 < min(self.std) <= max(self.std) <= 1:
            raise InputError(
                f"--mean {told(self.mean)} and --std {told(self.std)} are not those of pixels in"
                " 0...1.",
                mend="Divide numbers that are meant for 0...255 by 255. A model that takes 0...255"
                " itself: --mean 0 --std 0.00392157",
            )


#: Of ImageNet's RGB values, which most published classifiers take.
IMAGENET: Final = Pixels(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def told(values: tuple[float, ...]) -> str:
    """Write numbers as the options take them: `0.485,0.456,0.406`."""
    return ",".join(f"{value:.6g}" for value in values)


def parse(mean: str | tuple[()], std: str | tuple[()]) -> Pixels:
    """Read --mean and --std.

    Raises:
        InputError: They are no such numbers, or one is missing.
    """
    if not mean or not std:
        missing, given = ("--mean", "--std") if not mean else ("--std", "--mean")
        raise InputError(
            f"{given} is given without {missing}.",
            mend="Give both; for pixels in 0...1: --mean 0 --std 1",
        )
    return Pixels(mean=_numbers("--mean", mean), std=_numbers("--std", std), said_by="the options")


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(
            f"{option} {text!r} is neither one number nor three.",
            mend=f"For example: {option} 0.5, or {option} 0.485,0.456,0.406",
        ) from error
