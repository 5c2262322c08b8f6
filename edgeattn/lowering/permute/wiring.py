"""Wiring: the nodes that only pick channels, and what each of their values consists of.

Concat, Split, Slice, Gather and the channel permutation itself calculate nothing. Behind any number
of them, a value is a list of channels of the values before them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx_ir as ir

from edgeattn.graph.nodes import given, integer, is_standard, length_of, rank, static_ints
from edgeattn.lowering.build import DOMAIN
from edgeattn.lowering.permutation import Permutation, identity, permutation
from edgeattn.lowering.permute.moving import slice_axes
from edgeattn.lowering.permute.tracks import Track, Tracks

OPERATOR: Final = "ChannelPermutation"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Channels:
    """A list of channels of some values.

    Attributes:
        sources: The values.
        which: Per channel, the value that it is taken from.
        channel: Per channel, which channel of that value it is.
    """

    sources: tuple[ir.Value, ...]
    which: Permutation
    channel: Permutation

    def pick(self, indices: Permutation) -> Channels:
        """Return a list of some of the channels; sources that are not used any more are dropped."""
        which, channel = self.which[indices], self.channel[indices]
        used, renumbered = np.unique(which, return_inverse=True)
        sources = tuple(self.sources[k] for k in used.tolist())
        return Channels(sources=sources, which=renumbered.reshape(-1), channel=channel)


def all_of(value: ir.Value, channels: int) -> Channels:
    """Return all channels of a value."""
    zeros = np.zeros(channels, dtype=np.int64)
    return Channels(sources=(value,), which=zeros, channel=identity(channels))


def join(parts: list[Channels]) -> Channels:
    """Return one list after another."""
    numbers: dict[ir.Value, int] = {}
    which = []
    for part in parts:
        places = [numbers.setdefault(source, len(numbers)) for source in part.sources]
        which.append(np.asarray(places, dtype=np.int64)[part.which])
    return Channels(
        sources=tuple(numbers),
        which=np.concatenate(which),
        channel=np.concatenate([part.channel for part in parts]),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Wire:
    """A node that only picks channels.

    Attributes:
        node: The node.
        axis: The axis of the channels.
        reads: The inputs that they come from, and how many there are in each.
        picks: Per output, which of all the channels that it reads, one input after the other.
    """

    node: ir.Node
    axis: int
    reads: tuple[tuple[int, int], ...]
    picks: tuple[Permutation, ...]

    def tracks(self) -> tuple[Track, ...]:
        """Return where the channels of the outputs stand."""
        return tuple(Track(axis=self.axis, channels=len(pick)) for pick in self.picks)


def permutation_of(node: ir.Node) -> Permutation:
    """Return the permutation of a channel permutation node.

    Raises:
        ValueError: Its attribute is no permutation.
    """
    found = permutation(node.attributes["permutation"].as_ints())
    if found is None:
        raise ValueError(f"{node.name}: the attribute is no permutation")
    return found


def is_permutation(node: ir.Node) -> bool:
    """Return whether a node is a channel permutation."""
    return node.op_type == OPERATOR and node.domain == DOMAIN


def permutations_of(model: ir.Model) -> list[ir.Node]:
    """Return the channel permutations of a model, those in branches and loop bodies included."""
    nodes = ir.traversal.RecursiveGraphIterator(model.graph)
    return [node for node in nodes if is_permutation(node)]


def wire(node: ir.Node, tracks: Tracks) -> Wire | None:
    """Return what a node picks along the channels, or None if it does anything else."""
    if is_permutation(node):
        p = permutation_of(node)
        here = tracks.get(node.inputs[0]) if node.inputs[0] is not None else None
        if here not in {None, Track(axis=1, channels=len(p))}:
            return None
        return Wire(node=node, axis=1, reads=((0, len(p)),), picks=(p,))
    if not is_standard(node):
        return None
    if node.op_type == "Concat":
        return _concat(node, tracks)
    value, rule = given(node, 0), _PICKS.get(node.op_type)
    track = None if value is None else tracks.get(value)
    if rule is None or track is None or track.repeat != 1:
        return None
    picks = rule(node, track)
    if picks is None:
        return None
    return Wire(node=node, axis=track.axis, reads=((0, track.channels),), picks=tuple(picks))


def _concat(node: ir.Node, tracks: Tracks) -> Wire | None:
    dimensions = rank(node.outputs[0])
    if dimensions is None:
        return None
    axis = integer(node, "axis", 0) % dimensions
    reads = []
    for index, value in enumerate(node.inputs):
        channels = length_of(value, axis)
        if value is None or channels is None:
            return None
        if tracks.get(value) not in {None, Track(axis=axis, channels=channels)}:
            return None
        reads.append((index, channels))
    if not any(value in tracks for value in node.inputs if value is not None):
        return None
    total = sum(channels for _, channels in reads)
    return Wire(node=node, axis=axis, reads=tuple(reads), picks=(identity(total),))


def _split(node: ir.Node, track: Track) -> list[Permutation] | None:
    dimensions = rank(node.outputs[0])
    if dimensions is None or integer(node, "axis", 0) % dimensions != track.axis:
        return None
    picks, start = [], 0
    for output in node.outputs:
        channels = length_of(output, track.axis)
        if channels is None:
            return None
        picks.append(start + identity(channels))
        start += channels
    return picks if start == track.channels else None


def _slice(node: ir.Node, track: Track) -> list[Permutation] | None:
    bounds = [static_ints(given(node, index)) for index in (1, 2)]
    steps = [1] if given(node, 4) is None else static_ints(node.inputs[4])
    starts, stops = bounds
    if slice_axes(node) != [track.axis] or starts is None or stops is None or steps is None:
        return None
    start, stop, step = starts[0], stops[0], steps[0]
    # Python reads a start or stop below the first element from the end again; ONNX clamps it.
    if step < 0:
        return None
    return [identity(track.channels)[start:stop:step]]


def _gather(node: ir.Node, track: Track) -> list[Permutation] | None:
    dimensions, indices = rank(node.inputs[0] or node.outputs[0]), static_ints(given(node, 1))
    if dimensions is None or indices is None or rank(node.inputs[1] or node.outputs[0]) != 1:
        return None
    if integer(node, "axis", 0) % dimensions != track.axis:
        return None
    return [np.asarray(indices, dtype=np.int64) % track.channels]


_PICKS: Final[Mapping[str, Callable[[ir.Node, Track], list[Permutation] | None]]] = {
    "Split": _split,
    "Slice": _slice,
    "Gather": _gather,
}
