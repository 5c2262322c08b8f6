"""Shapes that a graph computes: Shape, Gather, Concat and the arithmetic between them.

torch's TorchScript exporter writes `x.view(b, c, 1, 1)` with a b that it takes from Shape(x), and
leaves the arithmetic in the graph where the batch is open. What comes out is a list of numbers and
of names of open sizes.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Final

import onnx_ir as ir

from edgeattn.graph.nodes import given, integer, static
from edgeattn.lowering.indices import Size

_LONGEST: Final = 16
_DEEPEST: Final = 32

Sizes = list[Size | None]

_ARITHMETIC: Final[dict[str, Callable[[int, int], int]]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "Div": lambda one, other: abs(one) // abs(other) * (1 if (one < 0) == (other < 0) else -1),
}


def computed_sizes(value: ir.Value | None, depth: int = 0) -> Sizes | None:
    """Return the elements of a shape tensor, None for those that are not known.

    Args:
        value: A tensor of integers, of rank 0 or 1.
        depth: How many nodes were followed to it.

    Returns:
        Its elements, or None if nothing is known of it.
    """
    array = static(value)
    if array is not None and array.dtype.kind not in "iub":
        return None
    if array is not None:
        return [int(v) for v in array.reshape(-1)] if array.size <= _LONGEST else None
    node = None if value is None else value.producer()
    if node is None or depth > _DEEPEST:
        return None
    if node.op_type == "Shape":
        return _sizes_of(node)
    parts = [computed_sizes(v, depth + 1) for v in node.inputs]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    return _computed(node, known)


def computed_ints(value: ir.Value | None) -> list[int] | None:
    """Return the elements of a shape tensor, where all of them are numbers."""
    found = computed_sizes(value)
    if found is None or any(not isinstance(size, int) for size in found):
        return None
    return [size for size in found if isinstance(size, int)]


def _sizes_of(node: ir.Node) -> Sizes | None:
    x = node.inputs[0]
    if x is None or x.shape is None:
        return None
    shape: Sizes = [size if isinstance(size, int) else size.value for size in x.shape]
    end = node.attributes.get("end")
    return shape[integer(node, "start", 0) : None if end is None else end.as_int()]


def _computed(node: ir.Node, parts: Sequence[Sizes]) -> Sizes | None:
    match node.op_type:
        case "Identity" | "Cast" | "Unsqueeze" | "Squeeze" | "Reshape" | "Floor":
            return parts[0]
        case "Concat":
            return [size for part in parts for size in part]
        case "Gather":
            places = [p for p in parts[1] if isinstance(p, int)]
            fits = len(places) == len(parts[1]) and all(
                -len(parts[0]) <= p < len(parts[0]) for p in places
            )
            return [parts[0][p] for p in places] if fits else None
        case "Slice":
            return _sliced(node, parts)
        case "Where":
            chosen = zip(*map(_repeated(parts), parts), strict=True)
            return [None if pick is None else one if pick else other for pick, one, other in chosen]
        case "ConstantOfShape":
            return _filled(node, parts[0])
        case "ReduceProd" if len(node.inputs) == 1 and not node.attributes.get("axes"):
            numbers = [size for size in parts[0] if isinstance(size, int)]
            return [math.prod(numbers)] if len(numbers) == len(parts[0]) else [None]
    if node.op_type not in _ARITHMETIC and node.op_type != "Equal":
        return None
    pairs = zip(*map(_repeated(parts), parts), strict=True)
    return [_calculated(node.op_type, one, other) for one, other in pairs]


def _repeated(parts: Sequence[Sizes]) -> Callable[[Sizes], Sizes]:
    """Return what repeats a list of one element to the length of the longest."""
    longest = max(len(part) for part in parts)
    return lambda part: part * longest if len(part) == 1 else part


def _filled(node: ir.Node, shape: Sizes) -> Sizes | None:
    attribute = node.attributes.get("value")
    value = 0 if attribute is None else int(attribute.as_tensor().numpy().reshape(-1)[0])
    count = shape[0] if len(shape) == 1 else None
    return [value] * count if isinstance(count, int) and count <= _LONGEST else None


def _calculated(op_type: str, one: Size | None, other: Size | None) -> Size | None:
    if one is None or other is None:
        return None
    if op_type == "Equal":
        # An open size is no negative number; of any other it may be either.
        if isinstance(one, int) and isinstance(other, int):
            return int(one == other)
        return 0 if any(isinstance(size, int) and size < 0 for size in (one, other)) else None
    if isinstance(one, int) and isinstance(other, int):
        return _ARITHMETIC[op_type](one, other) if other or op_type != "Div" else None
    if other == 1 and op_type in {"Mul", "Div"}:
        return one
    return other if one == 1 and op_type == "Mul" else None


def _sliced(node: ir.Node, parts: Sequence[Sizes]) -> Sizes | None:
    bounds = [part[0] for part in parts[1:] if part]
    if given(node, 1) is None or not all(isinstance(bound, int) for bound in bounds):
        return None
    start, end, *rest = (bound for bound in bounds if isinstance(bound, int))
    step = rest[1] if len(rest) > 1 else 1
    return parts[0][start:end:step]
