"""Operators that only arrange elements: reshapes, transposes, expansions, parts.

    Reshape, Flatten, Squeeze, Unsqueeze   regroup the indices of the axes
    Transpose                              reorders them
    Expand, Tile                           add an index on which nothing depends
    Split, Slice, Gather of one place      one place of an index that is split off an axis

So a channel shuffle (reshape, transpose, reshape; in 4-D or 5-D; by chunk and stack; by Gather)
ends as nothing but another order of the indices of the channel axis.

Bit-exact. Requires that a new axis ends where an index ends or can be split evenly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import onnx_ir as ir

from edgeattn.graph.nodes import given, integer, length_of, static
from edgeattn.lowering.indices import Axes, Index, Size, leaves, regroup, tie
from edgeattn.lowering.permutation import shuffle
from edgeattn.lowering.raising import Operand, Raised, Raising, Recogniser, UnrecognisedError, sizes
from edgeattn.lowering.recognise.sizes import computed_ints, computed_sizes

_RULE: Final = "channel-shuffle"
_MAP: Final = 4


def _shape(node: ir.Node) -> list[Size | None] | None:
    """Return the shape of a node's output: as its target shape says, or as it was inferred."""
    if node.op_type in {"Reshape", "Expand"}:
        asked = computed_sizes(given(node, 1))
        if asked is not None and all(size is not None for size in asked):
            return _filled(node, asked)
    return None if node.outputs[0].shape is None else sizes(node.outputs[0])


def _filled(node: ir.Node, asked: list[Size | None]) -> list[Size | None]:
    """Put sizes for the 0 and the -1 of a Reshape, and for the 1 of an Expand."""
    x = node.inputs[0]
    before = [] if x is None or x.shape is None else sizes(x)
    if node.op_type == "Expand":
        rank = max(len(asked), len(before))
        asked, before = ([*[1] * (rank - len(one)), *one] for one in (asked, before))
        return [old if new == 1 else new for new, old in zip(asked, before, strict=True)]
    copied = not integer(node, "allowzero", 0)
    made: list[Size | None] = []
    for place, size in enumerate(asked):
        own = before[place] if place < len(before) else None
        made.append(own if size == 0 and copied else None if size == -1 else size)
    output = node.outputs[0]
    if output.shape is None or len(output.shape) != len(made):
        return made
    known = [size if isinstance(size, int) else None for size in sizes(output)]
    return [new if size is None else size for size, new in zip(made, known, strict=True)]


def _regrouped(node: ir.Node, raising: Raising) -> Sequence[Operand]:
    found, shape = raising.operand(node.inputs[0]), _shape(node)
    if found is None or shape is None:
        raise UnrecognisedError
    if isinstance(found, np.ndarray):
        if any(not isinstance(size, int) for size in shape):
            raise UnrecognisedError
        return [found.reshape([size for size in shape if isinstance(size, int)])]
    known = {index.size for axis in found.axes for index in leaves(axis)}
    axes = regroup(found.axes, [s if isinstance(s, int) or s in known else None for s in shape])
    if axes is None:
        raise UnrecognisedError("a new axis ends inside an index that cannot be split there")
    return [Raised(found.term, axes)]


def _transposed(node: ir.Node, raising: Raising) -> Sequence[Operand]:
    found = raising.operand(node.inputs[0])
    attribute = node.attributes.get("perm")
    if found is None:
        raise UnrecognisedError
    if isinstance(found, np.ndarray):
        return [found.transpose(None if attribute is None else attribute.as_ints())]
    order = range(found.rank)[::-1] if attribute is None else attribute.as_ints()
    return [Raised(found.term, tuple(found.axis(position) for position in order))]


def _expanded(node: ir.Node, raising: Raising) -> Sequence[Operand]:
    found, shape = raising.needed(node.inputs[0]), _shape(node)
    if shape is None:
        raise UnrecognisedError
    axes: list[tuple[Index, ...]] = [()] * (len(shape) - found.rank) + list(found.axes)
    for position, size in enumerate(shape):
        if size is None:
            raise UnrecognisedError("its size is not known")
        if size != 1 and not axes[position]:
            home = position if len(shape) == 4 else None
            axes[position] = (Index(size, home),)
    if not tie(tuple(axes)):
        raise UnrecognisedError("it expands along what it has already")
    return [Raised(found.term, tuple(axes))]


def _tiled(node: ir.Node, raising: Raising) -> Sequence[Operand]:
    found, repeats = raising.needed(node.inputs[0]), computed_ints(given(node, 1))
    if repeats is None or len(repeats) != found.rank:
        raise UnrecognisedError
    axes = list(found.axes)
    for position, count in enumerate(repeats):
        if count != 1:
            home = position if found.rank == _MAP else None
            axes[position] = (Index(count, home), *axes[position])
    if not tie(tuple(axes)):
        raise UnrecognisedError
    return [Raised(found.term, tuple(axes))]


def _split(node: ir.Node, raising: Raising) -> Sequence[Operand]:
    found = raising.needed(node.inputs[0])
    count, axis = len(node.outputs), integer(node, "axis", 0) % found.rank
    if _is_shuffled(found, axis, raising):
        raise UnrecognisedError  # the order is moved as a whole
    parts = {length_of(output, axis) for output in node.outputs}
    if len(parts) != 1 or None in parts:
        raise _left(found, axis, "its parts differ in size")
    if count == 1:
        return [found]
    reason = "the parts end inside an index that cannot be split there"
    return [_part(raising, found, axis, (count, place), reason) for place in range(count)]


