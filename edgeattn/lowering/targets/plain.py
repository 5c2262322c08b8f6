"""The forms that any runtime takes: one node or a few for each term, nothing clever.

A target derives from this and overrides what it writes in another way.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
import onnx_ir as ir

from edgeattn.lowering.build import Builder
from edgeattn.lowering.indices import Axes, Index, leaves, resolve
from edgeattn.lowering.raising import Raised, Raising
from edgeattn.lowering.targets.layout import (
    CHANNELS,
    FIRST,
    LAST,
    ORDER,
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
from edgeattn.lowering.terms import Const, Layer, Term, is_scalar, scalar

FUNCTIONS: Final = {
    "relu": ("Relu", ()),
    "sigmoid": ("Sigmoid", ()),
    "tanh": ("Tanh", ()),
    "exp": ("Exp", ()),
    "log": ("Log", ()),
    "abs": ("Abs", ()),
    "erf": ("Erf", ()),
    "softplus": ("Softplus", ()),
    "leakyrelu": ("LeakyRelu", ("alpha",)),
    "elu": ("Elu", ("alpha",)),
}
# Few groups are one dense convolution with zeros; of many, the zeros would cost more.
_MOST_DENSE_GROUPS: Final = 8


@dataclass(frozen=True, slots=True)
class Written:
    """A value that holds a term, and the indices of its axes."""

    value: ir.Value
    axes: Axes

    @property
    def indices(self) -> frozenset[Index]:
        """The indices that it has an axis for."""
        return frozenset(index for axis in self.axes for index in axis)


class Writer:
    """Writes terms as nodes; a term that was written once is not written again.

    Args:
        build: Makes the nodes.
        raising: What is known of the values that are leaves.
        dtype: The element type.
        chosen: The form to take, by family, where it is not the first.

    Attributes:
        taken: The form that was taken, by family, since this was last emptied.
    """

    # By family, the forms that a target has for it; the first is what is taken unless told.
    forms: ClassVar[Mapping[str, tuple[str, ...]]] = {"groups": ("dense", "grouped")}

    def __init__(
        self,
        build: Builder,
        raising: Raising,
        dtype: ir.DataType,
        chosen: Mapping[str, str] | None = None,
    ) -> None:
        self.build = build
        self.terms = raising.terms
        self.dtype = dtype
        self.taken: dict[str, str] = {}
        self._chosen = chosen or {}
        self._raising = raising
        self._written: dict[tuple[Term, View], Written] = {}

    def takes(self, family: str, form: str) -> bool:
        """Says whether a form is the one to take, and notes that it was asked."""
        taken = self._chosen.get(family, self.forms[family][0])
        self.taken[family] = taken
        return taken == form

    def write(self, term: Term, axes: Axes) -> ir.Value:
        """Writes a term on the axes asked."""
        made = self.on(self.prepared(term), FIRST)
        self.build.origin = term.origin
        wanted = resolve(axes)
        return relayout(self.build, made.value, made.axes, wanted)

    def finish(self, value: ir.Value, root: ir.Value) -> ir.Value:
        """Gives what stands for a root; the target may write it for those that read the root."""
        del root
        return value

    def prepared(self, term: Term) -> Term:
        """Gives an equal term that the target writes better."""
        return term

    def on(self, term: Term, view: View) -> Written:
        """Writes a term as a feature map."""
        known = self._written.get((term, view))
        if known is None:
            try:
                known = self._form(term, view)
            except UnwritableError:
                known = self._kept(term, view)
                if known is None:
                    raise
            self._written[term, view] = known
        return known

    def _kept(self, term: Term, view: View) -> Written | None:
        """Gives a small term as the graph already has it."""
        value, axes = self._raising.sources.get(term, (None, ()))
        if value is None or any(index.home not in {0, 1} for index in term.indices()):
            return None
        axes, wanted = resolve(axes), axes_of(term.indices(), view)
        if {i for axis in axes for i in axis} != term.indices():
            return None
        self.build.origin = term.origin
        value = self._raising.exchanged.get(value, value)
        return Written(relayout(self.build, value, axes, wanted), wanted)

    def _form(self, term: Term, view: View) -> Written:
        form = getattr(self, f"write_{term.op}", None)
        if form is None:
            raise UnwritableError(f"there is no form for {term.op}")
        for arg in term.args:
            if arg.op != "const" and term.op in {"add", "mul", "pow", "fn"}:
                self.on(arg, view)
        self.build.origin = term.origin
        made: Written = form(term, view)
        return made

    def _axes(self, indices: Collection[Index], view: View) -> Axes:
        return axes_of(indices, view)

    def node(
        self,
        op_type: str,
        inputs: Sequence[ir.Value],
        axes: Axes,
        **attributes: float | Sequence[int],
    ) -> Written:
        """Makes a node whose output has these axes."""
        return Written(self.build.node(op_type, inputs, shape_of(axes), attributes), axes)

    def number(self, value: float) -> ir.Value:
        """Gives a scalar constant of the element type."""
        return self.build.constant(np.array(value, dtype=self.dtype.numpy()))

    def constant(self, constant: Const, over: Collection[Index], view: View) -> Written:
        """Gives a constant that broadcasts against a map with the indices `over`."""
        axes = axes_of(over, view)
        own = set(leaves(constant.axes))
        if not own:
            return Written(self.number(float(constant.array)), ((), (), (), ()))
        # An axis of which the constant has a part is written out in full.
        kept = [axis if own & set(axis) else () for axis in axes]
        flat = tuple(index for axis in kept for index in axis)
        array = np.broadcast_to(constant.over(flat), [int(index.size) for index in flat])
        shape = [int(extent(axis)) for axis in kept]
        data = array.reshape(shape).astype(self.dtype.numpy())
        return Written(self.build.constant(data), tuple(kept))

    # Leaves.

    def write_leaf(self, term: Term, view: View) -> Written:
        value, axes = term.attrs, axes_of(term.indices(), view)
        if view == LAST:
            first = self.on(term, FIRST)
            if all(not axis for axis in (axes[1], axes[2])):
                return Written(relayout(self.build, first.value, first.axes, axes), axes)
            return self.node("Transpose", [first.value], axes, perm=ORDER[LAST])
        what = self._raising.values[value]
        assert isinstance(what, Raised), "a leaf is no constant"
        own = resolve(what.axes)
        extra = {i for axis in own for i in axis} - term.indices()
        if extra:
            raise UnwritableError("it is expanded without need")
        value = self._raising.exchanged.get(value, value)
        return Written(relayout(self.build, value, own, axes), axes)

    def write_const(self, term: Term, view: View) -> Written:
        return self.constant(term.attrs, term.indices(), view)

    # Elementwise.

    def operands(self, terms: Sequence[Term], view: View) -> list[Written]:
        """Writes the operands of an elementwise operator so that they broadcast."""
        indices = frozenset[Index]().union(*(term.indices() for term in terms))
        channels = channels_of(indices)
        made = []
        for term in terms:
            if term.op == "const":
                made.append(self.constant(term.attrs, indices, view))
                continue
            one = self.on(term, view)
            own = channels_of(term.indices())
            made.append(one if own in {(), channels} else self.expanded(one, channels, view))
        return made

    def expanded(self, one: Written, channels: tuple[Index, ...], view: View) -> Written:
        """Repeats a value that has some channel indices along the others."""
        position = ORDER[view].index(CHANNELS)
        sizes = [int(index.size) for index in channels]
        own = [int(index.size) if index in one.axes[position] else 1 for index in channels]
        places = np.broadcast_to(np.arange(np.prod(own)).reshape(own), sizes).reshape(-1)
        axes = (*one.axes[:position], channels, *one.axes[position + 1 :])
        indices = self.build.integers(places.tolist())
        return self.node("Gather", [one.value, indices], axes, axis=position)

    def join(self, op_type: str, one: Written, other: Written, view: View) -> Written:
        """Applies a binary operator to two values that broadcast."""
        axes = self._axes(one.indices | other.indices, view)
        return self.node(op_type, [one.value, other.value], axes)

    def write_add(self, term: Term, view: View) -> Written:
        signed = []
        for arg in term.args:
            factor, base = self.terms.parts(arg)
            is_negative = base is not None and is_scalar(factor, -1)
            signed.append((-1 if is_negative else 1, base if is_negative and base else arg))
        self.prepare([arg for _, arg in signed], view)
        written = self.operands([arg for _, arg in signed], view)
        self.build.origin = term.origin
        pairs = [(sign, one) for (sign, _), one in zip(signed, written, strict=True)]
        # What is smaller is added up first; a difference wants something to start from.
        pairs.sort(key=lambda pair: (_size(pair[1]), -pair[0]))
        if pairs[0][0] < 0:
            start = next((k for k, pair in enumerate(pairs) if pair[0] > 0), None)
            if start is None:
                raise UnwritableError("every addend is negative")
            pairs.insert(0, pairs.pop(start))
        total = pairs[0][1]
        for sign, one in pairs[1:]:
            total = self.join("Add" if sign > 0 else "Sub", total, one, view)
        return total

    def prepare(self, terms: Sequence[Term], view: View) -> None:
        """Writes terms, so that their nodes stand before those of what is made of them."""
        for term in terms:
            if term.op != "const":
                self.on(term, view)

    def write_mul(self, term: Term, view: View) -> Written:
        above = [arg for arg in term.args if not self._is_divisor(arg)]
        below = [arg.args[0] for arg in term.args if self._is_divisor(arg)]
        self.prepare([*above, *below], view)
        written = self.operands([*above, *below], view)
        self.build.origin = term.origin
        tops = sorted(written[: len(above)], key=_size)
        bottoms = sorted(written[len(above) :], key=_size)
        total = tops[0] if tops else Written(self.number(1.0), ((), (), (), ()))
        rest = tops[1:]
        for one in bottoms:
            # A quotient of small terms first: the large one is multiplied once.
            if rest and _size(total) > _size(one):
                quotient = self.join("Div", Written(self.number(1.0), ((),) * 4), one, view)
                total = self.join("Mul", total, quotient, view)
            else:
                total = self.join("Div", total, one, view)
        for one in rest:
            total = self.join("Mul", total, one, view)
        return total

    @staticmethod
    def _is_divisor(term: Term) -> bool:
        return term.op == "pow" and term.attrs == -1

    def hard_sigmoid(self, term: Term) -> tuple[Term, float, float] | None:
        """Takes a term max(0, min(1, alpha x + beta)) apart, with numbers alpha and beta."""
        if term.op != "fn" or term.attrs != ("clip", 0.0, 1.0) or term.args[0].op != "add":
            return None
        if len(term.args[0].args) != 2:
            return None
        alpha, x = self.terms.parts(term.args[0].args[0])
        beta, rest = self.terms.parts(term.args[0].args[1])
        if x is None or rest is not None or not is_scalar(alpha) or not is_scalar(beta):
            return None
        return x, float(alpha.array), float(beta.array)

    def write_pow(self, term: Term, view: View) -> Written:
        base, exponent = self.on(term.args[0], view), term.attrs
        self.build.origin = term.origin
        match exponent:
            case 2:
                return self.node("Mul", [base.value, base.value], base.axes)
            case -1:
                return self.node("Reciprocal", [base.value], base.axes)
            case 0.5:
                return self.node("Sqrt", [base.value], base.axes)
            case -0.5:
                root = self.node("Sqrt", [base.value], base.axes)
                return self.node("Reciprocal", [root.value], base.axes)
            case -2:
                square = self.node("Mul", [base.value, base.value], base.axes)
                return self.node("Reciprocal", [square.value], base.axes)
        return self.node("Pow", [base.value, self.number(exponent)], base.axes)

    def write_fn(self, term: Term, view: View) -> Written:
        hard = self.hard_sigmoid(term)
        if hard is not None:
            x = self.on(hard[0], view)
            self.build.origin = term.origin
            return self.node("HardSigmoid", [x.value], x.axes, alpha=hard[1], beta=hard[2])
        x = self.on(term.args[0], view)
        self.build.origin = term.origin
        return self.apply(term.attrs, x)

    def apply(self, function: tuple[Any, ...], x: Written) -> Written:
        """Applies an elementwise function, given as its name and its numbers."""
        name, *numbers = function
        if name == "clip":
            low, high = (self.number(bound) if np.isfinite(bound) else None for bound in numbers)
            inputs = [x.value, low, high] if high is not None else [x.value, low]
            return Written(self.build.node("Clip", inputs, shape_of(x.axes)), x.axes)
        op_type, keys = FUNCTIONS[name]
        return self.node(op_type, [x.value], x.axes, **dict(zip(keys, numbers, strict=True)))

    # Statistics.

    def reduced(self, op_type: str, x: Written, over: Collection[Index], view: View) -> Written:
        """Reduces over whole axes."""
        gone = frozenset(over)
        axes = tuple(() if set(axis) & gone else axis for axis in x.axes)
        if any(set(axis) & gone and not set(axis) <= gone for axis in x.axes):
            raise UnwritableError("it reduces over a part of the channels")
        positions = [k for k, axis in enumerate(x.axes) if set(axis) & gone]
        del view
        return Written(self.build.reduce(op_type, x.value, positions, shape_of(axes)), axes)

    def write_mean(self, term: Term, view: View) -> Written:
        grouped = self._grouped_mean(term)
        if grouped is not None:
            return self.on(grouped, view)
        x = self.on(term.args[0], view)
        self.build.origin = term.origin
        return self.reduced("ReduceMean", x, leaves(term.attrs), view)

    def _grouped_mean(self, term: Term) -> Term | None:
        """Gives a mean over a part of the channels as a layer of equal weights."""
        over, channels = frozenset(leaves(term.attrs)), channels_of(term.args[0].indices())
        order = tuple(index for index in channels if index in over)
        if order in {(), channels}:
            return None
        sizes = [int(index.size) for index in order]
        width = math.prod(sizes)
        layer = Layer(
            weight=np.full((1, width), 1 / width), bias=np.zeros(1), rows=(), columns=order
        )
        return self.terms.linear(self.terms.mean(term.args[0], over - set(order)), layer)

    def write_max(self, term: Term, view: View) -> Written:
        x = self.on(term.args[0], view)
        self.build.origin = term.origin
        return self.reduced("ReduceMax", x, leaves(term.attrs), view)

    def write_centred(self, term: Term, view: View) -> Written:
        x, over = term.args[0], frozenset(leaves(term.attrs))
        mean = self.on(self.terms.mean(x, over), view)
        value = self.on(x, view)
        self.build.origin = term.origin
        return self.join("Sub", value, mean, view)

    def write_variance(self, term: Term, view: View) -> Written:
        x, over = term.args[0], frozenset(leaves(term.attrs))
        centred = self.on(self.terms.make("centred", (x,), over, x.own), view)
        self.build.origin = term.origin
        wide = self._cast(centred, ir.DataType.FLOAT)
        square = self.node("Mul", [wide.value, wide.value], wide.axes)
        return self._cast(self.reduced("ReduceMean", square, over, view), self.dtype)

    def _cast(self, one: Written, dtype: ir.DataType) -> Written:
        """Gives a half-precision value in another type: its squares would overflow at 65504."""
        if self.dtype != ir.DataType.FLOAT16:
            return one
        value = self.build.node(
            "Cast", [one.value], shape_of(one.axes), {"to": int(dtype)}, dtype=dtype
        )
        return Written(value, one.axes)

    def write_normalised(self, term: Term, view: View) -> Written:
        x, (over, epsilon) = term.args[0], term.attrs
        over = frozenset(leaves(over))
        centred = self.on(self.terms.make("centred", (x,), over, x.own), view)
        spread = self.on(self.spread(x, over, epsilon), view)
        self.build.origin = term.origin
        return self.join("Mul", centred, spread, view)

    def spread(self, x: Term, over: frozenset[Index], epsilon: float) -> Term:
        """Gives 1 / sqrt(variance + epsilon)."""
        total = self.terms.add(self.terms.variance(x, over), self.terms.const(scalar(epsilon)))
        return self.terms.pow(total, -0.5)

    def write_softmax(self, term: Term, view: View) -> Written:
        over = leaves(term.attrs)
        x = self.on(term.args[0], FIRST)
        self.build.origin = term.origin
        if set(channels_of(term.indices())) == set(over):
            made = self.node("Softmax", [x.value], x.axes, axis=CHANNELS)
        elif is_space(over) and set(over) == {i for axis in x.axes[2:] for i in axis}:
            flat: Axes = (x.axes[0], x.axes[1], (*x.axes[2], *x.axes[3]))
            value = reshape(self.build, x.value, shape_of(flat))
            value = self.build.node("Softmax", [value], shape_of(flat), {"axis": 2})
            made = Written(reshape(self.build, value, shape_of(x.axes)), x.axes)
        else:
            raise UnwritableError("its softmax is over a part of the channels or the map")
        return self._seen(made, view)

    def _seen(self, made: Written, view: View) -> Written:
        """Gives a value that was written channels first as it is asked for."""
        if view == FIRST:
            return made
        axes = axes_of(made.indices, view)
        return Written(relayout(self.build, made.value, made.axes, axes), axes)

    # Channels.

    def write_linear(self, term: Term, view: View) -> Written:
        layer, columns = term.attrs, leaves(term.attrs.columns)
        x = self.on(term.args[0], FIRST)
        self.build.origin = term.origin
        channels = x.axes[CHANNELS]
        shared = tuple(index for index in channels if index not in columns)
        inner = tuple(index for index in channels if index in columns)
        out = tuple(index for index in leaves(layer.rows) if index not in shared)
        if channels != (*shared, *inner) or len(inner) != len(columns):
            raise UnwritableError("its groups are not next to each other")
        if channels_of({*shared, *out}) != (*shared, *out):
            raise UnwritableError("its outputs are in another order")
        array, offset = self.weights(layer, shared, out, inner)
        rows, groups = len(offset), int(extent(shared)) if shared else 1
        if 1 < groups <= _MOST_DENSE_GROUPS and self.takes("groups", "dense"):
            array, groups = _block_diagonal(array, groups), 1
        axes = (x.axes[0], (*shared, *out), x.axes[2], x.axes[3])
        inputs = [
            x.value,
            self.build.constant(array.reshape(rows, -1, 1, 1).astype(self.dtype.numpy())),
            self.build.constant(offset.astype(self.dtype.numpy())),
        ]
        made = self.node("Conv", inputs, axes, kernel_shape=[1, 1], group=groups)
        return self._seen(made, view)

    @staticmethod
    def weights(
        layer: Layer, shared: Sequence[Index], out: Sequence[Index], inner: Sequence[Index]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Gives weights f64[shared * out, inner] and the bias f64[shared * out]."""
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

    def write_band(self, term: Term, view: View) -> Written:
        axis, taps, offset = term.attrs
        x = self.on(term.args[0], FIRST)
        self.build.origin = term.origin
        if x.axes[CHANNELS] != leaves(axis) or x.axes[2] or x.axes[3]:
            raise UnwritableError("it slides over channels in another order")
        flat: Axes = (x.axes[0], (), x.axes[CHANNELS])
        value = reshape(self.build, x.value, shape_of(flat))
        weight = np.array(taps, dtype=self.dtype.numpy()).reshape(1, 1, -1)
        inputs = [value, self.build.constant(weight)]
        if offset:
            inputs.append(self.build.constant(np.array([offset], dtype=self.dtype.numpy())))
        half = len(taps) // 2
        attributes = {"kernel_shape": [len(taps)], "pads": [half, half]}
        value = self.build.node("Conv", inputs, shape_of(flat), attributes)
        return self._seen(Written(reshape(self.build, value, shape_of(x.axes)), x.axes), view)

    def write_stack(self, term: Term, view: View) -> Written:
        """Writes maps of one channel as the channels of one."""
        parts = [self.on(arg, FIRST) for arg in term.args]
        self.build.origin = term.origin
        (index,) = leaves(term.attrs)
        axes = axes_of({i for part in parts for i in part.indices} | {index})
        if any(
            (part.axes[0], part.axes[2], part.axes[3]) != (axes[0], *axes[2:]) for part in parts
        ):
            raise UnwritableError("its parts are no maps of one size")
        return self._seen(self.stacked([part.value for part in parts], axes), view)

    def stacked(self, values: Sequence[ir.Value], axes: Axes) -> Written:
        """Joins maps of one channel."""
        return self.node("Concat", values, axes, axis=CHANNELS)

    def write_select(self, term: Term, view: View) -> Written:
        index, place = term.attrs
        if len(index.leaves()) != 1:
            raise UnwritableError("it takes a part of what was split further")
        (index,) = leaves((index,))
        x = self.on(term.args[0], FIRST)
        self.build.origin = term.origin
        channels = x.axes[CHANNELS]
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
        self.build.origin = term.origin
        made = {name: ir.Attr(name, kind, value) for name, kind, value in attributes}
        value = self.build.node(op_type, [x.value], shape_of(x.axes), made)
        return self._seen(Written(value, x.axes), view)


def _block_diagonal(rows: np.ndarray, groups: int) -> np.ndarray:
    """Gives the dense weights f[rows, groups * width] of a grouped convolution's f[rows, width]."""
    count, width = rows.shape
    dense = np.zeros((groups, count // groups, groups, width))
    for group, part in enumerate(rows.reshape(groups, count // groups, width)):
        dense[group, :, group] = part
    return dense.reshape(count, groups * width)


def _size(written: Written) -> tuple[int, int]:
    """Orders values: what lies on the map is larger than what does not."""
    space = sum(index.home in {2, 3} for index in written.indices)
    return space, len(written.indices)
