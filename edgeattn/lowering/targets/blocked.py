"""Forms that keep a feature map in the blocked layout of ONNX Runtime's convolutions on a CPU.

Convolutions, pools, Sigmoid, equal-shape Mul and Add, and nearest Resize run on channels in blocks;
anything else has a layout copy before it and one after, and so have pools and Resize where the
channels do not fill their blocks. A gate [N, C, 1, 1] is resized to the map before it is
multiplied, a gate [N, 1, H, W] goes through a 1x1 convolution of ones, an affine for each channel
is a depthwise convolution, and what comes from outside enters through a depthwise one of ones. A
result that a residual sum and its activation follow leaves through one, too, which takes both in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import onnx_ir as ir

from edgeattn.graph.edit import AttributeValue
from edgeattn.lowering.indices import Axes, Index, leaves
from edgeattn.lowering.targets.layout import (
    CHANNELS,
    FIRST,
    View,
    extent,
)
from edgeattn.lowering.targets.repeated import RepeatedWriter
from edgeattn.lowering.targets.widths import BLOCK
from edgeattn.lowering.targets.writer import Written
from edgeattn.lowering.terms import ONE, ZERO, Const, Term, is_scalar

POOLS: Final = frozenset({"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"})
KEEPS_BLOCKS: Final = frozenset(
    {"Relu", "Sigmoid", "Tanh", "Add", "Sum", "Mul", "Concat", "BatchNormalization", "Resize"}
)
_FUSED_AFTER_A_CONVOLUTION: Final = frozenset({"sigmoid", "tanh"})


def fills_blocks(channels: object) -> bool:
    """Return whether a number of channels fills its blocks."""
    return isinstance(channels, int) and channels % BLOCK == 0


def is_blocked(value: ir.Value, depth: int = 4) -> bool:
    """Return whether a value lies in the blocked layout, as far as its producers tell."""
    node = value.producer()
    if node is None or value.shape is None or len(value.shape) != 4:
        return False
    if node.op_type == "Conv":
        weight = node.inputs[1]
        return weight is not None and weight.const_value is not None
    if node.op_type in POOLS:
        return fills_blocks(value.shape[CHANNELS])
    if node.op_type not in KEEPS_BLOCKS or depth == 0:
        return False
    if node.op_type in {"Resize", "Concat"} and not fills_blocks(value.shape[CHANNELS]):
        return False
    count = 1 if node.op_type in {"Resize", "BatchNormalization"} else len(node.inputs)
    inputs = [v for v in node.inputs[:count] if v is not None]
    shapes = {str(v.shape) for v in inputs}
    return len(shapes) == 1 and all(is_blocked(v, depth - 1) for v in inputs)


def _is_summed(root: ir.Value) -> bool:
    """Return whether all that reads a value is a sum that a Relu follows, with no convolution's."""
    users = list(root.consumers())
    if len(users) != 1 or users[0].op_type != "Add" or root.is_graph_output():
        return False
    total = users[0].outputs[0]
    other = next((value for value in users[0].inputs if value is not root), None)
    producer = None if other is None else other.producer()
    if other is None or producer is None or other.shape != root.shape:
        return False
    is_ended = [user.op_type for user in total.consumers()] == ["Relu"]
    return producer.op_type != "Conv" and is_ended and not total.is_graph_output()