def _is_shuffled(x: Raised, axis: int, raising: Raising) -> bool:
    """Return whether an axis is that of a value in memory, in another order."""
    if x.term.op != "leaf" or x.rank != _MAP:
        return False
    own = raising.raised(x.term.attrs)
    if own is None or own.rank != _MAP:
        return False
    before, after = own.axis(axis), x.axis(axis)
    return before != after and set(before) == set(after)


def _part(raising: Raising, x: Raised, axis: int, part: tuple[int, int], reason: str) -> Raised:
    """Return one of several parts that follow each other along an axis: their count, its place."""
    (count, place), total = part, _product(x.axis(axis))
    if total is None or total % count:
        raise _left(x, axis, reason)
    outer, inner = _halves(x, axis, (count, total // count), reason)
    return _chosen(raising, x, axis, outer, place, inner)


def _halves(x: Raised, axis: int, sizes: tuple[int, int], reason: str) -> Axes:
    """Return an axis as two, or leave the node for a reason."""
    halves = regroup((x.axis(axis),), sizes)
    if halves is None:
        raise _left(x, axis, reason)
    return halves


def _left(x: Raised, axis: int, reason: str) -> UnrecognisedError:
    """Return why a node is left: a near miss where channels are taken, not rows or columns."""
    homes = {index.home for index in x.axis(axis)}
    return UnrecognisedError(reason if homes <= {1, None} else "")


def _product(axis: Sequence[Index]) -> int | None:
    total = 1
    for index in axis:
        if not isinstance(index.size, int):
            return None
        total *= index.size
    return total


def _chosen(
    raising: Raising,
    x: Raised,
    axis: int,
    which: Sequence[Index],
    place: int,
    rest: tuple[Index, ...],
) -> Raised:
    """Return `x` at one place of the indices `which` of an axis, of which `rest` is left."""
    term = x.term
    for index in reversed(leaves(which)):
        assert isinstance(index.size, int)
        term, place = raising.terms.select(term, index, place % index.size), place // index.size
    return Raised(term, (*x.axes[:axis], rest, *x.axes[axis + 1 :]))


def _slice(node: ir.Node, raising: Raising) -> Sequence[Operand]:
    found = raising.needed(node.inputs[0])
    bounds = [computed_ints(given(node, place)) for place in (1, 2, 3)]
    bounds.append([1] if given(node, 4) is None else computed_ints(given(node, 4)))
    if any(b is None or len(b) != 1 for b in bounds):
        raise UnrecognisedError
    start, end, axis, step = (b[0] for b in bounds if b is not None)
    axis %= found.rank
    if _is_shuffled(found, axis, raising):
        raise UnrecognisedError  # the order is moved as a whole
    total = _product(found.axis(axis))
    if total is None or step < 1:
        raise UnrecognisedError
    start, end = (
        max(0, min(total, bound + total if bound < 0 else bound)) for bound in (start, end)
    )
    length = len(range(start, end, step))
    if length == total:
        return [found]
    if length == 0 or total % length:
        raise _left(found, axis, "it takes no even part of an axis")
    reason = "the part ends inside an index that cannot be split there"
    if step == 1 and start % length == 0:
        part = total // length, start // length
        return [_part(raising, found, axis, part, reason)]
    if step * length != total or start >= step:
        raise _left(found, axis, "it takes no even part of an axis")
    outer, inner = _halves(found, axis, (length, step), reason)
    return [_chosen(raising, found, axis, inner, start, outer)]


def _gather(node: ir.Node, raising: Raising) -> Sequence[Operand]:
    found, places = raising.needed(node.inputs[0]), static(node.inputs[1])
    if places is None or places.ndim > 1:
        raise UnrecognisedError
    axis = integer(node, "axis", 0) % found.rank
    total = _product(found.axis(axis))
    if total is None:
        raise UnrecognisedError
    if places.size == 1:
        place = int(places.reshape(())) % total
        part = _chosen(raising, found, axis, found.axis(axis), place, ())
        if places.ndim:
            return [part]
        return [Raised(part.term, (*part.axes[:axis], *part.axes[axis + 1 :]))]
    order = [int(place) % total for place in places.reshape(-1)]
    if places.ndim != 1 or sorted(order) != list(range(total)):
        raise _left(found, axis, "it is no permutation")
    return _gathered_shuffle(found, axis, total, order)


def _gathered_shuffle(x: Raised, axis: int, total: int, order: list[int]) -> Sequence[Operand]:
    """A Gather whose order is that of a channel shuffle in some number of groups."""
    stride = order[1] - order[0]
    if stride < 1 or total % stride:
        raise UnrecognisedError("its permutation is no shuffle")
    groups = total // stride
    if order != shuffle(groups, total).tolist():
        raise UnrecognisedError("its permutation is no shuffle")
    reason = "a group ends inside an index that cannot be split there"
    outer, inner = _halves(x, axis, (groups, stride), reason)
    axes: Axes = (*x.axes[:axis], (*inner, *outer), *x.axes[axis + 1 :])
    return [Raised(x.term, axes)]


TABLE: Final[Mapping[str, Recogniser]] = {
    op_type: Recogniser(rule=_RULE, recognise=recognise)
    for op_type, recognise in {
        "Reshape": _regrouped,
        "Flatten": _regrouped,
        "Squeeze": _regrouped,
        "Unsqueeze": _regrouped,
        "Transpose": _transposed,
        "Expand": _expanded,
        "Tile": _tiled,
        "Split": _split,
        "Slice": _slice,
        "Gather": _gather,
    }.items()
}
