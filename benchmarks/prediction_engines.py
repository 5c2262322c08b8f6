"""Measured engines: what TensorRT lists of them, and how long they and their layers took."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeattn.devices.profile import find, names
from edgeattn.devices.schema import DeviceProfile
from edgeattn.engine.layer_json import read_json
from edgeattn.records.layers import Kernel


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A measured engine.

    Attributes:
        name: Its folder.
        device: What it ran on.
        kernels: Its kernels.
        profiled_us: What each took under a profiler, or None if it gives no figure.
        measured_us: The median of the GPU compute time, with no profiler.
    """

    name: str
    device: DeviceProfile
    kernels: tuple[Kernel, ...]
    profiled_us: tuple[float | None, ...]
    measured_us: float

    @property
    def overhead_us(self) -> float:
        """What profiling adds to a kernel, if it adds the same to each."""
        known = [time for time in self.profiled_us if time is not None]
        return max(0.0, sum(known) - self.measured_us) / max(1, len(known))


def read_engines(roots: Sequence[Path]) -> list[Engine]:
    """Return the engines of which layers.json, profile.json and measurement.json lie under these.

    A folder holds one engine, or several whose files begin with a name and a dot; gzipped or not.
    """
    return [_engine(path) for root in roots for path in sorted(root.rglob("*measurement.json"))]


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Return Spearman's: equal values share the mean of their ranks."""
    ranks = [_ranks(np.asarray(values)) for values in (first, second)]
    return float(np.corrcoef(*ranks)[0, 1])


def _engine(path: Path) -> Engine:
    prefix = path.name.removesuffix("measurement.json")
    measurement = json.loads(path.read_text())
    kernels = read_json(_text(path.with_name(f"{prefix}layers.json"))).kernels
    times = _profiled(json.loads(_text(path.with_name(f"{prefix}profile.json"))))
    return Engine(
        name=prefix.rstrip(".") or path.parent.name,
        device=_device(measurement["device"]["Selected Device"]),
        kernels=kernels,
        profiled_us=tuple(times.get(kernel.name) for kernel in kernels),
        measured_us=measurement["gpu_compute_ms"]["median"] * 1e3,
    )


def _text(path: Path) -> str:
    packed = path.with_name(f"{path.name}.gz")
    return gzip.decompress(packed.read_bytes()).decode() if packed.exists() else path.read_text()


def _profiled(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return µs by the name of a layer; a name of several layers is left out."""
    layers = [row for row in rows if "name" in row]
    count = Counter(row["name"] for row in layers)
    return {row["name"]: row["averageMs"] * 1e3 for row in layers if count[row["name"]] == 1}


def _device(said: str) -> DeviceProfile:
    """Find a device by CUDA's name for it: `NVIDIA A100 80GB PCIe`."""
    for name in names():
        device = find(name)
        if _bare(device.title) == _bare(said):
            return device
    raise SystemExit(f"There is no profile of {said}.")


def _bare(title: str) -> str:
    return title.lower().replace("nvidia", "").replace(" ", "")


def _ranks(values: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count - 1) / 2)[place]
