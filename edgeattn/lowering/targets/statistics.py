"""The plain forms of means, maxima, variances and softmax."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from edgeattn.lowering.indices import Axes, Index, count, leaves
from edgeattn.lowering.targets.elementwise import Elementwise
from edgeattn.lowering.targets.layout import (
    CHANNELS,
    FIRST,
    UnwritableError,
    View,
    channels_of,
    is_space,
    reshape,
    shape_of,
)
from edgeattn.lowering.targets.writer import Written
from edgeattn.lowering.terms import Layer, Term, scalar


class Statistics(Elementwise):
    """Writes what is reduced."""

    def reduced(self, op_type: str, x: Written, over: Collection[Index]) -> Written:
        """Reduce over whole axes."""
        gone = frozenset(over)
        axes = tuple(() if set(axis) & gone else axis for axis in x.axes)
        if any(set(axis) & gone and not set(axis) <= gone for axis in x.axes):
            raise UnwritableError("it reduces over a part of the channels")
        positions = [k for k, axis in enumerate(x.axes) if set(axis) & gone]
        return Written(self.build.reduce(op_type, x.value, positions, shape_of(axes)), axes)

    def write_mean(self, term: Term, view: View) -> Written:
        grouped = self._grouped_mean(term)
        if grouped is not None:
            return self.on(grouped, view)
        x = self.on(term.args[0], view)
        return self.reduced("ReduceMean", x, leaves(term.attrs))

    @staticmethod
    def is_grouped(term: Term) -> bool:
        """Return whether a mean is over a part of the channels."""
        channels = set(channels_of(term.args[0].indices()))
        return 0 < len(channels & set(leaves(term.attrs))) < len(channels)

    def _grouped_mean(self, term: Term) -> Term | None:
        """Return a mean over a part of the channels as a layer of equal weights."""
        over, channels = frozenset(leaves(term.attrs)), channels_of(term.args[0].indices())
        order = tuple(index for index in channels if index in over)
        if not self.is_grouped(term):
            return None
        width = count(order)
        layer = Layer(
            weight=np.full((1, width), 1 / width), bias=np.zeros(1), rows=(), columns=order
        )
        return self.terms.linear(self.terms.mean(term.args[0], over - set(order)), layer)

    def write_max(self, term: Term, view: View) -> Written:
        x = self.on(term.args[0], view)
        return self.reduced("ReduceMax", x, leaves(term.attrs))

    def write_centred(self, term: Term, view: View) -> Written:
        x, over = term.args[0], frozenset(leaves(term.attrs))
        mean = self.on(self.terms.mean(x, over), view)
        value = self.on(x, view)
        return self.join("Sub", value, mean, view)

    def write_variance(self, term: Term, view: View) -> Written:
        over = frozenset(leaves(term.attrs))
        centred = self.on(self.terms.centred(term.args[0], over), view)
        wide = self._cast(centred, ir.DataType.FLOAT)
        square = self.node("Mul", [wide.value, wide.value], wide.axes)
        return self._cast(self.reduced("ReduceMean", square, over), self.dtype)

    def _cast(self, one: Written, dtype: ir.DataType) -> Written:
        """Return a half-precision value in another type: its squares would overflow at 65504."""
        if self.dtype != ir.DataType.FLOAT16:
            return one
        return self.node("Cast", [one.value], one.axes, dtype=dtype, to=int(dtype))

    def write_normalised(self, term: Term, view: View) -> Written:
        x, (over, epsilon) = term.args[0], term.attrs
        over = frozenset(leaves(over))
        centred = self.on(self.terms.centred(x, over), view)
        spread = self.on(self.spread(x, over, epsilon), view)
        return self.join("Mul", centred, spread, view)

    def spread(self, x: Term, over: frozenset[Index], epsilon: float) -> Term:
        """Return 1 / sqrt(variance + epsilon)."""
        total = self.terms.add(self.terms.variance(x, over), self.terms.const(scalar(epsilon)))
        return self.terms.pow(total, -0.5)

    def write_softmax(self, term: Term, view: View) -> Written:
        over = leaves(term.attrs)
        x = self.on(term.args[0], FIRST)
        channels = channels_of(term.indices())
        if set(channels) == set(over):
            made = self.node("Softmax", [x.value], x.axes, axis=CHANNELS)
        elif is_space(over) and set(over) == {i for axis in x.axes[2:] for i in axis}:
            flat: Axes = (x.axes[0], x.axes[1], (*x.axes[2], *x.axes[3]))
            value = reshape(self.build, x.value, shape_of(flat))
            value = self.build.node("Softmax", [value], shape_of(flat), {"axis": 2})
            made = self.shaped(value, x.axes)
        elif set(channels[-len(over) :]) == set(over):
            # Groups are rows of their own for as long.
            rest = channels[: -len(over)]
            apart: Axes = (x.axes[0], rest, channels[-len(over) :], *x.axes[2:])
            value = reshape(self.build, x.value, shape_of(apart))
            value = self.build.node("Softmax", [value], shape_of(apart), {"axis": 2})
            made = self.shaped(value, x.axes)
        else:
            raise UnwritableError("its softmax is over a part of the channels or the map")
        return self._seen(made, view)
