"""Predicted traces of engines and plans, and what they take above each other."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from edgeattn.devices.schema import DeviceProfile, OperatingPoint
from edgeattn.options.profile import Item, Stage
from edgeattn.profiling.predict.gpu.engine import PredictedEngine, machine_of
from edgeattn.profiling.profiled import Profiled
from edgeattn.profiling.sources.bare import write_bare
from edgeattn.profiling.sources.engines.plans import build_plan, stands_in
from edgeattn.profiling.sources.engines.source import EngineSource
from edgeattn.profiling.sources.model import Subject
from edgeattn.records.trace import Difference, Identity, SavedRow, Trace

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
    """Predict what engines take on a device.

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
            without = _without(source.subject, source, found, device, point)
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
        )
        row = SavedRow.of_prediction(trace, rows[0].row.trace if rows else None)
        rows.append(Profiled(row=row, information=source.plan.information))
    return rows


def _without(
    subject: Subject,
    source: EngineSource,
    found: PredictedEngine,
    device: DeviceProfile,
    point: OperatingPoint,
) -> Identity:
    with tempfile.TemporaryDirectory(prefix="edgeattn-profile-") as folder:
        bare = write_bare(subject, Path(folder) / "identity")
        plan = build_plan(bare.model, device, Path(folder))
    other = PredictedEngine(plan, device, point, source.macs)
    above = Difference.of_predictions(found.latency.p50, other.latency.p50)
    return bare.identity(other.kernels, above)


def _notes(source: EngineSource, other: str | None) -> tuple[str, ...]:
    is_planned = source.plan.runtime == "tensorrt-rtx" and other is None
    return tuple(dict.fromkeys([*source.notes, *([_PLANNED] if is_planned else [])]))
