"""How an ONNX file is optimized."""

from __future__ import annotations

from dataclasses import dataclass

from edgeattn.options.flags import flag, flags
from edgeattn.options.lowering import RULES, SIMPLIFY, SIMPLIFY_TIMEOUT, TARGET
from edgeattn.options.shapes import parse_shapes


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizeOptions:
    """How to optimize.

    Attributes:
        rules: The rules of lowering to apply; None for all.
        tune: Forms compete on a TensorRT engine's plan, or on latency here.
    """

    target: str = flags(TARGET, default="tensorrt")
    rules: tuple[str, ...] | None = flags(RULES, default=None)
    opset: int | None = flag(
        "--opset",
        min=13,
        help="The opset: exactly this one, or none. [the file's own, at least 13]",
    )
    tune: bool = flag(
        "--tune",
        default=False,
        help="Let forms compete on this model, measured; takes a minute or more, once.",
    )
    shapes: tuple[tuple[int, ...], ...] = flag(
        "--shape",
        default=(),
        metavar="1x3x224x224",
        read=parse_shapes,
        help="Shape to check a file with whose height or width is open; once per input.",
    )
    seed: int = flag("--seed", default=0, min=0, help="Seed of the inputs that it is checked with.")
    simplify: bool = flags(SIMPLIFY, default=True)
    simplify_timeout_s: float = flags(SIMPLIFY_TIMEOUT, default=300.0)
