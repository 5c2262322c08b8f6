"""Figures as people read them."""

from __future__ import annotations

from typing import Final

_NOTHING_US: Final = 0.005
_NOTHING_MJ: Final = 5e-6
_SCALES: Final = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def count(number: float | None) -> str:
    """Write a number of things: 4.09 G, 8464, ? where it is not known."""
    if number is None:
        return "?"
    for scale, letter in _SCALES:
        if abs(number) >= scale * (10 if letter == "k" else 1):
            return f"{number / scale:.3g} {letter}"
    return f"{number:g}"


def size(count_bytes: float | None) -> str:
    """Write bytes, in powers of ten: 46.2 MB."""
    if count_bytes is None:
        return "?"
    for scale, letter in _SCALES:
        if count_bytes >= scale:
            return f"{count_bytes / scale:.3g} {letter}B"
    return f"{count_bytes:.0f} B"


def microseconds(time_us: float | None) -> str:
    """Write a time: 12.3 µs, 1.23 ms; - where it is not known."""
    if time_us is None:
        return "-"
    if abs(time_us) < _NOTHING_US:
        return "0 µs"
    if abs(time_us) >= 1e3:
        return f"{time_us / 1e3:.3g} ms" if abs(time_us) < 1e6 else f"{time_us / 1e3:.0f} ms"
    return f"{time_us:.3g} µs"


def milliseconds(time_ms: float | None) -> str:
    """Write a time that is given in ms."""
    return microseconds(None if time_ms is None else 1e3 * time_ms)


def millijoules(energy_mj: float | None) -> str:
    """Write an energy that is given in mJ: 350 µJ, 48.2 mJ, 1.23 J; - where it is not known."""
    if energy_mj is None:
        return "-"
    if abs(energy_mj) < _NOTHING_MJ:
        return "0 mJ"
    for scale, unit in ((1e3, "J"), (1.0, "mJ")):
        if abs(energy_mj) >= scale:
            return f"{energy_mj / scale:.3g} {unit}"
    return f"{1e3 * energy_mj:.3g} µJ"


def more_millijoules(energy_mj: float) -> str:
    """Write by how much an energy is more or less: +368 µJ."""
    return f"{'-' if energy_mj < 0 else '+'}{millijoules(abs(energy_mj))}"


def part_of(value: float, whole: float) -> float:
    """Return a part of a whole, of 1; 0 if there is nothing."""
    return value / whole if whole else 0.0


def percent(part: float, digits: int = 1) -> str:
    """Write a part of 1 in per cent."""
    return f"{100 * part:.{digits}f} %"


def ratio(value: float | None) -> str:
    """Write how many times; infinity where it is of nothing."""
    if value is None:
        return "∞"
    return f"{value:.0f}×" if value >= 9.5 else f"{value:.1f}×"
