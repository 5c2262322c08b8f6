"""A convolution over a plane of channels and rows, or of channels and columns, to one value.

    Transpose, [max over axis 1; mean over axis 1], Conv k x k to one channel, Transpose back

A permuted branch, as in triplet attention: what it convolves has the map's channels for one of its
axes. The convolution is part of the term, so that the target may choose in which layout it runs:
over (channels, columns) with W it is over (columns, channels) with W transposed.

Real-number exact. Requires a convolution that keeps the size, of statistics of a permuted map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import onnx_ir as ir

from edgeattn.graph.nodes import integer, ints, keeps_size, static_sizes, weight_and_bias
from edgeattn.lowering.indices import leaves
from edgeattn.lowering.raising import Operand, Raised, Raising, Recogniser, UnrecognisedError
from edgeattn.lowering.terms import Plane

_MAP: Final = 4
_FARTHEST: Final = 4


def _is_plane(node: ir.Node) -> bool:
    """Return whether a convolution is one to one channel, of statistics of a permuted map."""
    value, weight = node.inputs[0], node.inputs[1]
    kernel = None if weight is None else static_sizes(weight)
    joined = None if value is None else value.producer()
    if kernel is None or len(kernel) != _MAP or joined is None or joined.op_type != "Concat":
        return False
    sides = [side or 0 for side in kernel[2:]]
    return (
        kernel[0] == 1
        and max(sides) > 1
        and keeps_size(node, sides)
        and integer(node, "group", 1) == 1
        and integer(joined, "axis", 0) % _MAP == 1
        and all(map(_is_of_permuted, joined.inputs))
    )


def _is_of_permuted(value: ir.Value | None) -> bool:
    """Return whether a value is a statistic of a map whose channels a transpose moved."""
    is_reduced = False
    for _ in range(_FARTHEST):
        maker = None if value is None else value.producer()
        if maker is None:
            return False
        if maker.op_type == "Transpose":
            return is_reduced and ints(maker, "perm", (0, 1)).index(1) > 1
        is_reduced = is_reduced or maker.op_type.startswith("Reduce")
        value = maker.inputs[0]
    return False


def _convolved(node: ir.Node, raising: Raising) -> Sequence[Operand]:
    found, constants = raising.needed(node.inputs[0]), weight_and_bias(node)
    if constants is None or found.term.op != "stack" or found.axis(1) != leaves(found.term.attrs):
        raise UnrecognisedError
    weight, bias = constants
    plane = Plane(
        weight=weight[0].astype(np.float64),
        bias=0.0 if bias is None else float(bias[0]),
        planes=found.axis(1),
        first=found.axis(2),
        second=found.axis(3),
    )
    term = raising.terms.plane(found.term, plane)
    return [Raised(term, (found.axes[0], (), found.axes[2], found.axes[3]))]


TABLE: Final[Mapping[str, Recogniser]] = {
    "Conv": Recogniser(rule="permuted-branch", recognise=_convolved, accepts=_is_plane)
}
