"""What an operator does with the order of its channels, and where channels stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import onnx_ir as ir

from edgeattn.graph.nodes import given


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """Where the channels of a value stand.

    Attributes:
        axis: Their axis.
        channels: How many there are.
        repeat: How many consecutive elements of the axis belong to each of them.
    """

    axis: int
    channels: int
    repeat: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """A constant that is stored in the order of some channels.

    Attributes:
        index: Which input of the node it is.
        axis: The axis of the constant.
        repeat: How many consecutive elements of the axis belong to each channel.
    """

    index: int
    axis: int
    repeat: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What a node does with the order of its channels.

    Attributes:
        out: Where the channels of its outputs stand, or None if they keep the order of the
            model.
        tied: The inputs, and where their channels stand, that share the order of the outputs. With
            none, the outputs may have any order.
        rows: The constants in the order of the outputs.
        columns: Per input that may have any order, the constants in its order.
        groups: How many groups a convolution with several channels in each has, else 0: whole
            groups may change places, and channels inside a group of inputs.
    """

    out: Track | None = None
    tied: Mapping[int, Track] = field(default_factory=dict)
    rows: tuple[Weight, ...] = ()
    columns: Mapping[int, tuple[Weight, ...]] = field(default_factory=dict)
    groups: int = 0


Tracks: TypeAlias = Mapping[ir.Value, Track]
"""Where the channels of the values that are followed stand."""

PINNED: Final = Flow()
"""All inputs and outputs keep the order of the model."""


def follows(
    track: Track | None, rows: tuple[Weight, ...] = (), *, out: Track | None = None
) -> Flow:
    """Return the flow of a node whose output has the order of its first input.

    Args:
        track: Where the channels of that input stand; None if they are not followed.
        rows: The constants that are in their order, too.
        out: Where they stand in the output, if elsewhere.
    """
    return PINNED if track is None else Flow(out=out or track, tied={0: track}, rows=rows)


def track_of(node: ir.Node, index: int, tracks: Tracks) -> Track | None:
    """Return where the channels of an input stand, if they are followed."""
    value = given(node, index)
    return None if value is None else tracks.get(value)
