"""What a kernel of ONNX Runtime's does: arithmetic of a class of layers, or a loop over bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from edgeattn.records.kinds import Kind

#: Classes of layers that a CPU's kernels compute at rates of their own. A convolution with weights
#: of several places and more than a block of channels has none: it is what `compute` says.
#: pointwise: 1x1 convolutions; stem: fewer input channels than a block, as an image has; grouped:
#: groups of some channels each; depthwise: groups of one; plain: what ONNX Runtime does not
#: block, as where channels are no multiple of four; plain-depthwise: groups of one of these;
#: product: Gemm and MatMul.
Layer = Literal[
    "dense", "pointwise", "stem", "grouped", "depthwise", "plain", "plain-depthwise", "product"
]

# What no kernel does more of.
_Amount = Annotated[float, Field(ge=0, le=1e18)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a kernel does.

    Attributes:
        operator: Its operator, and the loop where there are several: `Softmax-strided`.
        kind: Its kind.
        layer: The class of its arithmetic; None if moving bytes is what counts.
        flops: Floating-point operations of that.
        run: Places that its innermost loop goes through without a break.
        activation: What is fused behind that, if it is one more pass; "" for none.
        activation_bytes: What that pass goes over.
        moved_bytes: Bytes that its loops read and write.
        weights_bytes: Bytes of those that are weights.
        reads_bytes: Bytes of each tensor that it reads, weights left out.
        writes_bytes: Bytes of each that it writes.
    """

    operator: str
    kind: Kind
    layer: Layer | None = None
    flops: _Amount = 0.0
    run: Annotated[int, Field(ge=1)] = 1
    activation: str = ""
    activation_bytes: _Amount = 0.0
    moved_bytes: _Amount = 0.0
    weights_bytes: _Amount = 0.0
    reads_bytes: tuple[_Amount, ...] = ()
    writes_bytes: tuple[_Amount, ...] = ()
