"""Operators with constants for each channel, which take their order: layers and normalisations.

A layer mixes channels: the order goes into the columns and the rows of its weights. A normalisation
is alike for every channel, but for its parameters.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from edgeattn.graph.nodes import given, integer, is_static, length_of, rank
from edgeattn.lowering.permute.tracks import PINNED, Flow, Track, Tracks, Weight, follows, track_of


def convolution(node: ir.Node, tracks: Tracks) -> Flow:
    """Free on both sides without groups; depthwise, the outputs follow; else by groups."""
    weight = given(node, 1)
    if not is_static(weight) or (given(node, 2) is not None and not is_static(node.inputs[2])):
        return PINNED
    transposed = node.op_type == "ConvTranspose"
    groups = integer(node, "group", 1)
    first, second = length_of(weight, 0), length_of(weight, 1)
    if first is None or second is None:
        return PINNED
    bias = (Weight(index=2, axis=0),) if given(node, 2) is not None else ()
    track = track_of(node, 0, tracks)
    if track is not None and (track.axis != 1 or track.repeat != 1):
        return PINNED
    if groups == 1:
        rows, columns = (1, 0) if transposed else (0, 1)
        return Flow(
            out=Track(axis=1, channels=second if transposed else first),
            rows=(Weight(index=1, axis=rows), *bias),
            columns={0: (Weight(index=1, axis=columns),)} if track is not None else {},
        )
    if track is not None and groups != track.channels and not transposed:
        out = Track(axis=1, channels=first)
        return Flow(out=out, rows=(Weight(index=1, axis=0), *bias), groups=groups)
    if track is None or groups != track.channels:
        return PINNED
    if transposed:
        if second != 1:
            return PINNED
        return follows(track, (Weight(index=1, axis=0), *bias))
    repeat = first // groups
    weights = tuple(Weight(index=k, axis=0, repeat=repeat) for k in ((1, 2) if bias else (1,)))
    return follows(track, weights, out=Track(axis=1, channels=groups, repeat=repeat))


def gemm(node: ir.Node, tracks: Tracks) -> Flow:
    """Free on both sides, where the weight is a constant."""
    weight, bias, track = given(node, 1), given(node, 2), track_of(node, 0, tracks)
    if weight is None or not is_static(weight) or rank(weight) != 2 or integer(node, "transA", 0):
        return PINNED
    if bias is not None and (not is_static(bias) or bias.shape is None):
        return PINNED
    columns, rows = (1, 0) if integer(node, "transB", 0) else (0, 1)
    given_rows = [Weight(index=1, axis=rows)]
    channels = length_of(weight, rows)
    if channels is None:
        return PINNED
    if bias is not None and bias.shape and length_of(bias, -1) == channels:
        given_rows.append(Weight(index=2, axis=len(bias.shape) - 1))
    elif bias is not None and bias.shape and length_of(bias, -1) != 1:
        return PINNED
    taken = {}
    if track is not None and track.axis == 1:
        taken = {0: (Weight(index=1, axis=columns, repeat=track.repeat),)}
    return Flow(out=Track(axis=1, channels=channels), rows=tuple(given_rows), columns=taken)


def matmul(node: ir.Node, tracks: Tracks) -> Flow:
    """A linear layer on the last axis; along the others, the output follows the input."""
    left, right, track = given(node, 0), given(node, 1), track_of(node, 0, tracks)
    if left is None or left.shape is None or not is_static(right) or length_of(right, 1) is None:
        return PINNED
    last = len(left.shape) - 1
    if last < 1 or right is None or rank(right) != 2:
        return PINNED
    if track is not None and track.axis != last:
        return follows(track)
    channels = length_of(right, 1)
    assert channels is not None, "a constant has a static shape"
    taken = {}
    if track is not None:
        taken = {0: (Weight(index=1, axis=0, repeat=track.repeat),)}
    out = Track(axis=last, channels=channels)
    return Flow(out=out, rows=(Weight(index=1, axis=1),), columns=taken)


def per_channel(*constants: int) -> Callable[[ir.Node, Tracks], Flow]:
    """Return the rule of a normalisation with one parameter per channel in each constant."""

    def rule(node: ir.Node, tracks: Tracks) -> Flow:
        track = track_of(node, 0, tracks)
        used = [index for index in constants if given(node, index) is not None]
        if (
            track is None
            or track.axis != 1
            or track.repeat != 1
            or len(node.outputs) > 1
            or not all(is_static(node.inputs[index]) for index in used)
        ):
            return PINNED
        rows = tuple(Weight(index=index, axis=0) for index in used)
        return follows(track, rows)

    return rule


def group_normalisation(node: ir.Node, tracks: Tracks) -> Flow:
    """Follow with one group in all, or one per channel, and parameters per channel."""
    track = track_of(node, 0, tracks)
    scale = length_of(given(node, 1), 0)
    groups = integer(node, "num_groups", 0)
    if track is None or scale != track.channels or groups not in {1, track.channels}:
        return PINNED
    return per_channel(1, 2)(node, tracks)


def layer_normalisation(node: ir.Node, tracks: Tracks) -> Flow:
    """Symmetric in what it normalises over; its parameters follow."""
    track, value = track_of(node, 0, tracks), given(node, 0)
    if track is None or value is None or value.shape is None or len(node.outputs) > 1:
        return PINNED
    rows = []
    for index in (1, 2):
        constant = given(node, index)
        if constant is None:
            continue
        if not is_static(constant) or constant.shape is None:
            return PINNED
        axis = track.axis - (len(value.shape) - len(constant.shape))
        if axis < 0 or length_of(constant, axis) == 1:
            continue
        rows.append(Weight(index=index, axis=axis, repeat=track.repeat))
    return follows(track, tuple(rows))
