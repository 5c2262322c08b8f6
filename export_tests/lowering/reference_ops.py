"""Operators for onnx.reference where its own are slow, round to float32, or know one opset only."""

from __future__ import annotations

import itertools
import math

import numpy as np
from onnx.reference.op_run import OpRun


def _version(op):
    return op.run_params["opsets"][""]


def _windows(x, auto_pad, ceil_mode, dilations, kernel, pads, strides):
    """Gives strides, dilations, the pads at both ends, and the size of the result."""
    rank = len(kernel)
    strides, dilations = list(strides or [1] * rank), list(dilations or [1] * rank)
    first, last = list(pads or [0] * 2 * rank)[:rank], list(pads or [0] * 2 * rank)[rank:]
    sizes = []
    for i in range(rank):
        length, extent = x.shape[2 + i], (kernel[i] - 1) * dilations[i] + 1
        if auto_pad in {"SAME_UPPER", "SAME_LOWER"}:
            total = max(0, (math.ceil(length / strides[i]) - 1) * strides[i] + extent - length)
            small, large = total // 2, total - total // 2
            first[i], last[i] = (small, large) if auto_pad == "SAME_UPPER" else (large, small)
        span = length + first[i] + last[i] - extent
        size = (math.ceil(span / strides[i]) if ceil_mode else span // strides[i]) + 1
        if ceil_mode and (size - 1) * strides[i] >= length + first[i]:
            size -= 1  # no window starts in the padding at the end
        sizes.append(size)
    return strides, dilations, first, last, sizes


def _taps(x, kernel, strides, dilations, first, last, sizes, fill):
    """Gives, for each offset in the kernel, the elements of x that it meets."""
    room = [
        max(last[i], (sizes[i] - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1 - length)
        for i, length in enumerate(n + f for n, f in zip(x.shape[2:], first, strict=True))
    ]
    padded = np.pad(x, [(0, 0), (0, 0), *zip(first, room, strict=True)], constant_values=fill)
    for offset in itertools.product(*map(range, kernel)):
        index = [
            slice(o * d, o * d + (n - 1) * s + 1, s)
            for o, d, n, s in zip(offset, dilations, sizes, strides, strict=True)
        ]
        yield offset, padded[(slice(None), slice(None), *index)]


class Conv(OpRun):
    """A sum of matrix products, one for each offset in the kernel."""

    def _run(self, x, w, b=None, *, auto_pad, dilations, group, kernel_shape, pads, strides):
        kernel, group = w.shape[2:], group or 1
        assert kernel_shape is None or tuple(kernel_shape) == kernel
        steps = _windows(x, auto_pad, 0, dilations, kernel, pads, strides)
        n, sizes = x.shape[0], steps[-1]
        y = np.zeros((n, group, w.shape[0] // group, math.prod(sizes)))
        weights = w.reshape(group, -1, *w.shape[1:])
        for offset, tap in _taps(x, kernel, *steps, 0.0):
            y += weights[(..., *offset)] @ tap.reshape(n, group, w.shape[1], -1)
        y = y.reshape(n, w.shape[0], *sizes)
        return (y if b is None else y + b.reshape(-1, *[1] * len(sizes)),)


class MaxPool(OpRun):
    """A maximum over windows, with minus infinity around the map."""

    def _run(self, x, *, auto_pad, ceil_mode, dilations, kernel_shape, pads, strides, **rest):
        assert len(self.output) == 1, "indices are not computed"
        steps = _windows(x, auto_pad, ceil_mode, dilations, kernel_shape, pads, strides)
        taps = (tap for _, tap in _taps(x, kernel_shape, *steps, -np.inf))
        y = next(taps).copy()
        for tap in taps:
            np.maximum(y, tap, out=y)
        return (y,)


class AveragePool(OpRun):
    """A mean over windows; the padding counts where the node says so."""

    def _run(
        self, x, *, auto_pad, ceil_mode, count_include_pad, dilations, kernel_shape, pads, strides
    ):
        steps = _windows(x, auto_pad, ceil_mode, dilations, kernel_shape, pads, strides)
        *_, first, last, _ = steps
        edge = list(zip(first, last, strict=True))
        ones = np.pad(np.ones((1, 1, *x.shape[2:])), [(0, 0)] * 2 + edge)
        if count_include_pad:
            ones = np.ones_like(ones)
        inner = (*steps[:2], [0] * len(edge), [0] * len(edge), steps[-1])
        total = sum(tap for _, tap in _taps(x, kernel_shape, *steps, 0.0))
        return (total / sum(tap for _, tap in _taps(ones, kernel_shape, *inner, 0.0)),)


class GlobalMaxPool(OpRun):
    """A maximum over every dimension of space."""

    def _run(self, x):
        return (x.max(axis=tuple(range(2, x.ndim)), keepdims=True),)


class Softmax(OpRun):
    """Over one axis; before opset 13, over all axes from one on."""

    def _run(self, x, axis=None):
        if _version(self) < 13:
            start = 1 if not self.onnx_node.attribute else axis % x.ndim
            axes = tuple(range(start, x.ndim))
        else:
            axes = (axis,)
        e = np.exp(x - x.max(axis=axes, keepdims=True))
        return (e / e.sum(axis=axes, keepdims=True),)


class BatchNormalization(OpRun):
    """By the statistics that are given; below opset 14 the reference mixes in those of x."""

    def _run(self, x, scale, bias, mean, variance, *, epsilon, training_mode=0, **rest):
        assert not training_mode
        assert len(self.output) == 1
        shape = (-1, *[1] * (x.ndim - 2))
        slope = scale / np.sqrt(variance + epsilon)
        return (x * slope.reshape(shape) + (bias - mean * slope).reshape(shape),)


class GroupNormalization(OpRun):
    """Scale and bias stand for groups at opset 18, for channels from 21 on."""

    def _run(self, x, scale, bias, *, epsilon, num_groups, **rest):
        groups = x.reshape(x.shape[0], num_groups, -1)
        centred = groups - groups.mean(axis=2, keepdims=True)
        spread = np.sqrt((centred**2).mean(axis=2, keepdims=True) + epsilon)
        y = (centred / spread).reshape(x.shape)
        each = x.shape[1] // scale.size
        shape = (-1, *[1] * (x.ndim - 2))
        return (y * scale.repeat(each).reshape(shape) + bias.repeat(each).reshape(shape),)


class HardSwish(OpRun):
    """x * max(0, min(1, x / 6 + 1/2)), with a sixth that is not rounded to float32."""

    def _run(self, x):
        return (x * np.clip(x / 6 + 0.5, 0.0, 1.0),)


class Erf(OpRun):
    """The error function, value by value."""

    def _run(self, x):
        return (np.vectorize(math.erf, otypes=[np.float64])(x),)


class Resize(OpRun):
    """Nearest neighbours only, with the coordinates in float64."""

    def _run(self, x, roi=None, scales=None, sizes=None, **attributes):
        assert attributes["mode"] in {"nearest", b"nearest"}, "only the nearest neighbour"
        assert not attributes.get("axes"), "all axes"
        if sizes is None or not sizes.size:
            sizes = np.floor(np.array(x.shape) * scales.astype(np.float64) + 1e-9).astype(int)
        else:
            scales = sizes / np.array(x.shape)
        for axis, (old, new) in enumerate(zip(x.shape, sizes, strict=True)):
            at = np.arange(new, dtype=np.float64)
            match attributes["coordinate_transformation_mode"]:
                case "asymmetric":
                    at = at / scales[axis]
                case "half_pixel" | "pytorch_half_pixel":
                    at = (at + 0.5) / scales[axis] - 0.5
                case "align_corners":
                    at = at * (old - 1) / max(new - 1, 1)
                case other:
                    raise NotImplementedError(other)
            match attributes["nearest_mode"]:
                case "floor":
                    at = np.floor(at)
                case "ceil":
                    at = np.ceil(at)
                case "round_prefer_floor":
                    at = np.ceil(at - 0.5)
                case "round_prefer_ceil":
                    at = np.floor(at + 0.5)
            x = x.take(np.clip(at, 0, old - 1).astype(int), axis=axis)
        return (x,)


class ChannelPermutation(OpRun):
    """Lowering's own name for a new order of the channels, between its passes."""

    op_domain = "edgeattn"

    def _run(self, x, *, permutation):
        return (x.take(permutation, axis=1),)


OPS = [
    ChannelPermutation,
    Conv,
    MaxPool,
    AveragePool,
    GlobalMaxPool,
    Softmax,
    BatchNormalization,
    GroupNormalization,
    HardSwish,
    Erf,
    Resize,
]
