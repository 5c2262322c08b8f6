"""torch's operators that torchlib cannot translate, or only into very many nodes.

Adaptive pooling: output i of s pools the inputs from floor(i n / s) to ceil((i + 1) n / s).
1. Where all windows are equally long and far apart, it is a plain pooling.
2. A maximum over others is one over equal windows of a map in which the rows and columns of all
   windows stand beside each other, each filled up with its own last one: a Gather for each axis and
   one MaxPool, exact to the bit.
3. A mean over others is a product with a constant matrix for each axis, exact in real numbers.

Convolutions in as many groups as there are samples, so that each has its own weights: with T
groups of c inputs and o outputs, x: [1, T c, H, W] is T samples of c channels. A convolution with
constant one-hot kernels lays the k k neighbours of each place beside each other as channels,
[T, c k k, H' W'], and the sample's own weights [T, o, c k k] multiply that. Transposed, the weights
multiply first, and a transposed convolution with one-hot kernels adds up. Exact in real numbers;
products are those of the convolution, in another order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from onnxscript import opset18
from onnxscript.function_libs.torch_lib.ops import core, nn

from edgeattn.base.errors import InputError

Value = Any  # an onnx_ir.Value; onnxscript types its operators by tensors
_aten = torch.ops.aten
op: Any = opset18


def table() -> Mapping[Any, Callable[..., Any]]:
    """Return the translations by torch's operator."""
    return {
        _aten.adaptive_max_pool2d.default: _adaptive_max_pool,
        _aten.adaptive_max_pool3d.default: _adaptive_max_pool,
        _aten._adaptive_avg_pool2d.default: _adaptive_avg_pool,  # noqa: SLF001 - that is its name
        _aten._adaptive_avg_pool3d.default: _adaptive_avg_pool,  # noqa: SLF001 - same
        _aten.conv1d.default: _conv(core.aten_conv1d),
        _aten.conv2d.default: _conv(core.aten_conv2d),
        _aten.conv3d.default: _conv(core.aten_conv3d),
        _aten.convolution.default: _convolution,
    }


def _adaptive_max_pool(x: Value, size: Sequence[int]) -> tuple[Value, Value]:
    """Return the maxima of `x: f32[N, C, H, W]`, and where in H W each of them is."""
    axes = range(-len(size), 0)
    if all(one == 1 for one in size):
        flat = op.Reshape(x, op.Constant(value_ints=[0] * (len(x.shape or ()) - len(size)) + [-1]))
        places = op.ArgMax(flat, axis=-1, keepdims=1)
        ones = op.Constant(value_ints=[*range(-len(size) + 1, 0)])
        maxima = op.ReduceMax(x, op.Constant(value_ints=[*axes]), keepdims=1)
        return maxima, op.Unsqueeze(places, ones)
    inside = _static(x, -len(size))
    windows = [_windows(have, want) for have, want in zip(inside, size, strict=True)]
    strides, rows = [], []
    for axis, window in zip(axes, windows, strict=True):
        stride, laid_out = _laid_out(window)
        strides.append(stride)
        rows.append(laid_out)
        if laid_out.tolist() != [*range(inside[axis])]:
            x = _gathered(x, laid_out.tolist(), axis)
    kernel = [max(map(len, window)) for window in windows]
    pool = nn.aten_max_pool2d_with_indices if len(size) == 2 else nn.aten_max_pool3d_with_indices
    maxima, places = pool(x, kernel, strides)
    grids = np.ravel_multi_index(np.meshgrid(*rows, indexing="ij"), inside).ravel()
    if len(grids) != math.prod(inside) or (grids != np.arange(len(grids))).any():
        places = op.Gather(op.Constant(value_ints=grids.tolist()), places, axis=0)
    return maxima, places


