"""How an engine is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgeattn.options.precision import Precision

Shape = tuple[int, ...]


Shapes = Mapping[str, Shape]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """An optimisation profile: the shapes of each input, by name.

    Attributes:
        min: The smallest shapes that the engine takes.
        opt: The shapes that it is tuned for.
        max: The largest shapes that it takes.
    """

    min: Shapes
    opt: Shapes
    max: Shapes


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """How to build, as trtexec has it.

    Attributes:
        precision: What a weakly typed network (TensorRT before 10) may be built in.
        profiles: Optimisation profiles; none for a model of fixed shapes.
        workspace_mib: The most scratch memory that a tactic may take, in MiB.
        timing_cache: A file of tactics' times, read if it is there, and written.
        optimization_level: 0 to 5; None for the library's own.
        version_compatible: The engine also runs in later versions.
        hardware_compatible: The engine also runs on other GPUs, of Ampere and later.
        dla_core: The DLA core to run on; None for the GPU.
        gpu_fallback: What the DLA cannot do runs on the GPU.
    """

    precision: Precision = "fp32"
    profiles: tuple[Profile, ...] = ()
    workspace_mib: int | None = None
    timing_cache: Path | None = None
    optimization_level: int | None = None
    version_compatible: bool = False
    hardware_compatible: bool = False
    dla_core: int | None = None
    gpu_fallback: bool = False
