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


#: What models can be compared in, from the widest to the narrowest.
COMPARED: Final = ("fp32", "bf16", "fp16", "int8")
#: What OpenVINO computes a float32 file in where it is asked to, and what it calls that.
HINTS: Final = {"bf16": "bf16", "fp16": "f16"}


def several(text: str) -> tuple[str, ...]:
    """Read the precisions to compare, with commas between.

    Raises:
        InputError: There is none of a name.
    """
    found = tuple(dict.fromkeys(one.strip() for one in text.split(",")))
    for one in found:
        if one not in COMPARED:
            raise InputError(f"There is no precision {one!r}; there are {', '.join(COMPARED)}.")
    return found


def obstacle(runtime: str, precision: str) -> str:
    """Return why a runtime takes no model in a precision; "" if it does."""
    if precision == "bf16" and runtime != "openvino":
        return "bf16 is computed by OpenVINO, on processors that have it"
    if precision != "fp32" and runtime == "torch":
        return "torch runs models in float32"
    return ""
