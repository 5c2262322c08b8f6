"""Shapes as text: `1x3x224x224`."""

from __future__ import annotations

from collections.abc import Iterable

from edgeattn.base.errors import InputError


def parse_shape(text: str) -> tuple[int, ...]:
    """Read a shape such as 1x3x224x224.

    Raises:
        InputError: It is no such thing.
    """
    sizes = parse_sizes(text)
    if sizes is None or len(sizes) < 2:
        raise InputError(
            f"--shape {text!r} is no shape.",
            mend="Write its sizes, the batch first, with x between: --shape 1x3x224x224",
        )
    return sizes


def parse_shapes(texts: Iterable[str]) -> tuple[tuple[int, ...], ...]:
    """Read several shapes, one for each input.

    Raises:
        InputError: One is no shape.
    """
    return tuple(map(parse_shape, texts))


def parse_sizes(text: str) -> tuple[int, ...] | None:
    """Read positive numbers with x between, or return None if it is no such text."""
    sizes = text.lower().split("x")
    if not all(size.isdecimal() and int(size) > 0 for size in sizes):
        return None
    return tuple(map(int, sizes))
