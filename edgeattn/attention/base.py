"""What the attention modules share: a note, and the choices of widths and groups."""

from __future__ import annotations

from typing import Literal

from torch import nn


class Attention(nn.Module):
    """An attention module over feature maps.

    Attributes:
        note: What the constructor chose by itself, for the user; empty if nothing.
    """

    note: str = ""


def require_at_least(name: str, value: float, minimum: float) -> None:
    """Refuse an option's value that is too small.

    Raises:
        ValueError: `value` is below `minimum`, or not a number.
    """
    if not value >= minimum:
        raise ValueError(f"{name} must be at least {minimum}, not {value}")


def require_odd(name: str, value: int) -> None:
    """Refuse a kernel size that cannot keep the shape of its input.

    Raises:
        ValueError: `value` is even, or below 1.
    """
    if value < 1 or value % 2 == 0:
        raise ValueError(f"{name} must be odd and at least 1, not {value}")


def reduced_width(channels: int, reduction: int) -> tuple[int, str]:
    """Return the hidden width C//r of a squeeze, and a note if that would be empty.

    The published codes fail or build an empty layer if C//r is 0; one hidden channel is the
    smallest module of the same form.

    Raises:
        ValueError: `reduction` is below 1.
    """
    require_at_least("reduction", reduction, 1)
    width = channels // reduction
    if width:
        return width, ""
    return 1, f"hidden width 1, because {channels} // {reduction} is 0"


def choose_groups(
    channels: int, groups: int | Literal["auto"], *, published: int, multiple: int = 1
) -> tuple[int, str]:
    """Choose a number of groups such that each holds a multiple of `multiple` channels.

    Args:
        channels: The channels to divide.
        groups: "auto" takes `published`, or the largest smaller number that fits.
        published: The number of groups in the paper.
        multiple: What the number of channels in a group must be a multiple of.

    Returns:
        The groups, and a note if they are not the published ones.

    Raises:
        ValueError: The groups asked for do not fit, or none fits.
    """
    if groups == "auto":
        for count in range(published, 0, -1):
            if channels % (count * multiple) == 0:
                needed = f"{published} groups need a multiple of {published * multiple} channels"
                return count, "" if count == published else f"groups={count}, because {needed}"
        raise ValueError(f"{channels} channels do not divide into groups of {multiple}")
    require_at_least("groups", groups, 1)
    if channels % (groups * multiple):
        needed = "" if multiple == 1 else f" of a multiple of {multiple} channels"
        raise ValueError(f"{channels} channels do not divide into {groups} groups{needed}")
    return groups, ""
