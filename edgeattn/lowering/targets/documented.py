"""TensorRT before TensorRT-RTX's generation: only forms that rest on fusions that it documents.

The forms were picked on plans of TensorRT-RTX. Older TensorRTs fuse by patterns that NVIDIA lists,
and what the list does not have may be a dozen kernels there: nobody measured it. So what is taken
here, and what it costs, follows the list alone (`FUSIONS`). Where it leaves something open, the
dearer reading is taken: a fused kernel gives one value, and slices, pads, selections and copies are
kernels of their own.

Source: "Types of Fusions" in NVIDIA's TensorRT Developer Guide (8.0 to 8.6; from 10 on its "Layer
Fusion Catalog"): docs/sources.md, "Fusions that TensorRT documents".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import onnx_ir as ir

from edgeattn.graph.nodes import integer
from edgeattn.lowering.build import DOMAIN
from edgeattn.lowering.measures import VIEWS, Figures, bytes_of, elements, is_read
from edgeattn.lowering.targets.fusion import moves_nothing
from edgeattn.lowering.targets.tensorrt import TensorRTWriter

FUSIONS: Final[Mapping[str, str]] = {
    "none": "a layer as it is; nothing has to be fused",
    "convolution-activation": "Convolution and activation: the kernel of a convolution computes the"
    " ReLU, clip or other layer of one input and one output behind it",
    "convolution-sum": "Convolution and elementwise operation: the kernel of a convolution adds"
    " another map, which must not broadcast",
    "pointwise": "PointWise: adjacent activations, unary and elementwise layers and scales are one"
    " kernel",
    "average-pooling": "Reduce: a mean over height and width that keeps them is a pooling layer",
    "shuffle-reduce": "Shuffle and Reduce: a transpose is part of the reduction that reads it",
    "shuffle-shuffle": "Shuffle and Shuffle: transposes and reshapes in a row are one, or none",
}
"""The fusions that are counted on, each under its heading there."""

_CONVOLUTIONS: Final = frozenset({"Conv", "ConvTranspose"})
_LAYERS: Final = _CONVOLUTIONS | {"Gemm", "MatMul"}
_SUMS: Final = frozenset({"Add", "Sum", "Min", "Max"})
_POINTWISE: Final = _SUMS | {
    "Sub", "Mul", "Div", "Pow", "Neg", "Abs", "Sqrt", "Exp", "Log", "Reciprocal", "Erf", "Ceil",
    "Floor", "Relu", "Clip", "LeakyRelu", "Elu", "Selu", "Sigmoid", "HardSigmoid", "HardSwish",
    "Softplus", "Softsign", "Tanh", "ThresholdedRelu",
}  # fmt: skip
# What goes over its map twice by itself.
_TWICE: Final = frozenset(
    {"InstanceNormalization", "GroupNormalization", "LayerNormalization", "Softmax", "LogSoftmax"}
)


class DocumentedWriter(TensorRTWriter):
    """Writes terms for such a TensorRT."""

    @classmethod
    def default(cls, family: str) -> str:
        """Return the name of the first form of a family that rests on a documented fusion."""
        return next(form.name for form in cls.forms[family] if form.rests_on)

    @classmethod
    def left_out(cls, taken: Iterable[tuple[str, str]]) -> list[str]:
        """Return the forms that TensorRT-RTX's plans would have, of families that were asked."""
        return [
            f"{family} {cls.forms[family][0].name}"
            for family, form in taken
            if form == cls.default(family) != cls.forms[family][0].name
        ]

    @staticmethod
    def measure(nodes: Sequence[ir.Node], instead_of: Sequence[ir.Node]) -> Figures:
        """Return the kernels that the documented fusions make of some nodes, and what they move."""
        return _Plan(nodes, instead_of).figures()


