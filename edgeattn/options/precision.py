"""The precisions that a model may be in."""

from __future__ import annotations

from typing import Final, Literal

from edgeattn.base.errors import InputError

Precision = Literal["fp32", "fp16", "int8"]


#: From the widest to the narrowest.
PRECISIONS: Final[tuple[Precision, ...]] = ("fp32", "fp16", "int8")


def named(name: str) -> Precision:
    """Return the precision of this name.

    Raises:
        InputError: There is none.
    """
    for precision in PRECISIONS:
        if precision == name:
            return precision
    raise InputError(f"There is no precision {name!r}; there are {', '.join(PRECISIONS)}.")
