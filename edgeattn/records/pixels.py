"""How photos become a model's input: resized, cropped, scaled and normalised."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from edgeattn.base.errors import InputError

#: How photos of any proportions come to those of the input.
Fit = Literal["stretch", "crop", "letterbox"]
Filter = Literal["bicubic", "bilinear", "nearest", "box", "lanczos"]
FITS: Final = ("stretch", "crop", "letterbox")
FILTERS: Final = ("bicubic", "bilinear", "nearest", "box", "lanczos")
#: Who says what is asked.
OPTIONS: Final = "the options"
#: What brings 0...255 to 0...1.
TO_ONE: Final = 1 / 255
# What detectors have around a photo whose mean is 0.
_GREY: Final = 114


@dataclass(frozen=True, slots=True, kw_only=True)
class Pixels:
    """How photos are brought to an input: (x · scale - mean) / std of those of its size.

    Attributes:
        mean: One number for all channels, or three for red, green and blue.
        std: Likewise.
        scale: What values of 0...255 are multiplied by.
        fit: `stretch` resizes the whole, whatever its proportions; `crop` until the photo covers
            the size; `letterbox` until it lies within it, with a border of the mean, or grey.
        resize: The size that photos are resized to: that of the shorter side, or height and width.
            Empty for the input's, or that over `crop`.
        crop: What is taken of that, from the centre: a share of its sides, or height and width.
        filter: Pillow's name of what resizes.
        layout: `nchw` or `nhwc`; "" for what the input's shape tells.
        said_by: Who says that the model takes that; "" if it is assumed.

    Raises:
        InputError: They are no such numbers.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float = TO_ONE
    fit: Fit = "stretch"
    resize: tuple[int, ...] = ()
    crop: float | tuple[int, int] = 1.0
    filter: Filter = "bicubic"
    layout: Literal["", "nchw", "nhwc"] = ""
    said_by: str = ""

    def __post_init__(self) -> None:
        for option, values in (("--mean", self.mean), ("--std", self.std)):
            if len(values) not in (1, 3) or not all(map(math.isfinite, values)):
                raise no_numbers(option, told(values))
        if not 0 < self.scale <= 1:
            raise InputError(
                f"--scale {self.scale:g} is nothing that 0...255 is multiplied by.",
                mend="For 0...1 give 1/255, which is the default; for 0...255 give 1.",
            )
        top = 255 * self.scale * (1 + 1e-6)
        if max(map(abs, self.mean)) > top or not 0 < min(self.std) <= max(self.std) <= top:
            raise InputError(
                f"--mean {told(self.mean)} and --std {told(self.std)} are not those of pixels in"
                f" 0...{top:.4g}.",
                mend="If they are meant for 0...255, add --scale 1; or divide them by 255.",
            )
        share, size = (self.crop, ()) if isinstance(self.crop, float) else (1.0, self.crop)
        is_size = len(self.resize) <= 2 and min((*self.resize, *size), default=1) >= 1
        if not is_size or not 0 < share <= 1:
            raise InputError(
                f"--resize {_sizes(self.resize)} and --crop {self.crop} are no sizes of photos.",
                mend="For example: --resize 256 --crop 224, or --crop 0.875",
            )

    def over(self, said: Mapping[str, Any]) -> Pixels:
        """Return these, but for what options say: see `options.photos.parse`."""
        said_by = self.said_by
        if not said_by.endswith(OPTIONS) and (said_by or "mean" in said):
            said_by = " and ".join(filter(None, (said_by, OPTIONS)))
        if "crop" in said and "fit" not in said and not self.said_by:
            said = {"fit": "crop", **said}
        return replace(self, **said, said_by=said_by)

    def size(self, height: int | None, width: int | None) -> tuple[int, int]:
        """Return the height and width that a photo ends up in.

        Args:
            height: The input's, None if it is open.
            width: Likewise.

        Raises:
            InputError: They are open, and nothing says them; or what is said does not fit them.
        """
        said = self.crop if isinstance(self.crop, tuple) else self.resize
        own = said if len(said) == 2 else (said or (None,)) * 2
        high, wide = height or own[0], width or own[1]
        if high is None or wide is None:
            raise InputError(
                "The input's height or width is open, and nothing says how large photos are to be.",
                mend="Say it: --crop 224, or --crop 480x640",
            )
        if isinstance(self.crop, tuple) and self.crop != (high, wide):
            raise InputError(
                f"--crop {_sizes(self.crop)} is not the input's size, {high}x{wide}.",
                mend="Leave it out, and say with --resize what photos are resized to before.",
            )
        before = self.before_crop(high, wide)
        if self.fit != "letterbox" and (before[0] < high or before[1] < wide):
            raise InputError(
                f"--resize {_sizes(self.resize)} is smaller than the input, {high}x{wide}.",
                mend="Resize to that at least.",
            )
        return high, wide

    def before_crop(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width that a photo is resized to, before it is cropped to these."""
        if self.resize:
            return self.resize[0], self.resize[-1]
        share = self.crop if isinstance(self.crop, float) else 1.0
        # As timm has it; the rest of a division is no pixel.
        return int(height / share + 1e-6), int(width / share + 1e-6)

    def resized(self, size: tuple[int, int], height: int, width: int) -> tuple[int, int]:
        """Return the height and width that a photo is resized to, as torchvision and timm do.

        Args:
            size: Its own height and width.
            height: What it is to be cropped to.
            width: Likewise.
        """
        high, wide = self.before_crop(height, width)
        if self.fit == "stretch":
            return high, wide
        if self.fit == "crop" and high == wide:
            short = min(size)
            return int(high * size[0] / short), int(wide * size[1] / short)
        pick = min if self.fit == "crop" else max
        ratio = pick(size[0] / high, size[1] / wide)
        return max(round(size[0] / ratio), 1), max(round(size[1] / ratio), 1)

    def border(self, channels: int) -> tuple[int, ...]:
        """Return the values of what lies around a letterboxed photo."""
        values = tuple(round(one / self.scale) for one in self.mean)
        return ((values if any(values) else (_GREY,)) * channels)[:channels]

    def done(self, height: int, width: int) -> str:
        """Say what is done to the shape of photos for an input of this size."""
        high, wide = self.before_crop(height, width)
        how = {
            "stretch": f"resized to {high}x{wide} (height x width; the whole of each)",
            "crop": f"resized to {high} on the shorter side"
            if high == wide
            else f"resized to cover {high}x{wide} (height x width)",
            "letterbox": f"resized to lie within {high}x{wide} (height x width), in a border",
        }[self.fit]
        is_cut = (high, wide) != (height, width) or self.fit == "crop"
        cut = f", cut to the {height}x{width} in the centre" if is_cut else ""
        return f"{how}, {self.filter}{cut}"


#: Of ImageNet's RGB values, which most published classifiers take.
IMAGENET: Final = Pixels(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def of_ultralytics(task: str, said_by: str) -> Pixels:
    """Return how Ultralytics brings photos to its models.

    Args:
        task: As it calls it: "classify", "detect".
        said_by: Who says that a model is one of its.
    """
    fit: Fit = "crop" if task == "classify" else "letterbox"
    return Pixels(mean=(0.0,), std=(1.0,), fit=fit, filter="bilinear", said_by=said_by)


def told(values: tuple[float, ...]) -> str:
    """Write numbers as the options take them: `0.485,0.456,0.406`."""
    return ",".join(f"{value:.6g}" for value in values)


def no_numbers(option: str, text: str) -> InputError:
    """Return the error of what is neither one number nor three."""
    return InputError(
        f"{option} {text} is neither one number nor three.",
        mend=f"For example: {option} 0.5, or {option} 0.485,0.456,0.406",
    )


def _sizes(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes)) or "stretch"
