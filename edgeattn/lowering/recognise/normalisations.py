"""Normalisations of one channel, as moments.

    InstanceNormalization(x) = scale * (x - mean) * (variance + epsilon)^-1/2 + bias
    GroupNormalization with one channel in each group, LayerNormalization over a channel's map: same

with mean and variance over the positions of one channel. Exporters write GroupNorm as a reshape to
(N, G, -1), an InstanceNormalization with ones and zeros, a reshape back and the real affine: the
reshapes are views, and the affines fold.

Real-number exact. A group of several channels is left: its statistics belong to no channel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import onnx_ir as ir

from edgeattn.graph.nodes import given, integer, number, static
from edgeattn.lowering.indices import Index
from edgeattn.lowering.raising import Operand, Raised, Raising, Recogniser
from edgeattn.lowering.recognise.pointwise import per_channel
from edgeattn.lowering.terms import Term, scalar

_UNKNOWN: Final = ""
_SEVERAL: Final = "it normalises over more than the positions of one channel"


def _normalised(
    raising: Raising, term: Term, over: frozenset[Index], epsilon: float
) -> Term | None:
    if not over or any(index.home in {0, 1} for index in over):
        return None
    terms = raising.terms
    centred = terms.add(term, terms.scaled(scalar(-1), terms.mean(term, over)))
    spread = terms.add(terms.variance(term, over), terms.const(scalar(epsilon)))
    return terms.mul(centred, terms.pow(spread, -0.5))


def _instance(node: ir.Node, raising: Raising) -> Sequence[Operand] | str:
    found = raising.raised(node.inputs[0])
    scale, bias = (static(value) for value in node.inputs[1:3])
    if found is None or scale is None or bias is None:
        return _UNKNOWN
    over = frozenset(index for axis in range(2, found.rank) for index in found.axis(axis))
    term = _normalised(raising, found.term, over, number(node, "epsilon", 1e-5))
    if term is None:
        return _SEVERAL
    made = Raised(term, found.axes)
    done = per_channel(raising, made, scale.astype(np.float64), bias.astype(np.float64))
    return _UNKNOWN if done is None else [done]


def _group(node: ir.Node, raising: Raising) -> Sequence[Operand] | str:
    found = raising.raised(node.inputs[0])
    scale = static(given(node, 1))
    if found is None or scale is None:
        return _UNKNOWN
    value = node.inputs[0]
    channels = None if value is None or value.shape is None else value.shape[1]
    if integer(node, "num_groups", 0) != channels or scale.size != channels:
        return _SEVERAL
    return _instance(node, raising)


def _layer(node: ir.Node, raising: Raising) -> Sequence[Operand] | str:
    found = raising.raised(node.inputs[0])
    scale = static(given(node, 1))
    bias = np.zeros(1) if given(node, 2) is None else static(given(node, 2))
    if found is None or scale is None or bias is None or len(node.outputs) != 1:
        return _UNKNOWN
    first = integer(node, "axis", -1) % found.rank
    over = frozenset(index for axis in range(first, found.rank) for index in found.axis(axis))
    term = _normalised(raising, found.term, over, number(node, "epsilon", 1e-5))
    if term is None:
        return _UNKNOWN  # the usual case, over channels: an operator of its own
    terms = raising.terms
    constants = (scale.astype(np.float64), bias.astype(np.float64))
    aligned = raising.align([Raised(term, found.axes), *constants])
    if aligned is None:
        return _UNKNOWN
    (x, factor, offset), axes = aligned
    return [Raised(terms.add(terms.mul(factor, x), offset), axes)]


TABLE: Final[Mapping[str, Recogniser]] = {
    "InstanceNormalization": Recogniser(rule="moments", recognise=_instance),
    "GroupNormalization": Recogniser(rule="moments", recognise=_group),
    "LayerNormalization": Recogniser(rule="moments", recognise=_layer),
}
