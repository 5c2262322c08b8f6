"""Einsum: a product over letters, summed over those that the result lacks.

    nchw,nc->nchw is a gate         nchw->nc is a sum over the map
    nc,oc->no with constant weights is a layer: left, as it is rare

Real-number exact. Letters are indices already; a letter that stands twice in one operand (a
diagonal), and a sum over a product with more indices than any operand (a matrix product), are left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import onnx_ir as ir

from edgeattn.graph.nodes import text
from edgeattn.lowering.indices import Index, leaves, tie, unify
from edgeattn.lowering.raising import (
    Operand,
    Raised,
    Raising,
    Recogniser,
    UnrecognisedError,
    spread,
)
from edgeattn.lowering.terms import Term


def _summed(node: ir.Node, raising: Raising) -> Sequence[Operand]:
    equation = text(node, "equation", "").replace(" ", "")
    left, arrow, right = equation.partition("->")
    letters = left.split(",")
    operands = [raising.operand(value) for value in node.inputs]
    known = [operand for operand in operands if operand is not None]
    if not arrow or "." in equation or len(known) != len(operands) or len(letters) != len(known):
        raise UnrecognisedError
    if any(len(set(own)) != len(own) for own in (*letters, right)):
        raise UnrecognisedError("a letter stands twice")
    axes: dict[str, tuple[Index, ...]] = {}
    for own, operand in zip(letters, known, strict=True):
        if isinstance(operand, Raised):
            for place, letter in enumerate(own):
                if not axes.get(letter):
                    axes[letter] = operand.axis(place)
                elif operand.axis(place) and not unify(axes[letter], operand.axis(place)):
                    raise UnrecognisedError("its operands arrange the same indices differently")
    standing = [index for axis in axes.values() for index in leaves(axis)]
    if len(set(standing)) < len(standing):
        raise UnrecognisedError("one value stands under two letters")
    terms: list[Term] = []
    for own, operand in zip(letters, known, strict=True):
        if isinstance(operand, Raised):
            terms.append(operand.term)
            continue
        if any(s != 1 and not axes.get(a) for a, s in zip(own, operand.shape, strict=True)):
            raise UnrecognisedError
        constant = spread(operand, tuple(leaves(axes.get(letter, ())) for letter in own))
        if constant is None:
            raise UnrecognisedError
        terms.append(raising.terms.const(constant))
    gone = frozenset(i for a, axis in axes.items() if a not in right for i in leaves(axis))
    every = frozenset[Index]().union(*(term.indices() for term in terms))
    if gone and not any(term.indices() == every for term in terms):
        raise UnrecognisedError("it multiplies and sums, as a matrix product does")
    if any(not isinstance(index.size, int) for index in gone):
        raise UnrecognisedError("it sums over an open size")
    term = raising.terms.mul(*terms)
    if gone - term.indices():
        raise UnrecognisedError
    term = raising.terms.sum(term, gone)
    made = tuple(leaves(axes.get(letter, ())) for letter in right)
    if not tie(made):
        raise UnrecognisedError("an index stands twice")
    return [Raised(term, made)]


TABLE: Final[Mapping[str, Recogniser]] = {
    "Einsum": Recogniser(rule="global-mean", recognise=_summed)
}
