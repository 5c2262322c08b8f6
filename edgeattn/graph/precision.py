"""The precision that an ONNX graph is written in: its types say it, and nothing else does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import onnx_ir as ir

from edgeattn.options.precision import Precision

_HALF: Final = ir.DataType.FLOAT16


def precision_of(model: ir.Model) -> Precision:
    """Return the precision that a model computes in, for the most part.

    Args:
        model: The model.

    Returns:
        `int8` where values are quantised, else `fp16` where weights, inputs or outputs are half or
        values are cast to it, else `fp32`.
    """
    if next(_of_type(model, "DequantizeLinear"), None) is not None:
        return "int8"
    values = (*model.graph.initializers.values(), *model.graph.inputs, *model.graph.outputs)
    if any(value.dtype == _HALF for value in values):
        return "fp16"
    casts = (node.attributes["to"].as_int() for node in _of_type(model, "Cast"))
    return "fp16" if any(to == _HALF for to in casts) else "fp32"


def quantised_nodes(model: ir.Model) -> frozenset[str]:
    """Return the names of the convolutions and products whose operands are all quantised."""
    return frozenset(
        str(node.name)
        for op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul")
        for node in _of_type(model, op_type)
        if all(_is_dequantised(value) for value in node.inputs[:2])
    )


def _is_dequantised(value: ir.Value | None) -> bool:
    producer = None if value is None else value.producer()
    return producer is not None and producer.op_type == "DequantizeLinear"


def _of_type(model: ir.Model, op_type: str) -> Iterator[ir.Node]:
    return (node for node in model.graph.all_nodes() if node.op_type == op_type)
