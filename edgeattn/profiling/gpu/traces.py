"""Predicted traces of engines and plans, and what they take above each other."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from edgeattn.devices.schema import DeviceProfile, OperatingPoint
from edgeattn.graph import identity
from edgeattn.profiling.engines.plans import build_plan, stands_in
from edgeattn.profiling.engines.source import EngineSource
from edgeattn.profiling.gpu.engine import PredictedEngine, machine_of
from edgeattn.profiling.options import Item, Profiled, Stage
from edgeattn.profiling.trace import Difference, Identity, SavedRow, Trace

_PLANNED: Final = (
    "TensorRT-RTX compiles these kernels on the device, and may choose other tactics there."
)


def predict(
    items: Sequence[Item],
    sources: Sequence[EngineSource],
    device: DeviceProfile,
    point: OperatingPoint,
    *,
    marginal: bool,
    on_stage: Stage,
) -> list[Profiled]:
    """Predicts what engines take on a device.

    Args:
        items: The models.
        sources: What is known of the engine of each.
        device: The device.
        point: Its operating point.
        marginal: Predict each with its sites replaced by identity too, where its model is here.
        on_stage: Called with the name of each stage as it begins.

    Raises:
        InputError: The device runs no engines, or a kernel's shapes are not known.
    """
    rows: list[Profiled] = []
    for item, source in zip(items, sources, strict=True):
        on_stage(f"predict {item.name}")
        found = PredictedEngine(source.plan, device, point, source.macs)
        other = stands_in(source.plan, device)
        without = None
        if marginal and source.subject is not None and source.sites:
            on_stage(f"plan of {item.name} without its sites")
            without = _identity(source, found, device, point)
        trace = Trace(
            name=item.name,
            variant=item.variant,
            model=item.model or str(item.path),
            sha256=source.sha256,
            evidence="predicted",
            runtime=source.plan.runtime,
            runtime_version=source.plan.version,
            machine=machine_of(device, point, found.kernels, other),
            latency_ms=found.latency,
            interval_ms=found.interval_ms,
            end_to_end=found.end_to_end,
            kernels=found.kernels,
            nodes=source.nodes,
            sites=source.sites,
            params=source.params,
            identity=without,
            notes=_notes(source, other),
            versions=_versions(),
        )
        first = rows[0].row.trace.latency_ms.p50 if rows else None
        above = None if first is None else _above(trace.latency_ms.p50, first)
        row = SavedRow(trace=trace, difference=above)
        rows.append(Profiled(row=row, information=source.plan.information))
    return rows


def _identity(
    source: EngineSource, found: PredictedEngine, device: DeviceProfile, point: OperatingPoint
) -> Identity:
    assert source.subject is not None
    plain = source.subject.model.clone()
    refused = identity.replace(plain, source.subject.parts)
    with tempfile.TemporaryDirectory(prefix="edgeattn-profile-") as folder:
        plan = build_plan(plain, device, Path(folder))
    other = PredictedEngine(plan, device, point, source.macs)
    return Identity(
        kernels=other.kernels,
        difference=_above(found.latency.p50, other.latency.p50),
        replaced=tuple(site.path for site in source.sites if site.path not in refused),
        kept=refused,
    )


def _above(ours_ms: float, theirs_ms: float) -> Difference:
    return Difference(
        p50_ms=ours_ms - theirs_ms,
        percent=100 * (ours_ms / theirs_ms - 1),
        ci95=None,
        rounds=0,
    )


def _notes(source: EngineSource, other: str | None) -> tuple[str, ...]:
    is_planned = source.plan.runtime == "tensorrt-rtx" and other is None
    return tuple(dict.fromkeys([*source.notes, *([_PLANNED] if is_planned else [])]))


def _versions() -> dict[str, str]:
    from edgeattn.versions import versions

    known = versions()
    return {name: known[name] for name in ("python", "edgeattn", "onnx", "numpy")}
