"""Named indices: what makes a tensor's axes the same thing in every layout.

A channel shuffle, a (N·G, C/G, H, W) detour or a flattened map are only ways to arrange the same
indices. An axis is a sequence of indices, the outermost first; an axis of size 1 has none. A
reshape regroups the indices, splitting one where a new axis ends inside it; a transpose reorders
them; an elementwise operator makes those of its operands the same. No element is moved by any of
it, so what two operators compute can be compared without regard to their layouts.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import TypeAlias

Size: TypeAlias = int | str
"""A number, or the name of a size that stays open, such as the batch's."""

Axes: TypeAlias = tuple[tuple["Index", ...], ...]
"""The indices of each axis of a value."""

_numbers = itertools.count()


class Index:
    """One index.

    Attributes:
        size: How many values it takes.
        home: The axis of a feature map (0 batch, 1 channels, 2 rows, 3 columns) that it belongs to;
            None if that is not known.
        order: Its place among the parts of the index that it was split from.
    """

    __slots__ = ("_parts", "_same", "_where", "home", "order", "size")

    def __init__(
        self,
        size: Size,
        home: int | None,
        order: tuple[int, ...] = (),
        where: dict[int, tuple[int, ...]] | None = None,
    ) -> None:
        self.size = size
        self.home = home
        self.order = order or (next(_numbers),)
        self._where: dict[int, tuple[int, ...]] = where or {next(_numbers): (0,)}
        self._parts: tuple[Index, Index] | None = None
        self._same: Index | None = None

    def leaves(self) -> tuple[Index, ...]:
        """Return the indices that it consists of by now, the outermost first."""
        index = self
        while index._same is not None:
            index = index._same
        if index is not self:
            self._same = index
            return index.leaves()
        if self._parts is None:
            return (self,)
        outer, inner = self._parts
        return (*outer.leaves(), *inner.leaves())

    def split(self, outer: int, inner: Size) -> tuple[Index, Index]:
        """Split it in two; it is `outer part * inner + inner part` from now on."""
        first, second = (
            Index(
                size,
                self.home,
                (*self.order, place),
                {clique: (*position, place) for clique, position in self._where.items()},
            )
            for place, size in enumerate((outer, inner))
        )
        self._parts = (first, second)
        return self._parts

    def merge(self, other: Index) -> bool:
        """Make another index the same as this one.

        Returns:
            False, and nothing is done, where both stand side by side in some value.
        """
        if any(self._where.get(clique, at) != at for clique, at in other._where.items()):
            return False
        self._where.update(other._where)
        self.home = other.home if self.home is None else self.home
        other._same = self
        return True

    def stand(self, clique: int, position: int) -> None:
        """Note where it stands in a value, whose number is `clique`."""
        self._where[clique] = (position,)


def leaves(indices: Iterable[Index]) -> tuple[Index, ...]:
    """Return what a sequence of indices consists of by now."""
    return tuple(leaf for index in indices for leaf in index.leaves())


def count(indices: Iterable[Index]) -> int:
    """Return how many places some indices have together; an open size counts as 1."""
    return math.prod(index.size for index in indices if isinstance(index.size, int))


def resolve(axes: Axes) -> Axes:
    """Return axes in the indices that they consist of by now."""
    return tuple(leaves(axis) for axis in axes)


def fresh(shape: Sequence[Size], homes: Sequence[int | None]) -> Axes:
    """Return new indices to the axes of a new value."""
    clique = next(_numbers)
    return tuple(
        () if size == 1 else (Index(size, home, where={clique: (position,)}),)
        for position, (size, home) in enumerate(zip(shape, homes, strict=True))
    )


def tie(axes: Axes) -> bool:
    """Mark indices as standing side by side in one value, so that none is made equal to another.

    Returns:
        False if one index stands there twice: a diagonal, which no axes can say.
    """
    flat = leaves(itertools.chain.from_iterable(axes))
    if len(set(flat)) != len(flat):
        return False
    clique = next(_numbers)
    for position, index in enumerate(flat):
        index.stand(clique, position)
    return True


def unify(one: Sequence[Index], other: Sequence[Index]) -> bool:
    """Make two axes run over the same indices, splitting where one ends inside another.

    Returns:
        Whether that can be: the sizes are the same, divide each other, and no index would come to
        stand for two axes of one value.
    """
    left, right = list(leaves(one)), list(leaves(other))
    while left and right:
        a, b = left.pop(), right.pop()
        if a is b:
            continue
        if a.size != b.size:
            if not isinstance(a.size, int) or not isinstance(b.size, int):
                return False
            larger, smaller = max(a.size, b.size), min(a.size, b.size)
            if larger % smaller:
                return False
            taken = a if a.size == larger else b
            outer, inner = taken.split(larger // smaller, smaller)
            (left if taken is a else right).append(outer)
            a, b = (inner, b) if taken is a else (a, inner)
        if not a.merge(b):
            return False
    return not left and not right


def regroup(axes: Axes, shape: Sequence[Size | None]) -> Axes | None:
    """Return the axes after a reshape.

    Args:
        axes: The axes before.
        shape: The shape after; None for one size that is not known, or a name.

    Returns:
        The axes after, or None if a new axis ends inside an index that cannot be split there.
    """
    rest = list(leaves(itertools.chain.from_iterable(axes)))
    back = _take(rest, reversed(shape), from_end=True)
    taken = len(back)
    if taken == len(shape):
        return None if rest else tuple(reversed(back))
    front = _take(rest, shape[: len(shape) - taken], from_end=False)
    if len(front) == len(shape) - taken:
        return None if rest else (*front, *reversed(back))
    if len(front) == len(shape) - taken - 1:
        return (*front, tuple(rest), *reversed(back))
    return None


def _take(
    rest: list[Index], sizes: Iterable[Size | None], *, from_end: bool
) -> list[tuple[Index, ...]]:
    """Take indices for as many axes as go, from one end of what is left."""
    made: list[tuple[Index, ...]] = []
    for size in sizes:
        axis = _axis(rest, size, from_end=from_end)
        if axis is None:
            break
        made.append(axis)
    return made


def _axis(rest: list[Index], size: Size | None, *, from_end: bool) -> tuple[Index, ...] | None:
    end = -1 if from_end else 0
    if size == 1:
        return ()
    if isinstance(size, str):
        return (rest.pop(end),) if rest and rest[end].size == size else None
    if size is None:
        return None
    before, axis, wanted = list(rest), [], size
    while wanted > 1:
        index = rest.pop(end) if rest else None
        if index is None or not isinstance(index.size, int):
            break
        common = math.gcd(index.size, wanted)
        if common not in (index.size, wanted):
            break
        rest_size = index.size // common
        if rest_size > 1:
            if from_end:
                outer, index = index.split(rest_size, common)
                rest.append(outer)
            else:
                index, inner = index.split(common, rest_size)
                rest.insert(0, inner)
        axis.append(index)
        wanted //= common
    if wanted > 1:
        rest[:] = leaves(before)
        return None
    return tuple(reversed(axis)) if from_end else tuple(axis)
