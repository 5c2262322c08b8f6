"""Shapes as text: `1x3x224x224`, and with the type of what they hold: `1x224x224x3:uint8`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Self

from edgeattn.base.errors import InputError
from edgeattn.base.nearest import did_you_mean, nearest

TYPES: Final = (
    "float32", "float16", "float64", "uint8", "int8", "int16", "int32", "int64", "bool",
)  # fmt: skip
"""The types of inputs, as NumPy and torch call them."""

#: More digits make no size, and Python refuses to read very many.
_DIGITS: Final = 19


class Shape(tuple[int, ...]):  # noqa: SLOT001 - a tuple has no room for slots
    """The sizes of an input, and the type of what it holds, where that is said.

    Args:
        sizes: The sizes.
        dtype: One of `TYPES`, or "" for what the model takes.
    """

    dtype: str

    def __new__(cls, sizes: Iterable[int], dtype: str = "") -> Self:
        """Return a shape of these sizes."""
        shape = super().__new__(cls, sizes)
        shape.dtype = dtype
        return shape

    def __str__(self) -> str:
        return "x".join(map(str, self)) + (f":{self.dtype}" if self.dtype else "")


def parse_shape(text: str) -> Shape:
    """Read a shape such as 1x3x224x224, or 1x224x224x3:uint8.

    Raises:
        InputError: It is no such thing.
    """
    numbers, colon, dtype = text.partition(":")
    sizes = parse_sizes(numbers)
    if sizes is None or len(sizes) < 2 - len(colon):
        raise InputError(
            f"--shape {text!r} is no shape.",
            mend="Write its sizes, the batch first, with x between: --shape 1x3x224x224",
        )
    if colon and dtype not in TYPES:
        raise InputError(
            f"--shape {text!r} gives no type after its colon.",
            mend=f"{did_you_mean(nearest(dtype, TYPES))} It is one of {', '.join(TYPES)}.".strip(),
        )
    return Shape(sizes, dtype)


def check_type(shape: Sequence[int], name: str, own: str) -> None:
    """Refuse a type that is not the one that an input of a file has.

    Raises:
        InputError: Names both.
    """
    if (asked := dtype_of(shape)) and asked != own:
        raise InputError(
            f"Input {name} takes {own}, and --shape asks for {asked}.",
            mend="A file's inputs have their types already: leave the colon and the type out.",
        )


def dtype_of(shape: Sequence[int]) -> str:
    """Return the type that is said with a shape, "" if none is."""
    return shape.dtype if isinstance(shape, Shape) else ""


def whole_numbers(dtype: str) -> tuple[int, int]:
    """Return the smallest and the largest whole number to draw for an input.

    All of 8 bits, which hold pixels. Wider ones hold masks, classes and places, which any model
    with such an input takes 0 and 1 for.
    """
    return {"uint8": (0, 255), "int8": (-128, 127)}.get(dtype, (0, 1))


def parse_shapes(texts: Iterable[str]) -> tuple[Shape, ...]:
    """Read several shapes, one for each input.

    Raises:
        InputError: One is no shape.
    """
    return tuple(map(parse_shape, texts))


def parse_sizes(text: str) -> tuple[int, ...] | None:
    """Read positive numbers with x between, or return None if it is no such text."""
    sizes = text.lower().split("x")
    if not all(size.isdecimal() and len(size) < _DIGITS and int(size) > 0 for size in sizes):
        return None
    return tuple(map(int, sizes))
