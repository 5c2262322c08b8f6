"""Take channels out of values: whole values, slices of them, or one Gather."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
import onnx_ir as ir

from edgeattn.lowering.permutation import Permutation, runs
from edgeattn.lowering.permute.nodes import NewNodes
from edgeattn.lowering.permute.state import Analysis, positions
from edgeattn.lowering.permute.wiring import Channels

# What lies in more pieces than this is read by one Gather.
_MOST_PIECES: Final = 16
_SPLIT_READS_SIZES: Final = 13

Piece = tuple[int, int, int]
"""The number of a source, where the piece starts and where it stops."""


class Pieces:
    """Adds the nodes that take channels out of values.

    Args:
        model: The model.
        found: The orders of its values.
        new: Where new nodes come from.
    """

    def __init__(self, model: ir.Model, found: Analysis, new: NewNodes) -> None:
        self._found = found
        self._new = new
        self._opset = model.opset_imports.get("", _SPLIT_READS_SIZES)
        self._cuts: dict[ir.Value, set[int]] = {}
        self._uses: dict[ir.Value, set[tuple[int, int]]] = {}
        self._parts: dict[tuple[ir.Value, int, int], ir.Value] = {}

    def plan(self, channels: Channels) -> None:
        """Note where a value will be cut, so that one Split serves all who take slices of it."""
        pieces = self._cut(channels)
        if pieces is None:
            return
        for number, start, stop in pieces:
            source = channels.sources[number]
            if (start, stop) != (0, self._found.tracks[source].channels):
                self._cuts.setdefault(source, set()).update((start, stop))
                self._uses.setdefault(source, set()).add((start, stop))

    def _cut(self, channels: Channels) -> list[Piece] | None:
        """Cut picked channels into slices of their sources; return None if a Gather is better."""
        places = positions(self._found, channels)
        breaks = [0, *(np.flatnonzero(np.diff(channels.which)) + 1).tolist(), len(places)]
        pieces = [
            (int(channels.which[first]), start, stop)
            for first, last in pairwise(breaks)
            for start, stop in runs(places[first:last])
        ]
        single = len(channels.sources) == 1
        return None if len(pieces) > (1 if single else _MOST_PIECES) else pieces

    def collect(
        self, channels: Channels, stored: Sequence[ir.Value], origin: ir.Node, like: ir.Value
    ) -> ir.Value:
        """Return picked channels as one value.

        Args:
            channels: The channels.
            stored: What holds each of their sources, in its order.
            origin: The node that new ones stand for.
            like: The value that it stands for.
        """
        axis = self._found.tracks[like].axis
        pieces = self._cut(channels)
        if pieces is None:
            value, places = stored[0], positions(self._found, channels)
            if len(stored) > 1:
                sizes = [self._found.tracks[source].channels for source in channels.sources]
                value = self._concat(stored, axis, origin, like, sum(sizes))
                places = np.cumsum([0, *sizes])[channels.which] + places
            return self.gather(value, places, origin, like)
        parts: list[ir.Value] = []
        for number, start, stop in pieces:
            parts += self._slice(channels.sources[number], stored[number], start, stop, origin)
        if len(parts) == 1:
            return parts[0]
        return self._concat(parts, axis, origin, like, len(channels.which))

    def gather(
        self, value: ir.Value, indices: Permutation, origin: ir.Node, like: ir.Value
    ) -> ir.Value:
        """Return `value[:, indices]`."""
        axis = self._found.tracks[like].axis
        (out,) = self._new.add(
            "Gather",
            [value, self._new.integers(indices.tolist(), f"{origin.name}.indices")],
            {"axis": axis},
            origin=origin,
            shapes=[_resized(like, axis, len(indices))],
        )
        return out

    def _concat(
        self, parts: Sequence[ir.Value], axis: int, origin: ir.Node, like: ir.Value, length: int
    ) -> ir.Value:
        shape = _resized(like, axis, length)
        (out,) = self._new.add("Concat", parts, {"axis": axis}, origin=origin, shapes=[shape])
        return out

    def _slice(
        self, source: ir.Value, stored: ir.Value, start: int, stop: int, origin: ir.Node
    ) -> list[ir.Value]:
        """Return a slice of a source, as one value or several that follow each other."""
        track = self._found.tracks[source]
        if (start, stop) == (0, track.channels):
            return [stored]
        if len(self._uses.get(source, ())) > 1 and {start, stop} <= self._cuts[source]:
            self._split(source, stored, origin)
            bounds = sorted(cut for cut in self._cuts[source] if start <= cut <= stop)
            return [self._parts[source, a, b] for a, b in pairwise(bounds)]
        key = (source, start, stop)
        if key not in self._parts:
            inputs = [
                stored,
                *(
                    self._new.integers([k], f"{origin.name}.bound")
                    for k in (start, stop, track.axis)
                ),
            ]
            shapes = [_resized(source, track.axis, stop - start)]
            (out,) = self._new.add("Slice", inputs, {}, origin=origin, shapes=shapes)
            self._parts[key] = out
        return [self._parts[key]]

    def _split(self, source: ir.Value, stored: ir.Value, origin: ir.Node) -> None:
        track = self._found.tracks[source]
        bounds = list(pairwise(sorted({0, track.channels, *self._cuts[source]})))
        if (source, *bounds[0]) in self._parts:
            return
        sizes = [stop - start for start, stop in bounds]
        inputs, attributes = [stored], {"axis": track.axis}
        if self._opset >= _SPLIT_READS_SIZES:
            inputs.append(self._new.integers(sizes, f"{origin.name}.sizes"))
        outs = self._new.add(
            "Split",
            inputs,
            attributes if len(inputs) > 1 else {**attributes, "split": sizes},
            origin=origin,
            shapes=[_resized(source, track.axis, length) for length in sizes],
        )
        self._parts.update(((source, *b), out) for b, out in zip(bounds, outs, strict=True))


def _resized(like: ir.Value, axis: int, length: int) -> ir.Shape | None:
    if like.shape is None:
        return None
    return ir.Shape([length if k == axis else d for k, d in enumerate(like.shape)])
