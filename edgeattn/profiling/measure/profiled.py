"""What a runtime's profiler says of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgeattn.records.trace import Kernel


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfiledModel:
    """A model that was profiled.

    Attributes:
        kernels: Its kernels.
        profiled_us: What the whole run took while they were timed.
        memory: What it took of memory; none where that was not measured.
        notes: What a reader should know of how it was run.
    """

    kernels: tuple[Kernel, ...]
    profiled_us: float
    memory: Mapping[str, int | None] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
