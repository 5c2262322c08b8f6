"""A pool and the layer to a few channels behind it, as one generated kernel of TensorRT.

    MaxPool 3x3 (stride 1, its borders padded) = the maximum of shifted copies of the map, whose
    border is repeated: a repeated border changes no maximum
    y_g = sum over the channels c of group g of w_c p_c + b_g, as a product and a sum

TensorRT has a kernel of its own for MaxPool, and one for a convolution: a map is written and read
before each. Slices, Max, products and sums it generates into one kernel, with what stands before
the pool. That kernel reads nine neighbours for each value, from cache: its traffic is counted once.

Bit-exact for the pool; the layer sums in another order. Requires an odd window with equal padding,
and one value for each group of channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir

from edgeattn.lowering.build import Builder
from edgeattn.lowering.indices import Axes, leaves, resolve
from edgeattn.lowering.targets.layout import (
    LAST,
    SPACE,
    channels_of,
    reshape,
    shape_of,
)
from edgeattn.lowering.targets.plain import PlainWriter
from edgeattn.lowering.targets.writer import Written
from edgeattn.lowering.terms import Layer, Term


def is_pooled_layer(term: Term) -> bool:
    """Return whether a term is such a layer behind such a pool."""
    if term.op != "linear" or term.args[0].op != "window":
        return False
    pool = term.args[0]
    op_type, attributes, _ = pool.attrs
    known = {name: value for name, _, value in attributes}
    kernel = known.get("kernel_shape", ())
    shared = set(channels_of(pool.indices())) - set(leaves(term.attrs.columns))
    return (
        op_type == "MaxPool"
        and len(kernel) == 2
        and all(size % 2 for size in kernel)
        and list(known.get("pads", ())) == [size // 2 for size in (*kernel, *kernel)]
        and set(known.get("dilations", (1,))) == {1}
        and known.get("auto_pad", "NOTSET") == "NOTSET"
        and set(leaves(term.attrs.rows)) <= shared
        and pool.args[0].op != "leaf"
        and all(isinstance(i.size, int) for i in pool.indices() if i.home in SPACE)
    )


def write_pooled_layer(writer: PlainWriter, term: Term) -> Written:
    """Write such a layer, channels last."""
    pool, layer = term.args[0], term.attrs
    x = writer.on(pool.args[0], LAST)
    known: Mapping[str, Any] = {name: value for name, _, value in pool.attrs[1]}
    value = _pooled(writer.build, x, known["kernel_shape"])
    return _summed(writer, Written(value, x.axes), layer)


def _pooled(build: Builder, x: Written, kernel: Sequence[int]) -> ir.Value:
    """Return the maximum over windows of [N, H, W, C]."""
    half = [size // 2 for size in kernel]
    shape = shape_of(x.axes)
    sizes = [int(size) for size in shape[1:3]]
    padded = [shape[0], *(s + 2 * h for s, h in zip(sizes, half, strict=True)), shape[3]]
    pads = build.integers([0, *half, 0, 0, *half, 0])
    value, after = build.node("Pad", [x.value, pads], padded, {"mode": "edge"}), padded
    for axis, (size, width) in enumerate(zip(sizes, kernel, strict=True), start=1):
        after = [*after[:axis], size, *after[axis + 1 :]]
        parts = []
        for place in range(width):
            bounds = [build.integers([bound]) for bound in (place, place + size, axis)]
            parts.append(build.node("Slice", [value, *bounds], after))
        value = build.node("Max", parts, after) if width > 1 else value
    return value


def _summed(writer: PlainWriter, x: Written, layer: Layer) -> Written:
    """Return the layer's sums of [N, H, W, C], one for each group: [N, H, W, g]."""
    build = writer.build
    *outside, channels = x.axes
    columns = leaves(layer.columns)
    shared = tuple(index for index in channels if index not in columns)
    weight, bias = writer.weights(layer, shared, (), tuple(i for i in channels if i in columns))
    scale = writer.real(weight.reshape(1, 1, 1, -1))
    product = build.node("Mul", [x.value, scale], shape_of(x.axes))
    split: Axes = (*outside, shared, columns)
    value = reshape(build, product, shape_of(split))
    axes: Axes = (*outside, shared)
    inputs = [value, build.integers([4])]
    value = build.node("ReduceSum", inputs, shape_of(axes), {"keepdims": 0})
    offset = writer.real(bias.reshape(1, 1, 1, -1))
    return Written(build.node("Add", [value, offset], shape_of(axes)), axes)


def flat_softmax(writer: PlainWriter, x: Written) -> Written:
    """Return the softmax over the map of [N, H, W, g], channels first."""
    build = writer.build
    batch, rows, columns, channels = resolve(x.axes)
    flat: Axes = (batch, (*rows, *columns), channels)
    value = reshape(build, x.value, shape_of(flat))
    value = build.node("Softmax", [value], shape_of(flat), {"axis": 1})
    turned: Axes = (batch, channels, flat[1])
    value = build.node("Transpose", [value], shape_of(turned), {"perm": [0, 2, 1]})
    axes: Axes = (batch, channels, rows, columns)
    return writer.shaped(value, axes)


def ends_in_pooled_layer(term: Term) -> bool:
    """Return whether a term is such a layer, or a function of one."""
    while term.op == "fn":
        term = term.args[0]
    return is_pooled_layer(term)