class _Plan:
    """Some nodes as kernels, each known by its last node, built from the last node to the first.

    Args:
        nodes: The nodes, in an order that runs.
        instead_of: Those that are not there if they are.
    """

    def __init__(self, nodes: Sequence[ir.Node], instead_of: Sequence[ir.Node]) -> None:
        self._absent = set(instead_of)
        self._same: dict[ir.Value, ir.Value] = {}
        self._nodes: dict[ir.Node, ir.Node] = {}
        for node in nodes:
            read = [value for value in node.inputs if is_read(value)]
            is_view = node.op_type in VIEWS or node.domain == DOMAIN or moves_nothing(node)
            if read and is_view:
                self._same.update(dict.fromkeys(node.outputs, self._source(read[0])))
            elif read:
                self._nodes[node] = node
        self._inside = set(nodes)
        for node in reversed(list(self._nodes)):
            reader = self._only_reader(node)
            if reader is not None and self._is_fused(node, self._nodes[reader], reader):
                self._nodes[node] = self._nodes[reader]

    def _source(self, value: ir.Value | None) -> ir.Value:
        """Return the value that a view is of."""
        assert value is not None, "only what is read has a source"
        while value in self._same:
            value = self._same[value]
        return value

    def _users(self, value: ir.Value) -> list[ir.Node]:
        """Return what reads a value or a view of it, without what is not there."""
        found: list[ir.Node] = []
        for user in value.consumers():
            if user in self._absent or (user.graph is None and user not in self._inside):
                continue
            views = [one for one in user.outputs if one in self._same]
            found += [node for view in views for node in self._users(view)] if views else [user]
        return found

    def _is_output(self, value: ir.Value) -> bool:
        views = [one for one, source in self._same.items() if self._source(source) is value]
        return any(one.is_graph_output() for one in (value, *views))

    def _only_reader(self, node: ir.Node) -> ir.Node | None:
        """Return a node of the kernel that alone reads what a node gives."""
        users = {user for value in node.outputs for user in self._users(value)}
        kernels = {self._nodes.get(user) for user in users}
        if len(kernels) != 1 or None in kernels or any(map(self._is_output, node.outputs)):
            return None
        return next(iter(users))

    def _members(self, kernel: ir.Node) -> list[ir.Node]:
        return [node for node, own in self._nodes.items() if own is kernel]

    def _is_fused(self, node: ir.Node, kernel: ir.Node, reader: ir.Node) -> bool:
        """Return whether a node is part of the kernel that alone reads it."""
        if node.op_type in _POINTWISE:
            return all(one.op_type in _POINTWISE for one in self._members(kernel))
        if node.op_type == "Transpose":  # shuffle-reduce, shuffle-shuffle
            return reader.op_type == "Transpose" or (
                reader.op_type.startswith("Reduce") and integer(reader, "keepdims", 1) == 1
            )
        return node.op_type in _LAYERS and self._ends(node, kernel)

    def _ends(self, layer: ir.Node, kernel: ir.Node) -> bool:
        """Return whether what reads a layer is a sum or activations that its kernel computes."""
        members, made = self._members(kernel), self._source(layer.outputs[0])
        if any(one.op_type not in _POINTWISE for one in members):
            return False
        read = {
            value
            for one in members
            for value in map(self._source, filter(is_read, one.inputs))
            if value.producer() not in members
        }
        others = read - {made}
        if not others:
            return layer.op_type in _CONVOLUTIONS or kernel.op_type == "Relu"
        first = members[0]
        return (
            layer.op_type in _CONVOLUTIONS
            and first.op_type in _SUMS
            and made in map(self._source, filter(is_read, first.inputs))
            and len(others) == 1
            and elements(next(iter(others))) == elements(made)
            and made not in {
                self._source(v) for one in members[1:] for v in one.inputs if is_read(v)
            }
        )  # fmt: skip

    def figures(self) -> Figures:
        """Count the kernels and what they move."""
        count = moved = 0
        for kernel in dict.fromkeys(self._nodes.values()):
            members = self._members(kernel)
            read = {
                self._source(value): 2 if one.op_type in _TWICE else 1
                for one in members
                for value in filter(is_read, one.inputs)
            }
            outside = {v: times for v, times in read.items() if v.producer() not in members}
            written = [v for one in members for v in one.outputs if self._is_written(v, members)]
            moved += sum(bytes_of(v) * times for v, times in outside.items())
            moved += sum(map(bytes_of, written))
            moved += sum(
                bytes_of(v)
                for one in members
                if one.op_type in _LAYERS
                for v in one.inputs
                if v is not None and not is_read(v)
            )
            absorbed = self._absorbed(members)
            if absorbed is None:
                count += 1
            else:  # computed by a convolution outside, which writes this instead of its own map
                moved -= 2 * bytes_of(absorbed)
        return Figures(kernels=count, traffic_bytes=moved)

    def _is_written(self, value: ir.Value, members: Sequence[ir.Node]) -> bool:
        users = self._users(value)
        return not users or self._is_output(value) or not set(users) <= set(members)

    def _absorbed(self, members: Sequence[ir.Node]) -> ir.Value | None:
        """Return the map of a convolution outside whose kernel computes these nodes, if any."""
        for value in map(self._source, filter(is_read, members[0].inputs)):
            layer = value.producer()
            if layer is None or layer in self._inside or layer.op_type not in _LAYERS:
                continue
            alone = set(self._users(value)) <= set(members) and not value.is_graph_output()
            if alone and self._ends(layer, self._nodes[members[-1]]):
                return value
        return None
