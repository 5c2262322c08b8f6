"""What a kernel of ONNX Runtime's does: arithmetic of a class of layers, or an operator's copying.

A kernel is a node of the graph that ONNX Runtime made of a model, with shapes. What is computed is
counted by the weights as they are there: blocked convolutions pad their channels.

- A convolution runs along the rows of its map, and the ends of each row are slow; 1x1 convolutions
  of step 1, and those that are a product of matrices, run along the whole map.
- A blocked convolution gives four blocks of channels at a time. Of a rest of one or two, sums wait
  for each other: it takes as long as one more would.
- An activation that is fused is one more pass over what is in the nearest cache, a Relu excepted.
- A pool reads its window for each place that it writes.
- Reductions and softmax along axes that lie apart, reorders that transpose, pools of larger steps,
  and arithmetic of two tensors of which one is stretched, are other loops, and slower: `-strided`,
  `-broadcast`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from edgeattn.graph.nodes import integer, ints, text, weights_bytes
from edgeattn.records.kinds import kind_of
from edgeattn.records.trace import Kernel
from edgeattn.records.work import Layer, Work
from edgeattn.runtimes.runner import block_channels

if TYPE_CHECKING:
    import onnx_ir as ir


_BLOCKED: Final = "com.microsoft.nchwc"
# Where the weights of a convolution stand among its inputs.
_CONVOLUTIONS: Final = {
    "Conv": 1, "FusedConv": 1, "NhwcFusedConv": 1, "ConvInteger": 1, "QLinearConv": 3,
}  # fmt: skip
_PRODUCTS: Final = frozenset({"Gemm", "FusedGemm", "MatMul", "FusedMatMul", "TransposeMatMul"})
# Blocks that are computed at once; sums of fewer than three wait for each other.
_LEAST_BLOCK: Final = 8
_BLOCKS: Final = 4
_VIEWS: Final = frozenset(
    {"Dropout", "Flatten", "Identity", "Reshape", "Shape", "Size", "Squeeze", "Unsqueeze"}
)
_BINARY: Final = frozenset(
    {"Add", "Div", "Max", "Mean", "Min", "Mul", "Pow", "Sub", "Sum", "Where"}
)
_SOFTMAX: Final = frozenset({"Softmax", "LogSoftmax", "Hardmax"})
# Fused, these are a part of the last step.
_FREE: Final = frozenset({"Relu"})
_POOLS: Final = frozenset({"AveragePool", "LpPool", "MaxPool"})


def with_work(
    kernels: Iterable[Kernel], optimised: ir.Model, block: int | None = None
) -> tuple[Kernel, ...]:
    """Return kernels, each with its work.

    Args:
        kernels: The kernels of an inference.
        optimised: The graph that they are the nodes of, with shapes.
        block: Channels of a block where it ran; None for this machine's.
    """
    nodes = {node.name: node for node in optimised.graph.all_nodes()}
    return tuple(
        one.model_copy(update={"work": _with_sizes(one, nodes[one.name], block)})
        if one.name in nodes
        else one
        for one in kernels
    )


def _with_sizes(kernel: Kernel, node: ir.Node, block: int | None) -> Work:
    return replace(
        work_of(node, kernel.traffic_bytes or 0, kernel.macs, block),
        reads_bytes=tuple(_size(node.inputs, name) for name in kernel.inputs),
        writes_bytes=tuple(_size(node.outputs, name) for name in kernel.outputs),
    )


def _size(values: Sequence[ir.Value | None], name: str) -> float:
    """Return the bytes of the value of this name; one whose type nobody knows is of floats."""
    for value in values:
        if value is not None and value.name == name and value.shape is not None:
            count = math.prod(size for size in value.shape if isinstance(size, int))
            return count * (4.0 if value.dtype is None else value.dtype.itemsize)
    return 0.0


def work_of(node: ir.Node, traffic_bytes: float, macs: int, block: int | None = None) -> Work:
    """Return what a kernel does.

    Args:
        node: Its node in the optimised graph; its values have shapes.
        traffic_bytes: What it reads and writes, each tensor once.
        macs: Multiply-accumulates of the model's nodes that it stands for.
        block: Channels of a block where it ran; None for this machine's.
    """
    op_type, weights = node.op_type, float(weights_bytes(node))
    if op_type in _CONVOLUTIONS:
        return _convolution(node, traffic_bytes, weights, block or block_channels())
    kind = kind_of(op_type)
    if kind == "matmul":
        flops = _product_flops(node) if op_type in _PRODUCTS else 2 * macs
        return Work(
            operator=op_type,
            kind=kind,
            layer="product",
            flops=flops,
            run=_shape(node.outputs[0])[-1] if _shape(node.outputs[0]) else 1,
            moved_bytes=traffic_bytes,
            weights_bytes=weights,
        )
    moved = traffic_bytes
    if op_type in _VIEWS:
        moved = 0.0
    elif op_type in _POOLS:
        window = math.prod(ints(node, "kernel_shape"))
        moved = 4.0 * (1 + window) * math.prod(_shape(node.outputs[0]))
    return Work(
        operator=f"{op_type}{_loop(node)}", kind=kind, moved_bytes=moved, weights_bytes=weights
    )


def _convolution(node: ir.Node, traffic_bytes: float, weights_bytes: float, block: int) -> Work:
    filters = _shape(node.inputs[_CONVOLUTIONS[node.op_type]])
    out = _shape(node.outputs[0])
    batch, places = out[0], math.prod(out[2:])
    groups = integer(node, "group", 1)
    is_blocked = node.domain == _BLOCKED
    layer = _layer_of(filters, groups, is_blocked=is_blocked)
    runs_on = not is_blocked or (layer == "pointwise" and math.prod(ints(node, "strides")) == 1)
    channels = filters[0]
    if is_blocked and groups == 1:
        channels = _computed_channels(channels, block)
    activation = _activation(node)
    return Work(
        operator=node.op_type,
        kind="matmul",
        layer=layer,
        flops=2.0 * batch * places * channels * math.prod(filters[1:]),
        run=places if runs_on else out[-1],
        activation=activation,
        activation_bytes=4.0 * batch * places * filters[0] if activation else 0.0,
        moved_bytes=traffic_bytes,
        weights_bytes=weights_bytes,
    )


def _layer_of(filters: Sequence[int], groups: int, *, is_blocked: bool) -> Layer:
    is_depthwise = groups > 1 and filters[1] == 1
    if not is_blocked:
        return "plain-depthwise" if is_depthwise else "plain"
    if groups > 1:
        return "depthwise" if is_depthwise else "grouped"
    if filters[1] % _LEAST_BLOCK:
        return "stem"
    return "pointwise" if math.prod(filters[2:]) == 1 else "dense"


def _activation(node: ir.Node) -> str:
    """Return the activation that is fused behind a convolution and costs a pass; "" for none."""
    said = text(node, "activation", "")
    return "" if said in _FREE else said


def _computed_channels(channels: int, block: int) -> int:
    """Return the channels that could be computed in the time of so many."""
    sets, rest = divmod(math.ceil(channels / block), _BLOCKS)
    return (sets * _BLOCKS + (min(rest + 1, 3) if rest else 0)) * block


def _product_flops(node: ir.Node) -> float:
    first, out = _shape(node.inputs[0]), _shape(node.outputs[0])
    if not first:
        return 0.0
    is_turned = integer(node, "transA", 0) == 1
    inner = first[-2] if is_turned and len(first) > 1 else first[-1]
    return 2.0 * math.prod(out) * inner


def _loop(node: ir.Node) -> str:
    """Return the suffix that tells which loop of an operator it is."""
    op_type = node.op_type
    shapes = [_shape(value) for value in node.inputs if value is not None] or [()]
    if op_type in _BINARY and len({shape for shape in shapes if math.prod(shape) > 1}) > 1:
        return "-broadcast"
    if op_type == "ReorderOutput":
        return "-strided" if integer(node, "channels_last", 0) else ""
    if op_type in _POOLS:
        return "-strided" if max(ints(node, "strides"), default=1) > 1 else ""
    rank = len(shapes[0])
    if op_type in _SOFTMAX and rank:
        axis = integer(node, "axis", -1)
        return "-strided" if axis % rank != rank - 1 else ""
    if op_type.startswith("Reduce"):
        axes = {axis % rank for axis in _axes(node)} if rank else set()
        lies_last = axes == set(range(rank - len(axes), rank))
        return "" if lies_last else "-strided"
    return ""


def _axes(node: ir.Node) -> Sequence[int]:
    """Return the axes of a reduction; none for all."""
    if "axes" in node.attributes:
        return ints(node, "axes")
    value = node.inputs[1] if len(node.inputs) > 1 else None
    if value is None or value.const_value is None:
        return ()
    found: list[int] = value.const_value.numpy().reshape(-1).tolist()
    return found


def _shape(value: ir.Value | None) -> tuple[int, ...]:
    """Return a value's shape; dimensions that nobody knows count as 1."""
    if value is None:
        return ()
    shape = value.shape if value.const_value is None else value.const_value.shape
    return tuple(size if isinstance(size, int) else 1 for size in shape or ())
