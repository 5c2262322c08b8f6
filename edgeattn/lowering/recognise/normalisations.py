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

from edgeattn.graph.nodes import given, integer, number, static, weight_and_bias
from edgeattn.lowering.raising import Operand, Raised, Raising, Recogniser, UnrecognisedError
from edgeattn.lowering.recognise.pointwise import per_channel
from edgeattn.lowering.terms import scalar

_SEVERAL: Final = "it normalises over more than the positions of one channel"


def _normalised(node: ir.Node, raising: Raising, x: Raised, first: int, reason: str) -> Raised:
    """Normalise x over its axes from `first` on, which are to be all positions, or leave it."""
    over = frozenset(index for axis in range(first, x.rank) for index in x.axis(axis))
    rest = frozenset(index for axis in range(first) for index in x.axis(axis))
    inside = {index.home for index in x.term.indices()}
    is_line = (
        x.term.op != "leaf" and not {2, 3} <= inside and inside & {2, 3} and None not in inside
    )
    homes = {index.home for index in over}
    if not over or 0 in homes or (1 in homes and not is_line) or {i.home for i in rest} - {0, 1}:
        raise UnrecognisedError(reason)
    terms, term, epsilon = raising.terms, x.term, number(node, "epsilon", 1e-5)
    centred = terms.add(term, terms.scaled(scalar(-1), terms.mean(term, over)))
    spread = terms.add(terms.variance(term, over), terms.const(scalar(epsilon)))
    return Raised(terms.mul(centred, terms.pow(spread, -0.5)), x.axes)


def _instance(node: ir.Node, raising: Raising) -> Sequence[Operand]:
    found = raising.needed(node.inputs[0])
    scale, bias = (static(value) for value in node.inputs[1:3])
    if scale is None or bias is None:
        raise UnrecognisedError
    made = _normalised(node, raising, found, 2, _SEVERAL)
    if (scale == 1).all() and not bias.any():
        return [made]
    return [per_channel(raising, made, scale.astype(np.float64), bias.astype(np.float64))]


def _group(node: ir.Node, raising: Raising) -> Sequence[Operand]:
    raising.needed(node.inputs[0])
    scale, value = static(given(node, 1)), node.inputs[0]
    if scale is None:
        raise UnrecognisedError
    channels = None if value is None or value.shape is None else value.shape[1]
    if integer(node, "num_groups", 0) != channels or scale.size != channels:
        raise UnrecognisedError(_SEVERAL)
    return _instance(node, raising)


def _layer(node: ir.Node, raising: Raising) -> Sequence[Operand]:
    found, constants = raising.needed(node.inputs[0]), weight_and_bias(node)
    if constants is None or len(node.outputs) != 1:
        raise UnrecognisedError
    scale, bias = constants
    # The usual case, over channels, is an operator of its own, and no near miss.
    made = _normalised(node, raising, found, integer(node, "axis", -1) % found.rank, "")
    terms = raising.terms
    aligned = raising.align([made, scale, np.zeros(1) if bias is None else bias])
    if aligned is None:
        raise UnrecognisedError
    (x, factor, offset), axes = aligned
    return [Raised(terms.add(terms.mul(factor, x), offset), axes)]


TABLE: Final[Mapping[str, Recogniser]] = {
    "InstanceNormalization": Recogniser(rule="moments", recognise=_instance),
    "GroupNormalization": Recogniser(rule="moments", recognise=_group),
    "LayerNormalization": Recogniser(rule="moments", recognise=_layer),
}
