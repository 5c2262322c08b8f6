"""Computes how each value grows with the activations: its degree.

An activation has degree 1: twice the input gives about twice the value. Its square has degree 2, a
variance too, a standard deviation 1, one over a variance -2, and a gate 0. Activations of a
thousand, which half holds with ease, have squares of a million, which it does not: values of a
degree above 1, or below 0, are unsafe in half, whatever a few inputs showed.

Layers with weights keep the degree, and so do sums (the largest counts), maxima and means.
"""

from __future__ import annotations

import math
from typing import Final

import onnx_ir as ir

from edgeattn.graph.nodes import given, static

BOUNDED: Final = frozenset(
    {"Sigmoid", "HardSigmoid", "Tanh", "Erf", "Softsign", "Softmax", "Hardmax", "Sign", "Sin",
     "Cos", "InstanceNormalization", "GroupNormalization", "LayerNormalization",
     "MeanVarianceNormalization", "LpNormalization", "RMSNormalization"}
)  # fmt: skip
"""Operators whose results do not grow with their inputs."""

REDUCTIONS: Final = frozenset(
    {"ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceSumSquare", "ReduceL1", "ReduceL2",
     "ReduceLogSum", "ReduceLogSumExp", "ReduceProd", "GlobalAveragePool", "GlobalMaxPool"}
)  # fmt: skip

SUMS: Final = frozenset(
    {"ReduceMean", "ReduceSum", "ReduceSumSquare", "ReduceL1", "ReduceL2", "ReduceLogSum",
     "ReduceLogSumExp", "GlobalAveragePool"}
)  # fmt: skip
"""Reductions that add values up."""

VIEWS: Final = frozenset(
    {"Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Expand", "Identity", "Slice",
     "Split", "Concat", "Gather", "Neg", "Abs"}
)  # fmt: skip
"""Operators that pass values on as they are, or with another sign."""

LAYERS: Final = frozenset({"MatMul", "Gemm", "Conv", "ConvTranspose", "Einsum"})
"""Operators that sum products, of weights and activations or of two activations."""

_FACTORS: Final = {"Reciprocal": -1.0, "Sqrt": 0.5, "ReduceSumSquare": 2.0}


def degrees(graph: ir.Graph) -> dict[ir.Value, float]:
    """Return the degree of every value of a graph that is sorted; constants have 0.

    `inf` stands for an exponential.
    """
    found = dict.fromkeys(graph.inputs, 1.0)
    for node in graph:
        degree = _degree(node, [found.get(v, 0.0) for v in node.inputs if v is not None])
        found |= dict.fromkeys(node.outputs, degree)
    return found


def is_safe(degree: float) -> bool:
    """Return whether a value of this degree stays in half's range where activations do."""
    return 0 <= degree <= 1


def is_square(node: ir.Node) -> bool:
    """Return whether a node multiplies a value by itself."""
    if node.op_type == "Pow":
        return (_exponent(node) or 0) >= 2
    return node.op_type == "Mul" and node.inputs[0] is node.inputs[1]


def feeds_reductions(node: ir.Node) -> bool:
    """Return whether all outputs of a node go straight into reductions and bounded functions.

    Views and operators on single values may stand between.
    """
    users = node.successors()
    return bool(users) and all(
        user.op_type in REDUCTIONS
        or user.op_type in BOUNDED
        or (
            (user.op_type in VIEWS or user.op_type in {"Sub", "Add", "Div", "Mul"})
            and len({v for v in user.inputs if v is not None and static(v) is None}) == 1
            and feeds_reductions(user)
        )
        for user in users
    )


def _degree(node: ir.Node, inputs: list[float]) -> float:
    op_type = node.op_type
    if op_type in BOUNDED or not inputs:
        return 0.0
    if op_type == "Pow":
        return _power(inputs[0], _exponent(node))
    if op_type == "Mul":
        return _product(node, inputs)
    if op_type in LAYERS:
        # Two activations' product, too: it is too large a value to be float32 without need, and
        # what was measured of it decides.
        return min(sum(inputs[:2]), max(1.0, *inputs))
    return _single(op_type, inputs)


def _product(node: ir.Node, inputs: list[float]) -> float:
    if is_square(node):
        return _power(inputs[0], 2)
    if all(map(is_safe, inputs)) and not feeds_reductions(node):
        return min(sum(inputs), 1.0)  # a gate, or its like
    return _sum(inputs[0], inputs[1])


def _single(op_type: str, inputs: list[float]) -> float:
    """Return the degree after an elementwise operator, a reduction or a view."""
    if op_type == "Div":
        return _sum(inputs[0], -inputs[1])
    if op_type in _FACTORS:
        return inputs[0] * _FACTORS[op_type]
    if op_type == "Exp":
        return math.inf
    if op_type in ("Log", "ReduceLogSum", "ReduceLogSumExp"):
        return 1.0
    if op_type in ("BatchNormalization", "Resize", "GridSample", "Clip", "PRelu"):
        return inputs[0]
    return max(inputs)


def _sum(one: float, other: float) -> float:
    total = one + other
    return 0.0 if math.isnan(total) else total  # one exponential over another


def _power(degree: float, exponent: float | None) -> float:
    if exponent is None:
        return math.inf
    # Of an activation that is bounded, too, a square is what statistics are made of.
    return exponent * (max(degree, 1.0) if exponent >= 2 else degree)


def _exponent(node: ir.Node) -> float | None:
    """Return the constant exponent of a Pow."""
    if node.op_type != "Pow":
        return None
    values = static(given(node, 1))
    return None if values is None or values.size != 1 else float(values.reshape(()))
