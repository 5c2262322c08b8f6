"""Hidden layers at least one block wide, in which ONNX Runtime's convolutions give their channels.

    W2 f(W1 m + b1) + b2 = [W2 0] f([W1; 0] m + [b1; 0]) + b2

A convolution that reads fewer channels than a block takes them outside the blocked layout, so that
a narrow hidden layer costs a layout copy; the lanes that zeros fill are computed anyway.

Bit-exact. Requires layers on what has no positions; a hidden layer of a single channel, whose
second layer is a product, becomes a layer like any other.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from edgeattn.lowering.indices import Index, leaves
from edgeattn.lowering.raising import Raising
from edgeattn.lowering.targets.layout import CHANNELS, channels_of
from edgeattn.lowering.terms import Layer, Term

BLOCK: Final = 16
"""The channels of a block, on a processor with AVX-512; elsewhere 8."""


def widened(root: Term, raising: Raising) -> Term:
    """Return an equal term whose thin hidden layers are at least a block wide."""
    return _Widening(raising).visit(root)


class _Widening:
    def __init__(self, raising: Raising) -> None:
        self.terms = raising.terms
        self._visited: dict[Term, Term] = {}
        self._made: set[Term] = set()
        self._hidden: dict[Term, Term | None] = {}

    def visit(self, term: Term) -> Term:
        known = self._visited.get(term)
        if known is None:
            args = [self.visit(arg) for arg in term.args]
            known = self.terms.rebuilt(term, args) or term
            known = self._layer(known) or known
            self._visited[term] = known
        return known

    def _layer(self, term: Term) -> Term | None:
        """Return a layer on a hidden one that is narrow, with the hidden one widened."""
        if term.op == "linear":
            return self._on_hidden(term.args[0], term.attrs)
        if term.op == "mul":
            factor, base = self.terms.parts(term)
            rows = leaves(factor.axes)
            if base is None or not rows or any(index.home != CHANNELS for index in rows):
                return None
            weight = factor.over(rows).reshape(-1, 1)
            layer = Layer(weight=weight, bias=np.zeros(len(weight)), rows=rows, columns=())
            return self._on_hidden(base, layer)
        return self._with_bias(term) if term.op == "add" else None

    def _on_hidden(self, base: Term, layer: Layer) -> Term | None:
        columns = leaves(layer.columns)
        if channels_of(base.indices()) != columns or not leaves(layer.rows):
            return None
        hidden = self._widened(base)
        if hidden is None:
            return None
        weight = layer.over(leaves(layer.rows), columns)
        weight = np.pad(weight, ((0, 0), (0, BLOCK - weight.shape[1])))
        wide = channels_of(hidden.indices())
        made = self.terms.linear(hidden, replace(layer, weight=weight, columns=wide))
        self._made.add(made)
        return made

    def _widened(self, term: Term) -> Term | None:
        """Return a narrow layer, or a function of one, with zeros up to a block."""
        if term not in self._hidden:
            self._hidden[term] = self._padded(term)
        return self._hidden[term]

    def _padded(self, term: Term) -> Term | None:
        if term.op == "fn":
            inner = self._widened(term.args[0])
            name, *numbers = term.attrs
            return None if inner is None else self.terms.fn(name, inner, *numbers)
        if term.op != "linear" or not term.is_thin():
            return None
        layer: Layer = term.attrs
        rows = leaves(layer.rows)
        if channels_of(term.indices()) != rows or len(layer.bias) >= BLOCK:
            return None
        rest = BLOCK - len(layer.bias)
        wide = Layer(
            weight=np.pad(layer.over(rows, leaves(layer.columns)), ((0, rest), (0, 0))),
            bias=np.pad(layer.bias_over(rows), (0, rest)),
            rows=(Index(BLOCK, CHANNELS),),
            columns=layer.columns,
        )
        return self.terms.linear(term.args[0], wide)

    def _with_bias(self, term: Term) -> Term | None:
        """Take a constant addend into a layer that was made here."""
        made = next((one for one in term.args if one in self._made), None)
        constant = next((one for one in term.args if one.op == "const"), None)
        if made is None or constant is None:
            return None
        rows = leaves(made.attrs.rows)
        own = set(leaves(constant.attrs.axes))
        # A number, such as a hard sigmoid's, belongs to what it is an argument of.
        if not own or not own <= set(rows):
            return None
        bias = made.attrs.bias_over(rows) + constant.attrs.spread(rows)
        layer = replace(made.attrs, bias=bias, rows=rows)
        rest = [one for one in term.args if one is not made and one is not constant]
        return self.terms.add(self.terms.linear(made.args[0], layer), *rest)
