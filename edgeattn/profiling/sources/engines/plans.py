"""The plan of a model for a device: what TensorRT-RTX builds for the nearest architecture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeattn.base.errors import InputError
from edgeattn.base.worker import SlowError
from edgeattn.devices.schema import DeviceProfile
from edgeattn.engine import apart
from edgeattn.engine.libraries import TITLES, Capability, dotted
from edgeattn.engine.libraries import Runtime as EngineRuntime
from edgeattn.engine.network import for_library
from edgeattn.engine.target import choose
from edgeattn.graph.writing import save
from edgeattn.records.layers import LayerInformation

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An engine's kernels, and what it was built by and for.

    Attributes:
        information: Its layer information, of one optimisation profile.
        runtime: The library: `tensorrt` or `tensorrt-rtx`.
        version: Its version.
        compute_capability: What it was built for; None if that is not known.
        notes: What was done to the model to build it.
        weights_bytes: Device memory of its weights, as the library says it; None if it does not.
        activations_bytes: Device memory that it needs while it runs; None likewise.
    """

    information: LayerInformation
    runtime: EngineRuntime
    version: str
    compute_capability: Capability | None
    notes: tuple[str, ...] = ()
    weights_bytes: int | None = None
    activations_bytes: int | None = None


def build_plan(
    model: ir.Model,
    device: DeviceProfile,
    folder: Path,
    *,
    timeout_s: float | None = None,
    on_progress: Callable[[int, int], None] = lambda _done, _count: None,
) -> Plan:
    """Build the plan of a model; no GPU is needed.

    Args:
        model: The model, with static shapes; it is left as it is.
        device: What it is for.
        folder: An empty folder to write into.
        timeout_s: Seconds after which it is given up; None for no limit.
        on_progress: Called with the number of steps that are done, and of all steps.

    Raises:
        InputError: TensorRT-RTX does not take the model (names the node), or takes longer than it
            may; or the device has no GPU for TensorRT.
        MissingError: TensorRT-RTX is not installed.
    """
    target = choose(device=device, capability=None, runtime="tensorrt-rtx", as_plan=True)
    rewritten = for_library(model, target)
    path = folder / "planned.onnx"
    save(model.clone() if rewritten is None else rewritten.model, path, external=True)
    try:
        built = apart.build(
            path,
            target.library,
            target.compute_capability,
            on_progress=on_progress,
            limit_s=timeout_s,
        )
    except SlowError as error:
        raise InputError(
            f"{target.library.title} has not planned the model's {len(model.graph)} nodes within"
            f" {timeout_s:g} s.",
            mend="Give it longer, with --plan-timeout S, or a part of the model.",
        ) from error
    return Plan(
        information=built.information,
        runtime=target.library.runtime,
        version=target.library.version,
        compute_capability=target.compute_capability,
        notes=(*built.notes, *(() if rewritten is None else rewritten.notes)),
        weights_bytes=built.weights_bytes,
        activations_bytes=built.activation_bytes,
    )


def stands_in(plan: Plan, device: DeviceProfile) -> str | None:
    """Return how a plan differs from what the device would run; None if it may be the same."""
    built = f"{TITLES[plan.runtime]} {plan.version}"
    if plan.compute_capability is not None and device.compute_capability is not None:
        own, of_device = dotted(plan.compute_capability), dotted(device.compute_capability)
        if own != of_device:
            serves = f"TensorRT {device.tensorrt}" if device.tensorrt else "TensorRT"
            return (
                f"NOT AN ENGINE OF {device.title}: a plan by {built} for compute capability {own};"
                f" the device has {of_device}, and {serves} fuses differently."
            )
    if plan.runtime not in device.runtimes:
        return f"NOT AN ENGINE OF {device.title}: a plan by {built}, which does not run there."
    return None