def _adaptive_avg_pool(x: Value, size: Sequence[int]) -> Value:
    """Return the means of `x: f32[N, C, H, W]`."""
    inside = _static(x, -len(size))
    windows = [_windows(have, want) for have, want in zip(inside, size, strict=True)]
    strides = [_stride(window) for window in windows]
    if None not in strides:
        pool = nn.aten_avg_pool2d if len(size) == 2 else nn.aten_avg_pool3d
        return pool(x, [len(window[0]) for window in windows], strides)
    rank = len(x.shape or ())
    for axis, have, window in zip(range(-len(size), 0), inside, windows, strict=True):
        means = np.zeros((len(window), have), np.float32)
        for row, one in zip(means, window, strict=True):
            row[one] = 1 / len(one)
        if len(window) != have:
            x = _product(x, means, axis, rank=rank)
    return x


def _gathered(x: Value, rows: list[int], axis: int) -> Value:
    """Take rows of one of the last axes."""
    sizes = list(x.shape or ())
    gathered = op.Gather(x, op.Constant(value_ints=rows), axis=axis + len(sizes))
    sizes[axis] = len(rows)
    gathered.shape, gathered.dtype = ir.Shape(sizes), x.dtype
    return gathered


def _product(x: Value, matrix: Any, axis: int, *, rank: int) -> Value:
    """Multiply one of the last axes of a value by a matrix from the left."""
    if axis == -1:
        return op.MatMul(x, op.Constant(value=ir.tensor(matrix.T.copy())))
    if axis == -2:
        return op.MatMul(op.Constant(value=ir.tensor(matrix)), x)
    order = [*range(rank)]
    order[axis], order[-1] = order[-1], order[axis]
    last = _product(op.Transpose(x, perm=order), matrix, -1, rank=rank)
    return op.Transpose(last, perm=order)


