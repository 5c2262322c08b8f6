"""Normalisations: alike for every channel, but for the parameters of each."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from edgeattn.graph.nodes import given, integer, is_static, length_of
from edgeattn.lowering.permute.tracks import PINNED, Flow, Tracks, Weight, follows, track_of


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
