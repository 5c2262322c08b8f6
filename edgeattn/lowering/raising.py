"""The walk that raises a graph to terms, node by node, as far as recognisers understand it.

A recogniser returns the term and the axes of what a node computes, or says why it cannot. A node
that none understands (most convolutions, matrix products) ends terms: what it reads is a root, to
be written; its outputs are leaves. A value that such a node reads is a leaf for whoever else reads
it, too: it will be in memory. So is a value whose term is deep, as in a long chain of elementwise
operators: what is done with terms goes down into them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
import onnx_ir as ir

from edgeattn.graph.nodes import is_standard, is_static, static
from edgeattn.lowering.indices import Axes, Index, Size, fresh, leaves, resolve, tie, unify
from edgeattn.lowering.record import FAULTS, fault
from edgeattn.lowering.terms import Const, Term, Terms
from edgeattn.records.lowering import NearMiss

FLOATS: Final = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE)
_DEEPEST: Final = 64
#: Activations, which end a block.
ACTIVATIONS: Final = frozenset({"Relu", "Clip", "LeakyRelu", "HardSwish"})
_READ_NO_ELEMENTS: Final = frozenset({"Shape", "Size"})
_HOMES: Final[Mapping[int, tuple[int | None, ...]]] = {
    2: (0, 1),
    3: (0, None, None),
    4: (0, 1, 2, 3),
}


@dataclass(frozen=True, slots=True)
class Raised:
    """What is known of a value: its term, and the indices of its axes."""

    term: Term
    axes: Axes

    @property
    def rank(self) -> int:
        """How many axes it has."""
        return len(self.axes)

    def axis(self, position: int) -> tuple[Index, ...]:
        """Return the indices of an axis."""
        return leaves(self.axes[position])


Operand: TypeAlias = Raised | np.ndarray
Recognise: TypeAlias = Callable[[ir.Node, "Raising"], "Sequence[Operand]"]
"""Returns what the node's outputs are, or raises an UnrecognisedError."""


