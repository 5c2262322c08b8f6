"""How an ONNX file is optimized."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeattn.options.flags import flag, flags, switch
from edgeattn.options.hosts import on
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
    TUNE_LIMIT,
)
from edgeattn.options.parity import DATA, paths
from edgeattn.options.photos import PHOTOS, Photos, parse
from edgeattn.options.shapes import parse_shapes


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizeOptions:
    """How to optimize.

    Attributes:
        jetpack: The device's JetPack; the command line takes from it what is not given.
        dla: Whether it is for the device's DLA; likewise.
        rules: The rules of lowering to apply; None for all.
        tune: Forms compete on a TensorRT engine's plan, or on latency: here, or on `on`.
    """

    target: str = flags(TARGET, default=DEFAULT_TARGET)
    device: str | None = flags(DEVICE, default=None)
    jetpack: str | None = flags(JETPACK, default=None)
    dla: bool = flags(DLA, default=False)
    tensorrt: str | None = flags(TENSORRT, default=None)
    rules: tuple[str, ...] | None = flags(RULES, default=None)
    opset: int | None = flag(
        "--opset", "The opset: exactly this one, or none. [the file's own, at least 13]", min=13
    )
    tune: bool = switch(
        "--tune",
        "Let forms compete on this model, measured: here, or on --on HOST; takes a minute or more,"
        " once.",
    )
    on: tuple[str, ...] = on("The host that --tune measures forms on.")
    tune_limit_s: float = flags(TUNE_LIMIT, default=1800.0)
    save_forms: Path | None = flags(SAVE_FORMS, default=None)
    forms: Path | None = flags(FORMS, default=None)
    simplify: bool = flags(SIMPLIFY, default=True)
    simplify_timeout_s: float = flags(SIMPLIFY_TIMEOUT, default=300.0)
    shapes: tuple[tuple[int, ...], ...] = flag(
        "--shape 1x3x224x224",
        "Shape to check a file with whose height or width is open; once per input.",
        default=(),
        read=parse_shapes,
    )
    data: tuple[Path, ...] = flags(DATA, default=(), read=paths)
    pixels: Photos | None = flags(*PHOTOS, default=None, read=parse)
    seed: int = flag("--seed", "Seed of the inputs that it is checked with.", default=0, min=0)