def _windows(have: int, want: int) -> list[list[int]]:
    """Return what each output pools."""
    return [[*range(i * have // want, -(-(i + 1) * have // want))] for i in range(want)]


def _stride(windows: Sequence[Sequence[int]]) -> int | None:
    """Return how far apart windows of one length begin; None if they differ."""
    strides = {after[0] - before[0] for before, after in pairwise(windows)}
    if len({*map(len, windows)}) > 1 or len(strides) > 1:
        return None
    return strides.pop() if strides else len(windows[0])


def _laid_out(windows: Sequence[Sequence[int]]) -> tuple[int, Any]:
    """Return the stride of equal windows, and the rows that they stand on."""
    if (stride := _stride(windows)) is not None:
        return stride, np.arange(windows[-1][-1] + 1)
    longest = max(map(len, windows))
    filled = [[*window, *[window[-1]] * (longest - len(window))] for window in windows]
    return longest, np.array(filled).ravel()


def _conv(plain: Callable[..., Any]) -> Callable[..., Any]:
    """Return the translation of a convolution that torchlib has for a fixed number of groups."""

    def translate(
        x: Value,
        weight: Value,
        bias: Value | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int | Value = 1,
    ) -> Value:
        if isinstance(groups, int):
            return plain(x, weight, bias, stride, padding, dilation, groups)
        how = _how(weight, stride=stride, padding=padding, dilation=dilation)
        return _convolution_of_samples(x, weight, bias, groups, how)

    return translate


def _convolution(
    x: Value,
    weight: Value,
    bias: Value | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int | Value,
) -> Value:
    if isinstance(groups, int):
        return core.aten_convolution(
            x, weight, bias, stride, padding, dilation, transposed, output_padding, groups
        )
    how = _how(weight, stride=stride, padding=padding, dilation=dilation)
    if not transposed:
        return _convolution_of_samples(x, weight, bias, groups, how)
    extra = _each(output_padding, len(how["strides"]))
    return _transposed_of_samples(x, weight, bias, groups, how | {"output_padding": extra})


def _how(weight: Value, *, stride: Any, padding: Any, dilation: Any) -> dict[str, list[int]]:
    kernel = _static(weight, 2)
    axes = len(kernel)
    return {
        "kernel_shape": kernel,
        "strides": _each(stride, axes),
        "pads": _each(padding, axes) * 2,
        "dilations": _each(dilation, axes),
    }


def _convolution_of_samples(
    x: Value, weight: Value, bias: Value | None, groups: Value, how: dict[str, Any]
) -> Value:
    """Convolve `x: f32[1, T c, ...]` with `weight: f32[T o, c, ...]` in T groups."""
    (channels,) = _static(weight, 1, 2)
    places = math.prod(how["kernel_shape"])
    samples = _reshaped(_only_sample(x), -1, channels, *[0] * len(how["strides"]))
    if places > 1 or {*how["strides"]} != {1} or any(how["pads"]):
        one_hot = _one_hot(channels, how["kernel_shape"])
        samples = op.Conv(samples, one_hot, group=channels, **how)
    own = _reshaped(weight, groups, -1, channels * places)
    return _finished(op.MatMul(own, _reshaped(samples, 0, 0, -1)), samples, bias, how)


def _transposed_of_samples(
    x: Value, weight: Value, bias: Value | None, groups: Value, how: dict[str, Any]
) -> Value:
    """Convolve `x: f32[1, T c, ...]` transposed with `weight: f32[T c, o, ...]` in T groups."""
    (outputs,) = _static(weight, 1, 2)
    places = math.prod(how["kernel_shape"])
    own = op.Transpose(_reshaped(weight, groups, -1, outputs * places), perm=[0, 2, 1])
    samples = _reshaped(_only_sample(x), groups, -1, op.Shape(x, start=2))
    products = op.MatMul(own, _reshaped(samples, 0, 0, -1))
    spread = _reshaped(products, 0, 0, op.Shape(x, start=2))
    summed = op.ConvTranspose(spread, _one_hot(outputs, how["kernel_shape"]), group=outputs, **how)
    return _finished(_reshaped(summed, 0, 0, -1), summed, bias, how)


def _finished(flat: Value, like: Value, bias: Value | None, how: dict[str, Any]) -> Value:
    """Return f32[T, o, P] as f32[1, T o, ...], with the places of `like`, and with the bias."""
    y = _reshaped(flat, 1, -1, op.Shape(like, start=2))
    return y if bias is None else op.Add(y, _reshaped(bias, 1, -1, *[1] * len(how["strides"])))


def _only_sample(x: Value) -> Value:
    if len(x.shape or ()) < 3 or (x.shape or (0,))[0] != 1:
        raise InputError("its number of groups is open, and so is, or is not 1, its batch")
    return x


def _one_hot(channels: int, kernel: Sequence[int]) -> Value:
    """Return the kernels that pick each place of a window: f32[channels k k, 1, k, k]."""
    places = math.prod(kernel)
    picks = np.tile(np.eye(places, dtype=np.float32), (channels, 1))
    return op.Constant(value=ir.tensor(picks.reshape(channels * places, 1, *kernel)))


def _reshaped(x: Value, *sizes: int | Value) -> Value:
    """Reshape to sizes, some of which are values."""
    known = [size for size in sizes if isinstance(size, int)]
    if len(known) == len(sizes):
        return op.Reshape(x, op.Constant(value_ints=known))
    parts = [
        op.Constant(value_ints=[size])
        if isinstance(size, int)
        else op.Reshape(size, op.Constant(value_ints=[-1]))
        for size in sizes
    ]
    return op.Reshape(x, op.Concat(*parts, axis=0))


def _static(x: Value, start: int, end: int | None = None) -> list[int]:
    """Return some sizes of a value.

    Raises:
        InputError: They are open.
    """
    sizes = list(x.shape or ())[start:end]
    known = [size for size in sizes if isinstance(size, int)]
    if not known or len(known) < len(sizes):
        raise InputError(f"sizes that it depends on are open: {x.shape}")
    return known


def _each(sizes: Any, axes: int) -> list[int]:
    """Return one number for each axis, where torch takes one for all."""
    given = list(sizes) if isinstance(sizes, Sequence) else [sizes]
    if not all(isinstance(size, int) for size in given):
        raise InputError("its padding is open")
    return given * axes if len(given) == 1 else given
