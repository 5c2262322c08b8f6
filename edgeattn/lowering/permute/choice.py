"""The order of what is free still: that which keeps its readers' channels together."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeattn.graph.nodes import producer_of
from edgeattn.lowering.permutation import Permutation, identity, inverse, runs
from edgeattn.lowering.permute.state import Analysis, positions
from edgeattn.lowering.permute.wiring import Channels


def choose(found: Analysis) -> None:
    """Settle the order of every class that is free, in the graph's order."""
    picks = _readers(found)
    for value, track in found.tracks.items():
        if found.orders.is_chosen(value, track.channels):
            continue
        if value in found.wired:
            order = _as_stored(found, value)
        else:
            order = _for_readers(found, value, picks)
        found.orders.choose(value, order)


def _as_stored(found: Analysis, value: ir.Value) -> Permutation:
    """Return the order in which picked channels lie in the values that they come from.

    The parts of a Concat that stays follow each other, and so do several copies of a channel.
    """
    channels, node = found.wired[value], producer_of(value)
    places = positions(found, channels)
    lengths = [length for _, length in found.wires[node].reads]
    parts = value in found.kept and node.op_type == "Concat"
    block = np.repeat(np.arange(len(lengths)), lengths) if parts else _copies(channels)
    order = np.lexsort((places, channels.which, block)).astype(np.int64)
    if value in found.kept and not parts and len(runs(places[order])) > 1:
        # A Gather all the same: as the model has it, TensorRT fused it with more of its neighbours.
        return identity(len(order))
    return order


def _copies(channels: Channels) -> Permutation:
    """Number the copies of each channel in a list."""
    order = np.lexsort((channels.channel, channels.which))
    which, channel = channels.which[order], channels.channel[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = (np.diff(which) != 0) | (np.diff(channel) != 0)
    numbers = np.arange(len(order))
    copies = np.empty_like(numbers)
    copies[order] = numbers - np.maximum.accumulate(np.where(first, numbers, 0))
    return copies


def _readers(found: Analysis) -> dict[object, list[tuple[ir.Value, ir.Value, int]]]:
    """List, per class, what is picked from its values: the result, the source and its number."""
    readers: dict[object, list[tuple[ir.Value, ir.Value, int]]] = {}
    for output, channels in found.wired.items():
        if not _is_read(found, output):
            continue
        for number, source in enumerate(channels.sources):
            readers.setdefault(found.orders.root(source), []).append((output, source, number))
    return readers


def _is_read(found: Analysis, value: ir.Value) -> bool:
    """Return whether anything but a wire that is taken apart reads a value."""
    return (
        value in found.kept
        or value.is_graph_output()
        or any(user not in found.wires for user, _ in value.uses())
        or any(out in found.kept for user, _ in value.uses() for out in user.outputs)
    )


def _for_readers(
    found: Analysis,
    value: ir.Value,
    readers: dict[object, list[tuple[ir.Value, ir.Value, int]]],
) -> Permutation:
    """Return the order of a free class that lets its readers take runs of channels."""
    length = found.tracks[value].channels
    keys: list[Permutation] = []
    for output, source, number in readers.get(found.orders.root(value), ()):
        between = found.orders.between(value, source, length)
        channels = found.wired[output]
        mine = channels.which == number
        taken = between[channels.channel[mine]]
        if found.orders.is_chosen(output, found.tracks[output].channels):
            place = inverse(found.order(output))[mine]
        elif len(np.unique(taken)) == length:
            continue
        else:
            place = np.zeros(len(taken), dtype=np.int64)
        key = np.full(length, np.iinfo(np.int64).max)
        key[taken] = place
        keys.append(key)
    return np.lexsort((identity(length), *reversed(keys))).astype(np.int64)
