"""How a model is exported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeattn.options.cast import CastOptions
from edgeattn.options.flags import flag, flags, switch
from edgeattn.options.lowering import (
    DEFAULT_TARGET,
    DEVICE,
    DLA,
    FORMS,
    JETPACK,
    RULES,
    SAVE_FORMS,
    SIMPLIFY,
    SIMPLIFY_TIMEOUT,
    TARGET,
    TENSORRT,
    TUNE,
    TUNE_LIMIT,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """How to export.

    Attributes:
        jetpack: The device's JetPack; the command line takes from it what is not given.
        dla: Whether it is for the device's DLA; likewise.
        rules: The rules of lowering to apply; None for all.
        input_names: Empty for `input`.
        output_names: Empty for `output`.
        lower: Write what the model computes in the forms that the target runs best.
        tune: Forms compete on the host that the model is to be run on.
        cast: How to cast the model, once it is proven in float32; None leaves it in that.
    """

    opset: int = flag(
        "--opset", "The opset: exactly this one, or none. [17]", default=17, min=13, takes=int
    )
    dynamic_batch: bool = switch("--dynamic-batch", "Leave the batch size open.")
    input_names: tuple[str, ...] = flag(
        "--input-name NAME", "Name of an input; once per input.", default=()
    )
    output_names: tuple[str, ...] = flag(
        "--output-name NAME", "Name of an output; once per output.", default=()
    )
    simplify: bool = flags(SIMPLIFY, default=True)
    simplify_timeout_s: float = flags(SIMPLIFY_TIMEOUT, default=300.0)
    lower: bool = switch("--no-lower", "Write the operators that torch wrote.")
    target: str = flags(TARGET, default=DEFAULT_TARGET)
    device: str | None = flags(DEVICE, default=None)
    jetpack: str | None = flags(JETPACK, default=None)
    dla: bool = flags(DLA, default=False)
    tensorrt: str | None = flags(TENSORRT, default=None)
    rules: tuple[str, ...] | None = flags(RULES, default=None)
    forms: Path | None = flags(FORMS, default=None)
    tune: bool = flags(TUNE, default=False)
    tune_limit_s: float = flags(TUNE_LIMIT, default=1800.0)
    save_forms: Path | None = flags(SAVE_FORMS, default=None)
    cast: CastOptions | None = None
