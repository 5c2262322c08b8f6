"""Makes timm importable if torchvision's compiled operators do not load.

Installing torch from the CPU index and torchvision from PyPI (or the other way round) leaves a
torchvision whose library `_C` was linked against another torch. torchvision tolerates that, but
then registers shape functions for operators that only `_C` would have declared, and so
`import torchvision`, and with it `import timm`, ends in

    RuntimeError: operator torchvision::nms does not exist

A classifier calls none of these operators. Declaring their schemas before the import is enough:
the import succeeds, and calling such an operator still fails, saying that it has no kernel.

A torchvision that is whole must keep its own operators: a schema can be declared only once, so
ours would make its library fail. Hence the same library is loaded first, as torchvision itself
does it, and schemas are declared only if that fails.
"""

from __future__ import annotations

import functools
import importlib.machinery
import importlib.util
import os
import sys
from pathlib import Path
from typing import Final

import torch

# As torchvision declares them in C++ (torchvision/csrc/ops: nms.cpp, quantized/, roi_align.cpp).
# nms and qnms get shape functions during the import; roi_align does so in older releases.
_SCHEMAS: Final = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "roi_align": (
        "(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, "
        "SymInt pooled_width, int sampling_ratio, bool aligned) -> Tensor"
    ),
}


def declare_missing_operators() -> None:
    """Declare torchvision's operators if its own library cannot; does nothing otherwise.

    To be called before `import timm` or `import torchvision`. Calling it again costs nothing.
    """
    _declarations()


@functools.cache
def _declarations() -> torch.library.Library | None:
    """Return the declarations, cached because they last only as long as this object does."""
    if "torchvision" in sys.modules:
        return None  # it was imported already, so nothing is missing
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None or _loads(Path(spec.origin).parent):
        return None
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]  # torch has no annotation here
    for name, signature in _SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            library.define(name + signature)  # type: ignore[no-untyped-call]  # as above
    return library


def _loads(package: Path) -> bool:
    """Return whether torchvision's compiled operators load, found as torchvision finds them."""
    finder = importlib.machinery.FileFinder(
        str(package),
        (importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES),
    )
    spec = finder.find_spec("_C")
    if spec is None or spec.origin is None:
        return False
    if sys.platform == "win32":
        os.add_dll_directory(str(package))
    try:
        torch.ops.load_library(spec.origin)  # type: ignore[no-untyped-call]  # as above
    except (ImportError, OSError):
        return False
    return True
