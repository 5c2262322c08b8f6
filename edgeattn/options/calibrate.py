"""How a device is calibrated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeattn.options.flags import flag
from edgeattn.options.hosts import on


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationOptions:
    """How to calibrate.

    Attributes:
        traces: What was measured already; nothing is measured then.
        on: The host that is measured; none for this machine.
        seconds: What it may take, beside what it takes to load the operators.
    """

    traces: tuple[Path, ...] = flag(
        "--from FILE",
        "Fit to what was measured: what `profile -o` wrote, or trtexec's layers, profile and times."
        " May be given again; files that follow count too.",
        default=(),
        read=lambda paths: tuple(map(Path, paths)),
    )
    on: tuple[str, ...] = on("Measure a device, by its trtexec or its Python's onnxruntime.")
    device: str | None = flag(
        "--device NAME",
        "The profile that a fit begins from. [the one that the traces, or the host, name]",
    )
    power_mode: str | None = flag(
        "--power-mode NAME", "The mode that they were measured in. [as they say]"
    )
    threads: int | None = flag("--threads N", "Threads that the figures are of. [all cores]", min=1)
    name: str = flag("--name NAME", "The device's name. [its file's]", default="")
    title: str = flag("--title TEXT", "Its title. [the processor's name]", default="")
    seconds: float = flag("--limit S", "Seconds to measure for.", default=40.0, min=0.0)
