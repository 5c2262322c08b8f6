"""How a model is exported."""

from __future__ import annotations

from dataclasses import dataclass

from edgeattn.options.cast import CastOptions
from edgeattn.options.optimize import DEFAULT_TARGET


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """How to export.

    Attributes:
        opset: The ONNX opset that is written, exactly.
        dynamic_batch: Leave the first dimension of every input open.
        input_names: Names of the inputs; empty for `input`.
        output_names: Names of the outputs; empty for `output`.
        simplify: Run onnxsim.
        simplify_timeout_s: Seconds after which onnxsim is given up.
        lower: Write what the model computes in the forms that the target runs best.
        target: The target to choose forms for, of `edgeattn.lowering.target.TARGETS`.
        rules: The rules of lowering to apply; None for all.
        cast: How to cast the model, once it is proven in float32; None leaves it in that.
    """

    opset: int = 17
    dynamic_batch: bool = False
    input_names: tuple[str, ...] = ()
    output_names: tuple[str, ...] = ()
    simplify: bool = True
    simplify_timeout_s: float = 300.0
    lower: bool = True
    target: str = DEFAULT_TARGET
    rules: tuple[str, ...] | None = None
    cast: CastOptions | None = None
