"""Predicted traces of ONNX Runtime: the kernels that it makes of a model, on a CPU's profile."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgeattn.devices.schema import DeviceProfile, OperatingPoint
from edgeattn.options.profile import Item, ProfileOptions, Stage
from edgeattn.profiling.assemble import BareModel, Found, FoundBare, Profiled, assemble
from edgeattn.profiling.measure.onnxruntime.run import profile_kernels, version
from edgeattn.profiling.measure.traces import runnable
from edgeattn.profiling.predict import room
from edgeattn.profiling.predict.cpu import interval
from edgeattn.profiling.predict.cpu.machine import machine_of
from edgeattn.profiling.predict.cpu.model import PredictedModel, predict_model
from edgeattn.profiling.predict.difference import difference
from edgeattn.profiling.predict.gpu.engine import machine_of as told_of
from edgeattn.profiling.sources.model import Subject
from edgeattn.records.trace import EndToEnd, Latency

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
    folder: Path,
    *,
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
        options: Threads and shapes; whether to predict each without its sites too.
        folder: Where their files may be written.
        on_stage: Called with the name of each stage as it begins.

    Raises:
        InputError: ONNX Runtime does not load one of them, or the device has not so many cores.
    """
    cpu = machine_of(device, point, options.threads)
    shared = interval.shared(device)
    words = f"{cpu.threads} thread{'s' if cpu.threads > 1 else ''}"

    def predicted(path: Path, model: ir.Model, subject: Subject) -> PredictedModel:
        run = profile_kernels(path, model, subject.macs, options, once=True)
        return predict_model(run.kernels, cpu, shared)

    def find(place: int, item: Item) -> Found:
        subject = subjects[place]
        on_stage(f"kernels of {item.name} {place + 1}/{len(items)}")
        found = predicted(runnable(subject, folder / str(place)), subject.model, subject)
        machine = told_of(device, point, found.kernels, None)
        known = {"threads": cpu.threads, "title": f"{device.title}, {words}"}
        return Found(
            evidence="predicted",
            runtime="onnxruntime",
            version=version(),
            machine=machine.model_copy(update=known),
            known=subject,
            kernels=found.kernels,
            latency=Latency(p50=found.latency_us / 1e3),
            interval_ms=(found.low_us / 1e3, found.high_us / 1e3),
            shared_spread=math.hypot(*shared),
            end_to_end=EndToEnd(latency_us=found.latency_us),
            notes=[_MADE_HERE, *subject.notes],
            subject=subject,
        )

    def find_bare(place: int, item: Item, found: Found, bare: BareModel) -> FoundBare:
        on_stage(f"{item.name} without its sites")
        other = predicted(bare.path, bare.model, subjects[place])
        above = difference(
            found.kernels,
            found.latency.p50,
            other.kernels,
            other.latency_us / 1e3,
            found.shared_spread,
        )
        return FoundBare(kernels=other.kernels, difference=above)

    without = None if options.marginal is False else find_bare
    traces = assemble(items, find, find_bare=without, folder=folder)
    room.check(traces, device)
    return traces
