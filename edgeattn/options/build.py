"""How an engine is built, and for what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgeattn.base.errors import InputError
from edgeattn.options.flags import Flag, flag, flags, switch
from edgeattn.options.hosts import on
from edgeattn.options.precision import Precision
from edgeattn.options.shapes import parse_sizes

Shape = tuple[int, ...]


Shapes = Mapping[str, Shape]

_EXAMPLE: Final = "For example: --opt-shapes input:1x3x224x224"


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


def parse_profiles(
    smallest: Sequence[str], tuned: Sequence[str], largest: Sequence[str]
) -> tuple[Profile, ...]:
    """Read --min-shapes, --opt-shapes and --max-shapes; the n-th of each make the n-th profile.

    Where the smallest or largest shapes are not given at all, they are the tuned ones.

    Raises:
        InputError: One cannot be read, or they are not of the same number.
    """
    if not tuned and not smallest and not largest:
        return ()
    if not tuned:
        raise InputError("--min-shapes and --max-shapes are given, and no --opt-shapes.")
    read = {
        option: [parse_named_shapes(text, option=option) for text in texts]
        for option, texts in (
            ("--min-shapes", smallest or tuned),
            ("--opt-shapes", tuned),
            ("--max-shapes", largest or tuned),
        )
    }
    counts = {option: len(shapes) for option, shapes in read.items()}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{option} {count} times" for option, count in counts.items())
        raise InputError(
            f"The profiles are not complete: {told}.",
            mend="Give each option once for each profile.",
        )
    return tuple(
        Profile(min=low, opt=middle, max=high)
        for low, middle, high in zip(*read.values(), strict=True)
    )


def parse_named_shapes(text: str, *, option: str) -> dict[str, Shape]:
    """Read `name:1x3x224x224,other:1x8`.

    Args:
        text: What was given.
        option: The option that took it, for the message.

    Raises:
        InputError: It is no such thing, or names an input twice.
    """
    shapes: dict[str, Shape] = {}
    for part in text.split(","):
        name, colon, sizes = part.strip().rpartition(":")
        shape = parse_sizes(sizes)
        if not colon or not name or shape is None:
            raise InputError(f"{option} {text!r} cannot be read.", mend=_EXAMPLE)
        if name in shapes:
            raise InputError(f"{option} {text!r} names {name} twice.")
        shapes[name] = shape
    return shapes


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetOptions:
    """What to build for, and by which library."""

    device: str | None = flag("--device NAME", "The device. See: edgeattn devices list.")
    compute_capability: str | None = flag(
        "--compute-capability 8.6", "What to build for, where no device is named."
    )
    runtime: str | None = flag(
        "--runtime NAME", "tensorrt or tensorrt-rtx. [what is installed and can serve the device]"
    )
    on: tuple[str, ...] = on(
        "Build on the device itself, with its trtexec, and fetch what was built."
    )
    plan: bool = switch(
        "--plan",
        "For a device that cannot be built for here: build the nearest architecture's engine,"
        " for profiling only.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """What the library is asked; the words are trtexec's.

    Attributes:
        precision: What a weakly typed network (TensorRT before 10) may be built in.
        profiles: Optimisation profiles; none for a model of fixed shapes.
        optimization_level: None for the library's own.
    """

    precision: Precision = "fp32"
    profiles: tuple[Profile, ...] = flags(
        Flag(
            "--min-shapes NAME:1x3x224x224",
            "Smallest shapes; several inputs with commas between, once per profile.",
        ),
        Flag("--opt-shapes NAME:…", "Shapes to tune for."),
        Flag("--max-shapes NAME:…", "Largest shapes."),
        default=(),
        read=parse_profiles,
    )
    workspace_mib: int | None = flag("--workspace MiB", "Most scratch memory of a tactic.", min=1)
    timing_cache: Path | None = flag("--timing-cache FILE", "Tactics' times, read and written.")
    optimization_level: int | None = flag(
        "--optimization-level", "How hard the builder tries.", min=0, max=5
    )
    version_compatible: bool = switch("--version-compatible", "An engine for later versions too.")
    hardware_compatible: bool = switch(
        "--hardware-compatible", "An engine for every GPU of Ampere and later."
    )
    dla_core: int | None = flag("--dla N", "The DLA core to run on.", min=0)
    gpu_fallback: bool = switch("--gpu-fallback", "What the DLA cannot do runs on the GPU.")
