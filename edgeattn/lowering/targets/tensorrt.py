"""TensorRT: statistics from a channels-last view, the gate on the map as it is.

TensorRT's convolutions write channels last. A reduction over axes 2 and 3 makes it write a
transposed copy of the whole map first; written on Transpose(0, 2, 3, 1) of the map, the transpose
fuses into the reduction. Only the statistics cross back, [N, C, 1, 1]: where the gate reads the
transposed view, or a difference that the statistics were made from, that map is written out.

Where a gate reads a map at two places, x * sigmoid(f(x)), the plan binds its buffer twice. Through
y = -x, which is exact in floating point, it binds it once: y * -sigmoid(f(-y)).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import onnx_ir as ir

from edgeattn.lowering.indices import Axes, Index, leaves
from edgeattn.lowering.measures import Figures
from edgeattn.lowering.targets import fusion
from edgeattn.lowering.targets.layout import (
    CHANNELS,
    FIRST,
    LAST,
    ORDER,
    SPACE,
    UnwritableError,
    View,
    axes_of,
    channels_of,
    extent,
    is_space,
    relayout,
    reshape,
    shape_of,
)
from edgeattn.lowering.targets.line_layers import (
    is_line_layer,
    is_made_of_lines,
    is_of_line,
    is_of_rows,
    spans,
    with_shared_layers,
    with_upright_line,
    write_spanning,
)
from edgeattn.lowering.targets.paired_layers import is_paired, write_paired
from edgeattn.lowering.targets.plain import Axis, PlainWriter
from edgeattn.lowering.targets.pooled_layer import (
    ends_in_pooled_layer,
    flat_softmax,
    is_pooled_layer,
    write_pooled_layer,
)
from edgeattn.lowering.targets.pooled_product import (
    Product,
    product_of,
    sliced,
    with_products,
)
from edgeattn.lowering.targets.squeeze import through_producer
from edgeattn.lowering.targets.writer import Form, Written
from edgeattn.lowering.terms import Const, Layer, Slide, Term, scalar, subterms

_POINTWISE = frozenset({"add", "mul", "pow", "fn", "centred", "normalised"})


class TensorRTWriter(PlainWriter):
    """Writes terms for TensorRT."""

    # What a form rests on is a fusion of `documented.FUSIONS`. The others rest on what plans of
    # TensorRT-RTX 1.7 show and no documentation says: that a gate is computed in the kernel of the
    # convolution before it (cheaper), that a reduction of a channels-last view saves a copy of the
    # map (channels-last), that a map read twice is bound once through -x (negated), that slices,
    # pads, selections and sums of products are generated into one kernel (slices, where, sums),
    # that a reshape to more axes is free in any layout (axes), and which of two convolutions is
    # faster (dense).
    forms: ClassVar[Mapping[str, tuple[Form, ...]]] = {
        "squeeze": (Form("cheaper"), Form("map", "average-pooling")),
        "statistics": (Form("channels-last"), Form("channels-first", "average-pooling")),
        "gate": (Form("negated"), Form("plain", "pointwise")),
        "band": (Form("slices"), Form("convolution", "convolution-activation")),
        "groups": (Form("dense"), Form("grouped", "convolution-activation")),
        "repeat": (Form("axes"), Form("gather", "pointwise")),
        "group-mean": (Form("axes"), Form("convolution", "convolution-activation")),
        "stack": (Form("where"), Form("concat", "none")),
        "paired-layers": (Form("sums"), Form("convolutions", "convolution-sum")),
        "pool": (Form("slices"), Form("operator", "none")),
        "linear-map": (Form("flat"), Form("separate", "none")),
        "line-layer": (Form("cheaper"), Form("separate", "none")),
        "several-means": (Form("product"), Form("apart", "none")),
        "shared-layer": (Form("product"), Form("grouped", "convolution-activation")),
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._turned: dict[tuple[ir.Value, tuple[int, ...]], ir.Value] = {}
        self._products: dict[Product, Written] = {}
        self._layers: dict[tuple[object, ...], Written] = {}

    @staticmethod
    def measure(nodes: Sequence[ir.Node], instead_of: Sequence[ir.Node]) -> Figures:
        """Return the kernels that TensorRT makes of some nodes, and what they move."""
        return fusion.measure(nodes, instead_of)

    def prepared(self, term: Term) -> Term:
        squeezed = through_producer(term, self._raising, weighted=True)
        if squeezed is not term and self.takes("squeeze", "cheaper"):
            term = squeezed
        if any(map(is_line_layer, subterms(term))) and self.takes("line-layer", "cheaper"):
            term = with_shared_layers(term, self._raising, self.dtype.itemsize)
        joined = with_products(term, self._raising)
        if joined is not term and self.takes("several-means", "product"):
            term = joined
        for leaf in _read_twice(term):
            if self.takes("gate", "negated"):
                term = self._negated(term, leaf, {})
        return term

    def _negated(self, term: Term, leaf: Term, known: dict[Term, Term]) -> Term:
        """Write a leaf as -(-leaf), wherever it is not first made into statistics."""
        made = known.get(term)
        if made is not None:
            return made
        terms = self.terms
        negated = terms.make("negated", (leaf,), own=leaf.own)
        if term is leaf:
            made = terms.scaled(scalar(-1), negated)
        elif term.op == "centred" and term.args[0] is leaf:
            mean = terms.mean(leaf, frozenset(leaves(term.attrs)))
            made = terms.scaled(scalar(-1), terms.add(negated, mean))
        elif term.op == "normalised" and term.args[0] is leaf:
            over, epsilon = frozenset(leaves(term.attrs[0])), term.attrs[1]
            total = terms.add(negated, terms.mean(leaf, over))
            made = terms.mul(terms.const(scalar(-1)), total, self.spread(leaf, over, epsilon))
        elif term.op in _POINTWISE:
            args = [self._negated(arg, leaf, known) for arg in term.args]
            made = terms.rebuilt(term, args) or term
        else:
            made = term
        known[term] = made
        return made

    def expanded(self, one: Written, channels: tuple[Index, ...], view: View) -> Written:
        if self.takes("repeat", "gather"):
            return super().expanded(one, channels, view)
        return one  # `join` gives its channels axes of their own instead

    def constant(self, constant: Const, over: Collection[Index], view: View) -> Written:
        own, position = set(leaves(constant.axes)), ORDER[view].index(CHANNELS)
        part = tuple(index for index in axes_of(over, view)[position] if index in own)
        is_map = any(index.home in SPACE for index in own)
        if not (is_map and part) or set(part) == set(channels_of(over)):
            return super().constant(constant, over, view)
        if self.takes("repeat", "gather"):
            return super().constant(constant, over, view)
        rest = [index for index in over if index.home != CHANNELS]
        return super().constant(constant, {*rest, *part}, view)  # `join` repeats it

    def join(self, op_type: str, one: Written, other: Written, view: View) -> Written:
        """Apply a binary operator; a value of some channel indices goes by an axis for each."""
        position = ORDER[view].index(CHANNELS)
        channels = {one.axes[position], other.axes[position]} - {()}
        if len(channels) < 2:
            return super().join(op_type, one, other, view)
        if op_type in {"Add", "Mul"} and len(one.indices) < len(other.indices):
            # The map first: in the other order TensorRT writes a copy of it in another layout.
            one, other = other, one
        whole = axes_of(one.indices | other.indices, view)
        split = [self._split(value, whole[position], position) for value in (one, other)]
        axes = tuple(b or a for a, b in zip(*(value.axes for value in split), strict=True))
        made = self.node(op_type, [value.value for value in split], axes)
        return self.shaped(made.value, whole)

    def _split(self, one: Written, channels: Sequence[Index], position: int) -> Written:
        """Give each channel index an axis, of size 1 where a value lacks it."""
        own = one.axes[position]
        if not own:
            inner: Axes = ((),) * len(channels)
        else:
            inner = tuple((index,) if index in own else () for index in channels)
        axes = (*one.axes[:position], *inner, *one.axes[position + 1 :])
        return self.shaped(one.value, axes)

    def slid(self, x: ir.Value, axes: Axes, taps: Sequence[float], offset: float) -> ir.Value:
        """Write the taps as shifted products, which fuse with the mean before and the gate."""
        if self.takes("band", "convolution"):
            return super().slid(x, axes, taps, offset)
        parts = self._shifted(Written(x, axes), 2, [self.real(tap) for tap in taps])
        return (
            self.node("Add", [parts.value, self.real(offset)], axes).value
            if offset
            else parts.value
        )

    def _shifted(self, x: Written, place: int, taps: Sequence[ir.Value]) -> Written:
        """Return the sum of the taps times x shifted along an axis, with zeros outside."""
        count, half, rank = int(extent(x.axes[place])), len(taps) // 2, len(x.axes)
        pads = [half if axis == place else 0 for axis in range(rank)]
        shape = [
            size if k != place else count + 2 * half for k, size in enumerate(shape_of(x.axes))
        ]
        padded = self.build.node("Pad", [x.value, self.build.integers([*pads, *pads])], shape)
        total = None
        for start, tap in enumerate(taps):
            bounds = [self.build.integers([bound]) for bound in (start, start + count, place)]
            part = self.node("Slice", [padded, *bounds], x.axes)
            part = self.node("Mul", [part.value, tap], x.axes)
            total = part if total is None else self.node("Add", [total.value, part.value], x.axes)
        assert total is not None, "a kernel has a tap"
        return total

    def slid_along(self, x: Written, slide: Slide, place: int) -> Written:
        if self.takes("band", "convolution"):
            return super().slid_along(x, slide, place)
        flat: Axes = (x.axes[0], x.axes[CHANNELS], x.axes[place])
        taps = [self.real(tap[:, None]) for tap in slide.taps.T]
        total = self._shifted(self.shaped(x.value, flat), 2, taps)
        if slide.bias.any():
            total = self.node("Add", [total.value, self.real(slide.bias[:, None])], flat)
        return self.shaped(total.value, x.axes)

    def write_normalised(self, term: Term, view: View) -> Written:
        over = leaves(term.attrs[0])
        if is_space(over) or not channels_of(over):
            return super().write_normalised(term, view)
        return self._seen(self._normalised_by_group(term, over), view)

    def _normalised_by_group(self, term: Term, over: tuple[Index, ...]) -> Written:
        """Normalise a line over groups of channels, as the rows of one kernel."""
        x = self.on(term.args[0], FIRST)
        groups = tuple(index for index in x.axes[CHANNELS] if index not in over)
        inner = tuple(index for index in x.axes[CHANNELS] if index in over)
        rest = tuple(index for axis in x.axes[2:] for index in axis)
        if x.axes[CHANNELS] != (*groups, *inner) or {*inner, *rest} != {*over}:
            raise UnwritableError("its groups are not next to each other, or the batch is in them")
        rows: Axes = (x.axes[0], groups, (*inner, *rest))
        gone: Axes = (x.axes[0], groups, ())
        value = self.shaped(x.value, rows)
        mean = self.build.reduce("ReduceMean", value.value, [2], shape_of(gone))
        centred = self.node("Sub", [value.value, mean], rows)
        wide = self._cast(centred, ir.DataType.FLOAT)
        square = self.node("Mul", [wide.value, wide.value], rows)
        spread = self.build.reduce("ReduceMean", square.value, [2], shape_of(gone))
        spread = self._cast(Written(spread, gone), self.dtype).value
        total = self.node("Add", [spread, self.real(term.attrs[1])], gone)
        root = self.node("Sqrt", [total.value], gone)
        made = self.node("Div", [centred.value, root.value], rows)
        return self.shaped(made.value, x.axes)

    def write_negated(self, term: Term, view: View) -> Written:
        """Write -x."""
        x = self.on(term.args[0], view)
        return self.node("Neg", [x.value], x.axes)

    def write_mean(self, term: Term, view: View) -> Written:
        if self.is_grouped(term) and self.takes("group-mean", "axes"):
            return self._over_groups(term, view)
        return self._crossed(term, view) or super().write_mean(term, view)

    def write_max(self, term: Term, view: View) -> Written:
        return self._crossed(term, view) or super().write_max(term, view)

    def write_variance(self, term: Term, view: View) -> Written:
        return self._crossed(term, view) or super().write_variance(term, view)

    def _over_groups(self, term: Term, view: View) -> Written:
        """Return a mean over a part of the channels, each index of which gets an axis."""
        over, x = leaves(term.attrs), term.args[0]
        part = [index for index in channels_of(x.indices()) if index in over]
        rest = frozenset(over) - set(part)
        made = self.on(self.terms.mean(x, rest), view)
        position = ORDER[view].index(CHANNELS)
        channels = made.axes[position]
        split = self._split(made, channels, position)
        gone = [position + k for k, index in enumerate(channels) if index in part]
        after = tuple(() if k in gone else axis for k, axis in enumerate(split.axes))
        value = self.build.reduce("ReduceMean", split.value, gone, shape_of(after))
        kept = tuple(index for index in channels if index not in part)
        axes: Axes = (*made.axes[:position], kept, *made.axes[position + 1 :])
        return self.shaped(value, axes)

    def _crossed(self, term: Term, view: View) -> Written | None:
        """Return a statistic over the map from the channels-last view."""
        over = frozenset(leaves(term.attrs))
        if is_of_line(term) and self.takes("statistics", "channels-last"):
            return self._from_line(term, view)
        if view == LAST or self.takes("statistics", "channels-first"):
            return None
        if over == frozenset(channels_of(term.args[0].indices())):
            return self._apart(term)
        if not is_space(over):
            return None
        last = self.on(term, LAST)
        axes = axes_of(last.indices, FIRST)
        return self.node("Transpose", [last.value], axes, perm=[0, 3, 1, 2])

    def _from_line(self, term: Term, view: View) -> Written:
        """Return a statistic of rows or of columns, from a view with the channels last."""
        if view != LAST:
            return self._seen_first(self.on(term, LAST))
        made = self._line(term)
        return self.shaped(made.value, axes_of(made.indices, LAST))

    def _line(self, term: Term, place: int = 2) -> Written:
        """Write a statistic of rows or of columns as [N, L, 1, C], or with the 1 in place 1.

        For each axis from a view of its own: a transpose that two kernels read is written out.
        """
        x, over = self.on(term.args[0], FIRST), leaves(term.attrs)
        gone, rest = (2, 3) if is_of_rows(term) else (3, 2)
        perm = (0, rest, gone, CHANNELS) if place == 2 else (0, gone, rest, CHANNELS)
        axes = tuple(x.axes[axis] for axis in perm)
        turned = self._turned.get((x.value, perm))
        if turned is None:
            turned = self.node("Transpose", [x.value], axes, perm=perm).value
            self._turned[x.value, perm] = turned
        op_type = {"mean": "ReduceMean", "max": "ReduceMax"}[term.op]
        return self.reduced(op_type, Written(turned, axes), over)

    def write_line(self, term: Term, view: View) -> Written:
        """Write a statistic of rows with the columns in their place."""
        made = self._line(term.args[0])
        axes = axes_of(term.indices(), LAST)
        return (
            self.shaped(made.value, axes)
            if view == LAST
            else self._seen_first(Written(made.value, axes))
        )

    def _seen_first(self, last: Written) -> Written:
        """Return a value that was written channels last, channels first."""
        axes = axes_of(last.indices, FIRST)
        return Written(relayout(self.build, last.value, last.axes, axes), axes)

    def _apart(self, term: Term) -> Written | None:
        """Return a statistic over channels of (-x) (-g): the gate's own product is written."""
        x = term.args[0]
        maps = [part for part in subterms(x) if _is_map(part)]
        if x.op != "mul" or not maps:
            return None
        for leaf in maps:
            x = self._negated(x, leaf, {})
        made = self.on(x, FIRST)
        op_type = {"mean": "ReduceMean", "max": "ReduceMax"}.get(term.op)
        return None if op_type is None else self.reduced(op_type, made, leaves(term.attrs))

    def stacked(self, values: Sequence[ir.Value], axes: Axes) -> Written:
        """Join two maps by Where, which fuses with what made them; Concat does not."""
        if len(values) != 2 or self.takes("stack", "concat"):
            return super().stacked(values, axes)
        mask = self.build.constant(np.array([True, False]).reshape(1, 2, 1, 1))
        return self.node("Where", [mask, *values], axes, dtype=self.dtype)

    def on(self, term: Term, view: View) -> Written:
        if view == FIRST and (term, view) not in self._written and is_made_of_lines(term):
            # Behind a reduction of a channels-last view, in its kernel, and then turned.
            self._written[term, FIRST] = self._seen_first(self.on(term, LAST))
        return super().on(term, view)

    def plane_axes(self, first: Axis, second: Axis) -> tuple[Axis, Axis]:
        if self.takes("statistics", "channels-first") or first != channels_of(first):
            return first, second
        return second, first

    def plane_part(self, term: Term) -> Written:
        if is_of_line(term) and self.takes("statistics", "channels-last"):
            return self._line(term, place=1)
        return super().plane_part(term)

    def write_stack(self, term: Term, view: View) -> Written:
        maps = {arg.args[0] for arg in term.args if _is_over_channels(arg)}
        is_one = len(maps) == 1 and len(term.args) > 1 and all(map(_is_over_channels, term.args))
        if is_one and self.takes("statistics", "channels-last"):
            parts = [self._of_negated(arg) for arg in term.args]
            return self._seen(self.stacked(parts, axes_of(term.indices(), FIRST)), view)
        return super().write_stack(term, view)

    def _of_negated(self, term: Term) -> ir.Value:
        """Return a statistic over the channels of x, from -x: both bind the map once."""
        x = self.on(self.terms.make("negated", term.args, own=term.args[0].own), FIRST)
        op_type = {"mean": "ReduceMean", "max": "ReduceMin"}[term.op]
        made = self.reduced(op_type, x, leaves(term.attrs))
        return self.node("Neg", [made.value], made.axes).value

    def write_linear(self, term: Term, view: View) -> Written:
        if (
            is_line_layer(term)
            and spans(term, self.dtype.itemsize)
            and self.takes("line-layer", "cheaper")
        ):
            return self._seen(write_spanning(self, term), view)
        upright = with_upright_line(term, self._raising)
        if upright is not None:
            made = self.on(upright, FIRST)
            return self._seen(self.shaped(made.value, axes_of(term.indices(), FIRST)), view)
        if is_paired(term) and self.takes("paired-layers", "sums"):
            return self._seen(write_paired(self, term), view)
        if is_pooled_layer(term) and self.takes("pool", "slices"):
            made = write_pooled_layer(self, term)
            axes = axes_of(made.indices, view)
            return Written(relayout(self.build, made.value, made.axes, axes), axes)
        if self._is_shared(term) and self.takes("shared-layer", "product"):
            return self._shared(term, view)
        return super().write_linear(term, view)

    def _is_shared(self, term: Term) -> bool:
        """Return whether a layer has the same weights for each of several groups."""
        rows, columns = leaves(term.attrs.rows), leaves(term.attrs.columns)
        channels = channels_of(term.args[0].indices())
        shared = [index for index in channels if index not in columns]
        return bool(shared) and not set(shared) & set(rows)

    def _shared(self, term: Term, view: View) -> Written:
        """Write such a layer on rows of groups; where there are few, as a product and a sum."""
        if view != LAST:
            return self._seen_first(self.on(term, LAST))
        arg, layer = term.args[0], term.attrs
        if arg.op == "part" and not term.is_thin():
            return sliced(self, self._of_product(arg, layer), arg)
        return self._on_rows(self.on(arg, LAST), layer, is_thin=term.is_thin())

    def _of_product(self, part: Term, layer: Layer) -> Written:
        """Write a layer on all of a product: on each of its parts, mostly, it is the same."""
        product = product_of(self, part, self._products)
        key = (product.value, layer.weight.tobytes(), layer.bias.tobytes(), leaves(layer.columns))
        if key not in self._layers:
            self._layers[key] = self._on_rows(product, layer, is_thin=False)
        return self._layers[key]

    def _on_rows(self, x: Written, layer: Layer, *, is_thin: bool) -> Written:
        """Write a layer on each group of the last axis."""
        *outside, channels = x.axes
        rows, columns = leaves(layer.rows), leaves(layer.columns)
        shared = tuple(index for index in channels if index not in columns)
        inner = tuple(index for index in channels if index in columns)
        if channels != (*shared, *inner) or channels_of({*shared, *rows}) != (*shared, *rows):
            raise UnwritableError("its groups are not next to each other")
        weight, bias = layer.over(rows, inner), layer.bias_over(rows)
        between = tuple(index for axis in outside[1:] for index in axis)
        flat: Axes = (x.axes[0], (*between, *shared), inner)
        made: Axes = (*flat[:2], rows)
        value = reshape(self.build, x.value, shape_of(flat))
        if is_thin:
            value = reshape(self.build, value, shape_of((*flat[:2], (), inner)))
            product = self.build.node(
                "Mul", [value, self.real(weight)], shape_of((*flat[:2], rows, inner))
            )
            inputs = [product, self.build.integers([3])]
            value = self.build.node("ReduceSum", inputs, shape_of(made), {"keepdims": 0})
        else:
            value = self.build.node("MatMul", [value, self.real(weight.T)], shape_of(made))
        if bias.any():
            value = self.build.node("Add", [value, self.real(bias)], shape_of(made))
        return self.shaped(value, (*outside, (*shared, *rows)))

    def write_part(self, term: Term, view: View) -> Written:
        if view != LAST:
            return self._seen_first(self.on(term, LAST))
        return sliced(self, product_of(self, term, self._products), term)

    def write_softmax(self, term: Term, view: View) -> Written:
        arg = term.args[0]
        if (
            is_space(leaves(term.attrs))
            and ends_in_pooled_layer(arg)
            and self.takes("pool", "slices")
        ):
            last = self.on(arg, LAST)
            return self._seen(flat_softmax(self, last), view)
        return super().write_softmax(term, view)


def _is_map(term: Term) -> bool:
    return term.op == "leaf" and not term.is_thin()


def _is_over_channels(term: Term) -> bool:
    """Return whether a term is the mean or the maximum over all channels of a map in memory."""
    return (
        term.op in {"mean", "max"}
        and _is_map(term.args[0])
        and {*leaves(term.attrs)} == {*channels_of(term.args[0].indices())}
    )


def _read_twice(root: Term) -> list[Term]:
    """Return the maps that are made into statistics, and read at two places of the gate besides."""
    counts: dict[Term, int] = {}
    measured: set[Term] = set()
    pending, seen = [(root, True)], {root}
    while pending:
        term, is_gate = pending.pop()
        for arg in term.args:
            is_read = is_gate and term.op in _POINTWISE
            if _is_map(arg):
                counts[arg] = counts.get(arg, 0) + is_read
                if term.op not in {"add", "mul", "pow", "fn"}:
                    measured.add(arg)
            elif arg not in seen:
                seen.add(arg)
                pending.append((arg, is_read))
    # What a convolution inside reads is read as it is, once more: -x would be a map beside it.
    kept = {term.args[0] for term in seen if term.op == "convolved"}
    return [leaf for leaf, count in counts.items() if count > 1 and leaf in measured - kept]
