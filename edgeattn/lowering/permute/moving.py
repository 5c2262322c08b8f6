"""Operators that move or reduce along axes: where the channels stand after them."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from edgeattn.graph.nodes import (
    given,
    integer,
    ints,
    length_of,
    rank,
    reduced_axes,
    static_ints,
    text,
)
from edgeattn.lowering.permute.tracks import PINNED, Flow, Tracks, follows, track_of


def transpose(node: ir.Node, tracks: Tracks) -> Flow:
    """Follow, on another axis."""
    track, dimensions = track_of(node, 0, tracks), rank(node.inputs[0] or node.outputs[0])
    if track is None or dimensions is None:
        return PINNED
    order = ints(node, "perm", range(dimensions)[::-1])
    return follows(track, out=replace(track, axis=order.index(track.axis)))


def reshape(node: ir.Node, tracks: Tracks) -> Flow:
    """A view whose dimensions before the channels stay, and whose channels stay whole."""
    track, before, after = track_of(node, 0, tracks), node.inputs[0], node.outputs[0]
    if track is None or before is None or before.shape is None or after.shape is None:
        return PINNED
    want = [d for d in before.shape[: track.axis] if d != 1]
    if any(not isinstance(d, int) and d.value is None for d in want):
        return PINNED
    for axis in range(len(after.shape)):
        if [d for d in after.shape[:axis] if d != 1] != want or after.shape[axis] == 1:
            continue
        length, old = length_of(after, axis), length_of(before, track.axis)
        inner = before.shape[track.axis + 1 :]
        if length is None or old is None or length % track.channels:
            return PINNED
        repeat = length // track.channels
        # Past the channels themselves only whole, known dimensions may be taken in.
        room = old // track.channels
        for dimension in inner:
            if room >= repeat or not isinstance(dimension, int):
                break
            room *= dimension
        if room % repeat:
            return PINNED
        return follows(track, out=replace(track, axis=axis, repeat=repeat))
    return PINNED


def expand(node: ir.Node, tracks: Tracks) -> Flow:
    """Follow where the channels are not what is repeated."""
    track, value, out = track_of(node, 0, tracks), node.inputs[0], node.outputs[0]
    if track is None or value is None or value.shape is None or out.shape is None:
        return PINNED
    axis = track.axis + len(out.shape) - len(value.shape)
    length = track.channels * track.repeat
    if length_of(value, track.axis) != length or length_of(out, axis) != length:
        return PINNED
    return follows(track, out=replace(track, axis=axis))


def same_axis(node: ir.Node, tracks: Tracks) -> Flow:
    """An operator that leaves the axis alone, if its output has as many channels as its input."""
    track = track_of(node, 0, tracks)
    if text(node, "coordinate_transformation_mode", "") == "tf_crop_and_resize":
        return PINNED
    if track is None or any(
        length_of(value, track.axis) != track.channels * track.repeat
        for value in (node.inputs[0], *node.outputs)
    ):
        return PINNED
    return follows(track)


def cut(node: ir.Node, tracks: Tracks) -> Flow:
    """A cut along other axes; along the channels, wiring takes it apart."""
    track, axes = track_of(node, 0, tracks), slice_axes(node)
    return PINNED if track is None or axes is None or track.axis in axes else follows(track)


def slice_axes(node: ir.Node) -> list[int] | None:
    """Return the axes that a Slice cuts, from the front, or None if they are not known."""
    dimensions, starts = rank(node.inputs[0] or node.outputs[0]), static_ints(given(node, 1))
    if dimensions is None or starts is None:
        return None
    axes = list(range(len(starts))) if given(node, 3) is None else static_ints(node.inputs[3])
    return None if axes is None else [axis % dimensions for axis in axes]


def pad(node: ir.Node, tracks: Tracks) -> Flow:
    """Follow where the channels are not padded."""
    track, dimensions = track_of(node, 0, tracks), rank(node.inputs[0] or node.outputs[0])
    if track is None or dimensions is None:
        return PINNED
    pads = ints(node, "pads") or static_ints(given(node, 1))
    axes = list(range(dimensions)) if given(node, 3) is None else static_ints(node.inputs[3])
    if pads is None or axes is None:
        return PINNED
    places = [place for place, axis in enumerate(axes) if axis % dimensions == track.axis]
    is_padded = any(pads[place] or pads[place + len(axes)] for place in places)
    return PINNED if is_padded else follows(track)


def reduction(node: ir.Node, tracks: Tracks) -> Flow:
    """Forget the order where it reduces over the channels; else follows."""
    track, dimensions = track_of(node, 0, tracks), rank(node.inputs[0] or node.outputs[0])
    if track is None or dimensions is None:
        return PINNED
    axes = reduced_axes(node, dimensions)
    if not axes:
        return PINNED
    if track.axis in axes:
        return Flow(columns={0: ()})
    gone = 0 if integer(node, "keepdims", 1) else sum(axis < track.axis for axis in axes)
    return follows(track, out=replace(track, axis=track.axis - gone))
