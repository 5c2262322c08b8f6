"""Pools that step by 1 and keep the map's size: each channel by itself, whatever its order.

Bit-exact. A pool over the whole map is a global mean or maximum instead; any other ends terms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import onnx_ir as ir

from edgeattn.graph.nodes import integer, ints
from edgeattn.lowering.raising import Operand, Raised, Raising, Recogniser, UnrecognisedError

_RANK: Final = 4


def _keeps_size(node: ir.Node) -> bool:
    before, after = node.inputs[0], node.outputs[0]
    if before is None or before.shape is None or after.shape is None or len(node.outputs) != 1:
        return False
    return (
        len(before.shape) == _RANK
        and list(before.shape) == list(after.shape)
        and set(ints(node, "strides")) <= {1}
        and not integer(node, "ceil_mode", 0)
    )


def _pooled(node: ir.Node, raising: Raising) -> Sequence[Operand]:
    found = raising.needed(node.inputs[0])
    pooled = (found.axis(2), found.axis(3))
    own = {index for index in found.term.indices() if index.home in {2, 3}}
    if any(i.home != home for home in (2, 3) for i in found.axis(home)):
        raise UnrecognisedError("it pools over axes that are no rows and columns")
    if {index for axis in pooled for index in axis} != own:
        raise UnrecognisedError(
            "it pools over a part of the map, or over what is the same everywhere"
        )
    attributes = tuple(sorted((a.name, a.type, _value(a)) for a in node.attributes.values()))
    term = raising.terms.make(
        "window", (found.term,), (node.op_type, attributes, pooled), found.term.own
    )
    return [Raised(term, found.axes)]


def _value(attribute: ir.Attr) -> object:
    value = attribute.value
    return tuple(value) if isinstance(value, (list, tuple)) else value


TABLE: Final[Mapping[str, Recogniser]] = {
    op_type: Recogniser(rule="spatial-pool", recognise=_pooled, accepts=_keeps_size)
    for op_type in ("MaxPool", "AveragePool")
}
