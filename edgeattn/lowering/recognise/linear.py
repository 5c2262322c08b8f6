"""Sums over channels with constant weights, on what has no positions or has one output channel.

    Gemm, MatMul on (N, C), a 1x1 convolution on (N, C, 1, 1)   y_o = sum_c W_oc x_c + b_o
    a 1x1 convolution on a line, of which rows or columns were reduced                the same
    a 1x1 convolution to one channel, or to one for each group  y = sum_c w_c x_c + b
    a convolution that slides over the channels of (N, 1, C)    a band: y_c = sum_j w_j x_{c+j-k/2}
    a depthwise convolution along a line      a slide: y_c,i = sum_j w_c,j x_c,i+j-k/2 + b_c
    a 1x1 depthwise convolution                                 an affine for each channel

Any other convolution or matrix product is left to the runtime, and ends terms.

Real-number exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import onnx_ir as ir

from edgeattn.graph.nodes import (
    given,
    integer,
    ints,
    is_static,
    number,
    reduced_axes,
    static_sizes,
    text,
    weight_and_bias,
)
from edgeattn.lowering.indices import Index, regroup
from edgeattn.lowering.raising import Operand, Raised, Raising, Recogniser, UnrecognisedError
from edgeattn.lowering.recognise.pointwise import per_channel
from edgeattn.lowering.recognise.reductions import pooled_axes
from edgeattn.lowering.terms import Const, Layer, Slide

_CHANNELS: Final = 1
_MATRIX: Final = 2
_MAP: Final = 4
# So many nodes behind a reduction, a layer on a line is looked for.
_FARTHEST: Final = 8


def _shape(value: ir.Value | None) -> list[int | None]:
    return (None if value is None else static_sizes(value)) or []


def _is_plain(node: ir.Node) -> bool:
    """Return whether a convolution steps by 1, without dilation."""
    steps = (*ints(node, "strides"), *ints(node, "dilations"))
    return text(node, "auto_pad", "NOTSET") in {"NOTSET", "VALID"} and set(steps) <= {1}


def _is_small(node: ir.Node) -> bool:
    """Return whether a convolution is one of those that this file raises."""
    x, weight = _shape(given(node, 0)), _shape(given(node, 1))
    if not _is_plain(node) or len(x) != len(weight) or None in weight:
        return False
    return any(one(x, weight, node) for one in (_is_pointwise, _is_band, _is_slide))


def _is_pointwise(x: list[int | None], weight: list[int | None], node: ir.Node) -> bool:
    if any(size != 1 for size in weight[2:]) or any(ints(node, "pads")):
        return False
    group, out = integer(node, "group", 1), weight[0]
    is_depthwise = weight[1] == 1 and group == out == x[1]
    if len(x) == _MAP and group == 1 and any(s == 1 for s in x[2:]) and _is_of_line(node):
        return True
    if group == out and (group or 0) > 1 and (weight[1] or 0) > 1:
        return True  # one sum for each group
    return is_depthwise or (group == 1 and (out == 1 or all(size == 1 for size in x[2:])))


def _is_of_line(node: ir.Node) -> bool:
    """Return whether a convolution reads what a reduction of rows or of columns left of a map."""
    value = node.inputs[0]
    for _ in range(_FARTHEST):
        maker = None if value is None else value.producer()
        if maker is None:
            return False
        gone = _reduced_axes(maker)
        if gone:
            return gone <= {2, 3}
        value = next((v for v in maker.inputs if v is not None and not is_static(v)), None)
    return False


def _reduced_axes(node: ir.Node) -> set[int]:
    """Return the axes of a map of which a reduction or a pool leaves one value."""
    if node.op_type.startswith("Reduce"):
        return set(reduced_axes(node, len(_shape(node.inputs[0]))) or ())
    return set(pooled_axes(node)) if node.op_type.endswith("Pool") else set()


def _is_band(x: list[int | None], weight: list[int | None], node: ir.Node) -> bool:
    if weight[:2] != [1, 1]:
        return False
    long = [position for position in range(2, len(x)) if x[position] != 1]
    pads, rank = ints(node, "pads"), len(x) - 2
    pads = pads or [0] * (2 * rank)
    if len(long) != 1:
        return False
    for position in range(2, len(x)):
        kernel, place = weight[position], position - 2
        if kernel is None or kernel % 2 == 0:
            return False
        if pads[place] != kernel // 2 or pads[place + rank] != kernel // 2:
            return False
    return True


def _is_slide(x: list[int | None], weight: list[int | None], node: ir.Node) -> bool:
    """Return whether a convolution slides along a line, each channel by itself."""
    sides, pads = [side or 0 for side in weight[2:]], ints(node, "pads")
    long = [place for place, size in enumerate(x[2:]) if size != 1]
    return (
        len(long) == 1
        and integer(node, "group", 1) == weight[0] == x[1] != 1
        and weight[1] == 1
        and all(side % 2 and (place in long or side == 1) for place, side in enumerate(sides))
        and pads == [side // 2 for side in (*sides, *sides)]
        and _is_of_line(node)
    )


def _convolved(node: ir.Node, raising: Raising) -> Sequence[Operand]:
    found, constants = raising.needed(node.inputs[0]), weight_and_bias(node)
    if constants is None:
        raise UnrecognisedError
    weight, bias = constants
    offset = np.zeros(weight.shape[0]) if bias is None else bias
    x, shape = _shape(node.inputs[0]), list[int | None](weight.shape)
    if _is_slide(x, shape, node):
        return [_slid(found, weight, offset, raising)]
    if not _is_pointwise(x, shape, node):
        return _banded(found, weight, float(offset[0]), raising)
    if integer(node, "group", 1) == weight.shape[0] > 1 == weight.shape[1]:
        return [per_channel(raising, found, weight.reshape(-1), offset)]
    rows = weight.reshape(weight.shape[:2])
    if integer(node, "group", 1) > 1:
        return _summed_by_group(raising, found, rows, offset)
    return _contracted(raising, found, _CHANNELS, rows, offset)


def _slid(x: Raised, weight: np.ndarray, offset: np.ndarray, raising: Raising) -> Raised:
    (position,) = (place for place in range(2, x.rank) if x.axis(place))
    along, channels = x.axis(position), x.axis(_CHANNELS)
    if any(i.home not in {2, 3} for i in along) or not {*along, *channels} <= x.term.indices():
        raise UnrecognisedError("it slides over what is no line of a map")
    if any(index.home != _CHANNELS for index in channels):
        raise UnrecognisedError("its channels are none of a map's")
    taps = weight.astype(np.float64).reshape(len(weight), -1)
    slide = Slide(taps=taps, bias=offset, channels=channels, along=along)
    return Raised(raising.terms.make("slide", (x.term,), slide, x.term.own), x.axes)


def _banded(x: Raised, weight: np.ndarray, offset: float, raising: Raising) -> Sequence[Operand]:
    (position,) = (p for p in range(2, x.rank) if x.axis(p))
    axis = x.axis(position)
    if any(index.home != _CHANNELS for index in axis) or not x.term.is_thin():
        raise UnrecognisedError("it slides over positions, not channels")
    kernel = weight.shape[position]
    middle = [size // 2 for size in weight.shape]
    taps = weight[tuple(slice(None) if p == position else m for p, m in enumerate(middle))]
    attrs = (axis, tuple(float(tap) for tap in taps.reshape(kernel)), offset)
    if set(axis) - x.term.indices():
        raise UnrecognisedError("what it slides over is the same for all channels")
    return [Raised(raising.terms.make("band", (x.term,), attrs, x.term.own), x.axes)]


def _contracted(
    raising: Raising, x: Raised, position: int, weight: np.ndarray, offset: np.ndarray
) -> Sequence[Operand]:
    """Return sum_c weight[o, c] x[.., c, ..] + offset[o] over an axis."""
    axis, size = x.axis(position), weight.shape[0]
    # Groups in the batch keep to themselves.
    others = [i for place in range(1, x.rank) if place != position for i in x.axis(place)]
    # One tap over the channels of (N, 1, C) only scales them.
    is_scale = not axis and size == 1
    if any(i.home != _CHANNELS for i in axis) or (
        not is_scale and any(i.home == _CHANNELS for i in others)
    ):
        raise UnrecognisedError("it sums over an axis that is not the channels")
    out = () if size == 1 else (Index(size, _CHANNELS),)
    if not axis:
        return [_scaled(raising, x, position, weight, offset, out)]
    if set(axis) - x.term.indices():
        raise UnrecognisedError("what it sums over is the same for all channels")
    layer = Layer(weight=weight, bias=offset, rows=out, columns=axis)
    axes = (*x.axes[:position], out, *x.axes[position + 1 :])
    return [Raised(raising.terms.linear(x.term, layer), axes)]


def _summed_by_group(
    raising: Raising, x: Raised, weight: np.ndarray, offset: np.ndarray
) -> Sequence[Operand]:
    """Return sum_c weight[g, c] x[.., g, c, ..] + offset[g] over the channels of each group."""
    axis = x.axis(_CHANNELS)
    if any(index.home != _CHANNELS for index in axis) or set(axis) - x.term.indices():
        raise UnrecognisedError("it sums over an axis that is not the channels")
    halves = regroup((axis,), weight.shape)
    if halves is None:
        raise UnrecognisedError("a group ends inside an index that cannot be split there")
    layer = Layer(weight=weight, bias=offset, rows=halves[0], columns=halves[1])
    axes = (*x.axes[:_CHANNELS], halves[0], *x.axes[_CHANNELS + 1 :])
    return [Raised(raising.terms.linear(x.term, layer), axes)]


def _scaled(
    raising: Raising,
    x: Raised,
    position: int,
    weight: np.ndarray,
    offset: np.ndarray,
    out: tuple[Index, ...],
) -> Raised:
    """Return weight[o] x + offset[o], where there is one channel to sum over."""
    terms, sizes = raising.terms, weight.shape[: len(out)]
    factor = terms.const(Const(weight.reshape(sizes), out))
    term = terms.add(terms.mul(factor, x.term), terms.const(Const(offset.reshape(sizes), out)))
    return Raised(term, (*x.axes[:position], out, *x.axes[position + 1 :]))


def _is_thin_product(node: ir.Node) -> bool:
    return len(_shape(given(node, 0))) == _MATRIX and len(_shape(given(node, 1))) == _MATRIX


def _multiplied(node: ir.Node, raising: Raising) -> Sequence[Operand]:
    found, constants = raising.needed(node.inputs[0]), weight_and_bias(node)
    if constants is None or not found.term.is_thin() or integer(node, "transA", 0):
        raise UnrecognisedError
    if any(index.home != _CHANNELS for index in found.axis(1)):
        raise UnrecognisedError
    weight, bias = constants
    weight = weight * number(node, "alpha", 1.0)
    weight = weight if integer(node, "transB", 0) else weight.T
    offset = np.zeros(weight.shape[0])
    if bias is not None:
        if bias.size not in {1, weight.shape[0]}:
            raise UnrecognisedError("its bias differs by sample")
        offset = offset + bias.reshape(-1) * number(node, "beta", 1.0)
    return _contracted(raising, found, _CHANNELS, weight, offset)


TABLE: Final[Mapping[str, Recogniser]] = {
    "Conv": Recogniser(rule="linear", recognise=_convolved, accepts=_is_small),
    "Gemm": Recogniser(rule="linear", recognise=_multiplied, accepts=_is_thin_product),
    "MatMul": Recogniser(rule="linear", recognise=_multiplied, accepts=_is_thin_product),
}