class BlockedWriter(RepeatedWriter):
    """Writes gates, affines and repetitions so that maps stay in blocks."""

    def finish(self, value: ir.Value, root: ir.Value) -> ir.Value:
        """Take a residual sum and its Relu into a convolution of ones, if that joins them.

        ResNet-50, one thread: Add and Relu 1.1 ms, the convolution 0.6. Without a Relu to take in
        it is as many nodes and more passes; beside another convolution, that one takes them in.
        """
        if not _is_summed(root) or not is_blocked(value) or value.shape is None:
            return value
        node, count = value.producer(), value.shape[CHANNELS]
        if (node is not None and node.op_type == "Conv") or not isinstance(count, int):
            return value
        if not self.takes("sum", "convolution"):
            return value
        weight = self.real(np.ones((count, 1, 1, 1)))
        shape = [size if isinstance(size, int) else size.value for size in value.shape]
        attributes: dict[str, AttributeValue] = {"kernel_shape": [1, 1], "group": count}
        return self.build.node("Conv", [value, weight], shape, attributes)

    # Affines.

    def per_channel(self, constant: Const, channels: Sequence[Index]) -> ir.Value:
        """Return a constant with a number for each channel, f[C]."""
        return self.real(constant.spread(channels))

    def convolved(self, x: Written, factor: Const, offset: Const) -> Written:
        """Return factor * x + offset as a depthwise 1x1 convolution."""
        channels = x.axes[CHANNELS]
        bias = None if is_scalar(offset, 0) else offset.spread(channels)
        weight = factor.spread(channels)[:, None]
        return self.pointwise(x.value, weight, bias, x.axes, group=int(extent(channels)))

    def depthwise(self, base: Term, factor: Const, offset: Const, view: View) -> Written | None:
        """Return factor * base + offset as a depthwise 1x1 convolution, if it stays blocked."""
        if is_scalar(factor) and not base.is_thin():
            return None
        x = self.on(base, FIRST)
        if not x.axes[CHANNELS]:
            return None
        constants = {*leaves(factor.axes), *leaves(offset.axes)}
        if not is_blocked(x.value) or not constants <= set(x.axes[CHANNELS]):
            return None
        if self.takes("affine", "elementwise"):
            return None
        self.build.origin = base.origin
        return self._seen(self.convolved(x, factor, offset), view)

    def write_fn(self, term: Term, view: View) -> Written:
        """Write a function; of thin channels outside the blocks, after a convolution into them."""
        arg = term.args[0]
        if term.attrs[0] in _FUSED_AFTER_A_CONVOLUTION and arg.is_thin() and view == FIRST:
            x = self.on(arg, FIRST)
            is_outside = bool(x.axes[CHANNELS]) and not is_blocked(x.value)
            fills = is_outside and fills_blocks(extent(x.axes[CHANNELS]))
            if fills and self.takes("gate", "resized"):
                self._written[arg, FIRST] = self.convolved(x, ONE, ZERO)
        return super().write_fn(term, view)

    # Gates.

    def join(self, op_type: str, one: Written, other: Written, view: View) -> Written:
        """Apply a binary operator; a gate is first brought to the shape of a blocked map."""
        if op_type == "Mul" and view == FIRST:
            small, large = sorted((one, other), key=lambda value: len(value.indices))
            is_map = bool(large.axes[CHANNELS]) and bool(large.axes[2] or large.axes[3])
            is_gate = small.indices < large.indices and is_blocked(large.value)
            if is_map and is_gate and self.takes("gate", "resized"):
                one, other = self._resized(small, large), large
        return super().join(op_type, one, other, view)

    def _resized(self, gate: Written, x: Written) -> Written:
        if gate.value.const_value is not None or not gate.indices:
            return gate
        space = (gate.axes[2], gate.axes[3])
        channels = x.axes[CHANNELS]
        # Resize leaves channels that do not fill their blocks to a kernel ten times as slow.
        if gate.axes[CHANNELS] == channels and space == ((), ()):
            sizes = [extent(axis) for axis in x.axes[2:]]
            if any(isinstance(size, str) for size in sizes) or not fills_blocks(extent(channels)):
                return gate
            if not is_blocked(gate.value):
                gate = self.convolved(gate, ONE, ZERO)
            scales = np.array([1, 1, *sizes], dtype=np.float32)
            axes: Axes = (gate.axes[0], *x.axes[1:])
            return self.node(
                "Resize",
                [gate.value, None, self.build.constant(scales)],
                axes,
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            )
        if not gate.axes[CHANNELS] and space == (x.axes[2], x.axes[3]):
            return self.spread_along(gate, channels)
        return gate
