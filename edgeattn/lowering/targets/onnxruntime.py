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

from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar, Final

import numpy as np
import onnx_ir as ir

from edgeattn.lowering.indices import Axes, Index, count, leaves
from edgeattn.lowering.measures import Figures
from edgeattn.lowering.targets import passes
from edgeattn.lowering.targets.blocked import BlockedWriter, fills_blocks, is_blocked
from edgeattn.lowering.targets.layout import (
    CHANNELS,
    FIRST,
    LAST,
    ORDER,
    SPACE,
    View,
    extent,
    shape_of,
)
from edgeattn.lowering.targets.squeeze import slid, through_producer
from edgeattn.lowering.targets.widths import widened
from edgeattn.lowering.targets.writer import Form, Written, named
from edgeattn.lowering.terms import ONE, ZERO, Const, Term, is_scalar, scalar

_LAYER_NORM_SINCE: Final = 17
# Mean and maximum over channels, by rows and by axis: 64x14x14 20 us in 6 nodes and 21 in 3,
# 96x14x14 22 and 26, 256x56x56 250 and 1035.
_FEW_ELEMENTS: Final = 13_000
# 320 channels: 24 us dense, 12 by reshapes and a 1-D convolution.
_WIDEST_DENSE_BAND: Final = 256


class ONNXRuntimeWriter(BlockedWriter):
    """Writes terms for ONNX Runtime's CPU kernels."""

    forms: ClassVar[Mapping[str, tuple[Form, ...]]] = {
        "squeeze": named("map", "cheaper"),
        "gate": named("resized", "broadcast"),
        "moments": named("instance-norm", "layer-norm", "parts"),
        "affine": named("depthwise", "elementwise"),
        "channel-statistics": named("rows", "axis"),
        "groups": named("dense", "grouped"),
        "repeat": named("convolution", "gather"),
        "hidden": named("block", "own"),
        "band": named("dense", "sliding"),
        "single-channel": named("phases", "convolution"),
        "sum": named("convolution", "elementwise"),
        "linear-map": named("separate"),
    }

    @staticmethod
    def measure(nodes: Sequence[ir.Node], instead_of: Sequence[ir.Node]) -> Figures:
        """Return the kernels that ONNX Runtime runs for some nodes, and what they move."""
        return passes.measure(nodes, instead_of)

    def prepared(self, term: Term) -> Term:
        """Return an equal term with a cheaper squeeze and hidden layers a block wide."""
        if self.takes("squeeze", "cheaper"):
            term = through_producer(term, self._raising)
        wide = widened(term, self._raising)
        return wide if wide is not term and self.takes("hidden", "block") else term

    # Statistics.

    def write_mean(self, term: Term, view: View) -> Written:
        """Write a mean: a global pool where the map is in blocks."""
        return self._pooled("GlobalAveragePool", term, view) or super().write_mean(term, view)

    def write_max(self, term: Term, view: View) -> Written:
        """Write a maximum: a global pool where the map is in blocks."""
        return self._pooled("GlobalMaxPool", term, view) or super().write_max(term, view)

    def _pooled(self, op_type: str, term: Term, view: View) -> Written | None:
        over, x = set(leaves(term.attrs)), term.args[0]
        space = {index for index in x.indices() if index.home in SPACE}
        channels = {index for index in x.indices() if index.home == CHANNELS}
        if over == channels and space and self._has_rows(channels | space):
            return self._by_rows(op_type, self.on(x, FIRST), term, view)
        if over != space:
            return None
        made = self.on(x, FIRST)
        # Outside the blocks a reduction is faster than a pool, which is not threaded there.
        if not is_blocked(made.value) or not fills_blocks(extent(made.axes[CHANNELS])):
            return None
        axes: Axes = (made.axes[0], made.axes[1], (), ())
        return self._seen(self.node(op_type, [made.value], axes), view)

    def _has_rows(self, indices: Collection[Index]) -> bool:
        return count(indices) > _FEW_ELEMENTS and self.takes("channel-statistics", "rows")

    def _by_rows(self, op_type: str, x: Written, term: Term, view: View) -> Written:
        """Take a statistic over channels from [N, H W, C], where it runs over what is adjacent."""
        batch, channels, *space = x.axes
        rows: Axes = (batch, (*space[0], *space[1]), channels)
        value = self._rows.get(term.args[0])
        if value is None:
            turned = self.node("Transpose", [x.value], (batch, *space, channels), perm=ORDER[LAST])
            value = self.shaped(turned.value, rows).value
            self._rows[term.args[0]] = value
        flat: Axes = (batch, rows[1], ())
        if op_type == "GlobalMaxPool":
            made = self.node(op_type, [value], flat)
        else:
            made = Written(self.build.reduce("ReduceMean", value, [2], shape_of(flat)), flat)
        axes: Axes = (batch, (), space[0], space[1])
        return self._seen(self.shaped(made.value, axes), view)

    # Normalised maps, with their affine.

    def write_normalised(self, term: Term, view: View) -> Written:
        """Write a normalised map as one operator."""
        return self._affine_normalised(term, ONE, ZERO, view) or super().write_normalised(
            term, view
        )

    def _affine_normalised(
        self, term: Term, factor: Const, offset: Const, view: View
    ) -> Written | None:
        """Return factor * normalised + offset, with numbers or a number for each channel."""
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
        scale, bias = (self.per_channel(one, channels) for one in (factor, offset))
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
        scale = self.real(np.ones(sizes))
        made = self.node("LayerNormalization", [x.value, scale], x.axes, axis=2, epsilon=epsilon)
        if not (is_scalar(factor, 1) and is_scalar(offset, 0)):
            made = self.convolved(made, factor, offset)
        return self._seen(made, view)

    def write_add(self, term: Term, view: View) -> Written:
        """Write a sum whose constant is part of what it is added to, where that can be."""
        made = self._with_affine(term, view)
        return super().write_add(term, view) if made is None else made

    def _with_affine(self, term: Term, view: View) -> Written | None:
        """Write an addend that takes the constant one in: a norm, or a map in blocks."""
        taken = [self.terms.parts(arg) for arg in term.args]
        offset = next((factor for factor, base in taken if base is None), ZERO)
        terms = [(factor, base) for factor, base in taken if base is not None]
        for place, (factor, base) in enumerate(terms):
            made = None
            if base.op == "normalised":
                made = self._affine_normalised(base, factor, offset, view)
            elif len(terms) == 1 and offset is not ZERO:
                made = self.depthwise(base, factor, offset, view)
            if made is None:
                continue
            for other, (scale, rest) in enumerate(terms):
                if other != place:
                    addend = self.on(self.terms.scaled(scale, rest), view)
                    self.build.origin = term.origin
                    made = self.join("Add", made, addend, view)
            return made
        return None

    def write_band(self, term: Term, view: View) -> Written:
        """Write a band over few channels as a convolution with zeros off the band."""
        axis, taps, offset = term.attrs
        x = self.on(term.args[0], FIRST)
        channels = leaves(axis)
        count = int(extent(channels))
        if (
            x.axes[CHANNELS] != channels
            or count > _WIDEST_DENSE_BAND
            or not is_blocked(x.value)
            or not self.takes("band", "dense")
        ):
            return super().write_band(term, view)
        bias = scalar(offset).spread(channels) if offset else None
        weight = slid(np.eye(count), taps)
        return self._seen(self.pointwise(x.value, weight, bias, x.axes), view)

    def write_fn(self, term: Term, view: View) -> Written:
        """Write a function, of a convolution to one channel phase by phase."""
        made = self.by_phases(term)
        return super().write_fn(term, view) if made is None else self._seen(made, view)

    def write_mul(self, term: Term, view: View) -> Written:
        """Write a product; a square of a normalised map has its factor inside."""
        product = self.known_product(term, view)
        if product is not None:
            return super().write_mul(product, view)
        factor, base = self.terms.parts(term)
        is_square = base is not None and base.op == "pow" and base.attrs == 2
        if is_square and base is not None and base.args[0].op == "normalised":
            positive = bool((factor.array >= 0).all())
            root = Const(np.sqrt(np.abs(factor.array)), factor.axes)
            made = self._affine_normalised(base.args[0], root, ZERO, view) if positive else None
            if made is not None:
                self.build.origin = term.origin
                return self.node("Mul", [made.value, made.value], made.axes)
        if base is not None and base is not term and base.is_thin():
            made = self.depthwise(base, factor, ZERO, view)
            if made is not None:
                return made
        return super().write_mul(term, view)
