"""ONNX Runtime on a CPU: stay in the blocked layout that its convolutions run in.

Convolutions, pools, Sigmoid, equal-shape Mul and Add, and nearest Resize run on channels in blocks;
anything else has a layout copy before it and one after. So a squeeze is a GlobalAveragePool, a gate
[N, C, 1, 1] is resized to the map before it is multiplied, a gate [N, 1, H, W] goes through a 1x1
convolution of ones, an affine for each channel is a depthwise convolution, and one that comes from
outside the blocked layout enters it through a depthwise convolution of ones. A normalised map is
one InstanceNormalization (or, over large maps, one LayerNormalization, which is threaded) with its
affine inside. Statistics over channels are taken from rows of positions, [N, H W, C].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

import numpy as np
import onnx_ir as ir

from edgeattn.lowering.indices import Axes, Index, leaves
from edgeattn.lowering.targets.layout import (
    CHANNELS,
    FIRST,
    SPACE,
    UnwritableError,
    View,
    extent,
    is_space,
    reshape,
    shape_of,
)
from edgeattn.lowering.targets.plain import Writer, Written
from edgeattn.lowering.targets.squeeze import through_producer
from edgeattn.lowering.terms import ONE, ZERO, Const, Term, is_scalar

_BLOCKED: Final = frozenset(
    {"Conv", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"}
)
_KEEPS_BLOCKS: Final = frozenset(
    {"Relu", "Sigmoid", "Tanh", "Add", "Sum", "Mul", "Concat", "BatchNormalization", "Resize"}
)
_LAYER_NORM_SINCE: Final = 17


class ONNXRuntimeWriter(Writer):
    """Writes terms for ONNX Runtime's CPU kernels."""

    forms: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "squeeze": ("map", "cheaper"),
        "gate": ("resized", "broadcast"),
        "moments": ("instance-norm", "layer-norm", "parts"),
        "affine": ("depthwise", "elementwise"),
        "channel-statistics": ("rows", "axis"),
        "groups": ("dense", "grouped"),
        "repeat": ("convolution", "gather"),
    }

    def prepared(self, term: Term) -> Term:
        squeezed = through_producer(term, self._raising)
        return squeezed if squeezed is not term and self.takes("squeeze", "cheaper") else term

    def is_blocked(self, value: ir.Value, depth: int = 4) -> bool:
        """Says whether a value lies in the blocked layout, as far as its producers tell."""
        node = value.producer()
        if node is None:
            return False
        if node.op_type in _BLOCKED:
            return True
        if node.op_type not in _KEEPS_BLOCKS or depth == 0:
            return False
        inputs = [v for v in node.inputs[:2] if v is not None and v.const_value is None]
        shapes = {str(v.shape) for v in inputs}
        return len(shapes) == 1 and all(self.is_blocked(v, depth - 1) for v in inputs)

    # Statistics.

    def write_mean(self, term: Term, view: View) -> Written:
        return self._pooled("GlobalAveragePool", term, view) or super().write_mean(term, view)

    def write_max(self, term: Term, view: View) -> Written:
        return self._pooled("GlobalMaxPool", term, view) or super().write_max(term, view)

    def _pooled(self, op_type: str, term: Term, view: View) -> Written | None:
        over, x = set(leaves(term.attrs)), term.args[0]
        space = {index for index in x.indices() if index.home in SPACE}
        channels = {index for index in x.indices() if index.home == CHANNELS}
        if over == channels and space and self.takes("channel-statistics", "rows"):
            return self._by_rows(op_type, self.on(x, FIRST), term, view)
        if over != space:
            return None
        made = self.on(x, FIRST)
        self.build.origin = term.origin
        axes: Axes = (made.axes[0], made.axes[1], (), ())
        return self._seen(self.node(op_type, [made.value], axes), view)

    def _by_rows(self, op_type: str, x: Written, term: Term, view: View) -> Written:
        """Takes a statistic over channels from [N, H W, C], where it runs over what is adjacent."""
        self.build.origin = term.origin
        batch, channels, *space = x.axes
        last: Axes = (batch, *space, channels)
        rows: Axes = (batch, (*space[0], *space[1]), channels)
        key = (term.args[0], "rows")
        value = self._rows.get(key)
        if value is None:
            turned = self.build.node("Transpose", [x.value], shape_of(last), {"perm": [0, 2, 3, 1]})
            value = reshape(self.build, turned, shape_of(rows))
            self._rows[key] = value
        flat: Axes = (batch, rows[1], ())
        if op_type == "GlobalMaxPool":
            made = self.node(op_type, [value], flat)
        else:
            made = Written(self.build.reduce("ReduceMean", value, [2], shape_of(flat)), flat)
        axes: Axes = (batch, (), space[0], space[1])
        return self._seen(Written(reshape(self.build, made.value, shape_of(axes)), axes), view)

    @property
    def _rows(self) -> dict[tuple[Term, str], ir.Value]:
        if not hasattr(self, "_row_values"):
            self._row_values: dict[tuple[Term, str], ir.Value] = {}
        return self._row_values

    # Normalised maps, with their affine.

    def write_normalised(self, term: Term, view: View) -> Written:
        return self._affine_normalised(term, ONE, ZERO, view) or super().write_normalised(
            term, view
        )

    def _affine_normalised(
        self, term: Term, factor: Const, offset: Const, view: View
    ) -> Written | None:
        """Gives factor * normalised + offset, with numbers or a number for each channel."""
        over, epsilon = term.attrs
        x = self.on(term.args[0], FIRST)
        self.build.origin = term.origin
        channels = x.axes[CHANNELS]
        constants = (*leaves(factor.axes), *leaves(offset.axes))
        whole = {index for axis in x.axes[2:] for index in axis}
        if set(leaves(over)) != whole or not set(constants) <= set(channels):
            return None
        if self.takes("moments", "parts"):
            return None
        if self.takes("moments", "layer-norm") and self._has_layer_norm(x):
            return self._by_layer_norm(x, factor, offset, epsilon, view)
        scale, bias = (self._per_channel(one, channels) for one in (factor, offset))
        inputs = [x.value, scale, bias]
        made = self.node("InstanceNormalization", inputs, x.axes, epsilon=epsilon)
        return self._seen(made, view)

    def _has_layer_norm(self, x: Written) -> bool:
        sizes = shape_of(x.axes)[2:]
        return self.build.opset >= _LAYER_NORM_SINCE and not any(isinstance(s, str) for s in sizes)

    def _by_layer_norm(
        self, x: Written, factor: Const, offset: Const, epsilon: float, view: View
    ) -> Written:
        sizes = [int(extent(axis)) for axis in x.axes[2:]]
        scale = self.build.constant(np.ones(sizes, dtype=self.dtype.numpy()))
        made = self.node("LayerNormalization", [x.value, scale], x.axes, axis=2, epsilon=epsilon)
        if not (is_scalar(factor, 1) and is_scalar(offset, 0)):
            made = self._convolved(made, factor, offset)
        return self._seen(made, view)

    def _per_channel(self, constant: Const, channels: Sequence[Index]) -> ir.Value:
        sizes = [int(index.size) for index in channels]
        array = np.broadcast_to(constant.over(channels), sizes).reshape(-1)
        return self.build.constant(array.astype(self.dtype.numpy()))

    def write_add(self, term: Term, view: View) -> Written:
        made = self._with_affine(term, view)
        return super().write_add(term, view) if made is None else made

    def _with_affine(self, term: Term, view: View) -> Written | None:
        """Writes an addend that takes the constant one in: a norm, or a map in blocks."""
        taken = [self.terms.parts(arg) for arg in term.args]
        offset = next((factor for factor, base in taken if base is None), ZERO)
        terms = [(factor, base) for factor, base in taken if base is not None]
        for place, (factor, base) in enumerate(terms):
            made = None
            if base.op == "normalised":
                made = self._affine_normalised(base, factor, offset, view)
            elif len(terms) == 1 and offset is not ZERO:
                made = self._depthwise(base, factor, offset, view)
            if made is None:
                continue
            for other, (scale, rest) in enumerate(terms):
                if other != place:
                    addend = self.on(self.terms.scaled(scale, rest), view)
                    self.build.origin = term.origin
                    made = self.join("Add", made, addend, view)
            return made
        return None

    def _depthwise(self, base: Term, factor: Const, offset: Const, view: View) -> Written | None:
        """Gives factor * base + offset as a depthwise 1x1 convolution, if that keeps it blocked."""
        if not any(index.home in SPACE for index in base.indices()) or is_scalar(factor):
            return None
        x = self.on(base, FIRST)
        channels = x.axes[CHANNELS]
        if not self.is_blocked(x.value) or not {
            *leaves(factor.axes),
            *leaves(offset.axes),
        } <= set(channels):
            return None
        if self.takes("affine", "elementwise"):
            return None
        self.build.origin = base.origin
        return self._seen(self._convolved(x, factor, offset), view)

    def _convolved(self, x: Written, factor: Const, offset: Const) -> Written:
        channels = x.axes[CHANNELS]
        count = int(extent(channels))
        sizes = [int(index.size) for index in channels]
        weight = np.broadcast_to(factor.over(channels), sizes).reshape(count, 1, 1, 1)
        inputs = [x.value, self.build.constant(weight.astype(self.dtype.numpy()))]
        if not is_scalar(offset, 0):
            inputs.append(self._per_channel(offset, channels))
        return self.node("Conv", inputs, x.axes, kernel_shape=[1, 1], group=count)

    def write_mul(self, term: Term, view: View) -> Written:
        factor, base = self.terms.parts(term)
        is_square = base is not None and base.op == "pow" and base.attrs == 2
        if is_square and base is not None and base.args[0].op == "normalised":
            positive = bool((factor.array >= 0).all())
            root = Const(np.sqrt(np.abs(factor.array)), factor.axes)
            made = self._affine_normalised(base.args[0], root, ZERO, view) if positive else None
            if made is not None:
                self.build.origin = term.origin
                return self.node("Mul", [made.value, made.value], made.axes)
        return super().write_mul(term, view)

    # Gates.

    def join(self, op_type: str, one: Written, other: Written, view: View) -> Written:
        """Applies a binary operator; a gate is first brought to the shape of a blocked map."""
        if op_type == "Mul" and view == FIRST:
            small, large = sorted((one, other), key=lambda value: len(value.indices))
            if (
                self._is_map(large)
                and small.indices < large.indices
                and self.is_blocked(large.value)
                and self.takes("gate", "resized")
            ):
                small = self._resized(small, large)
                one, other = small, large
        return super().join(op_type, one, other, view)

    @staticmethod
    def _is_map(one: Written) -> bool:
        return bool(one.axes[CHANNELS]) and bool(one.axes[2] or one.axes[3])

    def _resized(self, gate: Written, x: Written) -> Written:
        if gate.value.const_value is not None or not gate.indices:
            return gate
        space = (gate.axes[2], gate.axes[3])
        if gate.axes[CHANNELS] == x.axes[CHANNELS] and space == ((), ()):
            if not self.is_blocked(gate.value):
                gate = self._convolved(gate, ONE, ZERO)
            sizes = [extent(axis) for axis in x.axes[2:]]
            if any(isinstance(size, str) for size in sizes):
                return gate
            scales = np.array([1, 1, *sizes], dtype=np.float32)
            axes = (gate.axes[0], *x.axes[1:])
            attributes = {
                "mode": "nearest",
                "coordinate_transformation_mode": "asymmetric",
                "nearest_mode": "floor",
            }
            inputs = [gate.value, None, self.build.constant(scales)]
            value = self.build.node("Resize", inputs, shape_of(axes), attributes)
            return Written(value, axes)
        if not gate.axes[CHANNELS] and space == (x.axes[2], x.axes[3]):
            return self._spread(gate, x.axes[CHANNELS])
        return gate

    def expanded(self, one: Written, channels: tuple[Index, ...], view: View) -> Written:
        """Repeats a value along channels by a 1x1 convolution of ones and zeros."""
        own = one.axes[CHANNELS]
        if (
            view != FIRST
            or channels[: len(own)] != own
            or not is_space([i for axis in one.axes[2:] for i in axis])
        ):
            return super().expanded(one, channels, view)
        if self.takes("repeat", "gather"):
            return super().expanded(one, channels, view)
        return self._spread(one, channels)

    def _spread(self, one: Written, channels: Sequence[Index]) -> Written:
        own = one.axes[CHANNELS]
        rows = int(extent(own)) if own else 1
        total = int(extent(channels))
        if channels[: len(own)] != own:
            raise UnwritableError("its groups are not next to each other")
        weight = np.repeat(np.eye(rows), total // rows, axis=0).reshape(total, rows, 1, 1)
        axes = (one.axes[0], tuple(channels), *one.axes[2:])
        inputs = [one.value, self.build.constant(weight.astype(self.dtype.numpy()))]
        return self.node("Conv", inputs, axes, kernel_shape=[1, 1])
