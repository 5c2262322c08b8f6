"""What a graph computes, as terms over named indices, in one normal form.

Reshapes, transposes, expansions and splits leave no trace in a term; a difference, a quotient, a
square or a mean has one form however it was spelled. So two spellings of one module become one
term, and a recogniser has one thing to look for.

The algebra is that of real numbers: sums and products are flattened and their constants folded (in
float64), a mean of a sum of squares about the mean becomes a variance. Powers are only merged
where that holds for every real number. A constant is never multiplied into a difference x - mu,
whose terms would cancel badly apart.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from edgeattn.lowering.indices import Axes, Index, count, leaves, unify

_ON_NUMBERS: Final[Mapping[str, Callable[..., np.ndarray]]] = {
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "exp": np.exp,
    "log": np.log,
    "abs": np.abs,
    "erf": np.vectorize(math.erf, otypes=[float]),
    "softplus": lambda x: np.logaddexp(x, 0),
    "leakyrelu": lambda x, alpha: np.where(x < 0, alpha * x, x),
    "elu": lambda x, alpha: np.where(x < 0, alpha * np.expm1(x), x),
    "clip": lambda x, low, high: np.minimum(np.maximum(x, low), high),
}
_MOST_ADDENDS: Final = 8
_MOST_FACTORS: Final = 16
_FEWEST_GATES: Final = 2
_SMALLEST: Final = 1e-12


@dataclass(frozen=True, eq=False, slots=True)
class Term:
    """A term; equal terms are one object.

    Attributes:
        op: What it is: leaf, const, add, mul, pow, fn, mean, max, centred, variance, normalised,
            linear, convolved, band, slide, plane, window, stack, softmax, select.
        args: The terms that it is made of.
        attrs: What else says what it is.
        own: The indices that its value depends on, as they were when it was made.
        origin: The node that it first came from.
        depth: How many terms stand one in the other, this one too.
    """

    op: str
    args: tuple[Term, ...]
    attrs: Any
    own: tuple[Index, ...]
    origin: str
    depth: int = 1

    def indices(self) -> frozenset[Index]:
        """Return the indices that its value depends on."""
        return frozenset(leaves(self.own))

    def is_thin(self) -> bool:
        """Return whether its value depends on no row and no column."""
        return all(index.home not in {2, 3} for index in self.indices())


@dataclass(frozen=True, eq=False, slots=True)
class Const:
    """A constant array; `axes` has an index for each dimension."""

    array: np.ndarray
    axes: tuple[Index, ...]

    def over(self, order: Sequence[Index]) -> np.ndarray:
        """Return the array with one dimension for each index of an order, of size 1 where free."""
        flat = leaves(self.axes)
        array = self.array.reshape([_integer(index) for index in flat])
        kept = [index for index in order if index in flat]
        array = array.transpose([flat.index(index) for index in kept])
        shape = [_integer(index) if index in flat else 1 for index in order]
        return array.reshape(shape)

    def spread(self, order: Sequence[Index]) -> np.ndarray:
        """Return the elements over all places of an order, repeated where free, as f64[places]."""
        sizes = [_integer(index) for index in order]
        return np.broadcast_to(self.over(order), sizes).reshape(-1)


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Layer:
    """A layer with constant weights: y[rows] = sum over columns of weight * x[columns] + bias.

    The columns are bound: an index that is summed over may be among the rows as well, as where a
    gate has as many channels as what it was made from.

    Attributes:
        weight: f64[rows, columns].
        bias: f64[rows].
        rows: The indices that the weights differ by, the new ones and those that x has too.
        columns: The indices that are summed over.
    """

    weight: np.ndarray
    bias: np.ndarray
    rows: tuple[Index, ...]
    columns: tuple[Index, ...]

    def over(self, rows: Sequence[Index], columns: Sequence[Index]) -> np.ndarray:
        """Return the weights f64[rows, columns] with the indices of each side in another order."""
        old_rows, old_columns = leaves(self.rows), leaves(self.columns)
        sizes = [_integer(index) for index in (*old_rows, *old_columns)]
        order = [old_rows.index(index) for index in rows]
        order += [len(old_rows) + old_columns.index(index) for index in columns]
        return self.weight.reshape(sizes).transpose(order).reshape(len(self.bias), -1)

    def bias_over(self, rows: Sequence[Index]) -> np.ndarray:
        """Return the bias f64[rows] with the indices in another order."""
        old = leaves(self.rows)
        array = self.bias.reshape([_integer(index) for index in old])
        return array.transpose([old.index(index) for index in rows]).reshape(-1)


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Slide:
    """A depthwise convolution along a line, which keeps its length.

    Attributes:
        taps: f64[channels, taps].
        bias: f64[channels].
        channels: The indices of the channels.
        along: The indices of the line.
    """

    taps: np.ndarray
    bias: np.ndarray
    channels: tuple[Index, ...]
    along: tuple[Index, ...]


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Plane:
    """A convolution of some planes, side by side, to one, which keeps their size.

    Attributes:
        weight: f64[planes, rows of the kernel, its columns].
        bias: What is added.
        planes: The indices of the planes, which are summed over.
        first: The indices of the axis that the kernel's rows slide over.
        second: Those of the axis that its columns slide over.
    """

    weight: np.ndarray
    bias: float
    planes: tuple[Index, ...]
    first: tuple[Index, ...]
    second: tuple[Index, ...]


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Filter:
    """A convolution that keeps the size of its map, with zeros around it.

    Attributes:
        weight: f64[rows, columns, kernel, kernel].
        bias: f64[rows].
        rows: The channels that come out; they may be those that are summed over.
        columns: The channels that are summed over.
        space: Rows and columns of the map.
    """

    weight: np.ndarray
    bias: np.ndarray
    rows: tuple[Index, ...]
    columns: tuple[Index, ...]
    space: Axes


def _integer(index: Index) -> int:
    assert isinstance(index.size, int), "a constant has no open size"
    return index.size


ONE: Final = Const(np.array(1.0), ())
ZERO: Final = Const(np.array(0.0), ())


def scalar(value: float) -> Const:
    """Return a constant without indices."""
    return Const(np.array(float(value)), ())


def combine(function: Callable[..., np.ndarray], one: Const, other: Const) -> Const:
    """Apply a binary function to two constants, over the indices of both."""
    first = leaves(one.axes)
    order = (*first, *(index for index in leaves(other.axes) if index not in first))
    return Const(function(one.over(order), other.over(order)), order)


@dataclass(slots=True)
class Terms:
    """Makes terms in normal form; equal ones are made once.

    Attributes:
        origin: The node on whose behalf terms are made.
    """

    origin: str = ""
    _known: dict[Any, Term] = field(default_factory=dict)

    def make(
        self, op: str, args: Sequence[Term] = (), attrs: Any = None, own: Iterable[Index] = ()
    ) -> Term:
        """Return the term with these parts, whatever its normal form."""
        key = (op, tuple(map(id, args)), attrs)
        found = self._known.get(key)
        if found is None:
            indices = tuple(dict.fromkeys(leaves(own)))
            depth = 1 + max((arg.depth for arg in args), default=0)
            found = Term(op, tuple(args), attrs, indices, self.origin, depth)
            self._known[key] = found
        return found

    # Constants and leaves.

    def leaf(self, value: object, axes: Iterable[Index]) -> Term:
        """Return the term of a value that is computed elsewhere."""
        return self.make("leaf", attrs=value, own=axes)

    def const(self, constant: Const) -> Term:
        """Return the term of a constant."""
        key = (constant.array.tobytes(), constant.array.shape, constant.axes)
        found = self._known.get(("const", key))
        if found is None:
            found = Term("const", (), constant, constant.axes, self.origin)
            self._known["const", key] = found
        return found

    def scaled(self, constant: Const, term: Term) -> Term:
        """Return constant * term."""
        return self.mul(self.const(constant), term)

    def parts(self, term: Term) -> tuple[Const, Term | None]:
        """Take a term apart: its constant factor, and the rest (None for a constant)."""
        if term.op == "const":
            return term.attrs, None
        if term.op == "mul" and term.args[0].op == "const":
            rest = term.args[1:]
            base = rest[0] if len(rest) == 1 else self.make("mul", rest, own=_union(rest))
            return term.args[0].attrs, base
        return ONE, term

    # Sums.

    def add(self, *terms: Term) -> Term:
        """Return the sum."""
        entries: dict[Term, Const] = {}
        offset = ZERO
        for term in _flat("add", terms, _MOST_ADDENDS):
            factor, base = self.parts(term)
            if base is None:
                offset = combine(np.add, offset, factor)
            elif base in entries:
                entries[base] = combine(np.add, entries[base], factor)
            else:
                entries[base] = factor
        entries = {base: k for base, k in entries.items() if not is_scalar(k, 0)}
        self._centre(entries)
        self._gather_variance(entries)
        self._gate(entries)
        self._share_map(entries)
        self._share_layers(entries)
        clipped = self._clipped(entries, offset)
        if clipped is not None:
            return clipped
        terms = tuple(self.scaled(k, base) for base, k in entries.items())
        if not is_scalar(offset, 0) or not terms:
            terms = (*terms, self.const(offset))
        if len(terms) == 1:
            return terms[0]
        return self.make("add", terms, own=_union(terms))

    def _share_layers(self, entries: dict[Term, Const]) -> None:
        """W a + b + W m + b is W (a + m) + 2 b: one layer for two."""
        layers = [term for term in entries if term.op == "linear"]
        for one, other in itertools.combinations(layers, 2):
            if one not in entries or other not in entries:
                continue
            first, second = one.attrs, other.attrs
            if not (
                np.array_equal(first.weight, second.weight)
                and np.array_equal(first.bias, second.bias)
                and leaves(first.rows) == leaves(second.rows)
                and is_scalar(entries[one])
                and is_scalar(entries[other], float(entries[one].array))
                and unify(first.columns, second.columns)
            ):
                continue
            factor = entries.pop(one)
            del entries[other]
            layer = replace(first, bias=2 * first.bias)
            entries[self.linear(self.add(one.args[0], other.args[0]), layer)] = factor
            return

    def _clipped(self, entries: Mapping[Term, Const], offset: Const) -> Term | None:
        """K clip(x, -1/2k, 1/2k) + 1/2 is a hard sigmoid, as relu6(x + 3) / 6 is."""
        if len(entries) != 1 or not is_scalar(offset):
            return None
        ((base, factor),) = entries.items()
        if base.op != "fn" or base.attrs[0] != "clip" or not is_scalar(factor):
            return None
        if base.attrs[1] > base.attrs[2]:
            return None  # always the upper bound
        ends = [float(factor.array * bound + offset.array) for bound in base.attrs[1:]]
        if not (math.isclose(ends[1], 1, rel_tol=_SMALLEST) and abs(ends[0]) < _SMALLEST):
            return None
        inside = self.add(self.scaled(factor, base.args[0]), self.const(offset))
        return self.fn("clip", inside, 0.0, 1.0)

    def _centre(self, entries: dict[Term, Const]) -> None:
        """X - mean(x) is one term, so that no rule takes it apart."""
        for mean in [t for t in entries if t.op == "mean"]:
            base = mean.args[0]
            inside = [self.parts(part) for part in (base.args if base.op == "add" else (base,))]
            own = [part for factor, part in inside if part is not None and is_scalar(factor)]
            if len(own) < len(inside) or not all(
                part in entries
                and _opposite(entries[part], combine(np.multiply, entries[mean], factor))
                for (factor, _), part in zip(inside, own, strict=True)
            ):
                continue
            factor = combine(np.multiply, entries.pop(mean), scalar(-1))
            for part in own:
                del entries[part]
            centred = self.centred(base, mean.attrs)
            known = entries.get(centred)
            entries[centred] = factor if known is None else combine(np.add, known, factor)

    def _gather_variance(self, entries: dict[Term, Const]) -> None:
        """mean(x^2) - mean(x)^2 is the variance."""
        for mean in [t for t in entries if t.op == "mean"]:
            square = mean.args[0]
            if square.op != "pow" or square.attrs != 2:
                continue
            other = self.pow(self.mean(square.args[0], mean.attrs), 2)
            if other in entries and _opposite(entries[mean], entries[other]):
                factor = entries.pop(mean)
                del entries[other]
                entries[self.variance(square.args[0], mean.attrs)] = factor

    def _gate(self, entries: dict[Term, Const]) -> None:
        """X + x * a is x * (1 + a): one pass instead of two."""
        for product in [t for t in entries if t.op == "mul"]:
            for base in product.args:
                if base in entries and is_scalar(entries[base]):
                    rest = [arg for arg in product.args if arg is not base]
                    factor, one = entries.pop(product), entries.pop(base)
                    gate = self.add(self.scaled(factor, self.mul(*rest)), self.const(one))
                    entries[self.mul(base, gate)] = ONE
                    return

    def _share_map(self, entries: dict[Term, Const]) -> None:
        """X * a + x * b is x * (a + b), where x is a map: one pass over it for several gates."""
        products = [t for t in entries if t.op == "mul" and is_scalar(entries[t])]
        maps = dict.fromkeys(
            arg for t in products for arg in t.args if arg.op == "leaf" and not arg.is_thin()
        )
        for x in maps:
            own = [t for t in products if t.args.count(x) == 1 and len(t.args) > 1]
            if len(own) < _FEWEST_GATES:
                continue
            gates = [
                self.scaled(entries.pop(t), self.mul(*(a for a in t.args if a is not x)))
                for t in own
            ]
            product = self.mul(x, self.add(*gates))
            entries[product] = combine(np.add, entries.get(product, ZERO), ONE)
            return

    # Products and powers.

    def mul(self, *terms: Term) -> Term:
        """Return the product."""
        factor, powers = ONE, dict[Term, float]()
        for term in _flat("mul", terms, _MOST_FACTORS):
            if term.op == "const":
                factor = combine(np.multiply, factor, term.attrs)
                continue
            base, exponent = (term.args[0], term.attrs) if term.op == "pow" else (term, 1)
            powers[base] = powers.get(base, 0) + exponent
        factor = self._normalise(powers, factor)
        bases = [self.pow(base, exponent) for base, exponent in powers.items() if exponent]
        if is_scalar(factor, 0) or not bases:
            return self.const(factor)
        if len(bases) == 1 and bases[0].op == "add" and self._is_affine(bases[0]):
            return self.add(*(self.mul(self.const(factor), part) for part in bases[0].args))
        for place, base in enumerate(bases if is_scalar(factor) else ()):
            # relu6(x + 3) / 6 is the hard sigmoid, which has an operator of its own.
            high = base.attrs[2] if base.op == "fn" and base.attrs[:2] == ("clip", 0) else 0.0
            if high != 1 and math.isclose(high * float(factor.array), 1, rel_tol=_SMALLEST):
                bases[place] = self.fn("clip", self.scaled(factor, base.args[0]), 0.0, 1.0)
                return self.mul(*bases)
        if not is_scalar(factor, 1):
            bases.insert(0, self.const(factor))
        return bases[0] if len(bases) == 1 else self.make("mul", bases, own=_union(bases))

    def _normalise(self, powers: dict[Term, float], factor: Const) -> Const:
        """(x - mean)^p (k variance + e)^-p/2 is k^-p/2 times the normalised x, to the power p."""
        for centred in [base for base in powers if base.op == "centred"]:
            x, over = centred.args[0], frozenset(leaves(centred.attrs))
            for spread, exponent in list(powers.items()):
                found = self._spread(spread, self.variance(x, over))
                if found is None or exponent != -powers[centred] / 2:
                    continue
                k, epsilon = found
                power = powers.pop(centred)
                del powers[spread]
                normalised = self.normalised(x, over, epsilon / k)
                powers[normalised] = powers.get(normalised, 0) + power
                factor = combine(np.multiply, factor, scalar(k**exponent))
                break
        return factor

    def _spread(self, term: Term, variance: Term) -> tuple[float, float] | None:
        """Take k variance + e apart, with k and e numbers and both positive."""
        k, e = ZERO, ZERO
        for part in term.args if term.op == "add" else (term,):
            factor, base = self.parts(part)
            if base is None:
                e = factor
            elif base is variance:
                k = factor
            else:
                return None
        if not (is_scalar(k) and is_scalar(e) and k.array > 0 and e.array >= 0):
            return None
        return float(k.array), float(e.array)

    @staticmethod
    def _is_affine(term: Term) -> bool:
        return sum(part.op != "const" for part in term.args) == 1

    def pow(self, term: Term, exponent: float) -> Term:
        """Return term ** exponent."""
        if exponent == 0:
            return self.const(ONE)
        if exponent == 1:
            return term
        if term.op == "const":
            return self.const(Const(term.attrs.array**exponent, term.attrs.axes))
        if term.op == "pow":
            inner = term.attrs
            if exponent == int(exponent) or is_positive(term.args[0]):
                return self.pow(term.args[0], inner * exponent)
        if term.op == "mul" and term.args[0].op == "const":
            constant, rest = term.args[0].attrs, self.mul(*term.args[1:])
            if exponent == int(exponent) or bool((constant.array > 0).all()):
                power = Const(constant.array**exponent, constant.axes)
                return self.scaled(power, self.pow(rest, exponent))
        if term.op == "mul" and exponent == int(exponent):
            return self.mul(*(self.pow(arg, exponent) for arg in term.args))
        return self.make("pow", (term,), float(exponent), term.own)

    def fn(self, name: str, term: Term, *numbers: float) -> Term:
        """Return a function of one term, elementwise; `numbers` are its parameters."""
        if term.op == "const":
            return self.const(Const(_ON_NUMBERS[name](term.attrs.array, *numbers), term.attrs.axes))
        if name == "clip" and term.op == "fn":
            # Max and Min, one after the other; relu and a bound.
            low, high = numbers
            if term.attrs[0] == "relu" and low <= 0:
                return self.fn("clip", term.args[0], 0.0, high)
            if term.attrs[0] == "clip" and term.attrs[1] <= high and low <= term.attrs[2]:
                bounds = max(low, term.attrs[1]), min(high, term.attrs[2])
                return self.fn("clip", term.args[0], *bounds)
        return self.make("fn", (term,), (name, *numbers), term.own)

    # Reductions.

    def mean(self, term: Term, over: frozenset[Index]) -> Term:
        """Return the mean over some indices; over those that the term does not have, nothing."""
        inside = term.indices()
        over = frozenset(index for index in leaves(over) if index in inside)
        if not over:
            return term
        stack = next((t for t in _factors(term) or (term,) if t.op == "stack"), None)
        if stack is not None and over & set(leaves(stack.attrs)):
            return self._mean_of_stack(term, stack, over)
        factor, base = self.parts(term)
        if base is not None and base is not term and not over & set(leaves(factor.axes)):
            return self.scaled(factor, self.mean(base, over))
        outside = [arg for arg in _factors(term) if not over & arg.indices()]
        if outside:
            inner = [arg for arg in _factors(term) if over & arg.indices()]
            return self.mul(*outside, self.mean(self.mul(*inner), over))
        if term.op == "mean":
            return self.mean(term.args[0], over | frozenset(leaves(term.attrs)))
        if term.op == "centred" and frozenset(leaves(term.attrs)) == over:
            return self.const(ZERO)
        if term.op == "normalised" and frozenset(leaves(term.attrs[0])) == over:
            return self.const(ZERO)
        filtered = self._mean_of_filter(term, over)
        if filtered is not None:
            return filtered
        if term.op == "add" and self._is_affine(term):
            return self.add(*(self.mean(arg, over) for arg in term.args))
        if term.op == "const":
            flat = leaves(term.attrs.axes)
            array = term.attrs.over(flat).mean(axis=tuple(flat.index(i) for i in over))
            return self.const(Const(array, tuple(i for i in flat if i not in over)))
        if term.op == "pow" and term.attrs == 2:
            centred = term.args[0]
            if centred.op == "centred" and frozenset(leaves(centred.attrs)) == over:
                return self.variance(centred.args[0], over)
        return self.make("mean", (term,), over, inside - over)

    def _mean_of_filter(self, term: Term, over: frozenset[Index]) -> Term | None:
        """Return a mean of a convolution: over the map, one of what it reads; or of its rows."""
        factor, base = self.parts(term)
        if base is None or base.op != "convolved":
            return None
        filtered, x, own = base.attrs, base.args[0], set(leaves(factor.axes))
        rows = leaves(filtered.rows)
        if rows and over == set(rows) >= own:
            weight = filtered.weight * factor.spread(rows)[:, None, None, None]
            bias = filtered.bias * factor.spread(rows)
            one = replace(
                filtered,
                weight=weight.mean(0, keepdims=True),
                bias=bias.mean(keepdims=True),
                rows=(),
            )
            return self.convolved(x, one)
        space = tuple(leaves(axis) for axis in filtered.space)
        if own or over != {index for axis in space for index in axis}:
            return None
        # A position counts for each place of the kernel that lies on the map from there.
        kernel, sides = filtered.weight.shape[2:], [count(axis) for axis in space]
        masks = [
            [[0 <= at - place + size // 2 < side for at in range(side)] for place in range(size)]
            for size, side in zip(kernel, sides, strict=True)
        ]
        mask = np.einsum("ih,jw->ijhw", *(np.array(m, dtype=np.float64) for m in masks))
        place = Index(math.prod(kernel), 1, (sys.maxsize,))  # behind the channels, whichever
        constant = Const(mask.reshape(-1, *sides), (place, *space[0], *space[1]))
        layer = Layer(
            weight=filtered.weight.reshape(len(filtered.weight), -1),
            bias=filtered.bias,
            rows=filtered.rows,
            columns=(*filtered.columns, place),
        )
        return self.linear(self.mean(self.mul(self.const(constant), x), over), layer)

    def _mean_of_stack(self, term: Term, stack: Term, over: frozenset[Index]) -> Term:
        """Return a mean over what stands side by side, each part with its own weights."""
        (index,) = leaves(stack.attrs)
        rest = [factor for factor in _factors(term) if factor is not stack]
        parts = [
            self.mul(part, *(self.select(factor, index, place) for factor in rest))
            for place, part in enumerate(stack.args)
        ]
        total = self.add(*(self.mean(part, over - {index}) for part in parts))
        return self.scaled(scalar(1 / len(parts)), total)

    def sum(self, term: Term, over: frozenset[Index]) -> Term:
        """Return the sum over some indices, whose sizes are numbers."""
        factor, mean = scalar(count(over)), self.mean(term, over)
        if mean.op != "convolved":
            return self.scaled(factor, mean)
        filtered = mean.attrs
        weight, bias = filtered.weight * factor.array, filtered.bias * factor.array
        return self.convolved(mean.args[0], replace(filtered, weight=weight, bias=bias))

    def centred(self, term: Term, over: frozenset[Index]) -> Term:
        """Return the difference from the mean."""
        return self.make("centred", (term,), over, term.own)

    def variance(self, term: Term, over: frozenset[Index]) -> Term:
        """Return the mean of the squares about the mean."""
        return self.make("variance", (term,), over, term.indices() - over)

    def normalised(self, term: Term, over: frozenset[Index], epsilon: float) -> Term:
        """Return (term - mean) / sqrt(variance + epsilon)."""
        return self.make("normalised", (term,), (over, epsilon), term.indices())

    def max(self, term: Term, over: frozenset[Index]) -> Term:
        """Return the maximum over some indices."""
        inside = term.indices()
        over = frozenset(index for index in leaves(over) if index in inside)
        if not over:
            return term
        if term.op == "max":
            return self.max(term.args[0], over | frozenset(leaves(term.attrs)))
        return self.make("max", (term,), over, inside - over)

    def softmax(self, term: Term, over: frozenset[Index]) -> Term:
        """Return the softmax over some indices; over none, of one value, it is 1."""
        if not over:
            return self.const(ONE)
        if term.op == "const" and over <= set(leaves(term.attrs.axes)):
            flat = leaves(term.attrs.axes)
            axis = tuple(flat.index(index) for index in leaves(over))
            array = term.attrs.over(flat)
            powers = np.exp(array - array.max(axis=axis, keepdims=True))
            return self.const(Const(powers / powers.sum(axis=axis, keepdims=True), flat))
        return self.make("softmax", (term,), over, term.indices())

    def linear(self, term: Term, layer: Layer) -> Term:
        """Return the sum of a term's columns with constant weights, plus a bias.

        W (k x + c) + b is (W k) x + (W c + b): an affine before it is part of it.
        """
        columns = leaves(layer.columns)
        factor, offset, base = self._affine(term)
        inside = {*leaves(factor.axes), *leaves(offset.axes)}
        if base is not term and base is not None and inside <= set(columns) <= base.indices():
            layer = replace(
                layer,
                weight=layer.weight * factor.spread(columns),
                bias=layer.bias + layer.weight @ offset.spread(columns),
            )
            term = base
        own = (term.indices() - set(leaves(layer.columns))) | set(leaves(layer.rows))
        return self.make("linear", (term,), layer, own)

    def convolved(self, term: Term, made: Filter) -> Term:
        """Return a convolution of a map."""
        own = (term.indices() - set(leaves(made.columns))) | set(leaves(made.rows))
        return self.make("convolved", (term,), made, own)

    def _affine(self, term: Term) -> tuple[Const, Const, Term | None]:
        """Take factor * base + offset apart."""
        parts = [self.parts(part) for part in (term.args if term.op == "add" else (term,))]
        offset = next((factor for factor, base in parts if base is None), ZERO)
        inside = [(factor, base) for factor, base in parts if base is not None]
        return (inside[0][0], offset, inside[0][1]) if len(inside) == 1 else (ONE, ZERO, None)

    def plane(self, term: Term, plane: Plane) -> Term:
        """Return the convolution of a term's planes."""
        return self.make("plane", (term,), plane, term.indices() - set(leaves(plane.planes)))

    def select(self, term: Term, index: Index, place: int) -> Term:
        """Return the part of a term at one place of an index."""
        if index not in term.indices():
            return term
        if term.op == "const":
            flat = leaves(term.attrs.axes)
            array = term.attrs.over(flat).take(place, axis=flat.index(index))
            return self.const(Const(array, tuple(i for i in flat if i is not index)))
        return self.make("select", (term,), (index, place), term.indices() - {index})

    def rebuilt(self, like: Term, args: Sequence[Term]) -> Term | None:
        """Return a term of the same kind over other arguments, in normal form.

        Args:
            like: The term; it is what comes back where its arguments are the same.
            args: The arguments.

        Returns:
            The term, or None if terms of its kind cannot be rebuilt.
        """
        if all(new is old for new, old in zip(args, like.args, strict=True)):
            return like
        make: Callable[..., Term] = getattr(self, like.op, self.make)
        match like.op:
            case "add" | "mul":
                return make(*args)
            case "pow" | "mean" | "max" | "variance" | "softmax" | "linear" | "convolved" | "plane":
                return make(args[0], like.attrs)
            case "normalised" | "select":
                return make(args[0], *like.attrs)
            case "fn":
                return self.fn(like.attrs[0], args[0], *like.attrs[1:])
            case "stack":
                own = (*like.attrs, *(index for arg in args for index in arg.indices()))
                return self.make("stack", args, like.attrs, own)
            case "centred" | "window" | "band" | "slide":
                return self.make(like.op, args, like.attrs, args[0].own)
        return None


