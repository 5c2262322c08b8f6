"""How the tensor of a term is laid out, and how one layout becomes another.

A term is written as a feature map: the indices of the batch on axis 0, of the channels on axis 1,
of rows and columns on axes 2 and 3, each in its own order; channels last, axis 1 goes to the end.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, Literal

import numpy as np
import onnx_ir as ir

from edgeattn.lowering.build import DOMAIN, Builder
from edgeattn.lowering.indices import Axes, Index, Size, count, leaves

View = Literal["channels-first", "channels-last"]
FIRST: Final[View] = "channels-first"
LAST: Final[View] = "channels-last"
ORDER: Final[dict[View, tuple[int, ...]]] = {FIRST: (0, 1, 2, 3), LAST: (0, 2, 3, 1)}
CHANNELS: Final = 1
SPACE: Final = frozenset({2, 3})


class UnwritableError(Exception):
    """No form writes this term: the text says why. It never leaves the lowering."""


def homed(indices: Collection[Index], home: int) -> tuple[Index, ...]:
    """Return those of some indices that belong to an axis, in their order."""
    return tuple(sorted((i for i in indices if i.home == home), key=lambda i: i.order))


def axes_of(indices: Collection[Index], view: View = FIRST) -> Axes:
    """Return the axes on which a term with these indices is written."""
    if any(index.home is None for index in indices):
        raise UnwritableError("it has an axis that is none of a feature map's")
    return tuple(homed(indices, home) for home in ORDER[view])


def extent(axis: Sequence[Index]) -> Size:
    """Return the size of an axis."""
    if len(axis) == 1:
        return axis[0].size
    if any(isinstance(index.size, str) for index in axis):
        raise UnwritableError("an open size is part of an axis")
    return count(axis)


def shape_of(axes: Axes) -> list[Size]:
    """Return the shape of a value with these axes."""
    return [extent(axis) for axis in axes]


def target_shape(shape: Sequence[Size]) -> list[int]:
    """Return the shape that a Reshape takes: -1 for the one size that is open."""
    if sum(isinstance(size, str) for size in shape) > 1:
        raise UnwritableError("more than one size is open")
    return [-1 if isinstance(size, str) else size for size in shape]


def relayout(build: Builder, value: ir.Value, before: Axes, after: Axes) -> ir.Value:
    """Write a value with other axes over the same indices."""
    if before == after:
        return value
    flat, wanted = (tuple(i for axis in axes for i in axis) for axes in (before, after))
    if set(flat) != set(wanted):
        raise UnwritableError("it is expanded without need")
    if flat == wanted:
        return reshape(build, value, shape_of(after))
    moved = _moved_axes(before, after)
    if moved is not None:
        return build.node("Transpose", [value], shape_of(after), {"perm": moved})
    if len(before) == len(after) and all(
        a == b for k, (a, b) in enumerate(zip(before, after, strict=True)) if k != CHANNELS
    ):
        return permute(build, value, before[CHANNELS], after[CHANNELS], shape_of(after))
    split = reshape(build, value, [index.size for index in flat])
    order = [flat.index(index) for index in wanted]
    turned = build.node("Transpose", [split], [i.size for i in wanted], {"perm": order})
    return reshape(build, turned, shape_of(after))


def _moved_axes(before: Axes, after: Axes) -> list[int] | None:
    """Return the order in which whole axes stand after, if that is all that differs."""
    if len(before) != len(after):
        return None
    rest, order = list(range(len(before))), []
    for axis in after:
        place = next((k for k in rest if before[k] == axis), None)
        if place is None:
            return None
        rest.remove(place)
        order.append(place)
    return order


def reshape(build: Builder, value: ir.Value, shape: Sequence[Size]) -> ir.Value:
    """Write a value with another shape."""
    if value.shape is not None and list(value.shape) == list(shape):
        return value
    return build.node("Reshape", [value, build.integers(target_shape(shape))], shape)


def permute(
    build: Builder,
    value: ir.Value,
    before: Sequence[Index],
    after: Sequence[Index],
    shape: Sequence[Size],
) -> ir.Value:
    """Write the channels in another order."""
    total = extent(before)
    assert isinstance(total, int), "channels are a number"
    places = np.arange(total).reshape([i.size for i in before])  # type: ignore[misc]
    order = [before.index(index) for index in after]
    permutation = [int(place) for place in places.transpose(order).reshape(-1)]
    return build.node(
        "ChannelPermutation", [value], shape, {"permutation": permutation}, domain=DOMAIN
    )


def channels_of(indices: Collection[Index]) -> tuple[Index, ...]:
    """Return the channel indices among some, in their order."""
    return homed(indices, CHANNELS)


def is_space(indices: Collection[Index]) -> bool:
    """Return whether indices are rows and columns only."""
    return all(index.home in SPACE for index in leaves(tuple(indices)))
