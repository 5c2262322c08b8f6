"""Measures how large each float value of a model gets on given inputs.

The model runs in float32 in ONNX Runtime, with three small nodes behind each value: |x|, its
maximum, and, for what a reduction adds up, the largest sum of |x|. Only scalars leave a run, so it
needs no more memory than a plain one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import onnx_ir as ir

from edgeattn.base.errors import InputError
from edgeattn.precision.runs import runs
from edgeattn.runtimes.onnxruntime import Array

HALF_MAX: Final = 65504.0
#: Half's smallest number with a full significand.
HALF_NORMAL: Final = 2.0**-14
# The reduction, with the same attributes and axes, that sums what this one adds up.
_SUMS_OF: Final = {
    "ReduceMean": "ReduceL1",
    "ReduceL1": "ReduceL1",
    "ReduceLogSum": "ReduceL1",
    "ReduceSumSquare": "ReduceSumSquare",
    "ReduceL2": "ReduceSumSquare",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The range of a value.

    Attributes:
        max_abs: The largest |x|, NaN left out.
        max_sum: The largest sum of |x| that the reduction which gives this value adds up: its
            partial sums stay below. None if no reduction gives it.
    """

    max_abs: float
    max_sum: float | None = None


def measure_ranges(
    model: ir.Model, feeds: Iterable[Mapping[str, Array]]
) -> tuple[dict[str, Range], int]:
    """Measure every float32 value that the nodes of a model give.

    Args:
        model: The model, with types; it is not changed.
        feeds: One array per input and sample.

    Returns:
        The range of each value by its name, over all samples; and how many samples there were.

    Raises:
        InputError: If ONNX Runtime cannot run the model, or there are no samples.
    """
    probed = model.clone()
    probes = _Probes(probed)
    probes.place()
    count = 0
    for _, outputs in runs(probed, feeds):
        probes.take(outputs)
        count += 1
    if not count:
        raise InputError("There are no samples to measure ranges on.")
    return probes.ranges(), count


class _Probes:
    """The nodes that measure, and their measurements so far."""

    def __init__(self, model: ir.Model) -> None:
        self._graph = model.graph
        self._own = len(model.graph.outputs)
        self._maxima: dict[str, float] = {}
        self._sums: dict[str, float] = {}
        #: For each output that is added: where its scalar goes, and its factor.
        self._places: list[tuple[dict[str, float], str, float]] = []

    def place(self) -> None:
        """Add the nodes."""
        for node in list(self._graph):
            for value in node.outputs:
                if _is_float(value) and value.name:
                    self._watch(self._add("Abs", [value]), self._maxima, value.name)
            if node.inputs and _is_float(node.inputs[0]) and node.outputs[0].name:
                self._watch_sum(node, node.outputs[0].name)

    def take(self, outputs: Sequence[Array]) -> None:
        """Take in the outputs of one run."""
        for (found, name, factor), scalar in zip(self._places, outputs[self._own :], strict=True):
            found[name] = max(found.get(name, 0.0), factor * float(scalar))

    def ranges(self) -> dict[str, Range]:
        """Return what was measured."""
        return {
            name: Range(max_abs=value, max_sum=self._sums.get(name))
            for name, value in self._maxima.items()
        }

    def _watch_sum(self, node: ir.Node, name: str) -> None:
        op_type, x = node.op_type, node.inputs[0]
        if op_type in _SUMS_OF:
            self._watch(self._add(_SUMS_OF[op_type], node.inputs, node), self._sums, name)
        elif op_type == "ReduceSum":  # its axes became an input before the others' did
            inputs = [self._add("Abs", [x]), *node.inputs[1:]]
            self._watch(self._add(op_type, inputs, node), self._sums, name)
        elif op_type == "GlobalAveragePool" and (count := summed_values(node)) is not None:
            mean = self._add(op_type, [self._add("Abs", [x])])
            self._watch(mean, self._sums, name, factor=count)

    def _watch(
        self, value: ir.Value, found: dict[str, float], name: str, *, factor: float = 1.0
    ) -> None:
        top = self._add("ReduceMax", [value], attributes=[ir.AttrInt64("keepdims", 0)])
        top.shape = ir.Shape([])
        self._graph.outputs.append(top)
        self._places.append((found, name, factor))

    def _add(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        like: ir.Node | None = None,
        *,
        attributes: Sequence[ir.Attr] = (),
    ) -> ir.Value:
        attributes = attributes if like is None else list(like.attributes.values())
        name = f"edgeattn.probe_{len(self._graph)}"
        node = ir.Node("", op_type, inputs, attributes, name=name)
        node.outputs[0].name = f"{name}:0"
        node.outputs[0].dtype = ir.DataType.FLOAT
        self._graph.append(node)
        return node.outputs[0]


def _is_float(value: ir.Value | None) -> bool:
    return value is not None and value.dtype == ir.DataType.FLOAT


def summed_values(node: ir.Node) -> int | None:
    """Return how many values a reduction or a pool combines into one, or None if unknown."""
    before, after = node.inputs[0], node.outputs[0]
    sizes = [None if v is None else _elements(v) for v in (before, after)]
    if sizes[0] is None or not sizes[1]:
        return None
    return sizes[0] // sizes[1]


def _elements(value: ir.Value) -> int | None:
    """Return the number of a value's elements for one sample: an open first dimension counts 1."""
    if value.shape is None:
        return None
    sizes = [size if isinstance(size, int) else None for size in value.shape]
    if sizes and sizes[0] is None:
        sizes[0] = 1
    known = [size for size in sizes if size is not None]
    return math.prod(known) if len(known) == len(sizes) else None
