"""What a model takes of memory at most, its nodes being run one after another, as they stand.

A value lies in memory from the node that gives it to the last that reads it; the model's inputs,
which are the caller's, lie there throughout, and its outputs until the end. A view lies where what
it views lies. An elementwise operator writes over an operand of the same size that nothing reads
any more, but never over an input of the model. Of branches and loops, the largest body counts.

So it is the sum of all values that are alive at one time: exact for the graph, and less than what
an allocator takes, which rounds sizes up and leaves holes. What a kernel needs for itself
meanwhile, as for unfolded images and packed weights, no graph tells.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import onnx_ir as ir

from edgeattn.graph.nodes import bodies_of, is_standard, reads_of, size_bytes

_VIEWS: Final = frozenset(["Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"])
_NAMES: Final = (
    "Abs Acos Acosh Add And Asin Asinh Atan Atanh BatchNormalization BitShift Ceil Celu Clip Cos"
    " Cosh Div Elu Erf Exp Floor Gelu HardSigmoid HardSwish LeakyRelu Log Max Mean Min Mish Mod Mul"
    " Neg Not Or PRelu Pow Reciprocal Relu Round Selu Sigmoid Sign Sin Sinh Softplus Softsign Sqrt"
    " Sub Sum Swish Tan Tanh ThresholdedRelu Where Xor"
)
_ELEMENTWISE: Final = frozenset(_NAMES.split())


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """What a model takes of memory.

    Attributes:
        weights_bytes: All weights, each once, constants of nodes among them.
        activations_bytes: The most that all values take at one time, inputs and outputs among
            them; None if the size of one is not known before run time.
        at: The name of the node that runs then; "" if that is not known.
    """

    weights_bytes: int
    activations_bytes: int | None
    at: str


@dataclass(slots=True, eq=False)
class _Room:
    """Where values lie: one, and its views, or what is written over it.

    Attributes:
        size: Its bytes.
        readers: How many nodes are still to read it.
        is_kept: Whether it stays to the end.
    """

    size: int
    readers: int = 0
    is_kept: bool = False

    @property
    def is_free(self) -> bool:
        return not self.readers and not self.is_kept


class _UnknownError(Exception):
    """The size of a value is not known before run time."""


def plan(model: ir.Model, *, float_bytes: int = 4) -> MemoryPlan:
    """Plan the memory of a model.

    Args:
        model: The model, with static shapes.
        float_bytes: What each float32 number takes where it runs: 2 where that is in half. Those of
            weights take what they do in the file.
    """
    weights = sum(size_bytes(tensor) for graph in model.graphs() for tensor in _weights(graph))
    try:
        peak, at = _peak(model.graph, float_bytes)
    except _UnknownError:
        return MemoryPlan(weights_bytes=weights, activations_bytes=None, at="")
    return MemoryPlan(weights_bytes=weights, activations_bytes=peak, at=at)


def _peak(graph: ir.Graph, float_bytes: int) -> tuple[int, str]:
    """Return the most that a graph's values take, and the name of the node that runs then."""
    reads = {node: reads_of(node) for node in graph}
    readers: dict[ir.Value, int] = {}
    for values in reads.values():
        for value in values:
            readers[value] = readers.get(value, 0) + 1
    outputs = set(graph.outputs)
    rooms = {value: _Room(size=_size(value, float_bytes), is_kept=True) for value in _inputs(graph)}
    now = sum(room.size for room in rooms.values())
    peak, at = now, ""
    for node, values in reads.items():
        read = [rooms[value] for value in values if value in rooms]
        for room in read:
            room.readers -= 1
        made = []
        for place, value in enumerate(node.outputs if node.op_type != "Constant" else ()):
            room = _room(node, place, rooms, float_bytes)
            if room not in read and room not in made:
                now += room.size
            rooms[value] = room
            made.append(room)
            room.is_kept = room.is_kept or value in outputs
        for value, room in zip(node.outputs, made, strict=False):
            room.readers += readers.get(value, 0)
        within = max((_peak(one, float_bytes)[0] for one in bodies_of(node)), default=0)
        if now + within > peak:
            peak, at = now + within, node.name or ""
        now -= sum(room.size for room in dict.fromkeys([*read, *made]) if room.is_free)
    return peak, at


def _room(node: ir.Node, place: int, rooms: dict[ir.Value, _Room], float_bytes: int) -> _Room:
    """Return where an output of a node lies, what it reads having been read."""
    value = node.outputs[place]
    if not is_standard(node) or place:
        return _Room(size=_size(value, float_bytes))
    if node.op_type in _VIEWS:
        viewed = node.inputs[0]
        return rooms[viewed] if viewed in rooms else _Room(size=0)
    size = _size(value, float_bytes)
    if node.op_type in _ELEMENTWISE:
        for operand in node.inputs:
            room = rooms.get(operand) if operand is not None else None
            if room is not None and room.is_free and room.size == size:
                return room
    return _Room(size=size)


def _inputs(graph: ir.Graph) -> Sequence[ir.Value]:
    return [value for value in graph.inputs if not value.is_initializer()]


def _weights(graph: ir.Graph) -> Iterator[ir.TensorProtocol]:
    """Return the constants of a graph: its weights, and what its Constant nodes hold."""
    held = [value.const_value for value in graph.initializers.values()]
    held += [
        ir.convenience.get_const_tensor(node.outputs[0])
        for node in graph
        if node.op_type == "Constant"
    ]
    return (tensor for tensor in held if tensor is not None)


def _size(value: ir.Value, float_bytes: int) -> int:
    """Return the bytes of a value; of an output that is left out, none."""
    if not value.name:
        return 0
    if value.dtype is None or value.shape is None or not value.shape.is_static():
        raise _UnknownError
    if value.dtype == ir.DataType.STRING:
        return 0
    each = float_bytes if value.dtype == ir.DataType.FLOAT else value.dtype.itemsize
    return math.ceil(math.prod(value.shape.numpy()) * each)
