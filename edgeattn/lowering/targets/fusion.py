"""What TensorRT makes of some nodes: how it fuses, as its plans show.

    convolutions, products      a kernel each, with the elementwise operators that follow it
    elementwise, copies of parts, transposes    one kernel with what they read from and feed
    reductions                  with the elementwise operators before them; and with those behind
                                them, but where they go back to the map
    a reduction of rows (of the last axis, of a channels-last map, a softmax, a layer norm)
                                with those that go back to the map, too
    a reduction over rows or columns, or both, of a channels-first map that a convolution wrote
                                a transposed copy of the map, first
    views                       nothing

What a convolution outside gives is taken into account: elementwise operators that alone read its
map are in its kernel, which writes their result. An elementwise kernel that only one other reads is
computed there. Seen in plans of TensorRT-RTX 1.7.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import onnx_ir as ir

from edgeattn.graph.nodes import integer, ints, reduced_axes
from edgeattn.lowering.build import DOMAIN
from edgeattn.lowering.measures import VIEWS, Figures, bytes_of, elements, is_read

_LAYERS: Final = frozenset({"Conv", "Gemm", "MatMul", "ConvTranspose"})
# A kernel of its own, that takes nothing in.
_ALONE: Final = frozenset(
    {"MaxPool", "AveragePool", "LpPool", "InstanceNormalization", "GroupNormalization", "Concat",
     "Resize", "GridSample", "Einsum", "TopK", "Gather", "GatherND", "ScatterND", "Attention"}
)  # fmt: skip
_READS_IT_AS_IT_IS: Final = frozenset({"Transpose", "Softmax"}) | _LAYERS | _ALONE | {
    "GlobalAveragePool", "GlobalMaxPool", "LayerNormalization", "Pad", "Slice", "Split",
}  # fmt: skip
_CLIPS: Final = frozenset({"Relu", "Clip"})
_POOLS: Final = frozenset({"GlobalAveragePool", "GlobalMaxPool"})
_ROWS: Final = frozenset({"Softmax", "LogSoftmax", "LayerNormalization", "RMSNormalization"})
_MAP: Final = 4

Kind = Literal["layer", "alone", "pointwise", "rows", "map"]


@dataclass(slots=True, eq=False)
class _Kernel:
    """Nodes that run as one.

    Attributes:
        kind: `pointwise` until it has a reduction, of rows or of a map.
        depth: How many kernels must have run before it.
        space: The elements that it goes over.
        turned: Whether these lie channels last.
        reads: What it reads of others, by value.
        values: What its nodes give.
    """

    kind: Kind
    depth: int
    space: int
    turned: bool
    reads: dict[ir.Value, None] = field(default_factory=dict)
    values: set[ir.Value] = field(default_factory=set)


def measure(nodes: Sequence[ir.Node], instead_of: Sequence[ir.Node]) -> Figures:
    """Return the kernels that TensorRT makes of some nodes, and what they move.

    Args:
        nodes: The nodes, in an order that runs.
        instead_of: Those that are not there if they are.
    """
    return _Plan(nodes, instead_of).figures()


class _Plan:
    def __init__(self, nodes: Sequence[ir.Node], instead_of: Sequence[ir.Node]) -> None:
        self._nodes = set(nodes)
        self._absent = set(instead_of)
        self._same: dict[ir.Value, ir.Value] = {}
        self._turned: dict[ir.Value, bool] = {}
        self._of: dict[ir.Value, _Kernel] = {}
        self._kernels: dict[_Kernel, None] = {}
        self._outside: list[_Kernel] = []
        self._copies: set[ir.Value] = set()
        self._weights = 0
        for node in nodes:
            self._add(node)

    def _source(self, value: ir.Value) -> ir.Value:
        """Return the value that a view is of."""
        while value in self._same:
            value = self._same[value]
        return value

    def _add(self, node: ir.Node) -> None:
        inputs = [self._source(v) for v in node.inputs if v is not None and is_read(v)]
        if not inputs:
            return
        if node.op_type in VIEWS or node.domain == DOMAIN or moves_nothing(node):
            self._same[node.outputs[0]] = inputs[0]
            return
        for value in inputs:
            self._begin(value)
        kernel = self._kernel(node, inputs)
        kernel.values.update(node.outputs)
        for value in inputs:
            if self._of.get(value) is not kernel:
                kernel.reads[value] = None
        for value in node.outputs:
            self._of[value] = kernel
            self._turned[value] = self._is_turned(node, inputs)

    def _begin(self, value: ir.Value) -> None:
        """Note the kernel of a convolution outside, where it takes in what reads its map."""
        node = value.producer()
        if value in self._of or node is None or node in self._nodes or node.op_type not in _LAYERS:
            return
        users = self._users(value)
        kinds = {user.op_type for user in users if not moves_nothing(user)}
        if not set(users) <= self._nodes or value.is_graph_output() or kinds & _READS_IT_AS_IT_IS:
            return
        if any(kind.startswith("Reduce") for kind in kinds):
            return
        if integer(node, "group", 1) != 1 and not kinds <= _CLIPS:
            return
        kernel = _Kernel("layer", 0, elements(value), turned=False, values={value})
        self._of[value] = kernel
        self._outside.append(kernel)

    def _is_turned(self, node: ir.Node, inputs: Sequence[ir.Value]) -> bool:
        largest = max(inputs, key=elements)
        turned = self._turned.get(largest, False)
        return not turned if node.op_type == "Transpose" else turned

    def _kernel(self, node: ir.Node, inputs: Sequence[ir.Value]) -> _Kernel:
        size = max(elements(value) for value in node.outputs)
        producers = {self._of[v]: None for v in inputs if v in self._of}
        depth = max((kernel.depth for kernel in producers), default=0)
        last = [kernel for kernel in producers if kernel.depth == depth]
        turned = self._is_turned(node, inputs)
        if node.op_type in _LAYERS or node.op_type in _ALONE:
            self._weights += sum(
                bytes_of(v) for v in node.inputs if v is not None and not is_read(v)
            )
            kind: Kind = "layer" if node.op_type in _LAYERS else "alone"
            return self._new(kind, depth, size, turned=turned)
        reduced = _reduction(node)
        if reduced is not None:
            self._copied(node, inputs[0], reduced)
            size = elements(inputs[0])
        if len(last) > 1:
            if any(one.kind != "pointwise" for one in last):
                return self._new(reduced or "pointwise", depth, size, turned=turned)
            self._merge(last)
        if last and self._takes(last[0], size, reduced, turned=turned):
            kernel = last[0]
            kernel.kind = reduced or kernel.kind
            kernel.space = max(kernel.space, size)
            return kernel
        return self._new(reduced or "pointwise", depth, size, turned=turned)

    def _new(self, kind: Kind, depth: int, size: int, *, turned: bool) -> _Kernel:
        kernel = _Kernel(kind, depth + 1, size, turned)
        self._kernels[kernel] = None
        return kernel

    def _merge(self, kernels: list[_Kernel]) -> None:
        """Make one of elementwise kernels that do not wait for each other."""
        first = kernels[0]
        for other in kernels[1:]:
            first.space = max(first.space, other.space)
            first.reads.update(other.reads)
            first.values |= other.values
            for value in other.values:
                self._of[value] = first
            del self._kernels[other]

    @staticmethod
    def _takes(kernel: _Kernel, size: int, reduced: Kind | None, *, turned: bool) -> bool:
        """Return whether a kernel takes in an elementwise operator or a reduction that follows."""
        match kernel.kind:
            case "alone":
                return False
            case "layer":
                return reduced is None and size == kernel.space
            case "pointwise":
                return True
            case "rows":
                return size < kernel.space or (size == kernel.space and turned == kernel.turned)
            case "map":
                return reduced is None and size < kernel.space

    def _copied(self, node: ir.Node, x: ir.Value, kind: Kind) -> None:
        """Note that a map is copied before it is reduced, where a convolution wrote it."""
        kernel = self._of.get(x)
        is_written = x.producer() is not None if kernel is None else kernel.kind == "layer"
        shape = node.inputs[0].shape if node.inputs[0] is not None else None
        is_map = shape is not None and len(shape) == _MAP and list(shape[2:]) != [1, 1]
        if kind == "map" and is_map and is_written and not self._turned.get(x, False):
            self._copies.add(x)

    def figures(self) -> Figures:
        """Count the kernels and what they move."""
        outside = {
            self._source(v) for node in self._nodes for v in node.outputs if self._is_outside(v)
        }
        kernels = [*self._outside, *self._kernels]
        for kernel in [k for k in kernels if k.kind == "pointwise" and not k.values & outside]:
            readers = [one for one in kernels if kernel.values & one.reads.keys()]
            if len(readers) == 1 and readers[0].kind in {"pointwise", "rows", "map"}:
                self._sink(kernel, readers[0])
                kernels.remove(kernel)
        read = {value for kernel in kernels for value in kernel.reads}
        moved = self._weights + sum(2 * bytes_of(value) for value in self._copies)
        for kernel in kernels:
            moved += sum(map(bytes_of, kernel.reads))
            moved += sum(bytes_of(v) for v in kernel.values if v in outside or v in read)
        count = len(kernels) - len(self._outside) + len(self._copies)
        for written in self._outside:
            readers = [one for one in kernels if written.values & one.reads.keys()]
            if len(written.values) == 1 and len(readers) == 1 and readers[0].kind == "pointwise":
                count -= 1
                moved -= 2 * sum(map(bytes_of, written.values))
        return Figures(kernels=count, traffic_bytes=moved)

    @staticmethod
    def _sink(kernel: _Kernel, reader: _Kernel) -> None:
        """Compute an elementwise kernel where it is read."""
        for value in kernel.values:
            reader.reads.pop(value, None)
        reader.reads.update(kernel.reads)
        reader.values |= kernel.values

    def _is_outside(self, value: ir.Value) -> bool:
        users = self._users(value)
        return value.is_graph_output() or not users or not set(users) <= self._nodes

    def _users(self, value: ir.Value) -> list[ir.Node]:
        """Return what reads a value, without what is not there."""
        users = [user for user in value.consumers() if user not in self._absent]
        return [user for user in users if user.graph is not None or user in self._nodes]


def moves_nothing(node: ir.Node) -> bool:
    """Return whether a transpose only moves dimensions of 1."""
    x = node.inputs[0] if node.op_type == "Transpose" else None
    if x is None or x.shape is None:
        return False
    order = ints(node, "perm", range(len(x.shape))[::-1])
    moved = [axis for axis in order if x.shape[axis] != 1]
    return moved == sorted(moved)


def _reduction(node: ir.Node) -> Kind | None:
    """Return what kind of reduction a node is, or None."""
    if node.op_type in _POOLS:
        return "map"
    if node.op_type in _ROWS:
        return "rows"
    x = node.inputs[0]
    if not node.op_type.startswith("Reduce") or x is None or x.shape is None:
        return None
    axes = set(reduced_axes(node, len(x.shape)) or ())
    return "map" if len(x.shape) == _MAP and {2, 3} & axes and 1 not in axes else "rows"
