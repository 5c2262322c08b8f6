"""The plain forms of sums, products, powers and functions: one operator each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from edgeattn.lowering.indices import Axes, Index
from edgeattn.lowering.targets.layout import (
    CHANNELS,
    ORDER,
    UnwritableError,
    View,
    axes_of,
    channels_of,
)
from edgeattn.lowering.targets.writer import Writer, Written
from edgeattn.lowering.terms import Term, is_scalar

FUNCTIONS: Final = {
    "relu": ("Relu", ()),
    "sigmoid": ("Sigmoid", ()),
    "tanh": ("Tanh", ()),
    "exp": ("Exp", ()),
    "log": ("Log", ()),
    "abs": ("Abs", ()),
    "erf": ("Erf", ()),
    "softplus": ("Softplus", ()),
    "leakyrelu": ("LeakyRelu", ("alpha",)),
    "elu": ("Elu", ("alpha",)),
}


class Elementwise(Writer):
    """Writes what is computed value by value."""

    def operands(self, terms: Sequence[Term], view: View) -> list[Written]:
        """Write the operands of an elementwise operator so that they broadcast."""
        indices = frozenset[Index]().union(*(term.indices() for term in terms))
        channels = channels_of(indices)
        made = []
        for term in terms:
            if term.op == "const":
                made.append(self.constant(term.attrs, indices, view))
                continue
            one = self.on(term, view)
            own = channels_of(term.indices())
            made.append(one if own in {(), channels} else self.expanded(one, channels, view))
        return made

    def expanded(self, one: Written, channels: tuple[Index, ...], view: View) -> Written:
        """Repeat a value that has some channel indices along the others."""
        position = ORDER[view].index(CHANNELS)
        sizes = [int(index.size) for index in channels]
        own = [int(index.size) if index in one.axes[position] else 1 for index in channels]
        places = np.broadcast_to(np.arange(np.prod(own)).reshape(own), sizes).reshape(-1)
        axes = (*one.axes[:position], channels, *one.axes[position + 1 :])
        indices = self.build.integers(places.tolist())
        return self.node("Gather", [one.value, indices], axes, axis=position)

    def join(self, op_type: str, one: Written, other: Written, view: View) -> Written:
        """Apply a binary operator to two values that broadcast."""
        axes = axes_of(one.indices | other.indices, view)
        check_broadcast(axes, one, other)
        return self.node(op_type, [one.value, other.value], axes)

    def write_add(self, term: Term, view: View) -> Written:
        known = self._known_sum(term, view)
        args = term.args if known is None else self._without(term, known)
        signed = []
        for arg in args:
            factor, base = self.terms.parts(arg)
            is_negative = base is not None and is_scalar(factor, -1)
            signed.append((-1 if is_negative else 1, base if is_negative and base else arg))
        self.prepare([arg for _, arg in signed], view)
        written = self.operands([arg for _, arg in signed], view)
        self.build.origin = term.origin
        pairs = [(sign, one) for (sign, _), one in zip(signed, written, strict=True)]
        # What is smaller is added up first; a difference wants something to start from.
        pairs.sort(key=lambda pair: (_size(pair[1]), -pair[0]))
        start = next((k for k, pair in enumerate(pairs) if pair[0] > 0), None)
        if start is None:
            total = self.opposite(pairs[0][1])
        else:
            if pairs[0][0] < 0:
                pairs.insert(0, pairs.pop(start))
            total = pairs[0][1]
        for sign, one in pairs[1:]:
            total = self.join("Add" if sign > 0 else "Sub", total, one, view)
        self._sums.setdefault((term.args[0], view), []).append(term)
        return total

    def opposite(self, one: Written) -> Written:
        """Return -x."""
        return self.node("Neg", [one.value], one.axes)

    def _known_sum(self, term: Term, view: View) -> Term | None:
        """Return the largest part of a sum that is written already, as in a chain of residuals."""
        sums = [one for arg in term.args for one in self._sums.get((arg, view), ())]
        known = [one for one in sums if set(one.args) < set(term.args)]
        return max(known, key=lambda one: len(one.args), default=None)

    @staticmethod
    def _without(term: Term, known: Term) -> list[Term]:
        return [known, *(arg for arg in term.args if arg not in known.args)]

    def prepare(self, terms: Sequence[Term], view: View) -> None:
        """Write terms, so that their nodes stand before those of what is made of them."""
        for term in terms:
            if term.op != "const":
                self.on(term, view)

    def write_mul(self, term: Term, view: View) -> Written:
        above = [arg for arg in term.args if not self._is_divisor(arg)]
        below = [arg.args[0] for arg in term.args if self._is_divisor(arg)]
        self.prepare([*above, *below], view)
        written = self.operands([*above, *below], view)
        self.build.origin = term.origin
        tops = sorted(written[: len(above)], key=_size)
        bottoms = sorted(written[len(above) :], key=_size)
        total = tops[0] if tops else Written(self.real(1.0), ((), (), (), ()))
        rest = tops[1:]
        for one in bottoms:
            # A quotient of small terms first: the large one is multiplied once.
            if rest and _size(total) > _size(one):
                quotient = self.join("Div", Written(self.real(1.0), ((),) * 4), one, view)
                total = self.join("Mul", total, quotient, view)
            else:
                total = self.join("Div", total, one, view)
        for one in rest:
            total = self.join("Mul", total, one, view)
        return total

    def known_product(self, term: Term, view: View) -> Term | None:
        """Return a product with the largest of its parts that was written already as one factor."""
        known = [
            part
            for part, seen in self._written
            if part.op == "mul" and seen == view and set(part.args) < set(term.args)
        ]
        if not known:
            return None
        part = max(known, key=lambda one: len(one.args))
        rest = [arg for arg in term.args if arg not in part.args]
        return self.terms.make("mul", [part, *rest], own=term.own)

    def shared_product(self, term: Term, view: View) -> Term:
        """Return a product with what was written already as one factor, if that form is taken."""
        known = self.known_product(term, view)
        return term if known is None or not self.takes("product", "shared") else known

    @staticmethod
    def _is_divisor(term: Term) -> bool:
        return term.op == "pow" and term.attrs == -1

    def hard_sigmoid(self, term: Term) -> tuple[Term, float, float] | None:
        """Take a term max(0, min(1, alpha x + beta)) apart, with numbers alpha and beta."""
        if term.op != "fn" or term.attrs != ("clip", 0.0, 1.0) or term.args[0].op != "add":
            return None
        if len(term.args[0].args) != 2:
            return None
        alpha, x = self.terms.parts(term.args[0].args[0])
        beta, rest = self.terms.parts(term.args[0].args[1])
        if x is None or rest is not None or not is_scalar(alpha) or not is_scalar(beta):
            return None
        return x, float(alpha.array), float(beta.array)

    def write_pow(self, term: Term, view: View) -> Written:
        base, exponent = self.on(term.args[0], view), term.attrs
        match exponent:
            case 2:
                return self.node("Mul", [base.value, base.value], base.axes)
            case -1:
                return self.node("Reciprocal", [base.value], base.axes)
            case 0.5:
                return self.node("Sqrt", [base.value], base.axes)
            case -0.5:
                root = self.node("Sqrt", [base.value], base.axes)
                return self.node("Reciprocal", [root.value], base.axes)
            case -2:
                square = self.node("Mul", [base.value, base.value], base.axes)
                return self.node("Reciprocal", [square.value], base.axes)
        return self.node("Pow", [base.value, self.real(exponent)], base.axes)

    def write_fn(self, term: Term, view: View) -> Written:
        hard = self.hard_sigmoid(term)
        if hard is not None:
            x = self.on(hard[0], view)
            return self.node("HardSigmoid", [x.value], x.axes, alpha=hard[1], beta=hard[2])
        x = self.on(term.args[0], view)
        return self.apply(term.attrs, x)

    def apply(self, function: tuple[Any, ...], x: Written) -> Written:
        """Apply an elementwise function, given as its name and its numbers."""
        name, *numbers = function
        if name == "clip":
            low, high = (self.real(bound) if np.isfinite(bound) else None for bound in numbers)
            inputs = [x.value, low, high] if high is not None else [x.value, low]
            return self.node("Clip", inputs, x.axes)
        op_type, keys = FUNCTIONS[name]
        return self.node(op_type, [x.value], x.axes, **dict(zip(keys, numbers, strict=True)))


def check_broadcast(axes: Axes, *operands: Written) -> None:
    """Refuse values of which one has a part of an axis, as where groups are in the batch.

    Raises:
        UnwritableError: They do not broadcast.
    """
    if any(
        own not in ((), axis) for one in operands for own, axis in zip(one.axes, axes, strict=True)
    ):
        raise UnwritableError("its operands have parts of one axis")


def _size(written: Written) -> tuple[int, int]:
    """Order values: what lies on the map is larger than what does not."""
    space = sum(index.home in {2, 3} for index in written.indices)
    return space, len(written.indices)
