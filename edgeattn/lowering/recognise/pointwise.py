"""Elementwise operators, and what is only a constant factor and a constant per channel.

    a - b = a + (-1) b          a / b = a * b^-1         sqrt(a) = a^(1/2)
    a * a = a^2                 Clip(a, 0, 6) and so on are functions of one term
    BatchNormalization, a depthwise 1x1 convolution = a constant factor and a constant per channel

A cast of a constant is a constant; Identity, and Dropout as inference runs it, are nothing.

Real-number exact: sums and products may be regrouped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
import onnx_ir as ir

from edgeattn.graph.nodes import given, integer, number, static
from edgeattn.lowering.raising import (
    FLOATS,
    Operand,
    Raised,
    Raising,
    Recognise,
    Recogniser,
    UnrecognisedError,
    spread,
)
from edgeattn.lowering.recognise.sizes import computed_ints
from edgeattn.lowering.terms import Term, Terms, scalar

_INFINITY: Final = float("inf")


def _binary(
    terms: Callable[[Terms, Term, Term], Term], numbers: Callable[..., np.ndarray]
) -> Recognise:
    def recognise(node: ir.Node, raising: Raising) -> Sequence[Operand]:
        operands = [raising.operand(value) for value in node.inputs]
        first, *rest = operands
        if first is None or any(operand is None for operand in rest):
            raise UnrecognisedError
        for second in rest:
            assert second is not None
            if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
                first = numbers(first, second)
                continue
            aligned = raising.align([first, second])
            if aligned is None:
                raise UnrecognisedError("its operands arrange the same indices differently")
            (one, other), axes = aligned
            first = Raised(terms(raising.terms, one, other), axes)
        return [first]

    return recognise


def _minus(terms: Terms, one: Term, other: Term) -> Term:
    return terms.add(one, terms.scaled(scalar(-1), other))


def _over(terms: Terms, one: Term, other: Term) -> Term:
    return terms.mul(one, terms.pow(other, -1))


def _each(make: Callable[[Terms, Term, ir.Node], Term]) -> Recognise:
    """Return the recogniser of a function of one term, elementwise."""

    def recognise(node: ir.Node, raising: Raising) -> Sequence[Operand]:
        found = raising.needed(node.inputs[0])
        return [Raised(make(raising.terms, found.term, node), found.axes)]

    return recognise


def _unary(name: str, *parameters: tuple[str, float]) -> Recognise:
    def make(terms: Terms, term: Term, node: ir.Node) -> Term:
        return terms.fn(name, term, *(number(node, key, default) for key, default in parameters))

    return _each(make)


def _pow(node: ir.Node, raising: Raising) -> Sequence[Operand]:
    found, exponent = raising.needed(node.inputs[0]), static(node.inputs[1])
    if exponent is None or exponent.size != 1 or exponent.ndim > found.rank:
        raise UnrecognisedError
    if not np.isfinite(exponent).all():
        raise UnrecognisedError
    return [Raised(raising.terms.pow(found.term, float(exponent.reshape(()))), found.axes)]


def _clip(node: ir.Node, raising: Raising) -> Sequence[Operand]:
    found = raising.needed(node.inputs[0])
    bounds = []
    for index, default in ((1, -_INFINITY), (2, _INFINITY)):
        value = given(node, index)
        array = np.array(default) if value is None else static(value)
        if array is None or array.size != 1:
            raise UnrecognisedError
        bounds.append(float(array.reshape(())))
    return [_between(raising, found, *bounds)]


def _between(raising: Raising, x: Raised, low: float, high: float) -> Raised:
    name = ("relu",) if (low, high) == (0.0, _INFINITY) else ("clip", low, high)
    return Raised(raising.terms.fn(*name[:1], x.term, *name[1:]), x.axes)


def _bounded(node: ir.Node, raising: Raising) -> Sequence[Operand]:
    """Max(x, 0) is a Relu; Max or Min with a number is a Clip."""
    found = [raising.operand(value) for value in node.inputs]
    x = next((one for one in found if isinstance(one, Raised)), None)
    numbers = [one for one in found if isinstance(one, np.ndarray) and one.size == 1]
    if x is None or len(found) != 2 or len(numbers) != 1:
        raise UnrecognisedError
    if numbers[0].ndim > x.rank:
        raise UnrecognisedError
    bound = float(numbers[0].reshape(()))
    low, high = (bound, _INFINITY) if node.op_type == "Max" else (-_INFINITY, bound)
    return [_between(raising, x, low, high)]


def _hard_swish(terms: Terms, term: Term, _node: ir.Node) -> Term:
    return terms.mul(term, hard_sigmoid(terms, term, 1 / 6, 0.5))


def hard_sigmoid(terms: Terms, term: Term, alpha: float, beta: float) -> Term:
    """Return max(0, min(1, alpha * term + beta)), as a clipped term."""
    inside = terms.add(terms.scaled(scalar(alpha), term), terms.const(scalar(beta)))
    return terms.fn("clip", inside, 0.0, 1.0)


def _hard_sigmoid(terms: Terms, term: Term, node: ir.Node) -> Term:
    return hard_sigmoid(terms, term, number(node, "alpha", 0.2), number(node, "beta", 0.5))


def _same(node: ir.Node, raising: Raising) -> Sequence[Operand]:
    found = raising.operand(node.inputs[0])
    trains = given(node, 2)  # of Dropout
    is_inference = trains is None or ((mode := static(trains)) is not None and not mode.any())
    if found is None or len(node.outputs) > 1 or not is_inference:
        raise UnrecognisedError
    return [found]


def _cast(node: ir.Node, raising: Raising) -> Sequence[Operand]:
    found = raising.operand(node.inputs[0])
    if isinstance(found, np.ndarray) and node.outputs[0].dtype in FLOATS:
        return [found]
    source = node.inputs[0]
    if found is None and node.outputs[0].dtype in FLOATS:
        count = computed_ints(source)  # how many values a mean is over, from their shape
        if count is not None and len(count) == 1 and source is not None and source.shape == []:
            return [np.array(float(count[0]))]
    if isinstance(found, Raised) and source is not None and source.dtype == node.outputs[0].dtype:
        return [found]
    raise UnrecognisedError


def _batch_norm(node: ir.Node, raising: Raising) -> Sequence[Operand]:
    found = raising.needed(node.inputs[0])
    constants = [static(value) for value in node.inputs[1:5]]
    if any(array is None for array in constants) or len(node.outputs) != 1:
        raise UnrecognisedError
    scale, bias, mean, variance = (
        array.astype(np.float64) for array in constants if array is not None
    )
    if integer(node, "training_mode", 0):
        raise UnrecognisedError("it normalises by the batch")
    factor = scale / np.sqrt(variance + number(node, "epsilon", 1e-5))
    return [per_channel(raising, found, factor, bias - mean * factor)]


def per_channel(raising: Raising, x: Raised, factor: np.ndarray, offset: np.ndarray) -> Raised:
    """Return factor * x + offset, with a factor and an offset for each channel (axis 1).

    Raises:
        UnrecognisedError: The channels are not as many.
    """
    axis, terms = x.axis(1), raising.terms
    constants = [spread(array.reshape(-1), (axis,)) for array in (factor, offset)]
    if factor.size != offset.size or None in constants:
        raise UnrecognisedError
    scale, shift = (terms.const(constant) for constant in constants if constant is not None)
    return Raised(terms.add(terms.mul(scale, x.term), shift), x.axes)


_BOUNDED: Final = frozenset({"Clip", "Max", "Min", "HardSigmoid", "HardSwish"})
TABLE: Final[Mapping[str, Recogniser]] = {
    op_type: Recogniser(
        rule="hard-activation" if op_type in _BOUNDED else "gate", recognise=recognise
    )
    for op_type, recognise in {
        "Add": _binary(lambda terms, a, b: terms.add(a, b), np.add),
        "Sum": _binary(lambda terms, a, b: terms.add(a, b), np.add),
        "Sub": _binary(_minus, np.subtract),
        "Mul": _binary(lambda terms, a, b: terms.mul(a, b), np.multiply),
        "Div": _binary(_over, np.divide),
        "Sqrt": _each(lambda terms, x, _: terms.pow(x, 0.5)),
        "Reciprocal": _each(lambda terms, x, _: terms.pow(x, -1)),
        "Pow": _pow,
        "Neg": _each(lambda terms, x, _: terms.scaled(scalar(-1), x)),
        "Clip": _clip,
        "Max": _bounded,
        "Min": _bounded,
        "HardSwish": _each(_hard_swish),
        "HardSigmoid": _each(_hard_sigmoid),
        "Relu": _unary("relu"),
        "Sigmoid": _unary("sigmoid"),
        "Tanh": _unary("tanh"),
        "Exp": _unary("exp"),
        "Log": _unary("log"),
        "Abs": _unary("abs"),
        "Erf": _unary("erf"),
        "Softplus": _unary("softplus"),
        "LeakyRelu": _unary("leakyrelu", ("alpha", 0.01)),
        "Elu": _unary("elu", ("alpha", 1.0)),
        "Identity": _same,
        "Dropout": _same,
        "Cast": _cast,
        "CastLike": _cast,
        "BatchNormalization": _batch_norm,
    }.items()
}
