"""Pooling: which windows a ceiling makes."""

from __future__ import annotations

import dataclasses
import math

import onnx_ir as ir

from edgeattn.graph.edit import Edit
from edgeattn.graph.nodes import integer, ints, needed, text
from edgeattn.legalise.refusals import RefusedError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Axis:
    """One spatial axis: how many windows it has, and the end padding that yields them by floor."""

    windows: int
    dropped: bool
    partial: bool
    end: int


def _axis(size: int, window: int, stride: int, begin: int, end: int) -> _Axis:
    room = size + begin + end - window
    windows = math.ceil(room / stride) + 1
    dropped = (windows - 1) * stride >= size + begin
    windows -= dropped
    reach = (windows - 1) * stride + window - size - begin
    return _Axis(windows=windows, dropped=dropped, partial=reach > end, end=max(reach, 0))


def windows_in_padding(node: ir.Node, _edit: Edit) -> None:
    """AveragePool, MaxPool 22 → 21: windows that would start in the end padding. Bit-exact.

    From 22 on ONNX ignores them, as torch and ONNX Runtime do at every opset; before, its own shape
    inference counts them. Where there are any, the end padding is set so that rounding down
    gives the windows that remain. Requires constant spatial sizes; else the node stays as it is,
    and so does one without such a window.
    """
    x, kernel = needed(node, 0), node.attributes["kernel_shape"].as_ints()
    n = len(kernel)
    sizes = [] if x.shape is None else [d for d in list(x.shape)[2:] if isinstance(d, int)]
    explicit = text(node, "auto_pad", "NOTSET") == "NOTSET"
    if not integer(node, "ceil_mode", 0) or not explicit or len(sizes) != n:
        return
    pads = ints(node, "pads", [0] * (2 * n))
    reaches = [
        (k - 1) * d + 1 for k, d in zip(kernel, ints(node, "dilations", [1] * n), strict=True)
    ]
    strides = ints(node, "strides", [1] * n)
    axes = [
        _axis(*numbers) for numbers in zip(sizes, reaches, strides, pads[:n], pads[n:], strict=True)
    ]
    if not any(axis.dropped for axis in axes):
        return
    if integer(node, "count_include_pad", 0) and any(axis.partial for axis in axes):
        raise RefusedError("a window would start in the padding where another is cut by it")
    node.attributes["pads"] = ir.AttrInt64s("pads", [*pads[:n], *(axis.end for axis in axes)])
    del node.attributes["ceil_mode"]
    output = node.outputs[0]
    if output.shape is not None:
        output.shape = ir.Shape([*list(output.shape)[:2], *(axis.windows for axis in axes)])
