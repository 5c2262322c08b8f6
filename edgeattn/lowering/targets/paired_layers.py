"""One MLP over two squeezes, as two generated kernels of TensorRT.

    W2 (f(W1 a + b1) + f(W1 m + b1)) + b2

with a and m side by side, [N, 1, 2, C], and each layer as a product and a sum: TensorRT generates
one kernel for each, where convolutions take three, and reads W1 once.

Real-number exact: the sums run in another order. Requires layers on what has no positions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from edgeattn.lowering.indices import Axes, Index, Size, leaves
from edgeattn.lowering.targets.layout import (
    LAST,
    UnwritableError,
    channels_of,
    reshape,
    shape_of,
)
from edgeattn.lowering.targets.plain import PlainWriter
from edgeattn.lowering.targets.writer import Written
from edgeattn.lowering.terms import Term

_PAIR = 2


def is_paired(term: Term) -> bool:
    """Return whether a term is a layer over the sum of one function of one layer on two terms."""
    if term.op != "linear" or term.args[0].op != "add" or len(term.args[0].args) != _PAIR:
        return False
    if not term.is_thin():
        return False
    one, other = term.args[0].args
    if one.op != "fn" or other.op != "fn" or one.attrs != other.attrs:
        return False
    first, second = one.args[0], other.args[0]
    return (
        first.op == second.op == "linear"
        and np.array_equal(first.attrs.weight, second.attrs.weight)
        and np.array_equal(first.attrs.bias, second.attrs.bias)
        and leaves(first.attrs.rows) == leaves(second.attrs.rows)
        and _is_whole(first)
        and _is_whole(second)
        and _is_whole(term)
    )


def _is_whole(term: Term) -> bool:
    """Return whether a layer sums over all channels of what it reads."""
    return set(channels_of(term.args[0].indices())) == set(leaves(term.attrs.columns))


def write_paired(writer: PlainWriter, term: Term) -> Written:
    """Write such layers."""
    build = writer.build
    one, other = (part.args[0] for part in term.args[0].args)
    if leaves(one.attrs.columns) != leaves(other.attrs.columns):
        raise UnwritableError("its two layers sum over different channels")
    first, second = (writer.on(part.args[0], LAST) for part in (one, other))
    batch, _, _, channels = first.axes
    rows, out = leaves(one.attrs.rows), leaves(term.attrs.rows)
    pair: tuple[Index, ...] = (Index(2, None),)
    if channels_of(out) != out:
        raise UnwritableError("its outputs are in another order")

    mask = build.constant(np.array([True, False]).reshape(1, 1, 2, 1))
    shape = shape_of((batch, (), pair, channels))
    both = build.node("Where", [mask, first.value, second.value], shape, dtype=writer.dtype)
    weight = one.attrs.over(rows, channels)[None, :, None, :]
    bias = one.attrs.bias_over(rows)[None, :, None, None]
    hidden = writer.apply(
        term.args[0].args[0].attrs,
        Written(
            _layer(writer, both, weight, bias, shape_of((batch, rows, pair, channels)), keep=True),
            (batch, rows, pair, ()),
        ),
    )
    inputs = [hidden.value, build.integers([2])]
    total = build.node("ReduceSum", inputs, shape_of((batch, rows, ())), {"keepdims": 0})
    flat = reshape(build, total, shape_of((batch, (), rows)))
    weight, bias = term.attrs.over(out, rows)[None], term.attrs.bias_over(out)[None]
    value = _layer(writer, flat, weight, bias, shape_of((batch, out, rows)), keep=False)
    axes: Axes = (batch, out, (), ())
    return writer.shaped(value, axes)


def _layer(
    writer: PlainWriter,
    x: ir.Value,
    weight: np.ndarray,
    bias: np.ndarray,
    shape: Sequence[Size],
    *,
    keep: bool,
) -> ir.Value:
    """Return the sum of weight * x over the last axis, plus the bias; `shape` is the product's."""
    build = writer.build
    product = build.node("Mul", [x, writer.real(weight)], shape)
    after = [*shape[:-1], 1] if keep else shape[:-1]
    axis = build.integers([len(shape) - 1])
    total = build.node("ReduceSum", [product, axis], after, {"keepdims": int(keep)})
    return build.node("Add", [total, writer.real(bias)], after)
