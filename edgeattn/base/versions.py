"""Versions of what is installed."""

from __future__ import annotations

import platform
import re
from importlib import metadata
from typing import Final

#: The distributions whose versions influence an export.
EXPORTING: Final = (
    "edgeattn",
    "torch",
    "timm",
    "torchvision",
    "onnx",
    "onnx-ir",
    "onnxscript",
    "onnxsim",
    "onnxruntime",
    "numpy",
)


def version_of(distribution: str) -> str | None:
    """Return the version of an installed distribution, or None if it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def numbers(version: str) -> tuple[int, ...]:
    """Return what a version is ordered by: the numbers that it starts with."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()


def is_part(asked: str, version: str) -> bool:
    """Return whether a version is one of those that are asked: 10.3.0 is of 10.3."""
    both = list(zip(numbers(asked), numbers(version), strict=False))
    return bool(both) and all(one == other for one, other in both)


def own_version() -> str:
    """Return the version of edgeattn that runs."""
    return version_of("edgeattn") or "of a source tree that is not installed"


def versions() -> dict[str, str]:
    """Return the versions of Python and of every library that influences an export."""
    found = {name: version_of(name) or "not installed" for name in EXPORTING}
    return {"python": platform.python_version(), **found}


def installed() -> dict[str, str]:
    """Return those of `versions` that are installed."""
    return {name: said for name, said in versions().items() if said != "not installed"}
