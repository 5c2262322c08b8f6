"""What a calibration of a GPU runs: a few networks of many single operators, one of each precision.

A build takes a board seconds for each layer that it has not seen, so a network holds all that is
to be known of a precision: products that compute, and that wait; depthwise convolutions; kernels
that move bytes, out of L2 and out of memory, by kind. Each operator reads what was written just
before, as in a network. They form one chain, which keeps them in one stream and in order: the next
input is added to a statistic of what came before. So a mean over the map, and a sum of two tensors,
are measured at each size too. The per-layer profile tells them apart, whatever was fused.

Another network is small layers alone, dozens of the same, for the floor: their tactics are looked
for once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from edgeattn.devices.schema import DeviceProfile
from edgeattn.graph.writing import save

if TYPE_CHECKING:
    import onnx

Type = Literal["fp32", "fp16", "int8"]
Shape = tuple[int, ...]

#: The network that tells of the floor.
FLOOR: Final = "floor"
# What every TensorRT from 8.0 on parses.
_OPSET: Final = 13
_IR_VERSION: Final = 7
# Input channels, output channels, kernel, width of the map, groups.
_CONVOLUTIONS: Final = (
    (3, 64, 7, 224, 1),
    (64, 64, 3, 56, 1), (128, 128, 3, 28, 1), (256, 256, 3, 14, 1), (512, 512, 3, 7, 1),
    (256, 256, 3, 56, 1),
    (64, 256, 1, 56, 1), (512, 128, 1, 28, 1), (1024, 256, 1, 14, 1), (160, 960, 1, 7, 1),
    (32, 32, 3, 112, 32), (144, 144, 3, 56, 144), (384, 384, 3, 14, 384), (120, 120, 5, 28, 120),
)  # fmt: skip
# Of int8, what networks have most of.
_QUANTISED: Final = frozenset({(64, 64, 3, 56, 1), (128, 128, 3, 28, 1), (256, 256, 3, 14, 1),
                               (256, 256, 3, 56, 1), (64, 256, 1, 56, 1), (512, 128, 1, 28, 1),
                               (144, 144, 3, 56, 144)})  # fmt: skip
# Rows, depth and columns of products with weights.
_PRODUCTS: Final = ((196, 384, 1536), (1024, 1024, 1024), (1, 1280, 1000))
# From what L2 holds of any device to what it does not of most.
_MAPS: Final = ((256, 14), (128, 28), (64, 56), (64, 112), (64, 224))
_LINKS: Final = 48
_LINK_CHANNELS: Final = (16, 128, 512)
_TYPES: Final[dict[Type, str]] = {"fp32": "FLOAT", "fp16": "FLOAT16", "int8": "FLOAT"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network that is measured.

    Attributes:
        name: What it is called.
        path: Its file.
    """

    name: str
    path: Path


def networks(device: DeviceProfile, folder: Path) -> Iterator[Network]:
    """Write the networks that tell of a device, and yield them.

    Args:
        device: The device as it is believed to be: types that it has no peak of are left out.
        folder: Where to.
    """
    types: list[Type] = ["fp32"]
    types += ["fp16"] if "fp16" in device.peak_tflops else []
    types += ["int8"] if "int8" in device.peak_tflops else []
    for name, model in (
        (FLOOR, floor("fp16" if "fp16" in types else "fp32")),
        *((one, operators(one)) for one in types),
    ):
        import onnx_ir

        path = folder / f"{name}.onnx"
        save(onnx_ir.from_proto(model), path)
        yield Network(name=name, path=path)


def operators(dtype: Type) -> onnx.ModelProto:
    """Return the network of a precision."""
    chain = _Chain(dtype)
    for one in _CONVOLUTIONS:
        if dtype != "int8" or one in _QUANTISED:
            c_in, c_out, kernel, size, groups = one
            chain.convolution(c_in, c_out, kernel, size, groups)
    if dtype == "int8":  # what moves bytes does so in the others
        return chain.model()
    for rows, depth, columns in _PRODUCTS:
        x = chain.input((1, rows, depth))
        chain.end(chain.node("MatMul", x, chain.weights(depth, columns)), (1, rows, columns))
    for channels, size in _MAPS:
        _moves(chain, (1, channels, size, size))
    scores = (1, 4, 196, 196)
    chain.end(chain.node("Softmax", chain.input(scores), axis=-1), scores)
    return chain.model()


