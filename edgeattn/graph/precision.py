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
    found = precisions_of(model)
    return "int8" if "int8" in found else "fp16" if "fp16" in found else "fp32"


def precisions_of(model: ir.Model) -> frozenset[Precision]:
    """Return the precisions below fp32 that a model is written in, some of it at least."""
    found: set[Precision] = set()
    if next(_of_type(model, "DequantizeLinear"), None) is not None:
        found.add("int8")
    values = (*model.graph.initializers.values(), *model.graph.inputs, *model.graph.outputs)
    casts = (node.attributes["to"].as_int() for node in _of_type(model, "Cast"))
    if any(value.dtype == _HALF for value in values) or any(to == _HALF for to in casts):
        found.add("fp16")
    return frozenset(found)


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
