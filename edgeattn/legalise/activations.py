"""Activations, from the sums, products and transcendental functions that define them."""

from __future__ import annotations

import math

import onnx_ir as ir

from edgeattn.graph.edit import Edit
from edgeattn.graph.nodes import needed, number, text
from edgeattn.legalise.refusals import dtype_of


def hard_swish(node: ir.Node, edit: Edit) -> None:
    """HardSwish 14 → 13: x·HardSigmoid(x; alpha=1/6, beta=1/2). Real-number-exact."""
    x = needed(node, 0)
    gate = edit.op("HardSigmoid", [x], {"alpha": 1 / 6, "beta": 0.5}, like=x)
    edit.replace(edit.op("Mul", [x, gate], like=x))


def mish(node: ir.Node, edit: Edit) -> None:
    """Mish 18 → 17: x·tanh(softplus(x)). Real-number-exact."""
    x = needed(node, 0)
    gate = edit.op("Tanh", [edit.op("Softplus", [x], like=x)], like=x)
    edit.replace(edit.op("Mul", [x, gate], like=x))


def gelu(node: ir.Node, edit: Edit) -> None:
    """Gelu 20 → 19. Real-number-exact.

    ½·x·(1+erf(x/√2)), or with `approximate="tanh"` ½·x·(1+tanh(√(2/π)·(x+0.044715·x³))): the
    function bodies of ONNX's own schema. Requires the element type.
    """
    x = needed(node, 0)
    dtype_of(x)
    if text(node, "approximate", "none") == "tanh":
        square = edit.op("Mul", [x, x], like=x)
        cube = edit.op("Mul", [square, x], like=x)
        inner = edit.op(
            "Add", [x, edit.op("Mul", [cube, edit.scalar(0.044715, x)], like=x)], like=x
        )
        scaled = edit.op("Mul", [inner, edit.scalar(math.sqrt(2 / math.pi), x)], like=x)
        curve = edit.op("Tanh", [scaled], like=x)
    else:
        scaled = edit.op("Mul", [x, edit.scalar(math.sqrt(0.5), x)], like=x)
        curve = edit.op("Erf", [scaled], like=x)
    half = edit.op("Mul", [x, edit.scalar(0.5, x)], like=x)
    raised = edit.op("Add", [curve, edit.scalar(1.0, x)], like=x)
    edit.replace(edit.op("Mul", [half, raised], like=x))


def swish(node: ir.Node, edit: Edit) -> None:
    """Swish 24 → 23: x·sigmoid(alpha·x). Real-number-exact.

    Requires the element type where alpha is not 1.
    """
    x = needed(node, 0)
    alpha = number(node, "alpha", 1.0)
    inner = x
    if alpha != 1.0:
        dtype_of(x)
        inner = edit.op("Mul", [x, edit.scalar(alpha, x)], like=x)
    edit.replace(edit.op("Mul", [x, edit.op("Sigmoid", [inner], like=x)], like=x))


def integer_relu(node: ir.Node, edit: Edit) -> None:
    """Relu 14 → 13 of signed integers: max(x, 0). Bit-exact."""
    x = needed(node, 0)
    if x.dtype is not None and x.dtype.is_integer():
        edit.replace(edit.op("Max", [x, edit.scalar(0, x)], like=x))


def bitwise_not(node: ir.Node, edit: Edit) -> None:
    """BitwiseNot 18 → 17: (all bits set) - x, which is -1 - x where signed. Bit-exact.

    Requires the element type.
    """
    x = needed(node, 0)
    ones = edit.constant(~dtype_of(x).numpy().type(0).reshape(()), "ones")
    edit.replace(edit.op("Sub", [ones, x], like=x))
