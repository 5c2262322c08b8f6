"""Predicted traces of engines and plans, and what they take above each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from edgeattn.base.errors import InputError
from edgeattn.devices.schema import DeviceProfile, OperatingPoint
from edgeattn.options.profile import Item, Stage
from edgeattn.profiling.assemble import BareModel, Found, FoundBare, Profiled, assemble
from edgeattn.profiling.predict import room
from edgeattn.profiling.predict.difference import difference
from edgeattn.profiling.predict.gpu.engine import machine_of, predict_engine
from edgeattn.profiling.predict.gpu.predict import BY_DEFAULT, How
from edgeattn.profiling.sources.engines.plans import build_plan, stands_in
from edgeattn.profiling.sources.engines.source import EngineSource
from edgeattn.profiling.sources.memory import of_engine
from edgeattn.records.trace import EndToEnd, Latency

_PLANNED: Final = (
    "TensorRT-RTX compiles these kernels on the device, and may choose other tactics there."
)


def _apart(passes: int) -> str:
    return (
        f"TensorRT runs {passes} of the activations behind convolutions as kernels of their own,"
        " where the plan has one for both; their time is counted with the convolution's."
    )


def _launched(device: DeviceProfile) -> str:
    if device.enqueue_us is None:
        return (
            f"What a host takes to launch kernels of {device.title} is not known: it keeps ahead."
        )
    guess = ", a guess" if device.is_guess("enqueue_us") else ""
    return f"The host launches kernel by kernel, {device.enqueue_us:g} µs each{guess}."


def predict(
    items: Sequence[Item],
    sources: Sequence[EngineSource],
    device: DeviceProfile,
    point: OperatingPoint,
    folder: Path,
    *,
    marginal: bool,
    plan_timeout_s: float | None = None,
    how: How = BY_DEFAULT,
    on_stage: Stage,
) -> list[Profiled]:
    """Predict what engines take on a device.

    Args:
        items: The models.
        sources: What is known of the engine of each.
        device: The device.
        point: Its operating point.
        folder: Where plans may be written.
        marginal: Predict each with its sites replaced by identity too, if its model is here.
        plan_timeout_s: Seconds that the plan of such a model may take; None for no limit.
        how: How the engines are run.
        on_stage: Called with the name of each stage as it begins.

    Raises:
        InputError: The device runs no engines, cannot hold a model, or a kernel's shapes are not
            known.
    """

    def find(place: int, item: Item) -> Found:
        on_stage(f"predict {item.name}")
        source = sources[place]
        if not source.plan.information.kernels:
            raise InputError(
                f"The manifest of {item.name} says nothing of its kernels: no time can be predicted"
                " of them.",
                mend="Predict its ONNX file, or measure it where it was built: --on [USER@]HOST",
            )
        found, kernels = predict_engine(source.plan, device, point, source.node_macs, how)
        not_for = stands_in(source.plan, device)
        is_planned = source.plan.runtime == "tensorrt-rtx" and not_for is None
        return Found(
            evidence="predicted",
            runtime=source.plan.runtime,
            version=source.plan.version,
            machine=machine_of(device, point, kernels, not_for),
            known=source,
            kernels=kernels,
            latency=Latency(p50=found.end_to_end_us / 1e3),
            interval_ms=(found.low_us / 1e3, found.high_us / 1e3),
            shared_spread=found.shared_spread,
            memory=of_engine(source.plan.weights_bytes, source.plan.activations_bytes),
            end_to_end=EndToEnd(
                latency_us=found.end_to_end_us,
                enqueue_us=found.enqueue_us,
                streams=len({one.stream for one in kernels}),
            ),
            notes=[
                *source.notes,
                *([_PLANNED] if is_planned else []),
                *([_apart(passes)] if (passes := found.launches - len(kernels)) else []),
                *([] if how.cuda_graph else [_launched(device)]),
            ],
            subject=source.subject,
            information=source.plan.information,
        )

    def find_bare(place: int, item: Item, found: Found, bare: BareModel) -> FoundBare:
        stage = f"plan of {item.name} without its sites"
        on_stage(stage)
        plan = build_plan(
            bare.model,
            device,
            bare.path.parent,
            timeout_s=plan_timeout_s,
            on_progress=lambda done, count: on_stage(f"{stage} {done}/{count}"),
        )
        other, kernels = predict_engine(plan, device, point, sources[place].node_macs, how)
        above = difference(
            found.kernels,
            found.latency.p50,
            kernels,
            other.end_to_end_us / 1e3,
            found.shared_spread,
        )
        return FoundBare(kernels=kernels, difference=above)

    traces = assemble(items, find, find_bare=find_bare if marginal else None, folder=folder)
    room.check(traces, device)
    return traces
