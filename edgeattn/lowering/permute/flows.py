"""What an operator does with the order of the channels that it reads: one rule per kind.

An operator is equivariant where permuting its input permutes its output (Relu, pooling, a
residual Add); it mixes channels where each output is a weighted sum of inputs (Conv, Gemm, MatMul:
the order goes into the columns of the weights, and the order of the result is the order of their
rows); it forgets the order where it sums over channels. The inputs and
outputs of every other operator keep the order of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import onnx_ir as ir

from edgeattn.graph.nodes import given, integer, is_standard, is_static, length_of, rank, static
from edgeattn.lowering.permute import moving, weighted
from edgeattn.lowering.permute.tracks import PINNED, Flow, Track, Tracks, Weight, follows, track_of

_UNARY: Final = (
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BitwiseNot", "Cast", "Ceil",
    "Celu", "Cos", "Cosh", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish",
    "Identity", "IsInf", "IsNaN", "LeakyRelu", "Log", "Mish", "Neg", "Not", "Reciprocal",
    "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus",
    "Softsign", "Sqrt", "Swish", "Tan", "Tanh", "ThresholdedRelu",
)  # fmt: skip
_ELEMENTWISE: Final = (
    "Add", "And", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "CastLike", "Clip", "Div", "Equal",
    "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul",
    "Or", "PRelu", "Pow", "Sub", "Sum", "Where", "Xor",
)  # fmt: skip
_POOLS: Final = (
    "AveragePool", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "LpPool", "MaxPool",
)  # fmt: skip
_REDUCTIONS: Final = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare",
)  # fmt: skip
# Symmetric in what they normalise over, alike for each of the rest.
_NORMALISING = ("Softmax", "LogSoftmax", "LpNormalization", "MeanVarianceNormalization")


def flow(node: ir.Node, tracks: Tracks) -> Flow:
    """Return what a node does with the order of its channels.

    Args:
        node: The node.
        tracks: Where the channels of the values before it stand.
    """
    rule = _RULES.get(node.op_type) if is_standard(node) else None
    return PINNED if rule is None else rule(node, tracks)


def _unary(node: ir.Node, tracks: Tracks) -> Flow:
    return follows(track_of(node, 0, tracks))


def _pool(node: ir.Node, tracks: Tracks) -> Flow:
    track = track_of(node, 0, tracks)
    return PINNED if track is None or track.axis != 1 or len(node.outputs) > 1 else follows(track)


def _elementwise(node: ir.Node, tracks: Tracks) -> Flow:
    """Inputs are aligned from the right; one of size 1 along the channels has no order."""
    ranks = [rank(value) for value in node.inputs if value is not None]
    known = [r for r in ranks if r is not None]
    if len(known) != len(ranks):
        return PINNED
    behind = max(known)
    found = None
    for value in node.inputs:
        track = None if value is None else tracks.get(value)
        if track is not None and value is not None and value.shape is not None:
            shifted = track.axis + behind - len(value.shape)
            found = Track(axis=shifted, channels=track.channels, repeat=track.repeat)
            break
    if found is None:
        return PINNED
    tied: dict[int, Track] = {}
    rows: list[Weight] = []
    for index, value in enumerate(node.inputs):
        if value is None or value.shape is None:
            continue
        axis = found.axis - (behind - len(value.shape))
        length = length_of(value, axis) if axis >= 0 else 1
        if length == 1 and found.channels * found.repeat != 1:
            continue
        if length != found.channels * found.repeat:
            return PINNED
        own = tracks.get(value)
        if own is None and is_static(value):
            rows.append(Weight(index=index, axis=axis, repeat=found.repeat))
            continue
        here = Track(axis=axis, channels=found.channels, repeat=found.repeat)
        if own not in {None, here} or (own is None and found.repeat != 1):
            return PINNED
        tied[index] = here
    return Flow(out=found, tied=tied, rows=tuple(rows))


def _concat(node: ir.Node, tracks: Tracks) -> Flow:
    """A concatenation along another axis; along the channels, wiring takes it apart."""
    dimensions = rank(node.outputs[0])
    found = next((tracks[v] for v in node.inputs if v is not None and v in tracks), None)
    if found is None or dimensions is None or found.repeat != 1:
        return PINNED
    if integer(node, "axis", 0) % dimensions == found.axis:
        return PINNED
    tied, rows = {}, []
    for index, value in enumerate(node.inputs):
        if value is None or length_of(value, found.axis) != found.channels:
            return PINNED
        if tracks.get(value) is None and is_static(value):
            rows.append(Weight(index=index, axis=found.axis))
        elif tracks.get(value) in {None, found}:
            tied[index] = found
        else:
            return PINNED
    return Flow(out=found, tied=tied, rows=tuple(rows))


def _sizes(node: ir.Node, tracks: Tracks) -> Flow:
    return PINNED if track_of(node, 0, tracks) is None else Flow(columns={0: ()})


def _scaled(node: ir.Node, tracks: Tracks) -> Flow:
    """Quantisation with one scale for all."""
    scale = static(given(node, 1))
    return PINNED if scale is None or scale.size != 1 else _unary(node, tracks)


_RULES: Mapping[str, Callable[[ir.Node, Tracks], Flow]] = {
    **dict.fromkeys(_UNARY, _unary),
    **dict.fromkeys(_ELEMENTWISE, _elementwise),
    **dict.fromkeys(_POOLS, _pool),
    **dict.fromkeys(_REDUCTIONS, moving.reduction),
    **dict.fromkeys(_NORMALISING, _unary),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), moving.reshape),
    **dict.fromkeys(("Shape", "Size"), _sizes),
    **dict.fromkeys(("Resize", "Upsample", "Split"), moving.same_axis),
    **dict.fromkeys(("Conv", "ConvTranspose"), weighted.convolution),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), _scaled),
    "BatchNormalization": weighted.per_channel(1, 2, 3, 4),
    "InstanceNormalization": weighted.per_channel(1, 2),
    "GroupNormalization": weighted.group_normalisation,
    "LayerNormalization": weighted.layer_normalisation,
    "Pad": moving.pad,
    "Slice": moving.cut,
    "Transpose": moving.transpose,
    "Gemm": weighted.gemm,
    "MatMul": weighted.matmul,
    "Concat": _concat,
    "Expand": moving.expand,
}
