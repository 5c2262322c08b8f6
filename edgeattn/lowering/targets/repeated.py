"""Values of some channels, repeated along the others by a 1x1 convolution of ones and zeros.

Exact to the bit: a sum of one value and zeros. A number that is added before is its bias.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeattn.lowering.indices import Index
from edgeattn.lowering.targets.layout import (
    CHANNELS,
    FIRST,
    UnwritableError,
    View,
    channels_of,
    extent,
    is_space,
)
from edgeattn.lowering.targets.plain import PlainWriter
from edgeattn.lowering.targets.writer import Written
from edgeattn.lowering.terms import Term, is_scalar


class RepeatedWriter(PlainWriter):
    """Repeats maps along channels by a convolution."""

    def operands(self, terms: Sequence[Term], view: View) -> list[Written]:
        """Write operands; a number that is added before channels are repeated is their bias."""
        indices = frozenset[Index]().union(*(term.indices() for term in terms))
        channels = channels_of(indices)
        before: dict[Term, Written] = {}
        for term in terms:
            if term.op != "add" or view != FIRST or channels_of(term.indices()) == channels:
                continue
            offset = [part for part in term.args if part.op == "const" and is_scalar(part.attrs)]
            rest = [part for part in term.args if part not in offset]
            if len(offset) == 1 and len(rest) == 1 and self._can_spread(rest[0], channels):
                one = self.on(rest[0], view)
                self.build.origin = term.origin
                before[term] = self.on(term, view)
                bias = float(offset[0].attrs.array)
                self._written[term, view] = self.spread_along(one, channels, bias)
        made = super().operands(terms, view)
        for term, written in before.items():
            self._written[term, view] = written
        return made

    def _can_spread(self, term: Term, channels: tuple[Index, ...]) -> bool:
        own = channels_of(term.indices())
        return (
            not term.is_thin()
            and channels[: len(own)] == own
            and self.takes("repeat", "convolution")
        )

    def expanded(self, one: Written, channels: tuple[Index, ...], view: View) -> Written:
        """Repeat a value along channels by a 1x1 convolution of ones and zeros."""
        own = one.axes[CHANNELS]
        if own == channels:
            return one
        space = [index for axis in one.axes[2:] for index in axis]
        if view != FIRST or channels[: len(own)] != own or not is_space(space):
            return super().expanded(one, channels, view)
        if self.takes("repeat", "gather"):
            return super().expanded(one, channels, view)
        return self.spread_along(one, channels)

    def spread_along(self, one: Written, channels: Sequence[Index], bias: float = 0.0) -> Written:
        """Return a value repeated along channels, with a number added."""
        own = one.axes[CHANNELS]
        rows = int(extent(own)) if own else 1
        total = int(extent(channels))
        if tuple(channels[: len(own)]) != own:
            raise UnwritableError("its groups are not next to each other")
        weight = np.repeat(np.eye(rows), total // rows, axis=0)
        axes = (one.axes[0], tuple(channels), *one.axes[2:])
        offset = np.full(total, bias) if bias else None
        return self.pointwise(one.value, weight, offset, axes)