class UnrecognisedError(Exception):
    """A recogniser leaves a node; the text, if there is any, makes it a near miss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recogniser:
    """What raises the nodes of one operator.

    Attributes:
        rule: The rule that it belongs to.
        recognise: Raises a node.
        accepts: Whether the node alone, before anything is known of its inputs, may be raised.
    """

    rule: str
    recognise: Recognise
    accepts: Callable[[ir.Node], bool] = field(default=lambda _: True)


class Raising:
    """What has been raised so far.

    Args:
        recognisers: What raises the nodes of each operator.
        refused: Returns why the target does not run a node; None for one that runs them all.

    Attributes:
        terms: The terms.
        values: What each raised value is, to those that read it.
        roots: The raised values that have to be written, and what they are.
        rules: The rule that raised each node.
        near_misses: The nodes that a recogniser left, and why.
        exchanged: What stands for values that are gone from the graph.
        sources: A value that holds each term, as the graph has it.
    """

    def __init__(
        self,
        recognisers: Mapping[str, Sequence[Recogniser]],
        refused: Callable[[ir.Node], str] | None = None,
    ) -> None:
        self.terms = Terms()
        self.values: dict[ir.Value, Operand] = {}
        self.roots: dict[ir.Value, Raised] = {}
        self.rules: dict[ir.Node, str] = {}
        self.near_misses: list[NearMiss] = []
        self.exchanged: dict[ir.Value, ir.Value] = {}
        self.sources: dict[Term, tuple[ir.Value, Axes]] = {}
        self._recognisers = recognisers
        self._refused = refused

    def walk(self, graph: ir.Graph) -> None:
        """Raise all nodes of a graph, in order."""
        for node in graph:
            self._raise(node)
        for node in graph:
            if node not in self.rules:
                self._end(node)

    def _raise(self, node: ir.Node) -> None:
        recogniser = self._recogniser(node)
        if recogniser is None:
            return
        self.terms.origin = node.name or ""
        try:
            found = recogniser.recognise(node, self)
        except FAULTS as error:
            self.near_misses.append(fault(recogniser.rule, node.name or "", error))
            return
        except UnrecognisedError as left:
            if str(left):
                miss = NearMiss(rule=recogniser.rule, site=node.name or "", reason=str(left))
                self.near_misses.append(miss)
            return
        self.rules[node] = recogniser.rule
        for value, what in zip(node.outputs, found, strict=False):
            self.values[value] = what
            if isinstance(what, Raised):
                self.sources.setdefault(what.term, (value, what.axes))
            if not isinstance(what, Raised) or what.term.attrs is value:
                continue
            is_end = what.term.depth > _DEEPEST or self._is_map_of_a_block(node, what)
            if is_end or self._is_needed(value):
                self.roots[value] = what
                self.values[value] = Raised(self._leaf(value, what.axes), what.axes)

    def _recogniser(self, node: ir.Node) -> Recogniser | None:
        if not is_standard(node):
            return None
        candidates = self._recognisers.get(node.op_type, ())
        return next((one for one in candidates if one.accepts(node)), None)

    def _is_needed(self, value: ir.Value) -> bool:
        users = [user for user in value.consumers() if user.op_type not in _READ_NO_ELEMENTS]
        return value.is_graph_output() or any(self._recogniser(user) is None for user in users)

    def _is_map_of_a_block(self, node: ir.Node, what: Raised) -> bool:
        """Return whether a value is a block's sum, activated, where a target lacks some nodes.

        What is behind it, such as a classifier, is written anew for itself.
        """
        if self._refused is None or node.op_type not in ACTIVATIONS:
            return False
        value = node.inputs[0]
        total = None if value is None else value.producer()
        if total is None or total.op_type != "Add" or any(map(is_static, total.inputs)):
            return False
        homes = {index.home for index in what.term.indices()}
        return {2, 3} <= homes and not self._refused(node)

    def _end(self, node: ir.Node) -> None:
        """Make roots of what a node reads that was not raised."""
        if node.op_type in _READ_NO_ELEMENTS:
            return
        for value in node.inputs:
            what = None if value is None else self.values.get(value)
            if value is not None and isinstance(what, Raised) and what.term.attrs is not value:
                self.roots[value] = what

    def _leaf(self, value: ir.Value, axes: Axes) -> Term:
        return self.terms.leaf(value, leaves(index for axis in axes for index in axis))

    # What recognisers ask for.

    def operand(self, value: ir.Value | None) -> Operand | None:
        """Return what a value is, or None if it is not a tensor of floats of known shape."""
        if value is None:
            return None
        known = self.values.get(value)
        if known is None:
            array = static(value)
            if array is not None:
                if array.dtype.kind != "f":
                    return None
                known = array.astype(np.float64)
            elif value.dtype in FLOATS and value.shape is not None:
                shape = sizes(value)
                homes = _HOMES.get(len(shape), (None,) * len(shape))
                if any(size is None for size in shape):
                    return None
                axes = fresh([size for size in shape if size is not None], homes)
                known = Raised(self._leaf(value, axes), axes)
            else:
                return None
            self.values[value] = known
        return known

    def raised(self, value: ir.Value | None) -> Raised | None:
        """Return what a value is, where it is no constant."""
        found = self.operand(value)
        return found if isinstance(found, Raised) else None

    def needed(self, value: ir.Value | None) -> Raised:
        """Return what a value is.

        Raises:
            UnrecognisedError: It is a constant, or not known.
        """
        found = self.raised(value)
        if found is None:
            raise UnrecognisedError
        return found

    def align(self, operands: Sequence[Operand]) -> tuple[list[Term], Axes] | None:
        """Take operands of an elementwise operator to common indices, as broadcasting does.

        Returns:
            Their terms, and the axes of the result; or None if they do not fit.
        """
        rank = max(o.rank if isinstance(o, Raised) else o.ndim for o in operands)
        axes: list[tuple[Index, ...]] = [()] * rank
        for operand in operands:
            if not isinstance(operand, Raised):
                continue
            for back in range(1, operand.rank + 1):
                axis = operand.axis(-back)
                if axis and not axes[-back]:
                    axes[-back] = axis
                elif axis and not unify(axes[-back], axis):
                    return None
        for operand in operands:
            if isinstance(operand, Raised):
                continue
            for back in range(1, operand.ndim + 1):
                size = operand.shape[-back]
                if size != 1 and not axes[-back]:
                    homes = _HOMES.get(rank, (None,) * rank)
                    axes[-back] = (Index(size, homes[rank - back]),)
        known = [resolve(o.axes) for o in operands if isinstance(o, Raised)]
        made = resolve(tuple(axes))
        standing = [index for axis in made for index in axis]
        flat = set(standing)
        if len(flat) != len(standing):
            return None  # a diagonal
        covered = any(flat == {i for axis in one for i in axis} for one in known)
        if not covered and not tie(made):
            return None
        terms = [o.term if isinstance(o, Raised) else self._constant(o, made) for o in operands]
        known_terms = [term for term in terms if term is not None]
        return (known_terms, made) if len(known_terms) == len(terms) else None

    def _constant(self, array: np.ndarray, axes: Axes) -> Term | None:
        constant = spread(array, axes)
        return None if constant is None else self.terms.const(_compact(constant))


def spread(array: np.ndarray, axes: Axes) -> Const | None:
    """Return a constant that broadcasts against axes, with an index for each dimension.

    Returns:
        The constant, or None if its sizes are not those of the axes.
    """
    own = axes[len(axes) - array.ndim :]
    kept = [axis for axis, size in zip(own, array.shape, strict=True) if size != 1]
    flat = tuple(index for axis in kept for index in axis)
    shape = [index.size for index in flat if isinstance(index.size, int)]
    if len(shape) < len(flat) or math.prod(shape) != array.size:
        return None
    return Const(array.reshape(shape), flat)


def _compact(constant: Const) -> Const:
    """Return a map's constant without the channels over which it only repeats itself."""
    axes, array = list(constant.axes), constant.array
    if not any(index.home in {2, 3} for index in axes):
        return constant
    for place, index in enumerate(constant.axes):
        if index.home != 1 or not isinstance(index.size, int):
            continue
        rows = np.moveaxis(array, place, 0).reshape(index.size, -1)
        changes = np.flatnonzero((rows[1:] != rows[:-1]).any(axis=1)) + 1
        width = math.gcd(index.size, *changes.tolist())
        if width == 1:
            continue
        array = array.take(range(0, index.size, width), axis=place)
        if width < index.size:
            axes[place] = index.split(index.size // width, width)[0]
            return Const(array, tuple(axes))
        return Const(array.squeeze(place), (*axes[:place], *axes[place + 1 :]))
    return constant


def sizes(value: ir.Value) -> list[Size | None]:
    """Return a value's shape: numbers, names of open sizes, None for unknown ones."""
    shape = value.shape
    assert shape is not None, "asked for values of a known rank only"
    return [size if isinstance(size, int) else size.value for size in shape]
