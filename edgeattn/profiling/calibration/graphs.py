"""Small ONNX models around one operator each, for a calibration to run.

What is timed has a name that begins with `TIMED`. Its input is written by a kernel before it, as in
a network, so that the cache holds it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgeattn.runtimes.runner import WEIGHTS

if TYPE_CHECKING:
    import onnx

#: What the name of a node begins with that is timed.
TIMED: Final = "timed"
_LINKS: Final = 12
# Weights of so many bytes are in the file of all.
_SMALL_BYTES: Final = 1024
_OPSET: Final = 17
_IR_VERSION: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model, whose weights are in a file beside it.

    Attributes:
        data: The ONNX model.
        inputs: The shape of each input, by its name.
        weights_bytes: What the file must hold at least.
    """

    data: bytes
    inputs: Mapping[str, tuple[int, ...]]
    weights_bytes: int


class Graph:
    """Writes a graph; a value is its name."""

    def __init__(self) -> None:
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._weights_bytes = 0
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []

    def input(self, *shape: int) -> str:
        """Add an input, and a kernel that writes what it gives.

        Args:
            shape: Its shape.
        """
        from onnx import TensorProto, helper

        name = f"input{len(self._inputs)}"
        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        self._shapes[name] = shape
        return self.add("Abs", name)

    def add(self, op_type: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Add a node of one output."""
        return self.add_many(op_type, *inputs, outputs=1, name=name, **attributes)[0]

    def add_many(
        self, op_type: str, *inputs: str, outputs: int, name: str = "", **attributes: Any
    ) -> list[str]:
        """Add a node of several outputs."""
        from onnx import helper

        place = len(self._nodes)
        # A node in the blocked layout is called after what it gives.
        given = [f"{name or 'value'}{place}_{k}" for k in range(outputs)]
        self._nodes.append(
            helper.make_node(op_type, inputs, given, name=name or f"other{place}", **attributes)
        )
        return given

    def weights(self, *shape: int) -> str:
        """Add weights of floats: what the file of all begins with."""
        from onnx import TensorProto

        size = 4 * math.prod(shape)
        if size < _SMALL_BYTES:
            halves = np.array([0.02, -0.02], np.float32)
            return self.constant(np.resize(halves, list(shape)))
        name = f"weights{len(self._weights)}"
        tensor = TensorProto(name=name, dims=shape, data_type=TensorProto.FLOAT)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", WEIGHTS), ("offset", "0"), ("length", str(size))):
            tensor.external_data.add(key=key, value=value)
        self._weights.append(tensor)
        self._weights_bytes = max(self._weights_bytes, size)
        return name

    def constant(self, array: Any) -> str:
        """Add a constant."""
        from onnx import numpy_helper

        name = f"weights{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def model(self, outputs: Sequence[str]) -> Model:
        """Return the model that gives these values."""
        import onnx
        from onnx import helper

        graph = helper.make_graph(
            self._nodes,
            "calibrate",
            self._inputs,
            [onnx.ValueInfoProto(name=name) for name in outputs],
            self._weights,
        )
        opsets = [helper.make_opsetid("", _OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
        return Model(
            data=bytes(model.SerializeToString()),
            inputs=self._shapes,
            weights_bytes=self._weights_bytes,
        )


def convolution(
    channels: tuple[int, int], kernel: int, size: int, *, step: int = 1, groups: int = 1
) -> Model:
    """Return a convolution of a square map.

    Args:
        channels: Channels that it reads, and that it gives.
        kernel: Width of its window.
        size: Width of the map.
        step: Its stride.
        groups: Its groups.
    """
    graph = Graph()
    c_in, c_out = channels
    out = graph.add(
        "Conv",
        graph.input(1, c_in, size, size),
        graph.weights(c_out, c_in // groups, kernel, kernel),
        graph.weights(c_out),
        name=TIMED,
        pads=[kernel // 2] * 4,
        strides=[step] * 2,
        group=groups,
    )
    return graph.model([out])


def product(rows: int, inner: int, columns: int) -> Model:
    """Return a linear layer: x[rows, inner] times weights."""
    graph = Graph()
    x = graph.input(rows, inner)
    out = graph.add("Gemm", x, graph.weights(inner, columns), graph.weights(columns), name=TIMED)
    return graph.model([out])


def batched_product(batch: int, rows: int, inner: int, columns: int) -> Model:
    """Return a product of two activations, as in self-attention."""
    graph = Graph()
    x, y = graph.input(batch, rows, inner), graph.input(batch, inner, columns)
    return graph.model([graph.add("MatMul", x, y, name=TIMED)])


def unary(op_type: str, shape: Sequence[int], **attributes: Any) -> Model:
    """Return an operator of one tensor."""
    graph = Graph()
    return graph.model([graph.add(op_type, graph.input(*shape), name=TIMED, **attributes)])


def with_constants(
    op_type: str, shape: Sequence[int], *constants: Any, outputs: int = 1, **attributes: Any
) -> Model:
    """Return an operator of one tensor and some constants."""
    graph = Graph()
    values = [graph.constant(one) for one in constants]
    x = graph.input(*shape)
    given = graph.add_many(op_type, x, *values, outputs=outputs, name=TIMED, **attributes)
    return graph.model(given)


def binary(op_type: str, shape: Sequence[int], other: Sequence[int], **attributes: Any) -> Model:
    """Return an operator of two tensors."""
    graph = Graph()
    x, y = graph.input(*shape), graph.input(*other)
    return graph.model([graph.add(op_type, x, y, name=TIMED, **attributes)])


def blocked(op_type: str, shape: Sequence[int], **attributes: Any) -> Model:
    """Return an operator between convolutions, in their layout."""
    graph = Graph()
    channels = shape[1]
    x = graph.add("Conv", graph.input(*shape), graph.weights(channels, channels, 1, 1))
    y = graph.add(op_type, x, name=TIMED, **attributes)
    return graph.model([graph.add("Conv", y, graph.weights(channels, channels, 1, 1))])


def resized(shape: Sequence[int], by: int) -> Model:
    """Return a nearest-neighbour resize between convolutions.

    Args:
        shape: What is resized.
        by: How many times as high and wide it becomes.
    """
    graph = Graph()
    channels = shape[1]
    x = graph.add("Conv", graph.input(*shape), graph.weights(channels, channels, 1, 1))
    scales = graph.constant(np.array([1, 1, by, by], np.float32))
    y = graph.add(
        "Resize", x, "", scales, name=TIMED, mode="nearest", nearest_mode="floor",
        coordinate_transformation_mode="asymmetric",
    )  # fmt: skip
    return graph.model([graph.add("Conv", y, graph.weights(channels, channels, 1, 1))])


def channels_last(shape: Sequence[int]) -> Model:
    """Return what brings a convolution's channels together: a reorder that transposes."""
    graph = Graph()
    channels = shape[1]
    x = graph.add("Conv", graph.input(*shape), graph.weights(channels, channels, 1, 1))
    return graph.model([graph.add("Abs", graph.add("Transpose", x, perm=[0, 2, 3, 1]))])


def swish(shape: Sequence[int]) -> Model:
    """Return x · sigmoid(x), which ONNX Runtime makes one kernel of: QuickGelu."""
    graph = Graph()
    x = graph.input(*shape)
    return graph.model([graph.add("Mul", x, graph.add("Sigmoid", x), name=TIMED)])


def chain() -> tuple[Model, int]:
    """Return small nodes of several operators, one after another, and how many there are."""
    graph = Graph()
    x = graph.input(1, 16, 4, 4)
    scale = graph.weights(1, 16, 1, 1)
    cut = [graph.constant(np.array([one])) for one in (0, 16, 1)]
    count = itertools.count()

    def add(op_type: str, *inputs: str, **attributes: Any) -> str:
        return graph.add(op_type, *inputs, name=f"{TIMED}{next(count)}-", **attributes)

    for _ in range(_LINKS):
        x = add("Mul", add("Relu", x), scale)
        x = add("Add", x, add("ReduceMean", x, axes=[2, 3]))
        x = add("Sigmoid", add("Softmax", x, axis=-1))
        x = add("Slice", add("Concat", x, x, axis=1), *cut)
    return graph.model([x]), next(count)