def floor(dtype: Type) -> onnx.ModelProto:
    """Return a network of layers that do next to nothing."""
    chain = _Chain(dtype)
    for channels in _LINK_CHANNELS:
        shape = (1, channels, 4, 4)
        x = chain.input(shape)
        weights = chain.weights(channels, channels, 1, 1)
        for _ in range(_LINKS // len(_LINK_CHANNELS)):
            x = chain.node("Relu", chain.node("Conv", x, weights))
        chain.end(x, shape)
    return chain.model()


def _moves(chain: _Chain, shape: Shape) -> None:
    """Add what moves bytes, of one size."""
    _, channels, height, width = shape
    gate = chain.node("Sigmoid", x := chain.input(shape))
    chain.end(chain.node("Mul", x, gate), shape)
    pool = {"kernel_shape": [3, 3], "pads": [1] * 4, "strides": [1, 1]}
    chain.end(chain.node("MaxPool", chain.input(shape), **pool), shape)
    grouped = chain.constant(np.array([1, 2, channels // 2, height, width]))
    swapped = chain.node("Reshape", chain.input(shape), grouped)
    swapped = chain.node("Transpose", swapped, perm=[0, 2, 1, 3, 4])
    chain.end(chain.node("Reshape", swapped, chain.constant(np.array(shape))), shape)


class _Chain:
    """Writes a network, an operator behind the other."""

    def __init__(self, dtype: Type) -> None:
        from onnx import TensorProto

        self._dtype = dtype
        self._element = getattr(TensorProto, _TYPES[dtype])
        self._array = np.float16 if dtype == "fp16" else np.float32
        self._draw = np.random.default_rng(0)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._last = ""

    def node(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        from onnx import helper

        name = f"{op_type.lower()}-{len(self._nodes)}"
        self._nodes.append(helper.make_node(op_type, inputs, [name], name=name, **attributes))
        return name

    def constant(self, array: Any) -> str:
        from onnx import numpy_helper

        name = f"constant-{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def weights(self, *shape: int) -> str:
        """Add weights of such a size that values neither grow nor vanish."""
        fan_in = max(1, int(np.prod(shape[1:])) if len(shape) > 2 else shape[0])
        return self.constant(self._draw.normal(0, fan_in**-0.5, shape).astype(self._array))

    def input(self, shape: Shape) -> str:
        """Add an input, and what came before to it: both are read, and their sum is written."""
        from onnx import helper

        name = f"input-{len(self._inputs)}"
        self._inputs.append(helper.make_tensor_value_info(name, self._element, shape))
        before = self._last or self.constant(np.ones([1] * len(shape), self._array))
        return self.node("Add", name, before)

    def end(self, value: str, shape: Shape) -> None:
        """End an operator: its mean over the map, and that of all channels, goes on."""
        axes = list(range(2, len(shape)))
        mean = self.node("ReduceMean", value, axes=axes, keepdims=1)
        mean = self.node("ReduceMean", mean, axes=[1], keepdims=1)
        # A tensor of another rank is read next, and a single number goes with any.
        self._last = self.node("Reshape", mean, self.constant(np.array([1])))

    def convolution(self, c_in: int, c_out: int, kernel: int, size: int, groups: int) -> None:
        """Add a convolution and the ReLU that any kernel of it computes on its way."""
        x = self._quantised(self.input((1, c_in, size, size)))
        weights = self.weights(c_out, c_in // groups, kernel, kernel)
        if self._dtype == "int8":
            weights = self._quantised_weights(c_out, c_in // groups, kernel)
        step = 2 if c_in == 3 else 1
        y = self.node(
            "Conv", x, weights, pads=[kernel // 2] * 4, group=groups, strides=[step, step]
        )
        self.end(self.node("Relu", y), (1, c_out, size // step, size // step))

    def _quantised(self, value: str) -> str:
        if self._dtype != "int8":
            return value
        scale, zero = self._scale()
        coded = self.node("QuantizeLinear", value, scale, zero)
        return self.node("DequantizeLinear", coded, scale, zero)

    def _quantised_weights(self, c_out: int, c_in: int, kernel: int) -> str:
        drawn = self._draw.integers(-127, 128, (c_out, c_in, kernel, kernel), dtype=np.int8)
        return self.node("DequantizeLinear", self.constant(drawn), *self._scale())

    def _scale(self) -> tuple[str, str]:
        scale, zero = np.array(0.03, np.float32), np.array(0, np.int8)
        return self.constant(scale), self.constant(zero)

    def model(self) -> onnx.ModelProto:
        from onnx import helper

        graph = helper.make_graph(
            self._nodes,
            "calibrate",
            self._inputs,
            [helper.make_tensor_value_info(self._last, self._element, [1])],
            self._weights,
        )
        opsets = [helper.make_opsetid("", _OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
