"""What a fit found: a device's figures, before and after, and what stays a guess."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgeattn.devices.schema import DeviceProfile


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure of a device, before and after.

    Attributes:
        key: Its key in a device file.
        before: What it was; None if the file did not say it.
        after: What it is.
        spread: How sure that is: the standard deviation of its logarithm; None if that is not
            known.
        is_known: Whether traces say so; else it is what it was, moved with others at most.
        kernels: How many kernels follow it.
    """

    key: str
    before: float | None
    after: float
    spread: float | None
    is_known: bool
    kernels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A device's figures that traces tell of.

    Attributes:
        device: The device with them.
        figures: They.
        outliers: Kernels that count for little or nothing, and the trace of each.
        notes: What else a user should know.
    """

    device: DeviceProfile
    figures: tuple[Figure, ...]
    outliers: tuple[tuple[str, str], ...]
    notes: tuple[str, ...] = ()


def guesses_left(device: DeviceProfile, figures: Sequence[Figure]) -> tuple[str, ...]:
    """Return the guesses of a device that stay, those of tables as their single keys.

    Args:
        device: The device, with its figures.
        figures: What was fitted.
    """
    known = {one.key for one in figures if one.is_known}
    unknown = {one.key for one in figures if not one.is_known and device.is_guess(one.key)}
    said = device.model_dump(exclude_none=True)
    kept = [key for guess in device.guesses for key in _leaves(said, guess) if key not in known]
    return tuple(dict.fromkeys([*kept, *sorted(unknown)]))


def _leaves(said: dict[str, object], key: str) -> Iterator[str]:
    found: object = said
    for part in key.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    if isinstance(found, dict):
        for name in found:
            yield from _leaves(said, f"{key}.{name}")
    elif found is not None:
        yield key
