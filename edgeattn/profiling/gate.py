"""Gates: whether what a model takes is above a limit, as far as its interval tells.

A figure alone would fail runs that differ by noise. So a gate asks its interval: above the limit as
a whole, it fails; below, it passes; and where the limit lies inside, the run cannot tell.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol, Self

from edgeattn.base.errors import InputError

#: What a gate finds.
Verdict = Literal["passed", "failed", "cannot tell"]

_LIMIT: Final = re.compile(r"([+-]?)(\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})\s*(%|ms|us|µs)")
_PER_MS: Final = {"%": 1.0, "ms": 1.0, "us": 1e-3, "µs": 1e-3}


class Figures(Protocol):
    """What is known of a model that a gate judges; a row of a sweep is one."""

    @property
    def latency_ms(self) -> float:
        """What it takes."""

    @property
    def latency_interval_ms(self) -> tuple[float, float] | None:
        """Between what bounds; None if that is not known."""

    @property
    def above_ms(self) -> float | None:
        """What it takes above what it is compared with; None if with nothing."""

    @property
    def above_percent(self) -> float | None:
        """The same, per cent of that."""

    @property
    def above_interval_percent(self) -> tuple[float, float] | None:
        """Between what bounds."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """A figure and its interval, in the unit of a limit; without an interval, nothing is told."""

    value: float
    interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Limit:
    """What a model may take at most.

    Attributes:
        value: So much, in ms or per cent.
        unit: Of what: `%` and `+ms` above what it is compared with, `ms` in all.
    """

    value: float
    unit: Literal["%", "+ms", "ms"]

    @classmethod
    def parse(cls, text: str, *, option: str = "--fail-above") -> Self:
        """Read a limit: `3%`, `+0.4ms`, `-150us`, `8ms`.

        Args:
            text: The limit; a time with a sign is above what a model is compared with.
            option: What it was given by.

        Raises:
            InputError: It is none.
        """
        found = _LIMIT.fullmatch(text.strip())
        if found is None:
            raise InputError(
                f"{option} {text!r} is no limit.",
                mend="Write 3% or +0.4ms above what it is compared with, or 8ms in all.",
            )
        sign, number, unit = found.groups()
        value = float(f"{sign}{number}") * _PER_MS[unit]
        if unit == "%":
            return cls(value, "%")
        return cls(value, "+ms" if sign else "ms")

    def __str__(self) -> str:
        number = f"{abs(self.value):.6g}"
        if self.unit == "ms":
            return f"{number} ms"
        return f"{'-' if self.value < 0 else '+'}{number} {self.unit.removeprefix('+')}"

    @property
    def is_of_two(self) -> bool:
        """Whether it is of what a model takes above another."""
        return self.unit != "ms"

    def bounds(self, found: Figures) -> Bounds | None:
        """Return what it limits of a model, in its own unit; None of one compared with nothing."""
        if self.unit == "ms":
            return Bounds(found.latency_ms, found.latency_interval_ms)
        if found.above_ms is None or found.above_percent is None:
            return None
        interval = found.above_interval_percent
        if self.unit == "%":
            return Bounds(found.above_percent, interval)
        # Per cent of what it is compared with, whose own noise is small beside that of the two.
        one_percent_ms = (found.latency_ms - found.above_ms) / 100
        if interval is not None:
            interval = (interval[0] * one_percent_ms, interval[1] * one_percent_ms)
        return Bounds(found.above_ms, interval)

    def verdict(self, found: Bounds) -> Verdict:
        """Return whether a figure is above this, as far as its interval tells."""
        if found.interval is None:
            return "cannot tell"
        low, high = found.interval
        if low > self.value:
            return "failed"
        return "passed" if high <= self.value else "cannot tell"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What a gate finds of a model.

    Attributes:
        model: What the model is called.
        against: What it is compared with; "" if with nothing.
        found: What is limited of it, and its interval.
        verdict: The verdict.
        note: What a reader should know of the comparison.
    """

    model: str
    against: str
    found: Bounds
    verdict: Verdict
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What a gate finds of several models.

    Attributes:
        limit: The limit.
        checks: What it finds of each.
        new: The models that what was saved has not.
        errors: Why models could not be judged, which is to fail, by what they are called.
        is_strict: Whether not to be able to tell counts as to fail.
    """

    limit: Limit
    checks: tuple[Check, ...]
    new: tuple[str, ...] = ()
    errors: Mapping[str, str] = field(default_factory=dict)
    is_strict: bool = False

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all."""
        if self.errors:
            return "failed"
        found = {one.verdict for one in self.checks}
        worst: tuple[Verdict, ...] = ("failed", "cannot tell")
        return next((one for one in worst if one in found), "passed")

    @property
    def fails(self) -> bool:
        """Whether it fails."""
        return bool(self.errors) or any(map(self.counts_as_failed, self.checks))

    def counts_as_failed(self, check: Check) -> bool:
        """Return whether what was found of a model fails the gate."""
        return check.verdict == "failed" or (self.is_strict and check.verdict == "cannot tell")

    def said(self, check: Check) -> str:
        """Return in words what was found of a model: +9.8 % [+9.1, +10.4] above net, limit +5 %."""
        limit, found = self.limit, check.found
        sign, unit = ("+" if limit.is_of_two else ""), limit.unit.removeprefix("+")
        digits = ".1f" if unit == "%" else ".4g"
        interval = "without an interval"
        if found.interval is not None:
            interval = "[{}, {}]".format(*(f"{one:{sign}{digits}}" for one in found.interval))
        above = f" above {check.against}" if check.against else ""
        return f"{found.value:{sign}{digits}} {unit} {interval}{above}, limit {limit}"


def judge(limit: Limit, found: Figures) -> Verdict | None:
    """Return whether a model keeps a limit; None of one that is compared with nothing."""
    bounds = limit.bounds(found)
    return None if bounds is None else limit.verdict(bounds)
