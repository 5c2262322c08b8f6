"""The types of a device file's figures: each says what it must be, and in which unit.

Bounds are wide enough for any device, and too narrow for another unit: a clock in GHz or a
bandwidth in MB/s is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

from edgeattn.base.versions import numbers


class Table(BaseModel):
    """A table of a device file."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _number(low: float, high: float, unit: str) -> Callable[[object], float]:
    def check(value: object) -> float:
        # Python counts True as 1; nan is in no bounds.
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not low <= value <= high:  # type: ignore[operator]  # it is a number
            raise ValueError(f"must be a number from {low:g} to {high:g}{unit}")
        return value  # type: ignore[return-value]  # same

    return check


def _count(low: int, high: int) -> Callable[[object], int]:
    def check(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return value

    return check


def _text(pattern: str, expected: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError(f"must be {expected}")
        return value

    return check


def _capability(value: object) -> tuple[int, int]:
    major, minor = numbers(_text(r"\d{1,2}\.\d", 'text as in "8.7"')(value))
    return major, minor


Count = Annotated[int, BeforeValidator(_count(1, 100_000))]
Traces = Annotated[int, BeforeValidator(_count(0, 100_000))]
Dlas = Annotated[int, BeforeValidator(_count(0, 16))]
Mhz = Annotated[float, BeforeValidator(_number(50, 20_000, ", in MHz"))]
Gbps = Annotated[float, BeforeValidator(_number(0.5, 50_000, ", in GB/s"))]
Kib = Annotated[int, BeforeValidator(_count(64, 4_194_304))]
Gib = Annotated[float, BeforeValidator(_number(0.01, 4_096, ", in GiB"))]
Tflops = Annotated[float, BeforeValidator(_number(0.001, 100_000, ", in TFLOP/s or TOP/s"))]
Microseconds = Annotated[float, BeforeValidator(_number(0.01, 1_000, ", in µs"))]
Holds = Annotated[float, BeforeValidator(_number(1, 1e9, ", in µs"))]
Fraction = Annotated[float, BeforeValidator(_number(0.01, 1, ", a part of the peak"))]
Part = Annotated[float, BeforeValidator(_number(0.0001, 1, ", a part of the bandwidth"))]
Columns = Annotated[float, BeforeValidator(_number(0, 100_000, ", in places"))]
Opset = Annotated[int, BeforeValidator(_count(7, 99))]
OperatorName = Annotated[
    str,
    BeforeValidator(
        _text(r"[A-Z][A-Za-z0-9]*(-[a-z]+)?", 'an operator, as in "Softmax" or "Softmax-inner"')
    ),
]
Version = Annotated[str, BeforeValidator(_text(r"\d+(\.\d+)*", 'text as in "10.3"'))]
ComputeCapability = Annotated[
    tuple[int, int],
    BeforeValidator(_capability),
    PlainSerializer(lambda pair: "{}.{}".format(*pair), return_type=str, when_used="json"),
]
