"""How this machine's processor is calibrated."""

from __future__ import annotations

from dataclasses import dataclass

from edgeattn.options.flags import flag


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationOptions:
    """How to calibrate.

    Attributes:
        seconds: What it may take, beside what it takes to load the operators.
    """

    threads: int | None = flag("--threads N", "Threads that the figures are of. [all cores]", min=1)
    name: str = flag("--name NAME", "The device's name. [its file's]", default="")
    title: str = flag("--title TEXT", "Its title. [the processor's name]", default="")
    seconds: float = flag("--limit S", "Seconds to measure for.", default=40.0, min=0.0)
