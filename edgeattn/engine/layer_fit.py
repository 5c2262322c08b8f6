"""Open dimensions, -1, filled in from shapes that are known."""

from __future__ import annotations

import math
from collections import Counter

from edgeattn.records.layers import Shape


def copied(said: Shape, read: list[Shape]) -> Shape | None:
    """Fill in what is open from what was read: as the one tensor is, or by the sum of elements."""
    if not read:
        return None
    alike = aligned(said, read[0]) if len(read) == 1 else None
    return alike or divided(said, sum(map(math.prod, read)))


def leads(said: Shape) -> bool:
    """Return whether the first dimension alone is open."""
    return said[:1] == (-1,) and min(said[1:], default=0) >= 0


def divided(said: Shape, elements: int | None, channels: int | None = None) -> Shape | None:
    """Fill in the first dimension, if it alone is open, so that the elements come out.

    With an index of channels they are the elements of one channel.
    """
    known = list(said[1:])
    if channels is not None and known:
        del known[channels - 1 if channels > 0 else channels]
    product = math.prod(known)
    if elements is None or not leads(said) or not product or elements % product:
        return None
    return (elements // product, *said[1:])


def aligned(said: Shape, known: Shape) -> Shape | None:
    """Fill in open dimensions from a shape with the same others; ones may be missing in either."""
    if len(said) != len(known):
        places = [place for place, size in enumerate(said) if size != 1]
        sizes = [size for size in known if size != 1]
        if len(places) != len(sizes):
            return None
        spread = dict(zip(places, sizes, strict=True))
        known = tuple(spread.get(place, 1) for place in range(len(said)))
    return known if fits(said, known) else None


def permuted(said: Shape, known: Shape) -> Shape | None:
    """Fill in the first dimension, if it alone is open, from a shape with the others in any order.

    Ones do not count.
    """
    if not leads(said):
        return None
    left = Counter(size for size in known if size != 1)
    left.subtract(Counter(size for size in said[1:] if size != 1))
    rest = list(left.elements())
    return (rest[0], *said[1:]) if len(rest) == 1 and min(left.values()) >= 0 else None


def fits(said: Shape, known: Shape) -> bool:
    """Return whether a known shape may be the one that TensorRT says, with -1 for what is open."""
    return len(said) == len(known) and all(
        size in (-1, other) for size, other in zip(said, known, strict=True)
    )
