"""Any runtime: forms that cost none of TensorRT, ONNX Runtime and OpenVINO more than stock's.

    mean over the map of W y + b = W mean(y) + b, where y and W are less than the map
    mean or maximum over the map of what a layer wrote = one pool of the map's size
    mean or maximum over the map of what is computed   = over its rows, and then its columns

A pool reads a map in the layout that it has: channels last on TensorRT and OpenVINO, in blocks on
ONNX Runtime. A reduction over rows and columns at once makes TensorRT copy the map first; over one
of them it does not, and it takes in the elementwise operators before it. Nothing is transposed,
sliced or computed twice, which TensorRT would fuse and the others would not.

Real-number exact: sums run in another order.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import onnx_ir as ir

from edgeattn.lowering.indices import Axes, Index, leaves
from edgeattn.lowering.measures import BYTES_PER_KERNEL, Figures, Measure
from edgeattn.lowering.targets import fusion, passes, subgraphs
from edgeattn.lowering.targets.layout import FIRST, SPACE, View, shape_of
from edgeattn.lowering.targets.plain import PlainWriter
from edgeattn.lowering.targets.squeeze import through_producer
from edgeattn.lowering.targets.writer import Form, Written, named
from edgeattn.lowering.terms import Term

_MEASURES: Final[Mapping[str, Measure]] = {
    "TensorRT": fusion.measure,
    "ONNX Runtime": passes.measure,
    "OpenVINO": subgraphs.measure,
}
# A kernel on a CPU begins within about 2 us, in which two threads of a laptop move this much.
_LAUNCH_BYTES: Final = {**dict.fromkeys(_MEASURES, 30_000), "TensorRT": BYTES_PER_KERNEL}
# Of what is a tenth of a network: half a per cent of its latency, which no measure of nodes tells.
_SLACK: Final = 1.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Everywhere(Figures):
    """What some nodes cost each runtime; the sums are of no meaning by themselves.

    Attributes:
        each: The figures by runtime.
    """

    each: Mapping[str, Figures]

    def pays_against(self, other: Figures) -> bool:
        """Return whether this costs no runtime more than another, and one of them less."""
        assert isinstance(other, Everywhere), "one target's figures are compared"
        ratios = [
            (own.traffic_bytes + own.kernels * _LAUNCH_BYTES[name])
            / (was.traffic_bytes + was.kernels * _LAUNCH_BYTES[name] or 1)
            for name, own in self.each.items()
            for was in [other.each[name]]
        ]
        return max(ratios) <= _SLACK and min(ratios) < 1

    def __str__(self) -> str:
        return ", ".join(f"{figures} on {name}" for name, figures in self.each.items())


class PortableWriter(PlainWriter):
    """Writes terms for any runtime."""

    forms: ClassVar[Mapping[str, tuple[Form, ...]]] = {
        "squeeze": named("cheaper", "map"),
        "statistics": named("pool", "reduction"),
        "product": named("shared", "apart"),
        "groups": named("dense", "grouped"),
        "linear-map": named("separate"),
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._pools: dict[tuple[str, ir.Value], Written] = {}

    @staticmethod
    def measure(nodes: Sequence[ir.Node], instead_of: Sequence[ir.Node]) -> Figures:
        """Return what some nodes cost each runtime."""
        each = {name: of(nodes, instead_of) for name, of in _MEASURES.items()}
        return Everywhere(
            each=each,
            kernels=sum(figures.kernels for figures in each.values()),
            traffic_bytes=sum(figures.traffic_bytes for figures in each.values()),
        )

    def prepared(self, term: Term) -> Term:
        return self.squeezed(term)

    def write_mean(self, term: Term, view: View) -> Written:
        if self.takes("squeeze", "cheaper"):  # a mean that a difference is from, too
            squeezed = through_producer(term, self._raising, passes=1, alone=False)
            if squeezed is not term:
                return self.on(squeezed, view)
        return self._pooled("AveragePool", term, view) or super().write_mean(term, view)

    def write_max(self, term: Term, view: View) -> Written:
        return self._pooled("MaxPool", term, view) or super().write_max(term, view)

    def _pooled(self, op_type: str, term: Term, view: View) -> Written | None:
        """Return a statistic over the whole of a map that the graph has."""
        x = term.args[0]
        space = {index for index in x.indices() if index.home in SPACE}
        if x.op != "leaf" or not space or set(leaves(term.attrs)) != space:
            return None
        made = self.on(x, FIRST)
        sizes = [size for size in shape_of(made.axes)[2:] if isinstance(size, int)]
        if len(sizes) < len(SPACE) or not self.takes("statistics", "pool"):
            return None
        known = self._pools.get((op_type, made.value))
        if known is None:
            axes: Axes = (made.axes[0], made.axes[1], (), ())
            known = self.node(op_type, [made.value], axes, kernel_shape=sizes)
            self._pools[op_type, made.value] = known
        return self._seen(known, view)

    def reduced(self, op_type: str, x: Written, over: Collection[Index]) -> Written:
        """Reduce over rows, and then over columns."""
        rows, columns = x.axes[2:]
        if not (rows and columns and set(over) == {*rows, *columns}):
            return super().reduced(op_type, x, over)
        if not self.takes("statistics", "pool"):
            return super().reduced(op_type, x, over)
        return super().reduced(op_type, super().reduced(op_type, x, rows), columns)

    def write_variance(self, term: Term, view: View) -> Written:
        """Write the mean of the squares that a gate may read, too."""
        if self.dtype == ir.DataType.FLOAT16:
            return super().write_variance(term, view)
        over = frozenset(leaves(term.attrs))
        square = self.on(self.terms.pow(self.terms.centred(term.args[0], over), 2), view)
        return self.reduced("ReduceMean", square, over)

    def join(self, op_type: str, one: Written, other: Written, view: View) -> Written:
        """Apply a binary operator; a layer's map stands before its gate, as in modules."""
        producer, is_larger = other.value.producer(), len(one.indices) < len(other.indices)
        if op_type == "Mul" and is_larger and producer is not None and producer.op_type == "Conv":
            one, other = other, one
        return super().join(op_type, one, other, view)

    def write_add(self, term: Term, view: View) -> Written:
        return self.layer_of_one(term, view) or super().write_add(term, view)

    def write_mul(self, term: Term, view: View) -> Written:
        term = self.shared_product(term, view)
        parts = [part for arg in term.args for part in self._apart(arg)]
        if len(parts) > len(term.args):
            term = self.terms.make("mul", parts, own=term.own)
        return self.layer_of_one(term, view) or super().write_mul(term, view)

    def _apart(self, term: Term) -> list[Term]:
        """Return a normalised map, or its square, as a difference and what scales it."""
        is_square = term.op == "pow" and term.attrs == 2
        normalised = term.args[0] if is_square else term
        if normalised.op != "normalised":
            return [term]
        x, (over, epsilon) = normalised.args[0], normalised.attrs
        over, power = frozenset(leaves(over)), 2 if is_square else 1
        made = self.terms.centred(x, over), self.spread(x, over, epsilon)
        return [self.terms.pow(part, power) for part in made]
