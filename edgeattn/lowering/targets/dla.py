"""A DLA: what it has no layer for, written in what it has, so that nothing falls back to the GPU.

    mean, maximum over the map, its rows or columns   cascades of pools, depthwise convolutions
    mean over the channels                 a 1x1 convolution with 1 / C
    maximum over the channels              the greater of two halves, again and again
    a layer on (N, C), a band over C       a 1x1 convolution on (N, C, 1, 1), zeros off the band
    a gate (N, 1, H, W), or of groups      repeated along channels by a 1x1 convolution of ones
    a gate (N, C, H, 1)                    repeated along columns by Resize, nearest
    clip(x, -a, b)                         clip(x, 0, b) - clip(-x, 0, a), scaled where it must be
    an order of channels                   a 1x1 convolution that picks each
    softmax of two                         the sigmoid of their difference, and of its opposite
    softmax over the map                   over one axis of four, which an Orin has

What it does not run was told by the rules of every DLA (`edgeattn.support.dla`): a form here is one
for Xavier and Orin alike. Divisions, roots and exponentials stay as they are, and fall back.

Real-number exact; picking, repeating and maxima to the bit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, ClassVar, Final

import numpy as np
import onnx_ir as ir

from edgeattn.graph.nodes import is_static, static
from edgeattn.lowering.build import DOMAIN, Builder
from edgeattn.lowering.indices import Axes, Index, leaves
from edgeattn.lowering.measures import VIEWS, Figures, bytes_of, is_read
from edgeattn.lowering.targets import dla_graph
from edgeattn.lowering.targets.cascade import Step, maxima, means, repeats
from edgeattn.lowering.targets.elementwise import check_broadcast
from edgeattn.lowering.targets.layout import (
    CHANNELS,
    FIRST,
    UnwritableError,
    View,
    axes_of,
    channels_of,
    extent,
    shape_of,
)
from edgeattn.lowering.targets.plain import PlainWriter
from edgeattn.lowering.targets.squeeze import slid
from edgeattn.lowering.targets.writer import Form, Written, named
from edgeattn.lowering.terms import Const, Term, scalar, subterms
from edgeattn.records.lowering import Rewrite
from edgeattn.support.answers import worst
from edgeattn.support.dla import DLA

_ROWS: Final = 2
_COLUMNS: Final = 3
# Clip is a layer of it from 0 to a bound of 1 to 127, as ReLU6 is. Others are scaled to that; far
# from it half has no digits left.
_LEAST_BOUND: Final = 2.0**-10
_GREATEST_BOUND: Final = 2.0**13
# What is asked whether it runs a node: a form is one for all of them. Below TensorRT 8.5 a DLA has
# neither slices nor constants beside a map.
_DLAS: Final = (
    DLA("xavier", "8.5", "fp16"),
    DLA("orin", "8.5", "fp16"),
    DLA("orin", "10.3", "fp16"),
)


def refused(node: ir.Node) -> str:
    """Return why a DLA is not sure to run a node, in a sentence without its subject."""
    if node.domain == DOMAIN or not any(map(is_read, node.inputs)):
        return ""
    answer = worst(one.takes(_closed(node)) for one in _DLAS)
    return "" if answer.verdict == "yes" else answer.reason or "no source says that it runs there"


def _closed(node: ir.Node) -> ir.Node:
    """Return a node as it is built: open sizes are fixed, at 1, and float64 is float32."""
    values = [value for value in (*node.inputs, *node.outputs) if value is not None]
    if not any(_is_open(value) or value.dtype == ir.DataType.DOUBLE for value in values):
        return node
    inputs = [None if value is None else _fixed(value) for value in node.inputs]
    outputs = [_fixed(value) for value in node.outputs]
    return ir.Node(
        node.domain, node.op_type, inputs, list(node.attributes.values()), outputs=outputs
    )


def _is_open(value: ir.Value) -> bool:
    return value.shape is not None and any(not isinstance(size, int) for size in value.shape)


def _fixed(value: ir.Value) -> ir.Value:
    """Return a copy of a value that nothing else reads."""
    shape, kind = value.shape, value.type
    if value.dtype == ir.DataType.DOUBLE:
        kind = ir.TensorType(ir.DataType.FLOAT)
    if shape is not None:
        shape = ir.Shape([size if isinstance(size, int) else 1 for size in shape])
    array = static(value)
    constant = None if array is None else ir.tensor(array)
    return ir.Value(name=value.name, shape=shape, type=kind, const_value=constant)


def _check_matrix(elements: int) -> None:
    """Refuse a matrix over the channels that would be too large."""
    if elements > dla_graph.LARGEST_MATRIX:
        raise UnwritableError("its matrix over the channels would be too large")


def _is_bound(number: float) -> bool:
    """Return whether a clip to a number can be scaled to one that a DLA has."""
    return number in (0, -np.inf, np.inf) or _LEAST_BOUND <= abs(number) <= _GREATEST_BOUND


@dataclass(frozen=True, slots=True, kw_only=True)
class OnDLA(Figures):
    """What some nodes cost where a DLA does not run all of them.

    Attributes:
        off: How many it is not sure to run.
        changes: How many of their values go from the DLA to the GPU, or back.
    """

    off: int
    changes: int

    def pays_against(self, other: Figures) -> bool:
        """Return whether less of this falls back, or it is cheaper where as much does."""
        assert isinstance(other, OnDLA), "one target's figures are compared"
        mine, its = (self.off, self.changes), (other.off, other.changes)
        return (*mine, self.cost_bytes) < (*its, other.cost_bytes)

    def __str__(self) -> str:
        return f"{self.off} nodes off the DLA, {self.changes} changes"


def measure(nodes: Sequence[ir.Node], instead_of: Sequence[ir.Node]) -> OnDLA:
    """Return what falls back of some nodes, and what they move."""
    del instead_of
    inside = set(nodes)
    off = {node for node in nodes if refused(node)}
    changes: set[tuple[ir.Value, bool]] = set()
    kernels = moved = 0
    for node in nodes:
        read = [value for value in node.inputs if value is not None and is_read(value)]
        if not read:
            continue
        for value in read:
            maker = value.producer()
            if maker is None or not any(map(is_read, maker.inputs)):
                continue
            was_off = maker in off if maker in inside else bool(refused(maker))
            if was_off != (node in off):
                changes.add((value, was_off))
        if node in off and not any(user in inside for v in node.outputs for user in v.consumers()):
            changes.update((value, True) for value in node.outputs if not value.is_graph_output())
        if node.op_type not in VIEWS:
            kernels += 1
            moved += sum(map(bytes_of, node.inputs)) + sum(map(bytes_of, node.outputs))
    return OnDLA(kernels=kernels, traffic_bytes=moved, off=len(off), changes=len(changes))


class DLAWriter(PlainWriter):
    """Writes terms for a DLA."""

    forms: ClassVar[Mapping[str, tuple[Form, ...]]] = {
        "groups": named("grouped", "dense"),
        "linear-map": named("separate"),
    }
    refuses: ClassVar[bool] = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._fitted: dict[tuple[ir.Value, Axes, bool], Written] = {}

    @staticmethod
    def measure(nodes: Sequence[ir.Node], instead_of: Sequence[ir.Node]) -> Figures:
        """Return what falls back of some nodes, and what they move."""
        return measure(nodes, instead_of)

    @staticmethod
    def refused(node: ir.Node) -> str:
        return refused(node)

    @staticmethod
    def before(model: ir.Model, build: Builder, rules: Collection[str]) -> list[Rewrite]:
        return dla_graph.before(model, build, rules)

    @staticmethod
    def after(model: ir.Model, build: Builder, rules: Collection[str]) -> list[Rewrite]:
        return dla_graph.after(model, build, rules, refused)

    def prepared(self, term: Term) -> Term:
        """Return the term.

        Raises:
            UnwritableError: Its channels, rows or columns are open.
        """
        own = {index for part in subterms(term) for index in part.indices()}
        if any(index.home != 0 and not isinstance(index.size, int) for index in own):
            raise UnwritableError("a size that is not the batch is open")
        return term

    # Statistics.

    def reduced(self, op_type: str, x: Written, over: Collection[Index]) -> Written:
        """Reduce over whole axes, by steps that a DLA has."""
        gone = frozenset(over)
        if len(x.axes) != 4 or set(x.axes[0]) & gone:
            raise UnwritableError("it reduces over what is no map")
        if any(set(axis) & gone and not set(axis) <= gone for axis in x.axes[_ROWS:]):
            raise UnwritableError("it reduces over a part of rows or columns")
        space = [place for place in (_ROWS, _COLUMNS) if set(x.axes[place]) & gone]
        if space:
            x = self._cascade(op_type, x, space)
        channels = x.axes[CHANNELS]
        kept = tuple(index for index in channels if index not in gone)
        axes = (x.axes[0], kept, *x.axes[_ROWS:])
        if kept == channels:
            return x
        if op_type == "ReduceMean":
            places = self._places(channels, kept)
            rows = np.arange(places.max() + 1)[:, None] == places
            return self.pointwise(x.value, rows / rows.sum(1, keepdims=True), None, axes)
        if kept:
            raise UnwritableError("it is the maximum over a part of the channels")
        return self._greatest(x, int(extent(channels)), axes)

    @staticmethod
    def _places(channels: Sequence[Index], kept: Sequence[Index]) -> np.ndarray:
        """Return the place of each channel among those of some of their indices."""
        own = [int(index.size) if index in kept else 1 for index in channels]
        sizes = [int(index.size) for index in channels]
        return np.broadcast_to(np.arange(np.prod(own)).reshape(own), sizes).reshape(-1)

    def _cascade(self, op_type: str, x: Written, space: Sequence[int]) -> Written:
        """Reduce over rows, columns or both, step by step."""
        steps_of = means if op_type == "ReduceMean" else maxima
        if op_type not in {"ReduceMean", "ReduceMax"}:
            raise UnwritableError(f"there are no steps for {op_type}")
        sizes = shape_of(x.axes)
        if any(not isinstance(sizes[place], int) for place in space):
            raise UnwritableError("a size that it reduces over is open")
        plans = [
            steps_of(int(sizes[place])) if place in space else () for place in (_ROWS, _COLUMNS)
        ]
        left, value = [int(size) for size in sizes[2:]], x.value
        for pair in zip_longest(*plans, fillvalue=Step()):
            left = [step.left(side) for step, side in zip(pair, left, strict=True)]
            value = self._step(op_type, value, pair, [*sizes[:2], *left])
        axes = tuple(() if place in space else axis for place, axis in enumerate(x.axes))
        return Written(value, axes)

    def _step(
        self, op_type: str, x: ir.Value, pair: Sequence[Step], shape: Sequence[int | str]
    ) -> ir.Value:
        window, strides = [step.window for step in pair], [step.stride for step in pair]
        how: dict[str, Any] = {"kernel_shape": window, "strides": strides}
        if all(step.is_pool for step in pair):
            pool = {"ReduceMean": "AveragePool", "ReduceMax": "MaxPool"}[op_type]
            if pool == "AveragePool":  # nothing is padded; a Xavier has no other pool
                how["count_include_pad"] = 1
            return self.build.node(pool, [x], shape, how)
        channels = int(shape[CHANNELS])
        each = pair[0].factor * pair[1].factor / (window[0] * window[1])
        weight = self.real(np.full((channels, 1, *window), each))
        pads = [*(step.before for step in pair), *(step.after for step in pair)]
        return self.build.node("Conv", [x, weight], shape, {**how, "pads": pads, "group": channels})

    def _greatest(self, x: Written, count: int, axes: Axes) -> Written:
        """Return the maximum over the channels, of halves that overlap where they are odd."""
        value, shape = x.value, shape_of(x.axes)
        while count > 1:
            half = (count + 1) // 2
            shape[CHANNELS] = half
            parts = [
                self._channels(value, start, start + half, shape) for start in (0, count - half)
            ]
            value, count = self.build.node("Max", parts, shape), half
        return Written(value, axes)

    def _channels(self, x: ir.Value, start: int, end: int, shape: Sequence[int | str]) -> ir.Value:
        bounds = [self.build.integers([bound]) for bound in (start, end, CHANNELS)]
        return self.build.node("Slice", [x, *bounds], shape)

    def write_pow(self, term: Term, view: View) -> Written:
        """Write the square of a normalised map with one division, of numbers for each channel."""
        x, terms = term.args[0], self.terms
        if x.op != "normalised" or term.attrs != 2:
            return super().write_pow(term, view)
        over, epsilon = frozenset(leaves(x.attrs[0])), x.attrs[1]
        total = terms.add(terms.variance(x.args[0], over), terms.const(scalar(epsilon)))
        square = self.on(terms.pow(terms.centred(x.args[0], over), 2), view)
        return self.join("Mul", square, self.on(terms.pow(total, -1), view), view)

    def write_softmax(self, term: Term, view: View) -> Written:
        over, x = leaves(term.attrs), self.on(term.args[0], FIRST)
        rows, columns = x.axes[_ROWS:]
        if set(over) == {*rows, *columns}:
            # An Orin has it, over one axis of four.
            flat: Axes = (x.axes[0], x.axes[CHANNELS], (*rows, *columns), ())
            made = self.node("Softmax", [self.shaped(x.value, flat).value], flat, axis=_ROWS)
            return self._seen(self.shaped(made.value, x.axes), view)
        if len(over) != 1 or over[0].size != 2 or over[0] not in x.axes[CHANNELS]:
            return super().write_softmax(term, view)
        channels = x.axes[CHANNELS]
        places = np.arange(int(extent(channels))).reshape([int(i.size) for i in channels])
        other = np.flip(places, channels.index(over[0])).reshape(-1)
        apart = np.eye(len(other)) - np.eye(len(other))[other]
        difference = self.pointwise(x.value, apart, None, x.axes)
        return self._seen(self.node("Sigmoid", [difference.value], x.axes), view)

    # Layers.

    def write_linear(self, term: Term, view: View) -> Written:
        """Write a layer, with zeros where its groups are not next to each other."""
        layer, x = term.attrs, self.on(term.args[0], FIRST)
        channels, columns = x.axes[CHANNELS], leaves(layer.columns)
        shared = tuple(index for index in channels if index not in columns)
        inner = tuple(index for index in channels if index in columns)
        out = tuple(index for index in leaves(layer.rows) if index not in shared)
        made = channels_of({*shared, *out})
        if len(inner) != len(columns) or (channels, made) == ((*shared, *inner), (*shared, *out)):
            return super().write_linear(term, view)
        weight, bias = self.weights(layer, shared, out, inner)
        rows, groups = (*shared, *out), int(extent(shared)) if shared else 1
        dense = np.zeros((groups, len(weight) // groups, groups, weight.shape[1]))
        for group, part in enumerate(weight.reshape(groups, -1, weight.shape[1])):
            dense[group, :, group] = part
        before = (*shared, *inner)
        sides = [int(index.size) for index in (*rows, *before)]
        order = [rows.index(index) for index in made]
        order += [len(rows) + before.index(index) for index in channels]
        array = dense.reshape(sides).transpose(order).reshape(len(bias), -1)
        offset = bias.reshape(sides[: len(rows)]).transpose(order[: len(rows)]).reshape(-1)
        axes = (x.axes[0], made, *x.axes[_ROWS:])
        return self._seen(self.pointwise(x.value, array, offset, axes), view)

    def write_band(self, term: Term, view: View) -> Written:
        axis, taps, offset = term.attrs
        x, channels = self.on(term.args[0], FIRST), leaves(axis)
        if x.axes[CHANNELS] != channels:
            raise UnwritableError("it slides over channels in another order")
        count = int(extent(channels))
        _check_matrix(count * count)
        bias = np.full(count, offset) if offset else None
        return self._seen(self.pointwise(x.value, slid(np.eye(count), taps), bias, x.axes), view)

    def write_plane(self, term: Term, view: View) -> Written:
        """Write a convolution over channels and a line as one along it, dense over channels."""
        plane, stack = term.attrs, term.args[0]
        sides, weight = [leaves(plane.first), leaves(plane.second)], plane.weight
        if sides[1] and sides[1][0].home == CHANNELS:
            sides.reverse()
            weight = weight.swapaxes(1, 2)
        channels, line = sides
        parts = [self.on(arg, FIRST) for arg in stack.args]
        place = next((k for k in (_ROWS, _COLUMNS) if parts[0].axes[k] == line), None)
        if place is None or any(
            part.axes[CHANNELS] != channels or part.axes[5 - place] or part.axes[place] != line
            for part in parts
        ):
            raise UnwritableError("it slides over what is no plane of channels and a line")
        count, taps = int(extent(channels)), weight.shape[2]
        _check_matrix(len(parts) * count * count * taps)
        rows = [
            np.stack([slid(np.eye(count), own[:, tap]) for tap in range(taps)], axis=-1)
            for own in weight
        ]
        kernel = [taps if k == place else 1 for k in (_ROWS, _COLUMNS)]
        array = np.concatenate(rows, axis=1).reshape(count, -1, *kernel)
        axes, value = parts[0].axes, parts[0].value
        if len(parts) > 1:
            shape = shape_of(axes)
            shape[CHANNELS] = len(parts) * count
            values = [part.value for part in parts]
            value = self.build.node("Concat", values, shape, {"axis": CHANNELS})
        inputs = [value, self.real(array), self.real(np.full(count, plane.bias))]
        pads = [side // 2 for side in (*kernel, *kernel)]
        return self._seen(self.node("Conv", inputs, axes, kernel_shape=kernel, pads=pads), view)

    def write_select(self, term: Term, view: View) -> Written:
        index, place = term.attrs
        x = self.on(term.args[0], FIRST)
        channels = x.axes[CHANNELS]
        own = index.leaves()
        if len(own) != 1 or own[0] not in channels:
            raise UnwritableError("it takes a part of the map, or of what was split further")
        position = channels.index(own[0])
        rest = channels[:position] + channels[position + 1 :]
        places = np.arange(int(extent(channels))).reshape([int(i.size) for i in channels])
        taken = places.take(place, axis=position).reshape(-1)
        axes = (x.axes[0], rest, x.axes[2], x.axes[3])
        if taken[-1] - taken[0] + 1 != len(taken):
            return self._seen(self._picked(x, taken, axes), view)
        made = self._channels(x.value, int(taken[0]), int(taken[-1]) + 1, shape_of(axes))
        return self._seen(Written(made, axes), view)

    def _picked(self, x: Written, places: np.ndarray, axes: Axes) -> Written:
        """Return the channels at some places, in their order."""
        count = int(extent(x.axes[CHANNELS])) if x.axes[CHANNELS] else 1
        _check_matrix(count * len(places))
        return self.pointwise(x.value, np.eye(count)[places], None, axes)

    # What broadcasts.

    def expanded(self, one: Written, channels: tuple[Index, ...], view: View) -> Written:
        """Repeat a value that has some channel indices along the others."""
        del view
        places = self._places(channels, one.axes[CHANNELS])
        return self._picked(one, places, (one.axes[0], channels, *one.axes[2:]))

    def join(self, op_type: str, one: Written, other: Written, view: View) -> Written:
        """Apply a binary operator to maps of one size, or a map and a value for each channel."""
        axes = axes_of(one.indices | other.indices, view)
        if op_type == "Sub" and is_static(one.value):
            op_type, one, other = "Add", self.opposite(other), one
        is_of_map = any(is_static(each.value) and any(each.axes[_ROWS:]) for each in (one, other))
        both = [self._fit(each, axes, is_whole=is_of_map) for each in (one, other)]
        check_broadcast(axes, *both)
        if op_type in {"Add", "Mul"} and len(both[0].indices) < len(both[1].indices):
            both.reverse()
        return self.node(op_type, [each.value for each in both], axes)

    def _fit(self, one: Written, axes: Axes, *, is_whole: bool) -> Written:
        """Return a value with all channels, and with all positions if it has any, or must."""
        if is_static(one.value):
            return one
        is_whole = is_whole or any(one.axes[_ROWS:])
        key = (one.value, axes, is_whole)
        known = self._fitted.get(key)
        if known is None:
            known = one
            if one.axes[CHANNELS] != axes[CHANNELS]:
                known = self.expanded(one, axes[CHANNELS], FIRST)
            for place in (_ROWS, _COLUMNS):
                if is_whole and axes[place] and not one.axes[place]:
                    known = self._repeated(known, place, axes[place])
            self._fitted[key] = known
        return known

    def _repeated(self, one: Written, place: int, axis: tuple[Index, ...]) -> Written:
        """Repeat a line along rows or columns."""
        side, shape, value = int(extent(axis)), shape_of(one.axes), one.value
        for factor in repeats(side):
            shape[place] = int(shape[place]) * factor
            scales = np.ones(4, dtype=np.float32)
            scales[place] = factor
            how = {
                "mode": "nearest",
                "coordinate_transformation_mode": "asymmetric",
                "nearest_mode": "floor",
            }
            inputs = [value, None, self.build.constant(scales)]
            value = self.build.node("Resize", inputs, list(shape), how)
        axes = tuple(axis if k == place else own for k, own in enumerate(one.axes))
        if shape[place] != side:
            bounds = [self.build.integers([bound]) for bound in (0, side, place)]
            value = self.build.node("Slice", [value, *bounds], shape_of(axes))
        return Written(value, axes)

    def constant(self, constant: Const, over: Collection[Index], view: View) -> Written:
        """Return a constant for all, for each channel, or for each value."""
        axes, own = axes_of(over, view), set(leaves(constant.axes))
        if not any(index.home in {_ROWS, _COLUMNS} for index in own):
            channels = own & set(axes[CHANNELS])
            if not channels or channels == set(axes[CHANNELS]):
                return super().constant(constant, over, view)
            axes = (axes[0], axes[CHANNELS], (), ())
        if not own & set(axes[0]):
            axes = ((), *axes[1:])
        flat = tuple(index for axis in axes for index in axis)
        return Written(
            self.real(constant.spread(flat).reshape([int(s) for s in shape_of(axes)])), axes
        )

    # Functions.

    def hard_sigmoid(self, term: Term) -> tuple[Term, float, float] | None:
        """Return None: it is a clip of what it is written with."""
        del term
        return None

    def opposite(self, one: Written) -> Written:
        return self.node("Mul", [one.value, self.real(-1.0)], one.axes)

    def apply(self, function: tuple[Any, ...], x: Written) -> Written:
        """Apply an elementwise function; a clip is made of clips from 0 to a bound that there is.

        One around 0 is clip(x, 0, b) - clip(-x, 0, a), which loses no digits of what is small.
        """
        name, *numbers = function
        low, high = numbers if name == "clip" else (0.0, 0.0)
        if low >= high or not all(map(_is_bound, numbers)):
            return super().apply(function, x)
        if low < 0 < high:
            above, below = self._upper(x, high), self._upper(self.opposite(x), -low)
            return self.node("Sub", [above.value, below.value], x.axes)
        if high <= 0:
            return self.opposite(self.apply(("clip", -high, -low), self.opposite(x)))
        return self._plus(self._upper(self._plus(x, -low), high - low), low)

    def _upper(self, x: Written, bound: float) -> Written:
        """Return what of a value is between 0 and a bound."""
        if bound == np.inf:
            return self.node("Relu", [x.value], x.axes)
        # By a power of two, to the bit.
        scale = 2.0 ** -np.floor(np.log2(min(bound, 1.0) * max(bound / 64, 1.0)))
        bounds = [self.real(0.0), self.real(bound * scale)]
        clipped = self.node("Clip", [self._times(x, scale).value, *bounds], x.axes)
        return self._times(clipped, 1 / scale)

    def _plus(self, x: Written, number: float) -> Written:
        return self.node("Add", [x.value, self.real(number)], x.axes) if number else x

    def _times(self, x: Written, number: float) -> Written:
        return self.node("Mul", [x.value, self.real(number)], x.axes) if number != 1 else x
