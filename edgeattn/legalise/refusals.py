"""Refusals: the error by which an adapter leaves a node, and what it must know of a value."""

from __future__ import annotations

import onnx_ir as ir

HALF = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


class RefusedError(Exception):
    """An adapter cannot take a node: the text says why. It never leaves legalisation."""


def dtype_of(value: ir.Value) -> ir.DataType:
    """Return a value's element type.

    Raises:
        RefusedError: It is unknown.
    """
    if value.dtype is None:
        raise RefusedError("its element type is unknown")
    return value.dtype


def rank_of(value: ir.Value) -> int:
    """Return a value's rank.

    Raises:
        RefusedError: It is unknown.
    """
    if value.shape is None:
        raise RefusedError("its rank is unknown")
    return len(value.shape)
