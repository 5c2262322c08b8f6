"""Split into g parts, the same computation on each, Concat: one computation over all parts.

If part i of an index goes through f with the weights theta_i, and the results are joined in the
same order, the whole is f over that index, with the weights stacked along it. Branches whose sums
differ (shuffle attention: one half is gated by its mean, the other by its normalised values) are
one sum, in which an addend that a branch lacks has the coefficient 0 there.

Real-number exact; what a coefficient of 0 is multiplied by must be finite.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnx_ir as ir

from edgeattn.graph.nodes import integer, is_static, reduced_axes
from edgeattn.lowering.indices import Index, leaves, resolve, unify
from edgeattn.lowering.raising import Operand, Raised, Raising, Recogniser, UnrecognisedError
from edgeattn.lowering.recognise.reductions import is_whole_depthwise
from edgeattn.lowering.terms import (
    ONE,
    Const,
    Layer,
    Term,
    Terms,
    combine,
    is_positive,
    subterms,
)

_MAP: Final = 4
# More addends than this are no union of a few forms, but branches that differ.
_MOST_ADDENDS: Final = 4


def _joined(node: ir.Node, raising: Raising) -> Sequence[Operand]:
    branches = [raising.raised(value) for value in node.inputs]
    found = [branch for branch in branches if branch is not None]
    if len(found) != len(branches) or len(found) == 1:
        raise UnrecognisedError
    index = _common(found)
    if index is None:
        return _stacked(node, raising, found)
    axis = integer(node, "axis", 0) % found[0].rank
    for branch in found[1:]:
        if branch.rank != found[0].rank:
            raise UnrecognisedError("its branches differ in rank")
        if not _share_axes(found[0], branch):
            raise UnrecognisedError("its branches differ in size")
    axes = list(resolve(found[0].axes))
    if index in axes[axis]:
        raise UnrecognisedError
    term = _Lift(raising.terms, index).lift([branch.term for branch in found])
    if term is None:
        raise UnrecognisedError("its branches do not compute the same")
    axes[axis] = (index, *axes[axis])
    return [Raised(term, tuple(axes))]


def _stacked(node: ir.Node, raising: Raising, maps: Sequence[Raised]) -> Sequence[Operand]:
    """Take maps of one channel each as the channels of one map."""
    axis = integer(node, "axis", 0) % maps[0].rank
    is_thin = all(one.rank == maps[0].rank and one.term.is_thin() for one in maps)
    is_map = all(one.rank == _MAP and not one.term.is_thin() for one in maps)
    if any(one.axis(axis) for one in maps) or not ((is_map and axis == 1) or is_thin):
        raise UnrecognisedError
    if is_thin and not _is_summed(node.outputs[0], axis, maps[0].rank):
        raise UnrecognisedError
    if not all(_share_axes(maps[0], other) for other in maps[1:]):
        raise UnrecognisedError("its maps differ in size")
    index = Index(len(maps), 1 if is_map else None)
    terms = [one.term for one in maps]
    own = (index, *(i for term in terms for i in term.indices()))
    term = raising.terms.make("stack", terms, (index,), own)
    first = resolve(maps[0].axes)
    return [Raised(term, (*first[:axis], (index,), *first[axis + 1 :]))]


def _is_summed(value: ir.Value, axis: int, rank: int) -> bool:
    """Return whether all that reads statistics side by side adds them up, with weights."""
    readers = value.consumers()
    return bool(readers) and all(
        _is_summed(reader.outputs[0], axis, rank)
        if reader.op_type in {"Mul", "Div"} and sum(is_static(v) for v in reader.inputs) == 1
        else (
            reader.op_type in {"ReduceSum", "ReduceMean"} and reduced_axes(reader, rank) == [axis]
        )
        or is_whole_depthwise(reader)
        for reader in readers
    )


def _share_axes(one: Raised, other: Raised) -> bool:
    """Make the axes of two values the same, if that can be."""
    return all(unify(a, b) for a, b in zip(one.axes, other.axes, strict=True))


def _common(branches: Sequence[Raised]) -> Index | None:
    """Return the index of which branch i reads place i only."""
    found: set[Index] | None = None
    for place, branch in enumerate(branches):
        own: dict[Index, set[int]] = {}
        for index, at in _places(branch.term):
            own.setdefault(index, set()).add(at)
        good = {i for i, at in own.items() if at == {place} and i.size == len(branches)}
        found = good if found is None else found & good
    return next(iter(found), None) if found else None


def _places(root: Term) -> Iterator[tuple[Index, int]]:
    for term in subterms(root):
        if term.op == "select":
            index, place = term.attrs
            if len(index.leaves()) == 1:
                yield index.leaves()[0], place


class _Lift:
    """Returns the term of which each branch is one place of an index."""

    def __init__(self, terms: Terms, index: Index) -> None:
        self._terms = terms
        self._index = index
        self._free: dict[tuple[Term, int], Term | None] = {}

    def lift(self, branches: Sequence[Term]) -> Term | None:
        first = branches[0]
        if all(self._is_part(branch, place) for place, branch in enumerate(branches)):
            whole = {branch.args[0] for branch in branches}
            return first.args[0] if len(whole) == 1 else None
        if any(
            branch.op == "select" and self._index in branch.attrs[0].leaves() for branch in branches
        ):
            return None
        if all(branch is first for branch in branches):
            return first if self._without(first, 0) is first else None
        if any(branch.op == "add" or branch.op != first.op for branch in branches):
            return self._sum(branches)
        if first.op == "const":
            return self._terms.const(self._stacked([branch.attrs for branch in branches]))
        if first.op == "mul":
            return self._product(branches)
        if first.op == "linear":
            return self._layer(branches)
        if any(branch.attrs != first.attrs for branch in branches):
            return None
        args = self._lift_all(zip(*(b.args for b in branches), strict=True))
        return None if args is None else self._terms.rebuilt(first, args)

    def _lift_all(self, lists: Iterable[Sequence[Term]] | None) -> list[Term] | None:
        """Lift each list of terms that stand for each other; return None if one cannot be."""
        made = None if lists is None else [self.lift(same) for same in lists]
        known = [term for term in made or () if term is not None]
        return None if made is None or len(known) < len(made) else known

    def _layer(self, branches: Sequence[Term]) -> Term | None:
        """Stack the weights of layers along the index."""
        term = self.lift([branch.args[0] for branch in branches])
        layers: list[Layer] = [branch.attrs for branch in branches]
        first = layers[0]
        for other in layers[1:]:
            if not unify(first.rows, other.rows):
                return None
            if leaves(other.columns) != leaves(first.columns):
                return None
        if term is None:
            return None
        stacked = Layer(
            weight=np.concatenate([layer.weight for layer in layers]),
            bias=np.concatenate([layer.bias for layer in layers]),
            rows=(self._index, *first.rows),
            columns=first.columns,
        )
        return self._terms.linear(term, stacked)

    def _is_part(self, term: Term, place: int) -> bool:
        return (
            term.op == "select"
            and term.attrs[0].leaves() == (self._index,)
            and term.attrs[1] == place
        )

    def _stacked(self, constants: Sequence[Const]) -> Const:
        order: list[Index] = []
        for constant in constants:
            order += [index for index in leaves(constant.axes) if index not in order]
        arrays = np.broadcast_arrays(*(constant.over(order) for constant in constants))
        return Const(np.stack(arrays), (self._index, *order))

    def _product(self, branches: Sequence[Term]) -> Term | None:
        taken = [self._terms.parts(branch) for branch in branches]
        factor = self._stacked([constant for constant, _ in taken])
        if all(constant is ONE for constant, _ in taken):
            factor = ONE
        made = self._lift_all(_match([[] if b is None else _factors(b) for _, b in taken]))
        return None if made is None else self._terms.mul(self._terms.const(factor), *made)

    def _sum(self, branches: Sequence[Term]) -> Term | None:
        """Add up the addends of all branches, each with its coefficient at each place."""
        zero = Const(np.array(0.0), ())
        addends: list[tuple[Term | None, list[Const]]] = []
        keys: dict[Any, int] = {}
        for place, branch in enumerate(branches):
            for part in branch.args if branch.op == "add" else (branch,):
                factor, base = self._terms.parts(part)
                whole = None if base is None else self._without(base, place)
                if base is not None and whole is None:
                    return self._aligned_sum(branches)
                at = keys.setdefault(whole, len(addends))
                if at == len(addends):
                    addends.append((whole, [zero] * len(branches)))
                coefficients = addends[at][1]
                coefficients[place] = combine(np.add, coefficients[place], factor)
        kinds = [whole for whole, _ in addends if whole is not None]
        if len(kinds) > _MOST_ADDENDS or not all(map(_is_finite, kinds)):
            return self._aligned_sum(branches)
        made = []
        for whole, coefficients in addends:
            constant = self._terms.const(self._stacked(coefficients))
            made.append(constant if whole is None else self._terms.mul(constant, whole))
        return self._terms.add(*made)

    def _aligned_sum(self, branches: Sequence[Term]) -> Term | None:
        """Add the addends that stand for each other, whose own constants differ by place."""
        if len({branch.op for branch in branches}) > 1:
            return None
        made = self._lift_all(_match([list(branch.args) for branch in branches]))
        return None if made is None else self._terms.add(*made)

    def _without(self, term: Term, place: int) -> Term | None:
        """Return the term over all places, where no constant of its own depends on the place."""
        key = (term, place)
        if key in self._free:
            return self._free[key]
        made: Term | None
        if self._is_part(term, place):
            made = term.args[0]
        elif term.op == "linear":
            made = None  # its weights are its own
        elif not term.args:
            made = term if term.op == "leaf" or not term.own else None
        else:
            args = [self._without(arg, place) for arg in term.args]
            known = [arg for arg in args if arg is not None]
            made = self._terms.rebuilt(term, known) if len(known) == len(args) else None
        self._free[key] = made
        return made


def _is_finite(root: Term) -> bool:
    """Return whether a term is finite wherever what it reads is: 0 times it is 0 then."""
    for term in subterms(root):
        if term.op == "fn" and term.attrs[0] in {"log", "exp"}:
            return False
        if term.op == "pow" and (term.attrs < 0 or term.attrs % 1):
            spread = term.args[0]
            offset = [part for part in spread.args if part.op == "const"]
            is_apart = bool(offset) and bool((offset[-1].attrs.array > 0).all())
            if spread.op != "add" or not is_apart or not is_positive(spread):
                return False
    return True


def _factors(term: Term) -> list[Term]:
    return list(term.args) if term.op == "mul" else [term]


def _match(lists: Sequence[list[Term]]) -> list[list[Term]] | None:
    """Pair the terms of lists by their shape, so that the order in which they stand is nothing."""
    if len({len(one) for one in lists}) != 1:
        return None
    keyed = [sorted(one, key=_shape) for one in lists]
    return [list(same) for same in zip(*keyed, strict=True)]


def _shape(term: Term, depth: int = 4) -> str:
    """Return what a term looks like, down to a depth, without its constants and places."""
    name = term.op
    if term.op in {"fn", "pow"}:
        name += str(term.attrs)
    if depth == 0:
        return name
    inner = [_shape(arg, depth - 1) for arg in term.args if arg.op != "const"]
    return f"{name}({','.join(sorted(inner))})"


TABLE: Final[Mapping[str, Recogniser]] = {
    "Concat": Recogniser(rule="grouped-branches", recognise=_joined)
}
