"""What writes terms as nodes: the form that is taken, what was written, leaves and constants.

A form of the term `op` is a method `write_op(term, view)`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np
import onnx_ir as ir
from numpy.typing import ArrayLike

from edgeattn.graph.edit import AttributeValue
from edgeattn.lowering.build import Builder
from edgeattn.lowering.indices import Axes, Index, leaves, resolve
from edgeattn.lowering.measures import Figures
from edgeattn.lowering.raising import Raised, Raising
from edgeattn.lowering.targets.layout import (
    FIRST,
    LAST,
    ORDER,
    UnwritableError,
    View,
    axes_of,
    extent,
    relayout,
    reshape,
    shape_of,
)
from edgeattn.lowering.terms import Const, Term
from edgeattn.records.lowering import Rewrite

Refused: TypeAlias = Callable[[ir.Node], str]
"""Returns why a target does not run a node, in a sentence without its subject; "" if it does."""


@dataclass(frozen=True, slots=True)
class Form:
    """One way to write a part of a term.

    Attributes:
        name: Its name within its family.
        rests_on: For TensorRT, the fusion that its documentation promises and that makes the form
            pay, one of `documented.FUSIONS`; "" where only plans of TensorRT-RTX show that it does.
    """

    name: str
    rests_on: str = ""


def named(*names: str) -> tuple[Form, ...]:
    """Return forms of which nothing is to be said but their names."""
    return tuple(map(Form, names))


@dataclass(frozen=True, slots=True)
class Written:
    """A value that holds a term, and the indices of its axes."""

    value: ir.Value
    axes: Axes

    @property
    def indices(self) -> frozenset[Index]:
        """The indices that it has an axis for."""
        return frozenset(index for axis in self.axes for index in axis)


class Writer:
    """Writes terms as nodes; a term that was written once is not written again.

    Args:
        build: Makes the nodes.
        raising: What is known of the values that are leaves.
        dtype: The element type.
        chosen: The form to take, by family, where it is not the first.

    Attributes:
        chosen: The form to take, by family, where it is not the first.
        taken: The form that was taken, by family, since this was last emptied.
        asked: The same, ever.
    """

    # By family, the forms that a target has for it; the first is what is taken unless told.
    forms: ClassVar[Mapping[str, tuple[Form, ...]]] = {}
    # For a target that does not run every operator: what it refuses is written anew, and no other.
    refuses: ClassVar[bool] = False

    def __init__(
        self,
        build: Builder,
        raising: Raising,
        dtype: ir.DataType,
        chosen: Mapping[str, str] | None = None,
    ) -> None:
        self.build = build
        self.terms = raising.terms
        self.dtype = dtype
        self.taken: dict[str, str] = {}
        self.asked: dict[str, str] = {}
        self.chosen = chosen or {}
        self._raising = raising
        self._written: dict[tuple[Term, View], Written] = {}
        self._left: dict[Term, Written] = {}
        self._rows: dict[Term, ir.Value] = {}
        self._sums: dict[tuple[Term, View], list[Term]] = {}

    @staticmethod
    def measure(nodes: Sequence[ir.Node], instead_of: Sequence[ir.Node]) -> Figures:
        """Return what some nodes, in an order that runs, cost in the place of others."""
        raise NotImplementedError

    @staticmethod
    def refused(node: ir.Node) -> str:
        """Return why the target does not run a node, in a sentence without its subject, or ""."""
        del node
        return ""

    @staticmethod
    def before(model: ir.Model, build: Builder, rules: Collection[str]) -> list[Rewrite]:
        """Write what is to be written before terms are raised."""
        del model, build, rules
        return []

    @staticmethod
    def after(model: ir.Model, build: Builder, rules: Collection[str]) -> list[Rewrite]:
        """Write what is to be written when all else is."""
        del model, build, rules
        return []

    @classmethod
    def default(cls, family: str) -> str:
        """Return the name of the form that is taken unless told."""
        return cls.forms[family][0].name

    @classmethod
    def left_out(cls, taken: Iterable[tuple[str, str]]) -> list[str]:
        """Return the forms that would have been taken, were it not for the runtime's version.

        Args:
            taken: Those that were, by family.
        """
        del taken
        return []

    def takes(self, family: str, form: str) -> bool:
        """Return whether a form is the one to take, and record that it was asked."""
        taken = self.chosen.get(family, self.default(family))
        self.taken[family] = self.asked[family] = taken
        return taken == form

    def write(self, term: Term, axes: Axes) -> ir.Value:
        """Write a term on the axes asked."""
        self.build.origin = term.origin
        term, wanted = self.prepared(term), resolve(axes)
        made = self.on(term, FIRST)
        if (left := self._left.get(term)) is not None and resolve(left.axes) == wanted:
            return left.value  # it may be what is to be written anew: made of itself, it has no end
        return relayout(self.build, made.value, made.axes, wanted)

    def finish(self, value: ir.Value, root: ir.Value) -> ir.Value:
        """Return what stands for a root; the target may write it for those that read the root."""
        del root
        return value

    def prepared(self, term: Term) -> Term:
        """Return an equal term that the target writes better."""
        return term

    def on(self, term: Term, view: View) -> Written:
        """Write a term as a feature map."""
        known = self._written.get((term, view))
        if known is None:
            asked_by, self.build.origin = self.build.origin, term.origin
            try:
                known = self._form(term, view)
            except UnwritableError:
                known = self._kept(term, view)
                if known is None:
                    raise
            finally:
                self.build.origin = asked_by
            self._written[term, view] = known
        return known

    def _kept(self, term: Term, view: View) -> Written | None:
        """Return a small term as the graph already has it."""
        value, axes = self._raising.sources.get(term, (None, ()))
        if value is None or any(index.home not in {0, 1} for index in term.indices()):
            return None
        axes, wanted = resolve(axes), axes_of(term.indices(), view)
        if {i for axis in axes for i in axis} != term.indices():
            return None
        value = self._raising.exchanged.get(value, value)
        self._left[term] = Written(value, axes)
        return Written(relayout(self.build, value, axes, wanted), wanted)

    def _form(self, term: Term, view: View) -> Written:
        form = getattr(self, f"write_{term.op}", None)
        if form is None:
            raise UnwritableError(f"there is no form for {term.op}")
        for arg in term.args:
            if arg.op != "const" and term.op in {"add", "mul", "pow", "fn"}:
                self.on(arg, view)
        made: Written = form(term, view)
        return made

    def node(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        axes: Axes,
        *,
        dtype: ir.DataType | None = None,
        **attributes: AttributeValue,
    ) -> Written:
        """Make a node whose output has these axes, and its first input's type by default."""
        value = self.build.node(op_type, inputs, shape_of(axes), attributes, dtype=dtype)
        return Written(value, axes)

    def real(self, values: ArrayLike) -> ir.Value:
        """Return a constant of the element type."""
        return self.build.constant(np.array(values, dtype=self.dtype.numpy()))

    def shaped(self, value: ir.Value, axes: Axes) -> Written:
        """Return a value reshaped to other axes."""
        return Written(reshape(self.build, value, shape_of(axes)), axes)

    def pointwise(
        self,
        x: ir.Value,
        weight: np.ndarray,
        bias: np.ndarray | None,
        axes: Axes,
        **groups: Any,
    ) -> Written:
        """Return a 1x1 convolution.

        Args:
            x: The map.
            weight: f[rows, columns of a group].
            bias: f[rows], or None.
            axes: The axes of the result.
            groups: `group`, in how many groups the rows are, if it is to be written.
        """
        inputs = [x, self.real(weight[:, :, None, None])]
        if bias is not None:
            inputs.append(self.real(bias))
        return self.node("Conv", inputs, axes, kernel_shape=[1, 1], **groups)

    def constant(self, constant: Const, over: Collection[Index], view: View) -> Written:
        """Return a constant that broadcasts against a map with the indices `over`."""
        axes = axes_of(over, view)
        own = set(leaves(constant.axes))
        if not own:
            return Written(self.real(float(constant.array)), ((), (), (), ()))
        # An axis of which the constant has a part is written out in full.
        kept = [axis if own & set(axis) else () for axis in axes]
        flat = tuple(index for axis in kept for index in axis)
        shape = [int(extent(axis)) for axis in kept]
        return Written(self.real(constant.spread(flat).reshape(shape)), tuple(kept))

    # Leaves.

    def write_leaf(self, term: Term, view: View) -> Written:
        value, axes = term.attrs, axes_of(term.indices(), view)
        if view == LAST:
            first = self.on(term, FIRST)
            if all(not axis for axis in (axes[1], axes[2])):
                return Written(relayout(self.build, first.value, first.axes, axes), axes)
            return self.node("Transpose", [first.value], axes, perm=ORDER[LAST])
        what = self._raising.values[value]
        assert isinstance(what, Raised), "a leaf is no constant"
        own = resolve(what.axes)
        extra = {i for axis in own for i in axis} - term.indices()
        if extra:
            raise UnwritableError("it is expanded without need")
        value = self._raising.exchanged.get(value, value)
        return Written(relayout(self.build, value, own, axes), axes)

    def write_const(self, term: Term, view: View) -> Written:
        return self.constant(term.attrs, term.indices(), view)

    def _seen(self, made: Written, view: View) -> Written:
        """Return a value that was written channels first as it is asked for."""
        if view == FIRST:
            return made
        axes = axes_of(made.indices, view)
        return Written(relayout(self.build, made.value, made.axes, axes), axes)
