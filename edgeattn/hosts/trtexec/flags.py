"""Which flags trtexec knows, by its version: the one place that says so.

Read from its option parser (samples/common/sampleOptions.cpp) at 8.0.1, 8.2.1, 8.4, 8.5.2, 8.6,
9.3, 10.0 to 10.7, 10.13, 10.16 and 11.1. A flag counts as known from the first of these that has
it: an unknown one ends trtexec with an error, and no flag here is needed where it is younger.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from edgeattn.base.versions import numbers
from edgeattn.engine.libraries import Support

Version = tuple[int, ...]

#: The oldest version whose flags are known.
OLDEST: Final[Version] = (8, 0)
# As its banner has it: 8502, and from 10 on 100300.
_BANNER: Final = re.compile(r"\[TensorRT v(\d{4,6})\]")
_WRITTEN: Final = re.compile(r"(?<![\w.])v?(\d{1,2}(?:\.\d{1,3}){1,3})\b")
_ALWAYS: Final = Support(since=OLDEST)
# What 11 does without being told; it warns of the flag.
_BY_DEFAULT_FROM_11: Final = Support(since=OLDEST, until=(11,))

#: The flags that are used here.
FLAGS: Final[Mapping[str, Support]] = {
    **dict.fromkeys(
        (
            "--onnx", "--saveEngine", "--loadEngine", "--shapes", "--minShapes", "--optShapes",
            "--maxShapes", "--timingCacheFile", "--useDLACore", "--allowGPUFallback", "--verbose",
            "--warmUp", "--duration", "--iterations", "--avgRuns",
            "--exportTimes", "--exportProfile", "--exportOutput", "--loadInputs",
        ),
        _ALWAYS,
    ),
    "--explicitBatch": Support(since=OLDEST, until=(8, 2)),  # from there on without effect
    "--workspace": Support(since=OLDEST, until=(8, 4)),
    "--memPoolSize": Support(since=(8, 4)),
    "--buildOnly": Support(since=OLDEST, until=(8, 6)),
    "--skipInference": Support(since=(8, 6)),
    "--builderOptimizationLevel": Support(since=(8, 6)),
    "--versionCompatible": Support(since=(8, 6)),
    "--hardwareCompatibilityLevel": Support(since=(8, 6)),
    "--profilingVerbosity": Support(since=(8, 2)),
    "--exportLayerInfo": Support(since=(8, 2)),
    # Permissions of a network without types of its own. 9.3 has --stronglyTyped too.
    "--fp16": Support(since=OLDEST, until=(11,)),
    "--int8": Support(since=OLDEST, until=(11,)),
    "--stronglyTyped": Support(since=(10,), until=(11,)),
    "--reportCapabilityDLA": Support(since=(10, 16)),
    "--useCudaGraph": _BY_DEFAULT_FROM_11,
    "--noCudaGraph": Support(since=(11,)),
    "--separateProfileRun": _BY_DEFAULT_FROM_11,
    "--useSpinWait": _BY_DEFAULT_FROM_11,
    "--noDataTransfers": _BY_DEFAULT_FROM_11,
}  # fmt: skip


def knows(version: Version, flag: str) -> bool:
    """Return whether a version is given a flag: it knows it, and does it not of itself."""
    support = FLAGS[flag]
    since, until = support.since or (), support.until
    return since <= version and (until is None or version < until)


def parse_version(text: str) -> Version | None:
    """Read a version of TensorRT: of trtexec's banner, of dpkg, or in words; None if none is said.

    Args:
        text: Such as `&&&& RUNNING TensorRT.trtexec [TensorRT v8502]` or `10.3.0.30-1+cuda12.5`.
    """
    if found := _BANNER.search(text):
        rest, patch = divmod(int(found[1]), 100)
        return (*divmod(rest, 100 if rest >= 1000 else 10), patch)
    return numbers(found[1])[:3] if (found := _WRITTEN.search(text)) else None
