"""The forms that any runtime takes: one node or a few for each term, nothing clever.

A target derives from this and overrides what it writes in another way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, TypeAlias

import numpy as np
import onnx_ir as ir

from edgeattn.lowering.indices import Axes, Index, leaves, resolve
from edgeattn.lowering.targets.elementwise import FUNCTIONS
from edgeattn.lowering.targets.layout import (
    CHANNELS,
    FIRST,
    UnwritableError,
    View,
    axes_of,
    channels_of,
    extent,
    homed,
    relayout,
    reshape,
    shape_of,
)
from edgeattn.lowering.targets.polyphase import phases
from edgeattn.lowering.targets.squeeze import through_producer
from edgeattn.lowering.targets.statistics import Statistics
from edgeattn.lowering.targets.writer import Form, Written, named
from edgeattn.lowering.terms import ZERO, Filter, Layer, Slide, Term

Axis: TypeAlias = tuple[Index, ...]

# Few groups are one dense convolution with zeros; of many, the zeros would cost more.
_MOST_DENSE_GROUPS: Final = 8


class PlainWriter(Statistics):
    """Writes layers, bands, pools and parts of the channels, and all the rest."""

    forms: ClassVar[Mapping[str, tuple[Form, ...]]] = {"groups": named("dense", "grouped")}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._squeezes: dict[Term, tuple[Term, Term]] = {}

    def squeezed(self, term: Term) -> Term:
        """Return an equal term whose means are before the convolution, if that form is taken."""
        if not self.takes("squeeze", "cheaper"):
            return term
        return through_producer(term, self._raising, passes=1, alone=False, known=self._squeezes)

    def write_linear(self, term: Term, view: View) -> Written:
        layer, columns = term.attrs, leaves(term.attrs.columns)
        x = self.on(term.args[0], FIRST)
        channels = x.axes[CHANNELS]
        shared = tuple(index for index in channels if index not in columns)
        inner = tuple(index for index in channels if index in columns)
        out = tuple(index for index in leaves(layer.rows) if index not in shared)
        if channels != (*shared, *inner) or len(inner) != len(columns):
            raise UnwritableError("its groups are not next to each other")
        if channels_of({*shared, *out}) != (*shared, *out):
            raise UnwritableError("its outputs are in another order")
        array, offset = self.weights(layer, shared, out, inner)
        groups = int(extent(shared)) if shared else 1
        if 1 < groups <= _MOST_DENSE_GROUPS and self.takes("groups", "dense"):
            array, groups = _block_diagonal(array, groups), 1
        axes = (x.axes[0], (*shared, *out), x.axes[2], x.axes[3])
        return self._seen(self.pointwise(x.value, array, offset, axes, group=groups), view)

    def layer_of_one(self, term: Term, view: View) -> Written | None:
        """Write a layer on a single channel without positions as a convolution, as it was.

        As a product, OpenVINO takes it into the chain on the map, and does it for each position.
        """
        parts = [self.terms.parts(part) for part in (term.args if term.op == "add" else (term,))]
        offset = next((number for number, base in parts if base is None), ZERO)
        addends = [(factor, base) for factor, base in parts if base is not None]
        factor = addends[0][0]
        rows = leaves(factor.axes)
        if not rows or any(index.home != CHANNELS for index in rows):
            return None
        if not set(leaves(offset.axes)) <= set(rows) or channels_of(rows) != rows:
            return None
        for own, base in addends:
            is_same = leaves(own.axes) == rows and np.array_equal(own.array, factor.array)
            if not is_same or not base.is_thin() or channels_of(base.indices()):
                return None
        x = self.on(self.terms.add(*(base for _, base in addends)), FIRST)
        self.build.origin = term.origin
        axes = (x.axes[0], rows, x.axes[2], x.axes[3])
        weight = factor.over(rows).reshape(-1, 1)
        return self._seen(self.pointwise(x.value, weight, offset.spread(rows), axes), view)

    @staticmethod
    def weights(
        layer: Layer, shared: Sequence[Index], out: Sequence[Index], inner: Sequence[Index]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return weights f64[shared * out, inner] and the bias f64[shared * out]."""
        own = [index for index in shared if index in leaves(layer.rows)]
        rows = (*own, *out)
        sizes = [int(index.size) if index in own else 1 for index in shared]
        full = [int(index.size) for index in (*shared, *out)]
        weight = layer.over(rows, inner).reshape([*sizes, *full[len(sizes) :], -1])
        bias = layer.bias_over(rows).reshape([*sizes, *full[len(sizes) :]])
        width = weight.shape[-1]
        return (
            np.broadcast_to(weight, (*full, width)).reshape(-1, width),
            np.broadcast_to(bias, full).reshape(-1),
        )

    def write_convolved(self, term: Term, view: View) -> Written:
        """Write a convolution with the same weights for each group as one in groups."""
        made: Filter = term.attrs
        x, columns = self.on(term.args[0], FIRST), leaves(made.columns)
        channels, out = x.axes[CHANNELS], leaves(made.rows)
        shared = tuple(index for index in channels if index not in columns)
        if channels != (*shared, *columns) or channels_of({*shared, *out}) != (*shared, *out):
            raise UnwritableError("its groups are not next to each other")
        groups = int(extent(shared)) if shared else 1
        kernel = made.weight.shape[2:]
        inputs = [x.value, self.real(np.tile(made.weight, (groups, 1, 1, 1)))]
        if made.bias.any():
            inputs.append(self.real(np.tile(made.bias, groups)))
        axes = (x.axes[0], (*shared, *out), x.axes[2], x.axes[3])
        pads = [size // 2 for size in kernel] * 2
        value = self.node("Conv", inputs, axes, kernel_shape=[*kernel], pads=pads, group=groups)
        return self._seen(value, view)

    def write_band(self, term: Term, view: View) -> Written:
        axis, taps, offset = term.attrs
        x = self.on(term.args[0], FIRST)
        if x.axes[CHANNELS] != leaves(axis) or x.axes[2] or x.axes[3]:
            raise UnwritableError("it slides over channels in another order")
        flat: Axes = (x.axes[0], (), x.axes[CHANNELS])
        value = self.slid(reshape(self.build, x.value, shape_of(flat)), flat, taps, offset)
        return self._seen(self.shaped(value, x.axes), view)

    def slid(self, x: ir.Value, axes: Axes, taps: Sequence[float], offset: float) -> ir.Value:
        """Slide taps over the last axis of [N, 1, C], with zeros outside."""
        inputs = [x, self.real([[taps]])]
        if offset:
            inputs.append(self.real([offset]))
        half = len(taps) // 2
        return self.node("Conv", inputs, axes, kernel_shape=[len(taps)], pads=[half, half]).value

    def write_stack(self, term: Term, view: View) -> Written:
        """Write maps of one channel as the channels of one."""
        parts = [self.on(arg, FIRST) for arg in term.args]
        (index,) = leaves(term.attrs)
        axes = axes_of({i for part in parts for i in part.indices} | {index})
        if any(
            (part.axes[0], part.axes[2], part.axes[3]) != (axes[0], *axes[2:]) for part in parts
        ):
            raise UnwritableError("its parts are no maps of one size")
        if any(part.axes[CHANNELS] for part in parts):
            raise UnwritableError("its parts have channels, as groups in the batch are")
        return self._seen(self.stacked([part.value for part in parts], axes), view)

    def stacked(self, values: Sequence[ir.Value], axes: Axes) -> Written:
        """Join maps of one channel."""
        return self.node("Concat", values, axes, axis=CHANNELS)

    def write_slide(self, term: Term, view: View) -> Written:
        """Write a depthwise convolution along a line."""
        slide = term.attrs
        x = self.on(term.args[0], FIRST)
        if x.axes[CHANNELS] != leaves(slide.channels):
            raise UnwritableError("its channels are in another order")
        place = next(k for k in (2, 3) if x.axes[k])
        if x.axes[place] != leaves(slide.along) or x.axes[5 - place]:
            raise UnwritableError("it slides over what is no line")
        return self._seen(self.slid_along(x, slide, place), view)

    def slid_along(self, x: Written, slide: Slide, place: int) -> Written:
        """Slide taps along an axis of a line, channels first."""
        count = slide.taps.shape[1]
        sides = [count if k == place else 1 for k in (2, 3)]
        weight = self.real(slide.taps.reshape(-1, 1, *sides))
        pads = [side // 2 for side in (*sides, *sides)]
        inputs = [x.value, weight, *([self.real(slide.bias)] if slide.bias.any() else [])]
        return self.node(
            "Conv", inputs, x.axes, kernel_shape=sides, pads=pads, group=len(slide.taps)
        )

    def write_plane(self, term: Term, view: View) -> Written:
        """Write a convolution of planes of statistics."""
        plane, stack = term.attrs, term.args[0]
        own = (leaves(plane.first), leaves(plane.second))
        order = self.plane_axes(*own)
        weight = plane.weight if order == own else plane.weight.swapaxes(1, 2)
        batch = homed(stack.indices(), 0)
        values = []
        for arg in stack.args:
            part = self.plane_part(arg)
            values.append(relayout(self.build, part.value, part.axes, (batch, (), *order)))
        joined = self.stacked(values, (batch, leaves(plane.planes), *order))
        sides = weight.shape[1:]
        made = self.node(
            "Conv",
            [joined.value, self.real(weight[None]), self.real([plane.bias])],
            (batch, (), *order),
            kernel_shape=sides,
            pads=[side // 2 for side in (*sides, *sides)],
        )
        axes = axes_of(term.indices(), view)
        return Written(relayout(self.build, made.value, made.axes, axes), axes)

    def plane_axes(self, first: Axis, second: Axis) -> tuple[Axis, Axis]:
        """Return the order in which a plane's axes are written."""
        return first, second

    def plane_part(self, term: Term) -> Written:
        """Write a statistic that is a plane."""
        return self.on(term, FIRST)

    def write_select(self, term: Term, view: View) -> Written:
        index, place = term.attrs
        if len(index.leaves()) != 1:
            raise UnwritableError("it takes a part of what was split further")
        (index,) = leaves((index,))
        x = self.on(term.args[0], FIRST)
        channels = x.axes[CHANNELS]
        if index not in channels:
            raise UnwritableError("it takes a part of the map")
        rest = tuple(i for i in channels if i is not index)
        size = int(extent(rest)) if rest else 1
        if channels[0] is index:
            start, end, step = place * size, (place + 1) * size, 1
        elif channels[-1] is index:
            start, end, step = place, int(extent(channels)), int(index.size)
        else:
            raise UnwritableError("it takes channels from the middle of an axis")
        bounds = [self.build.integers([bound]) for bound in (start, end, CHANNELS, step)]
        axes = (x.axes[0], rest, x.axes[2], x.axes[3])
        return self._seen(self.node("Slice", [x.value, *bounds], axes), view)

    def write_window(self, term: Term, view: View) -> Written:
        op_type, attributes, pooled = term.attrs
        x = self.on(term.args[0], FIRST)
        if resolve(pooled) != x.axes[2:]:
            raise UnwritableError("it pools over a part of the map")
        made: dict[str, Any] = {name: ir.Attr(name, kind, v) for name, kind, v in attributes}
        return self._seen(self.node(op_type, [x.value], x.axes, **made), view)

    def by_phases(self, term: Term) -> Written | None:
        """Write a function of a convolution to one channel phase by phase, if that is to be."""
        name, *numbers = term.attrs
        if name not in FUNCTIONS or numbers:
            return None
        leaf = term.args[0]
        node = leaf.attrs.producer() if leaf.op == "leaf" else None
        if node is None or len(leaf.attrs.consumers()) != 1:
            return None
        found, x = phases(node), node.inputs[0]
        if found is None or x is None or not self.takes("single-channel", "phases"):
            return None
        weight, bias, pads, step = found
        axes = axes_of(leaf.indices(), FIRST)
        batch, _, *sizes = shape_of(axes)
        shape = [batch, step * step, *(int(size) // step for size in sizes)]
        constants = [self.real(one) for one in (weight, bias)]
        attributes = {"kernel_shape": weight.shape[2:], "pads": pads, "strides": [step, step]}
        x = self._raising.exchanged.get(x, x)
        value = self.build.node("Conv", [x, *constants], shape, attributes)
        value = self.build.node(FUNCTIONS[name][0], [value], shape)
        return self.node("DepthToSpace", [value], axes, blocksize=step)


def _block_diagonal(rows: np.ndarray, groups: int) -> np.ndarray:
    """Return the dense weights f[rows, groups * width] of grouped ones f[rows, width]."""
    count, width = rows.shape
    dense = np.zeros((groups, count // groups, groups, width))
    for group, part in enumerate(rows.reshape(groups, count // groups, width)):
        dense[group, :, group] = part
    return dense.reshape(count, groups * width)