def _flat(op: str, terms: Sequence[Term], most: int) -> list[Term]:
    """Return terms with the sums (or products) among them taken apart.

    A long chain stays a chain: its normal form would cost the square of its length.
    """
    flat = [part for t in terms for part in (t.args if t.op == op else (t,))]
    return flat if len(flat) <= most else list(terms)


def _factors(term: Term) -> tuple[Term, ...]:
    return term.args if term.op == "mul" else ()


def subterms(root: Term) -> Iterator[Term]:
    """Return a term and all that it is made of, each once."""
    pending, seen = [root], {root}
    while pending:
        term = pending.pop()
        yield term
        for arg in term.args:
            if arg not in seen:
                seen.add(arg)
                pending.append(arg)


def _union(terms: Sequence[Term]) -> tuple[Index, ...]:
    return tuple(index for term in terms for index in term.own)


def is_scalar(constant: Const, value: float | None = None) -> bool:
    """Return whether a constant has no indices, and (if one is given) this value."""
    return constant.array.ndim == 0 and (value is None or float(constant.array) == value)


def _opposite(one: Const, other: Const) -> bool:
    total = combine(np.add, one, other).array
    return bool((total == 0).all())


_POSITIVE: Final = frozenset({"exp", "sigmoid", "relu", "abs"})


def is_positive(term: Term) -> bool:
    """Return whether a term is nowhere below zero, as far as its form tells."""
    if term.op == "const":
        return bool((term.attrs.array >= 0).all())
    if term.op == "fn":
        return term.attrs[0] in _POSITIVE
    if term.op == "pow":
        return term.attrs % 2 == 0 or is_positive(term.args[0])
    if term.op in {"add", "mul", "mean", "max", "select"}:
        return all(map(is_positive, term.args))
    return term.op in {"variance", "softmax"}
