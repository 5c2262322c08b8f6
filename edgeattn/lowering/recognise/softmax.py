"""Softmax over the positions of a map, whatever reshapes stand around it.

Bit-exact: the same values are exponentiated and summed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import onnx_ir as ir

from edgeattn.graph.nodes import integer
from edgeattn.lowering.raising import Operand, Raised, Raising, Recogniser, UnrecognisedError


def _softmax(node: ir.Node, raising: Raising) -> Sequence[Operand]:
    found = raising.needed(node.inputs[0])
    over = frozenset(found.axis(integer(node, "axis", -1) % found.rank))
    if over - found.term.indices():
        raise UnrecognisedError("what it reads does not depend on all that it sums over")
    return [Raised(raising.terms.softmax(found.term, over), found.axes)]


TABLE: Final[Mapping[str, Recogniser]] = {
    "Softmax": Recogniser(rule="spatial-softmax", recognise=_softmax)
}
