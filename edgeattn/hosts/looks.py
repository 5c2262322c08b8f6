"""Reads what watch.sh wrote: looks at rails, clocks, temperatures and load, with their times."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from edgeattn.base.legible import legible
from edgeattn.hosts.meters import CARD, TEGRASTATS_RAIL

_NUMBER: Final = re.compile(r"-?\d{1,18}(\.\d{1,6})?")
_FAST: Final = ("mv", "ma", "mw", "uw", "uj")
_MOST_COLUMNS, _LONGEST = 400, 60
# What is asked of a GPU on a card, and in which units; the first is its power.
_CARD: Final = (
    ("w", 1.0), ("gpu_hz", 1e6), ("gpu_most_hz", 1e6), ("gpu_load", 10.0), ("millidegrees", 1e3),
)  # fmt: skip
_GPU: Final = re.compile(r"GR3D_FREQ (\d{1,3})%(?:@\[?(\d{1,5}))?")


@dataclass(frozen=True, slots=True)
class Column:
    """A file that is looked at: what it holds, and of what."""

    kind: str
    label: str


@dataclass(slots=True)
class Looks:
    """Everything that was seen so far; times are seconds of the host's uptime.

    Attributes:
        power: Watts of each rail.
        counted: Joules that each counter has counted.
        ranges_j: What each counter counts up to.
        slow: Clocks, temperatures and counts, by kind and label.
    """

    power: list[tuple[float, Mapping[str, float]]] = field(default_factory=list)
    counted: list[tuple[float, Mapping[str, float]]] = field(default_factory=list)
    ranges_j: dict[str, float] = field(default_factory=dict)
    slow: list[tuple[float, dict[Column, float]]] = field(default_factory=list)
    _sources: dict[str, None] = field(default_factory=dict)
    _fast: list[Column] = field(default_factory=list)
    _rest: list[Column] = field(default_factory=list)

    @property
    def by(self) -> str:
        """What told power."""
        return " and ".join(self._sources)

    def columns(self, text: str) -> None:
        """Read which file is which."""
        for line in text.split("\n")[:_MOST_COLUMNS]:
            parts = line.split("\t")
            if len(parts) != 5 or parts[0] != "column":
                continue
            kind, _, most = parts[1].partition(":")
            one = Column(kind, legible(parts[2])[:_LONGEST])
            (self._fast if kind in _FAST else self._rest).append(one)
            if kind == "uj":
                self.ranges_j[one.label] = (number(most) or 0.0) / 1e6
            if kind in _FAST:
                self._sources[{"mw": "iio", "uj": "RAPL"}.get(kind, "hwmon")] = None

    def add(self, text: str) -> None:
        """Read what was seen since the last time: whole lines."""
        for line in text.split("\n"):
            letter, _, rest = line.partition(" ")
            up, _, said = rest.partition(" ")
            time_s = number(up)
            if time_s is None:
                continue
            words = said.split()
            if letter == "f" and len(words) == len(self._fast):
                self._add_rails(time_s, words)
            elif letter == "s" and len(words) == len(self._rest):
                values = {
                    one: value
                    for one, word in zip(self._rest, words, strict=True)
                    if (value := _value(one.kind, word)) is not None
                }
                self.slow.append((time_s, values))
            elif letter == "n":
                self._add_card(time_s, said)
            elif letter == "t":
                self._add_tegrastats(time_s, said)

    def between(self, kind: str, began_s: float, ended_s: float) -> Iterator[tuple[str, float]]:
        """Yield the label and the value of each look at a kind of file in a span of time."""
        for time_s, values in self.slow:
            if began_s <= time_s <= ended_s:
                yield from ((one.label, v) for one, v in values.items() if one.kind == kind)

    def _add_rails(self, time_s: float, words: list[str]) -> None:
        watts: dict[str, float] = {}
        joules: dict[str, float] = {}
        volts: dict[str, float] = {}
        for one, word in zip(self._fast, words, strict=True):
            value = number(word)
            if value is None:
                continue
            if one.kind == "mv":
                volts[one.label] = value / 1e3
            elif one.kind == "ma" and one.label in volts:
                watts[one.label] = volts[one.label] * value / 1e3
            elif one.kind == "mw":
                watts[one.label] = value / 1e3
            elif one.kind == "uw":
                watts[one.label] = value / 1e6
            elif one.kind == "uj":
                joules[one.label] = value / 1e6
        self.power += [(time_s, watts)] if watts else []
        self.counted += [(time_s, joules)] if joules else []

    def _add_card(self, time_s: float, line: str) -> None:
        """Read what nvidia-smi says of a GPU: W, MHz, MHz at most, per cent, °C."""
        words = [number(word.strip()) for word in line.split(",")]
        if len(words) != len(_CARD):
            return
        watts, *rest = words
        if watts is not None:
            self._sources["nvidia-smi"] = None
            self.power.append((time_s, {CARD: watts}))
        pairs = zip(_CARD[1:], rest, strict=True)
        values = {Column(kind, "GPU"): one * k for (kind, k), one in pairs if one is not None}
        self.slow.append((time_s, values))

    def _add_tegrastats(self, time_s: float, line: str) -> None:
        watts = {legible(rail): float(mw) / 1e3 for rail, mw in TEGRASTATS_RAIL.findall(line)}
        if watts:
            self._sources["tegrastats"] = None
            self.power.append((time_s, watts))
        if gpu := _GPU.search(line):
            values = {Column("gpu_load", "GR3D"): 10 * float(gpu[1])}
            if gpu[2]:
                values[Column("gpu_hz", "GR3D")] = 1e6 * float(gpu[2])
            self.slow.append((time_s, values))


def number(word: str) -> float | None:
    """Read a number that a host said; None if it is none, or is beyond any that counts."""
    return float(word) if _NUMBER.fullmatch(word) else None


def whole(word: str) -> int | None:
    """Read a whole number that a host said; None if it is none, or is beyond any that counts."""
    return int(word) if re.fullmatch(r"[0-9]{1,15}", word) else None


def _value(kind: str, word: str) -> float | None:
    if kind == "raspberry_throttled":  # bits, in hexadecimal
        is_hex = re.fullmatch(r"(0x)?[0-9a-f]{1,8}", word)
        return float(int(word, 16)) if is_hex else None
    return number(word)
