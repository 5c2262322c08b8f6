"""Int8: a model with pairs of QuantizeLinear and DequantizeLinear, in TensorRT's form.

The form: opset 13 or above, int8 with zero points of 0, float32 weights with a scale for each
channel and a pair of their own, float32 biases, and a pair for each reader of a value. ONNX
Runtime's `quantize_static` can write most of it, but it places pairs by value: a statistic that
reads the map of a convolution reads it rounded, both operands of a sum are rounded, and the pairs
belong to no module. So its calibration is used (`thresholds.py`), and the pairs are put here; where
both agree on what to quantise, they write the same numbers.

A file that was lowered for ONNX Runtime gets its form, since it computes a layer in int8 only where
what the layer gives is quantised too: one pair for all readers of a value, in uint8 with a zero
point of 0 or 128, behind the ReLU that a layer may have, and int32 biases.

What gets pairs (`placement.py`), and which method finds thresholds, was decided by measurements:
docs/measured.md has them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeattn.base.errors import InputError
from edgeattn.graph import shapes
from edgeattn.graph.marks import target_of
from edgeattn.graph.names import Names, module_of
from edgeattn.graph.nodes import given, needed, static
from edgeattn.graph.reading import Source, read
from edgeattn.graph.writing import save
from edgeattn.legalise import take_up
from edgeattn.precision.calibration import Samples
from edgeattn.precision.half import refuse_body
from edgeattn.precision.placement import is_positive, place, results
from edgeattn.precision.thresholds import Method, find_thresholds

#: The lowest opset whose pairs have a scale for each channel.
OLDEST_OPSET: Final = 13
_LARGEST: Final = 127
# The steps of uint8, and what int32 sums leave room for.
_LEVELS: Final = 255
_MOST_BIAS: Final = 2**30
# What ONNX Runtime has no int8 kernel of.
_NOT_SHARED: Final = ("ConvTranspose",)
_QUANTISED: Final = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul",
     "ConvInteger", "MatMulInteger"}
)  # fmt: skip

Scale = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantised:
    """What was quantised.

    Attributes:
        quantised: The layers and sums that take int8, by the names of their nodes.
        left: The layers that do not, each with the reason.
        method: How the ranges were found: the method, and on what.
    """

    quantised: tuple[str, ...]
    left: tuple[tuple[str, str], ...]
    method: str


def quantise(
    source: Path,
    destination: Path,
    samples: Samples,
    *,
    gates: bool = False,
    method: Method = "percentile",
    runtime: str = "",
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Quantised:
    """Write an int8 model.

    Args:
        source: An ONNX file in float32.
        destination: Where to write; weights that one message cannot hold go beside it.
        samples: The data to calibrate with.
        gates: Quantise the layers that compute gates and statistics as well.
        method: How to find the ranges.
        runtime: What is to run it; "" for what the file was lowered for.
        on_progress: Called with the number of calibration runs that are done, and of all.

    Returns:
        What was quantised, what was not, and how.

    Raises:
        InputError: The file is no model, is quantised already, cannot be taken up to opset 13,
            holds nothing to quantise, or does not run on the samples. Nothing is written then.
    """
    found = take_up(read(source), below=OLDEST_OPSET)
    _check(source, found)
    model = found.model
    shapes.find(model)
    is_shared = (runtime or target_of(model)) == "onnxruntime"
    placement = place(model.graph, gates=gates, apart=_NOT_SHARED if is_shared else ())
    if not placement.layers:
        reasons = "".join(f"\n  {name}: {reason}." for name, reason in placement.left[:5])
        raise InputError(f"{source} holds no layer that int8 can take.{reasons}")
    edges = [*((node, 0) for node in placement.layers), *placement.shortcuts]
    made = results(placement.layers) if is_shared else []
    values = list(dict.fromkeys([*(needed(*edge) for edge in edges), *made]))
    thresholds = find_thresholds(model, values, samples, method=method, on_progress=on_progress)
    pairs = _Pairs(model.graph)
    for value in values if is_shared else ():
        readers = list(value.uses()) if value in made else [e for e in edges if needed(*e) is value]
        pairs.share(value, readers, thresholds[str(value.name)])
    for node, index in edges if not is_shared else ():
        threshold = thresholds[str(needed(node, index).name)]
        pairs.put(node, index, _scale(np.array(threshold)))
    for node, axis in placement.layers.items():
        scale = _weight_scale(needed(node, 1), axis)
        if is_shared:
            pairs.put_bias(node, scale)
        pairs.put(node, 1, scale, axis=axis)
    save(model, destination)
    return Quantised(
        quantised=tuple(dict.fromkeys(str(node.name) for node, _ in edges)),
        left=placement.left,
        method=f"{method}, {samples.description}",
    )


def _check(path: Path, found: Source) -> None:
    """Refuse a file that cannot be quantised, regardless of its layers."""
    for node in found.model.graph:
        if node.op_type in _QUANTISED:
            raise InputError(
                f"{path} is quantised already: {node.name} is a {node.op_type}.",
                mend="Give the float32 model that it was made from.",
            )
        refuse_body(node, "quantised")


def _weight_scale(weight: ir.Value, axis: int | None) -> Scale:
    array = static(weight)
    assert array is not None
    if axis is None:
        return _scale(np.abs(array).max(initial=0))
    others = tuple(index for index in range(array.ndim) if index != axis)
    return _scale(np.abs(array).max(axis=others, initial=0))


def _scale(largest: npt.NDArray[np.floating]) -> Scale:
    """Return the scale at which the largest |x| becomes 127; 1 for what is always 0."""
    scale = (largest / _LARGEST).astype(np.float32)
    return np.where(scale >= np.finfo(np.float32).tiny, scale, np.float32(1))


class _Pairs:
    """Puts QuantizeLinear and DequantizeLinear on inputs of nodes, one pair for each.

    A node's name begins with the module of the node that it serves.
    """

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        values = ir.convenience.create_value_mapping(graph)
        self._names = Names([*(node.name for node in graph), *values])
        self._scales: dict[tuple[ir.Value, int | None], list[ir.Value]] = {}

    def share(
        self, value: ir.Value, readers: Sequence[tuple[ir.Node, int]], threshold: float
    ) -> None:
        """Put one pair, in uint8, between a value and those who read it."""
        is_signed = not is_positive(value)
        scale = _scale(np.array(threshold if is_signed else threshold * _LARGEST / _LEVELS))
        constants = [
            self._constant(f"{value.name}.scale", scale),
            self._constant(f"{value.name}.zero_point", np.array(128 * is_signed, np.uint8)),
        ]
        producer = value.producer()
        module = module_of(str((producer or readers[0][0]).name))
        made = self._pair(value, constants, [], module, ir.DataType.UINT8)
        if producer is None:
            self._graph.insert_before(self._graph[0], made)
        else:
            self._graph.insert_after(producer, made)
        for node, index in readers:
            node.replace_input_with(index, made[-1].outputs[0])

    def put_bias(self, node: ir.Node, weight_scale: Scale) -> None:
        """Keep a layer's bias as int32, at the scale of its data times that of its weights."""
        bias = given(node, 2)
        array = static(bias)
        data = needed(node, 0).producer()
        if bias is None or array is None or array.ndim != 1 or data is None:
            return
        scale = static(needed(data, 1))
        assert scale is not None
        scale = (scale * weight_scale).astype(np.float32)
        kept = np.rint(array / scale)
        if scale.shape != array.shape or not (np.abs(kept) < _MOST_BIAS).all():
            return
        constants = [
            self._constant(f"{node.name}.bias", kept.astype(np.int32)),
            self._constant(f"{node.name}.bias.scale", scale),
        ]
        name = self._names.new(f"{module_of(str(node.name))}/DequantizeLinear")
        made = ir.Node("", "DequantizeLinear", constants, [ir.AttrInt64("axis", 0)], name=name)
        last = made.outputs[0]
        last.name, last.dtype, last.shape = f"{name}:0", ir.DataType.FLOAT, bias.shape
        self._graph.insert_before(node, made)
        node.replace_input_with(2, last)

    def put(self, node: ir.Node, index: int, scale: Scale, *, axis: int | None = None) -> None:
        """Put a pair on an input; values that are read more than once share scale and zero."""
        value = needed(node, index)
        if (value, axis) not in self._scales:
            self._scales[value, axis] = [
                self._constant(f"{value.name}.scale", scale),
                self._constant(f"{value.name}.zero_point", np.zeros(scale.shape, np.int8)),
            ]
        constants = self._scales[value, axis]
        attributes = [] if axis is None else [ir.AttrInt64("axis", axis)]
        module = module_of(str(node.name))
        made = self._pair(value, constants, attributes, module, ir.DataType.INT8)
        self._graph.insert_before(node, made)
        node.replace_input_with(index, made[-1].outputs[0])

    def _pair(
        self,
        value: ir.Value,
        constants: Sequence[ir.Value],
        attributes: Sequence[ir.Attr],
        module: str,
        narrow: ir.DataType,
    ) -> list[ir.Node]:
        found: list[ir.Node] = []
        last = value
        for op_type, dtype in (
            ("QuantizeLinear", narrow),
            ("DequantizeLinear", ir.DataType.FLOAT),
        ):
            name = self._names.new(f"{module}/{op_type}")
            found.append(ir.Node("", op_type, [last, *constants], attributes, name=name))
            last = found[-1].outputs[0]
            last.name, last.dtype, last.shape = f"{name}:0", dtype, value.shape
        return found

    def _constant(self, name: str, array: npt.NDArray[Any]) -> ir.Value:
        constant = ir.val(self._names.new(name), const_value=ir.tensor(array))
        self._graph.register_initializer(constant)
        return constant
