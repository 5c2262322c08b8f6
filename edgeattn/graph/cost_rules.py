"""What each operator costs: one rule per kind.

Multiply-accumulates are those of convolutions and linear layers, as papers count them (a transposed
convolution's per input position); products of two activations (attention) stand apart. Biases are
not counted.

Element operations are what FLOP counters skip. Each node counts, per output element unless said
otherwise:

- elementwise arithmetic, comparisons, activations, casts: 1; of n summed, averaged or compared
  tensors n - 1;
- reductions, global pooling, searches (ArgMax, TopK), running sums: 1 per input element;
- pooling: the number of elements in the window;
- softmax and log-softmax: 5 per input element (maximum, subtract, exponential, sum, divide);
- instance, layer, group, RMS, Lp and mean-variance normalisation: 7 per input element (mean,
  subtract, square, mean, divide, scale, shift), local response: its window and 3;
- batch normalisation: 2 (its statistics are constants: scale, shift);
- copies that move data (transposes, concatenation, cuts, gathers, expansion, padding, tiling,
  scatters, fills): 1; a transpose that moves only dimensions of 1 is a view;
- resizing and grid sampling: the number of neighbours read: 1 nearest, 2 per resized dimension
  linear, 4 cubic;
- views (reshape, squeeze, flatten, identity), what is computed from constants and sizes alone, and
  arithmetic on shapes (integers, at most 64 elements): 0.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping

import onnx_ir as ir

from edgeattn.graph.nodes import integer, is_weight, text

# Integer tensors up to this many elements are shapes and indices, not data.
_SHAPE_ELEMENTS = 64
_INDEX_TYPES = (ir.DataType.INT64, ir.DataType.INT32, ir.DataType.BOOL)
_SOFTMAX = 5
_NORMALISATION = 7


class UncountableError(Exception):
    """A count needs a shape that is not static, or a rule that is not there."""


class Sizes:
    """What the rules ask of a graph: static sizes, and what is constant."""

    def __init__(self) -> None:
        self._constant: dict[ir.Value, bool] = {}

    def size(self, value: ir.Value | None) -> tuple[int, ...]:
        """Return the static shape of a value."""
        if value is None or value.shape is None:
            raise UncountableError
        dims = [d for d in value.shape if isinstance(d, int)]
        if len(dims) != len(value.shape):
            raise UncountableError
        return tuple(dims)

    def count(self, value: ir.Value | None) -> int:
        """Return the number of elements of a value."""
        return math.prod(self.size(value))

    def is_constant(self, value: ir.Value) -> bool:
        """Return whether a value is a weight, or is computed from weights and sizes alone."""
        found = self._constant.get(value)
        if found is None:
            node = value.producer()
            if node is None:
                found = is_weight(value)
            else:
                found = node.op_type in {"Constant", "Shape", "Size"} or (
                    bool(node.inputs) and all(v is None or self.is_constant(v) for v in node.inputs)
                )
            self._constant[value] = found
        return found

    def is_shape_arithmetic(self, node: ir.Node) -> bool:
        """Return whether a node works on small tensors of integers only."""
        values = [v for v in (*node.inputs, *node.outputs) if v is not None]
        return all(v.dtype in _INDEX_TYPES and self.count(v) <= _SHAPE_ELEMENTS for v in values)


_Counts = tuple[int, int, int]  # macs, matmul_macs, element_ops
_Rule = Callable[[ir.Node, Sizes], _Counts]


def _per_output(node: ir.Node, graph: Sizes, each: int) -> _Counts:
    return 0, 0, each * sum(graph.count(v) for v in node.outputs if v.uses() or v.is_graph_output())


def _per_input(node: ir.Node, graph: Sizes, each: int) -> _Counts:
    return 0, 0, each * graph.count(node.inputs[0])


def free(node: ir.Node, graph: Sizes) -> _Counts:
    """Count nothing: a view, or a constant."""
    del node, graph
    return 0, 0, 0


def _variadic(node: ir.Node, graph: Sizes) -> _Counts:
    return 0, 0, max(len(node.inputs) - 1, 1) * graph.count(node.outputs[0])


def _convolution(node: ir.Node, graph: Sizes, weight: int) -> _Counts:
    kernel = graph.size(node.inputs[weight])
    return graph.count(node.outputs[0]) * math.prod(kernel[1:]), 0, 0


def _transposed_convolution(node: ir.Node, graph: Sizes) -> _Counts:
    kernel = graph.size(node.inputs[1])
    return graph.count(node.inputs[0]) * math.prod(kernel[1:]), 0, 0


def _deformable_convolution(node: ir.Node, graph: Sizes) -> _Counts:
    """Add four neighbours read for each sample that the kernel takes."""
    kernel, out = graph.size(node.inputs[1]), graph.size(node.outputs[0])
    channels = graph.size(node.inputs[0])[1]
    samples = out[0] * math.prod(out[2:]) * channels * math.prod(kernel[2:])
    return math.prod(out) * math.prod(kernel[1:]), 0, 4 * samples


def _product(node: ir.Node, graph: Sizes, inner: int, operands: tuple[int, int]) -> _Counts:
    """Count `inner` multiply-accumulates per output element, by whether an operand is a weight."""
    macs = graph.count(node.outputs[0]) * inner
    values = [node.inputs[i] for i in operands]
    weighted = any(v is not None and graph.is_constant(v) for v in values)
    return (macs, 0, 0) if weighted else (0, macs, 0)


def _matmul(node: ir.Node, graph: Sizes, second: int) -> _Counts:
    return _product(node, graph, graph.size(node.inputs[0])[-1], (0, second))


def _gemm(node: ir.Node, graph: Sizes) -> _Counts:
    rows = integer(node, "transA", 0) == 1
    return _product(node, graph, graph.size(node.inputs[0])[0 if rows else 1], (0, 1))


def _einsum(node: ir.Node, graph: Sizes) -> _Counts:
    """Count the product of two tensors: the sizes of its summed indices per output element."""
    terms, arrow, out = node.attributes["equation"].as_string().replace(" ", "").partition("->")
    operands = terms.split(",")
    if not arrow or "." in terms or len(operands) != 2:
        raise UncountableError
    lengths: dict[str, int] = {}
    for term, value in zip(operands, node.inputs, strict=True):
        lengths.update(zip(term, graph.size(value), strict=True))
    summed = math.prod(n for index, n in lengths.items() if index not in out)
    return _product(node, graph, summed, (0, 1))


def _attention(node: ir.Node, graph: Sizes) -> _Counts:
    """Count q·k and p·v for each pair of positions, and the softmax between them."""
    q, k = graph.size(node.inputs[0]), graph.size(node.inputs[1])
    past = graph.size(node.inputs[4])[2] if len(node.inputs) > 4 and node.inputs[4] else 0
    keys = k[-2] + past
    heads = q[1] if len(q) == 4 else node.attributes["q_num_heads"].as_int()
    products = (math.prod(q) + graph.count(node.outputs[0])) * keys
    return 0, products, _SOFTMAX * q[0] * heads * q[-2] * keys


def _pool(node: ir.Node, graph: Sizes) -> _Counts:
    window = math.prod(node.attributes["kernel_shape"].as_ints())
    return 0, 0, window * graph.count(node.outputs[0])


def _local_response(node: ir.Node, graph: Sizes) -> _Counts:
    return _per_input(node, graph, node.attributes["size"].as_int() + 3)


def _transpose(node: ir.Node, graph: Sizes) -> _Counts:
    size = graph.size(node.inputs[0])
    written = node.attributes.get("perm")
    order = range(len(size))[::-1] if written is None else written.as_ints()
    moved = [axis for axis in order if size[axis] != 1]
    return (0, 0, 0) if moved == sorted(moved) else (0, 0, math.prod(size))


def _neighbours(node: ir.Node, default: str, dimensions: int) -> int:
    mode = text(node, "mode", default)
    if mode == "nearest":
        return 1
    return int(math.pow(4 if mode in {"cubic", "bicubic"} else 2, dimensions))


def _resize(node: ir.Node, graph: Sizes) -> _Counts:
    before, after = graph.size(node.inputs[0]), graph.size(node.outputs[0])
    resized = sum(a != b for a, b in zip(before, after, strict=True))
    return 0, 0, _neighbours(node, "nearest", resized) * math.prod(after)


def _grid_sample(node: ir.Node, graph: Sizes) -> _Counts:
    out = graph.size(node.outputs[0])
    return 0, 0, _neighbours(node, "linear", len(out) - 2) * math.prod(out)


def _each(names: str, rule: _Rule) -> dict[str, _Rule]:
    return dict.fromkeys(names.split(), rule)


# The rule of each operator; one that is not here cannot be counted.
RULES: Mapping[str, _Rule] = {
    **_each("Conv ConvInteger", functools.partial(_convolution, weight=1)),
    "QLinearConv": functools.partial(_convolution, weight=3),
    "ConvTranspose": _transposed_convolution,
    "DeformConv": _deformable_convolution,
    "Gemm": _gemm,
    **_each("MatMul MatMulInteger", functools.partial(_matmul, second=1)),
    "QLinearMatMul": functools.partial(_matmul, second=3),
    "Einsum": _einsum,
    "Attention": _attention,
    **_each(
        "Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr"
        " BitwiseXor Cast CastLike Ceil Celu Clip Cos Cosh DequantizeLinear Div Elu Equal Erf Exp"
        " Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish IsInf IsNaN LeakyRelu Less"
        " LessOrEqual Log Mish Mod Mul Neg Not Or PRelu Pow QuantizeLinear Reciprocal Relu Round"
        " Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub SwiGLU Swish Tan Tanh"
        " ThresholdedRelu Where Xor",
        functools.partial(_per_output, each=1),
    ),
    **_each("Max Mean Min Sum", _variadic),
    **_each(
        "ArgMax ArgMin CumProd CumSum GlobalAveragePool GlobalLpPool GlobalMaxPool Hardmax NonZero"
        " ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd"
        " ReduceSum ReduceSumSquare TopK",
        functools.partial(_per_input, each=1),
    ),
    **_each("AveragePool LpPool MaxPool", _pool),
    **_each("LogSoftmax Softmax", functools.partial(_per_input, each=_SOFTMAX)),
    **_each(
        "GroupNormalization InstanceNormalization LayerNormalization LpNormalization"
        " MeanVarianceNormalization RMSNormalization",
        functools.partial(_per_input, each=_NORMALISATION),
    ),
    "LRN": _local_response,
    "BatchNormalization": functools.partial(_per_input, each=2),
    "Transpose": _transpose,
    **_each(
        "CenterCropPad Compress Concat ConstantOfShape DepthToSpace Expand EyeLike Gather"
        " GatherElements GatherND OneHot Pad Range ReverseSequence ScatterElements ScatterND Slice"
        " SpaceToDepth Split Tile Trilu",
        functools.partial(_per_output, each=1),
    ),
    "Resize": _resize,
    "GridSample": _grid_sample,
    **_each("Constant Dropout Flatten Identity Reshape Shape Size Squeeze Unsqueeze", free),
}
