"""Which whole numbers an input of a graph may hold, as the nodes that read it tell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import onnx_ir as ir

from edgeattn.graph.nodes import integer, static

#: What hands numbers on as they are.
_PASSING: Final = frozenset(
    {"Cast", "Expand", "Flatten", "Identity", "Reshape", "Slice", "Squeeze", "Transpose",
     "Unsqueeze"}
)  # fmt: skip
#: What makes one length of another: of samples that of frames, say.
_SCALING: Final = frozenset({"Add", "Ceil", "Div", "Floor", "Mul", "Sub"})
_COMPARING: Final = frozenset({"Greater", "GreaterOrEqual", "Less", "LessOrEqual"})

#: The smallest and the largest number; None for a length: that of the other inputs.
Bounds = tuple[int, int] | None


def bounds_of(model: ir.Model) -> dict[str, Bounds]:
    """Return what whole numbers the inputs of a model may hold, by name.

    Places in a table end with it, a number that is asked for is that number, and a length is one
    that positions are compared with. Of inputs whose readers tell nothing, nothing is returned.
    """
    found: dict[str, Bounds] = {}
    for value in model.graph.inputs:
        if value.dtype in (ir.DataType.INT64, ir.DataType.INT32) and value.name:
            told = list(_told(value))
            if exact := [one for one in told if one is not None and one[0] == one[1]]:
                found[value.name] = exact[0]
            elif places := [one for one in told if one is not None]:
                found[value.name] = min(places)
            elif told:
                found[value.name] = None
    return found


def _told(value: ir.Value) -> Iterator[Bounds]:
    waiting, seen = [(value, True)], {value}
    while waiting:
        read, is_same = waiting.pop()
        for node, index in read.uses():
            if is_same and node.op_type == "Gather" and index == 1:
                yield from _places(node)
            elif is_same and node.op_type == "Equal":
                other = node.inputs[1 - index]
                number = None if other is None else static(other)
                if number is not None and number.size == 1:
                    yield int(number.item()), int(number.item())
            elif node.op_type in _COMPARING:
                yield None
            elif (index == 0 and node.op_type in _PASSING) or node.op_type in _SCALING:
                result = node.outputs[0]
                if result not in seen:
                    seen.add(result)
                    waiting.append((result, is_same and node.op_type in _PASSING))


def _places(gather: ir.Node) -> Iterator[Bounds]:
    table = gather.inputs[0]
    if table is not None and table.shape is not None:
        size = table.shape[integer(gather, "axis", 0)]
        if isinstance(size, int) and size > 0:
            yield 0, size - 1
