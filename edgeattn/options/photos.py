"""How photos are brought to a model's input, as the options of several commands say it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from edgeattn.base.errors import InputError
from edgeattn.options.flags import Flag
from edgeattn.options.shapes import parse_sizes
from edgeattn.records.pixels import FILTERS, FITS, IMAGENET, TO_ONE, Pixels, no_numbers

#: What the options say: all, or some attributes of `Pixels`, by name.
Photos = Pixels | Mapping[str, Any]
PHOTOS: Final = (
    Flag(
        "--mean M",
        "What photos, brought to 0...1, are normalised by: one number, or R,G,B. [what the"
        " model's manifest says, else ImageNet's, with a note]",
        takes=str,
    ),
    Flag("--std S", "Likewise, the standard deviation.", takes=str),
    Flag(
        "--scale S",
        "What 0...255 is multiplied by before: 1/255, or 1 for a model that takes 0...255."
        " [1/255; where it is given, mean 0 and deviation 1]",
        takes=str,
    ),
    Flag(
        "--resize HOW",
        "stretch, crop (the shorter side fits) or letterbox; or a size before --crop: 256 for the"
        " shorter side, or 256x320. A filter may follow, as in 256:bilinear. [as --mean; else"
        " stretch:bicubic]",
        takes=str,
    ),
    Flag(
        "--crop C",
        "What the input takes of that, from the centre: a share of its sides, as in 0.875, or a"
        " size, as in 224. [as --mean; else 1]",
        takes=str,
    ),
    Flag("--layout ORDER", "nchw or nhwc. [what the input's shape tells]", takes=str),
)
#: Their long names.
PHOTO_NAMES: Final = ("mean", "std", "scale", "resize", "crop", "layout")


def parse(*texts: str | tuple[()]) -> dict[str, Any]:
    """Read the options, in their order; () is one that is not given.

    Raises:
        InputError: They are no such numbers, or one is missing.
    """
    mean, std, scale, resize, crop, layout = texts
    said: dict[str, Any] = {}
    if scale:
        # The mean that is known otherwise is of another scale.
        said |= {"scale": _number("--scale", scale), "mean": (0.0,), "std": (1.0,)}
    if bool(mean) != bool(std):
        missing, given = ("--mean", "--std") if not mean else ("--std", "--mean")
        raise InputError(
            f"{given} is given without {missing}.",
            mend="Give both; for pixels in 0...1: --mean 0 --std 1",
        )
    if mean and std:
        said = {"scale": TO_ONE, **said, "mean": _numbers("--mean", mean)}
        said["std"] = _numbers("--std", std)
    if resize:
        said |= {"crop": 1.0, **_resize(resize)}
    if crop:
        sizes = parse_sizes(crop)
        is_share = sizes is None or sizes == (1,)
        said["crop"] = _number("--crop", crop) if is_share else ((sizes or ()) * 2)[:2]
    if layout:
        if layout not in ("nchw", "nhwc"):
            raise InputError(f"--layout {layout} is neither nchw nor nhwc.")
        said["layout"] = layout
    IMAGENET.over(said)  # checks them
    return said


def _resize(text: str) -> dict[str, Any]:
    how, _, kind = text.partition(":")
    sizes = parse_sizes(how)
    if (sizes is None and how not in FITS) or (kind and kind not in FILTERS):
        raise InputError(
            f"--resize {text!r} is nothing that photos can be resized by.",
            mend=f"Give {', '.join(FITS)}, 256 for the shorter side, or 256x320; and behind a"
            f" colon, if at all, {', '.join(FILTERS)}.",
        )
    fit = how if sizes is None else ("crop" if len(sizes) == 1 else "stretch")
    said: dict[str, Any] = {"fit": fit, "resize": sizes or ()}
    return said | ({"filter": kind} if kind else {})


def _number(option: str, text: str) -> float:
    """Read one number, which may be a fraction: `1/255`."""
    over, slash, under = text.partition("/")
    try:
        return float(over) / (float(under) if slash else 1.0)
    except (ValueError, ZeroDivisionError) as error:
        raise InputError(f"{option} {text!r} is no number.") from error


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise no_numbers(option, text) from error
