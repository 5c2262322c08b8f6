"""Chooses what an engine is built for, and by which library."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from edgeattn.base.errors import InputError, MissingError
from edgeattn.base.versions import numbers
from edgeattn.devices.architecture import nearest_architecture
from edgeattn.devices.profile import find
from edgeattn.devices.schema import DeviceProfile
from edgeattn.engine.gpu import Gpu, local_gpu
from edgeattn.engine.libraries import (
    RUNTIMES,
    Capability,
    Library,
    Runtime,
    check_runtime,
    dotted,
    load,
)

#: The target if none is asked for and no GPU is here: the RTX 30 series, and what runs its engines.
DEFAULT_CAPABILITY: Final[Capability] = (8, 6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What to build for.

    Attributes:
        library: What to build with.
        compute_capability: What the engine is built for.
        device: The device profile that was asked for.
        plan_for: The device that the engine stands for if it is only a plan.
        reason: Why this library, in a sentence.
    """

    library: Library
    compute_capability: Capability
    device: DeviceProfile | None
    plan_for: str | None
    reason: str


def choose(
    *,
    device: str | DeviceProfile | None,
    capability: str | None,
    runtime: str | None,
    as_plan: bool,
) -> Target:
    """Choose the library and the compute capability.

    Args:
        device: A device profile, or its name or file.
        capability: A compute capability as text, instead of a device.
        runtime: The library that is asked for, or None for any that can build it.
        as_plan: Build the nearest architecture's engine where the device cannot be built for.

    Raises:
        InputError: A name is not known, or the device has no GPU for TensorRT.
        MissingError: What is asked cannot be built here: says the ways out.
    """
    if device is not None and capability is not None:
        raise InputError("--device names the compute capability; --compute-capability is another.")
    asked = None if runtime is None else check_runtime(runtime)
    profile = find(device) if isinstance(device, str) else device
    gpu = local_gpu()
    wanted, what = _wanted(profile, capability, gpu)
    refusals = []
    for candidate in (asked,) if asked else _allowed(profile):
        library, refusal = _serving(candidate, wanted, gpu)
        if library is not None:
            reason = _reason(library, what, gpu, is_asked=asked is not None)
            if gpu is None and device is None and capability is None:
                reason += " No device was named, and no GPU is here."
            return Target(
                library=library,
                compute_capability=wanted,
                device=profile,
                plan_for=None,
                reason=reason,
            )
        refusals.append(refusal)
    if profile is not None and asked is None and "tensorrt-rtx" not in profile.runtimes:
        refusals.append(f"TensorRT-RTX does not run on {profile.title}")
    if as_plan and asked != "tensorrt":
        return _plan(wanted, what, profile)
    raise MissingError(
        f"No engine for {what} can be built here: {'; '.join(refusals)}.",
        mend=_ways_out(profile, wanted),
    )


def parse_capability(text: str) -> Capability:
    """Read a compute capability: 8.6, sm_86 or 86.

    Raises:
        InputError: It cannot be read.
    """
    found = re.fullmatch(r"(?:sm_?)?(\d{1,2})\.?(\d)", text.strip().lower())
    if found is None:
        raise InputError(f"{text!r} is no compute capability.", mend="Write it as 8.6.")
    return int(found[1]), int(found[2])


def _wanted(
    profile: DeviceProfile | None, capability: str | None, gpu: Gpu | None
) -> tuple[Capability, str]:
    """Return the compute capability, and what has it, for a message."""
    if profile is not None:
        if profile.compute_capability is None:
            raise InputError(
                f"{profile.title} has no GPU that TensorRT builds for.",
                mend="Name a device that has one: edgeattn devices list",
            )
        what = f"{profile.name} (compute capability {dotted(profile.compute_capability)})"
        return profile.compute_capability, what
    if capability is not None:
        wanted = parse_capability(capability)
        return wanted, f"compute capability {dotted(wanted)}"
    if gpu is not None:
        return gpu.compute_capability, f"the {gpu.name} of this machine"
    return DEFAULT_CAPABILITY, f"compute capability {dotted(DEFAULT_CAPABILITY)}"


def _allowed(profile: DeviceProfile | None) -> tuple[Runtime, ...]:
    if profile is None:
        return RUNTIMES
    return tuple(runtime for runtime in RUNTIMES if runtime in profile.runtimes)


def _serving(runtime: Runtime, wanted: Capability, gpu: Gpu | None) -> tuple[Library | None, str]:
    """Return the library if it can build for this capability here, or else why it cannot."""
    try:
        library = load(runtime)
    except MissingError as error:
        return None, error.fact.rstrip(".")
    if library.has("building for another GPU"):
        if wanted in library.capabilities():
            return library, ""
        known = ", ".join(map(dotted, library.capabilities()))
        return None, f"{library.title} builds for {known} only"
    if gpu is None:
        return None, f"{library.title} builds on the device, and no GPU is here"
    if gpu.compute_capability != wanted:
        return None, f"{library.title} builds for the {gpu.name} that is here"
    return library, ""


def _reason(library: Library, what: str, gpu: Gpu | None, *, is_asked: bool) -> str:
    how = "was asked for" if is_asked else "is installed"
    builds = "builds without a GPU" if gpu is None else "serves the GPU that is here"
    return f"{library.title} {how} and {builds}; it is built for {what}."


def _plan(wanted: Capability, what: str, profile: DeviceProfile | None) -> Target:
    library = load("tensorrt-rtx")
    nearest = nearest_architecture(wanted, library.capabilities())
    return Target(
        library=library,
        compute_capability=nearest,
        device=profile,
        plan_for=profile.name if profile is not None else f"compute capability {dotted(wanted)}",
        reason=f"{library.title} builds without a GPU; of its compute capabilities,"
        f" {dotted(nearest)} is the nearest to {what}.",
    )


def _ways_out(profile: DeviceProfile | None, wanted: Capability) -> str:
    name = f"--device {profile.name}" if profile else f"--compute-capability {dotted(wanted)}"
    return (
        "Three ways out. Have the device build it itself, by SSH:\n"
        "  edgeattn build MODEL.onnx --on [USER@]HOST\n"
        "Or build it there by hand:\n"
        f"  {_trtexec(profile)}\n"
        "Or build a plan of the nearest architecture here, for profiling only:\n"
        f"  edgeattn build MODEL.onnx {name} --plan"
    )


def _trtexec(profile: DeviceProfile | None) -> str:
    typed = (
        ""
        if profile is not None and numbers(profile.tensorrt or "10") < (10,)
        else " --stronglyTyped"
    )
    return (
        f"trtexec --onnx=MODEL.onnx --saveEngine=MODEL.engine{typed}"
        " --profilingVerbosity=detailed --exportLayerInfo=layers.json"
    )
