"""How an ONNX file is optimized."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: The target of lowering where none is asked for.
DEFAULT_TARGET: Final = "tensorrt"


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizeOptions:
    """How to optimize.

    Attributes:
        target: The target to choose forms for, of `edgeattn.lowering.target.TARGETS`.
        rules: The rules of lowering to apply; None for all.
        opset: The ONNX opset that is written, exactly; None for the file's own, or 13 where that
            is lower.
        tune: Let forms compete for this model, on a TensorRT engine's plan or on latency here.
        simplify: Run onnxsim.
        simplify_timeout_s: Seconds after which onnxsim is given up.
        shapes: Shapes to check the file with, one per input; needed only where dimensions other
            than the batch are open.
        seed: Seed of the inputs that it is checked with.
    """

    target: str = DEFAULT_TARGET
    rules: tuple[str, ...] | None = None
    opset: int | None = None
    tune: bool = False
    simplify: bool = True
    simplify_timeout_s: float = 300.0
    shapes: tuple[tuple[int, ...], ...] = ()
    seed: int = 0
