"""Predicted traces of ONNX Runtime: the kernels that it makes of a model, on a CPU's profile."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgeattn.devices.schema import DeviceProfile, OperatingPoint
from edgeattn.options.profile import Item, ProfileOptions, Stage
from edgeattn.profiling.measure.onnxruntime.run import RunOptions, profile_kernels, version
from edgeattn.profiling.measure.onnxruntime.traces import runnable
from edgeattn.profiling.predict.cpu import interval
from edgeattn.profiling.predict.cpu.machine import machine_of
from edgeattn.profiling.predict.cpu.model import PredictedModel, predict_model
from edgeattn.profiling.predict.gpu.engine import machine_of as told_of
from edgeattn.profiling.profiled import Profiled
from edgeattn.profiling.sources.bare import write_bare
from edgeattn.profiling.sources.model import Subject
from edgeattn.records.trace import Difference, EndToEnd, Latency, Machine, SavedRow, Trace

if TYPE_CHECKING:
    import onnx_ir as ir


_MADE_HERE: Final = (
    "The kernels are those that ONNX Runtime makes of the model on this machine; where vectors are"
    " wider or narrower, it may block layouts otherwise."
)


def predict(
    items: Sequence[Item],
    subjects: Sequence[Subject],
    device: DeviceProfile,
    point: OperatingPoint,
    options: ProfileOptions,
    *,
    marginal: bool,
    on_stage: Stage,
) -> list[Profiled]:
    """Predict what models take in ONNX Runtime on a CPU.

    Each model is run once on this machine, for the graph that ONNX Runtime makes of it, and for its
    shapes; what that takes counts for nothing.

    Args:
        items: The models.
        subjects: What is known of each.
        device: The CPU.
        point: Its operating point.
        options: Threads and shapes.
        marginal: Predict each with its sites replaced by identity too.
        on_stage: Called with the name of each stage as it begins.

    Raises:
        InputError: ONNX Runtime does not load one of them, or the device has not so many cores.
    """
    predictor = _Predictor(device, point, options)
    rows: list[Profiled] = []
    with tempfile.TemporaryDirectory(prefix="edgeattn-profile-") as scratch:
        for place, (item, subject) in enumerate(zip(items, subjects, strict=True)):
            on_stage(f"kernels of {item.name} {place + 1}/{len(items)}")
            path = runnable(subject, Path(scratch) / str(place))
            found = predictor.model(path, subject.model, subject)
            without = None
            if marginal and subject.sites:
                on_stage(f"{item.name} without its sites")
                bare = write_bare(subject, Path(scratch) / f"{place}-identity")
                other = predictor.model(bare.path, bare.model, subject)
                above = Difference.of_predictions(found.latency_us / 1e3, other.latency_us / 1e3)
                without = bare.identity(other.kernels, above)
            trace = Trace(
                name=item.name,
                variant=item.variant,
                model=item.model or str(subject.path),
                sha256=subject.sha256,
                evidence="predicted",
                runtime="onnxruntime",
                runtime_version=version(),
                machine=predictor.told(found),
                latency_ms=Latency(p50=found.latency_us / 1e3),
                interval_ms=(found.low_us / 1e3, found.high_us / 1e3),
                end_to_end=EndToEnd(latency_us=found.latency_us),
                kernels=found.kernels,
                nodes=subject.nodes,
                sites=subject.sites,
                params=subject.params,
                identity=without,
                notes=_notes(subject),
            )
            row = SavedRow.of_prediction(trace, rows[0].row.trace if rows else None)
            rows.append(Profiled(row=row))
    return rows


class _Predictor:
    """Predicts models on one CPU."""

    def __init__(
        self, device: DeviceProfile, point: OperatingPoint, options: ProfileOptions
    ) -> None:
        self._device, self._point = device, point
        self._machine = machine_of(device, point, options.threads)
        self._shared = interval.shared(device)
        self._options = RunOptions.of(options)

    def model(self, path: Path, model: ir.Model, subject: Subject) -> PredictedModel:
        macs: Mapping[str, int] = {node.name: node.macs for node in subject.nodes}
        run = profile_kernels(path, model, macs, self._options, once=True)
        return predict_model(run.kernels, run.optimised, self._machine, self._shared)

    def told(self, found: PredictedModel) -> Machine:
        threads = self._machine.threads
        said = told_of(self._device, self._point, found.kernels, None)
        words = f"{threads} thread{'s' if threads > 1 else ''}"
        return said.model_copy(
            update={"threads": threads, "title": f"{self._device.title}, {words}"}
        )


def _notes(subject: Subject) -> tuple[str, ...]:
    notes = [_MADE_HERE]
    if subject.sites:
        notes.append(f"Sites were found {subject.sites_by}.")
    return tuple(notes)
