"""TensorRT and TensorRT-RTX: one API, and where they differ, by version."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from edgeattn.base.errors import InputError, MissingError, first_line
from edgeattn.base.versions import numbers

Runtime = Literal["tensorrt", "tensorrt-rtx"]
Capability = tuple[int, int]

TITLES: Final[Mapping[Runtime, str]] = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT-RTX"}
RUNTIMES: Final[tuple[Runtime, ...]] = tuple(TITLES)
_INSTALL: Final[Mapping[Runtime, str]] = {
    "tensorrt": "pip install 'edgeattn[tensorrt]'; on Jetson, JetPack brings it.",
    "tensorrt-rtx": "On x86-64 Linux and Windows: pip install tensorrt-rtx",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """Which versions of a library have something.

    Attributes:
        since: The first version that has it, or None if none has.
        until: The first version that no longer has it.
        reason: Why not, if not for its age.
    """

    since: tuple[int, ...] | None
    until: tuple[int, ...] | None = None
    reason: str = ""


_NEVER: Final = Support(since=None)
_ALWAYS: Final = Support(since=(0,))
#: Where the libraries differ. TensorRT's versions are those of its release notes; those of
#: TensorRT-RTX were tried with 1.7.1.
FEATURES: Final[Mapping[str, Mapping[Runtime, Support]]] = {
    # Networks whose types are those of the ONNX file.
    "strong typing": {
        "tensorrt": Support(since=(10, 0)),
        "tensorrt-rtx": _ALWAYS,
    },
    # BuilderFlag.FP16 and INT8: what a network's layers may be built in.
    "weak typing": {
        "tensorrt": Support(since=(0,), until=(11, 0)),
        "tensorrt-rtx": _NEVER,
    },
    "building for another GPU": {
        "tensorrt": Support(since=None, reason="it builds for the GPU that it runs on"),
        "tensorrt-rtx": _ALWAYS,
    },
    "--workspace": {"tensorrt": Support(since=(8, 4)), "tensorrt-rtx": _ALWAYS},
    "--optimization-level": {"tensorrt": Support(since=(8, 6)), "tensorrt-rtx": _ALWAYS},
    "--timing-cache": {
        "tensorrt": _ALWAYS,
        "tensorrt-rtx": Support(
            since=None, reason="it times no tactics while it builds; the cache would have no effect"
        ),
    },
    "--version-compatible": {
        "tensorrt": Support(since=(8, 6)),
        "tensorrt-rtx": Support(
            since=None, reason="it comes without the lean runtime that such an engine holds"
        ),
    },
    "--hardware-compatible": {
        "tensorrt": Support(since=(8, 6)),
        "tensorrt-rtx": Support(
            since=None, reason="its engines name the compute capabilities that they are for"
        ),
    },
    "--dla": {
        "tensorrt": _ALWAYS,
        "tensorrt-rtx": Support(since=None, reason="it runs on GPUs only, and would ignore it"),
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """A library that is installed.

    Attributes:
        runtime: Which of the two.
        module: The Python module.
        version: Its version, as it says it.
    """

    runtime: Runtime
    module: Any
    version: str

    @property
    def title(self) -> str:
        """Its name and version, for people."""
        return f"{TITLES[self.runtime]} {self.version}"

    def has(self, feature: str) -> bool:
        """Return whether it has a feature of the table."""
        support = FEATURES[feature][self.runtime]
        version = numbers(self.version)
        return (
            support.since is not None
            and version >= support.since
            and (support.until is None or version < support.until)
        )

    def is_typed(self, *, on_dla: bool) -> bool:
        """Return whether a network is built in the precision that it is written in.

        Else a precision is a permission for the builder: before TensorRT 10, and for a DLA before
        11, as in NVIDIA's own commands.
        """
        return self.has("strong typing") and not (on_dla and self.has("weak typing"))

    def require(self, feature: str) -> None:
        """Refuse what the library does not have.

        Raises:
            InputError: Says why it does not have it.
        """
        if self.has(feature):
            return
        support = FEATURES[feature][self.runtime]
        if support.reason:
            reason = support.reason
        elif support.since is None:
            reason = "it never had it"
        elif numbers(self.version) < support.since:
            reason = f"it came with {dotted(support.since)}"
        else:
            reason = f"it was removed in {dotted(support.until or ())}"
        raise InputError(
            f"{self.title} has no {feature}: {reason}.",
            mend=f"Leave {feature} out." if feature.startswith("--") else "",
        )

    def capabilities(self) -> dict[Capability, Any]:
        """Return the compute capabilities that it builds for without their GPU.

        Returns:
            The library's own value for each, in ascending order; empty if it cannot.
        """
        if not self.has("building for another GPU"):
            return {}
        members = self.module.ComputeCapability.__members__.items()
        found = {
            (int(name[2:-1]), int(name[-1])): value
            for name, value in members
            if name.startswith("SM")
        }
        return dict(sorted(found.items()))


def load(runtime: Runtime) -> Library:
    """Load a library.

    Raises:
        MissingError: It is not installed, or does not load.
    """
    try:
        module = importlib.import_module(runtime.replace("-", "_"))
    except (ImportError, OSError) as error:
        raise MissingError(
            f"{TITLES[runtime]} does not load: {first_line(error)}.", mend=_INSTALL[runtime]
        ) from error
    return Library(runtime=runtime, module=module, version=str(module.__version__))


def check_runtime(name: str) -> Runtime:
    """Refuse an unknown runtime.

    Raises:
        InputError: Says which there are.
    """
    if name not in RUNTIMES:
        raise InputError(f"There is no runtime {name!r}; there are {' and '.join(RUNTIMES)}.")
    return name


def dotted(numbers: tuple[int, ...]) -> str:
    """Write a compute capability, or a version: 8.6."""
    return ".".join(map(str, numbers))
