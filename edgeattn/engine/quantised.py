"""Quantised files in the forms that TensorRT takes: float biases, int8 around zero.

TensorRT computes with int8 whose zero point is 0. A pair with another zero point z, or of uint8,
is written as one around zero, of the shifted value x + c, c = scale·z for int8 and scale·(z - 128)
for uint8: the same 256 steps, at the same places. What reads it takes c off again:

1. a layer with constant weights, in its bias: W·(y - c) = W·y - c·ΣW. The padding of a convolution,
   which is 0 before the shift and c after it, becomes a Pad before the pair;
2. anything else by a subtraction.

Exact in real numbers; a value halfway between two steps may be rounded to the other one. Requires
scales and zero points that are constants, one for the whole value. Constants of another zero point
become float32.
"""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeattn.engine.turing import Rewritten
from edgeattn.graph.edit import Edit
from edgeattn.graph.nodes import (
    given,
    integer,
    ints,
    is_standard,
    needed,
    number,
    producer_of,
    static,
    text,
)
from edgeattn.graph.quantised import dequantised, fold, fold_biases

_UINT8_MIDDLE: Final = 128
_Array = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """A QuantizeLinear with a zero point, and the DequantizeLinear nodes that read it."""

    first: ir.Node
    seconds: tuple[ir.Node, ...]
    scale: npt.NDArray[np.float32]
    shift: float


def rewrite(model: ir.Model) -> Rewritten | None:
    """Rewrite what TensorRT does not take of a quantised model.

    Args:
        model: The model, which is left as it is; every node has a name of its own.

    Returns:
        The rewritten model, or None if nothing is to be rewritten.
    """
    if not any(node.op_type == "DequantizeLinear" for node in model.graph.all_nodes()):
        return None
    model = model.clone()
    biases = fold_biases(model)
    edit = Edit(model)
    nodes = list(model.graph.all_nodes())
    weights = [found for node in nodes if (found := _asymmetric(node)) is not None]
    for node, array in weights:
        fold(node, array)
    pairs = [pair for node in nodes if (pair := _pair_of(node)) is not None]
    for pair in pairs:
        _Shift(edit, pair).write()
    edit.finish()
    counts = {
        "int32 biases as float32 ones": biases,
        "pairs of another zero point, shifted to 0": len(pairs),
        "weights of another zero point in float32": len(weights),
    }
    said = ", ".join(f"{what} ({count})" for what, count in counts.items() if count)
    if not said:
        return None
    note = f"TensorRT takes quantised values as int8 around zero only; built instead: {said}."
    return Rewritten(model=model, made={}, notes=(note,))


def _asymmetric(node: ir.Node) -> tuple[ir.Node, _Array] | None:
    """Return constant weights of another zero point than TensorRT's, and what they stand for."""
    if node.op_type != "DequantizeLinear" or not is_standard(node):
        return None
    stored, zero = static(given(node, 0)), static(given(node, 2))
    if stored is None or node.outputs[0].is_graph_output():
        return None
    if stored.dtype == np.int8 and (zero is None or not zero.any()):
        return None
    array = dequantised(node) if stored.dtype in (np.int8, np.uint8) else None
    return None if array is None else (node, array)


def _pair_of(node: ir.Node) -> _Pair | None:
    """Return a pair that TensorRT does not take, if it can be shifted."""
    if (
        node.op_type != "QuantizeLinear"
        or not is_standard(node)
        or node.outputs[0].is_graph_output()
    ):
        return None
    scale, zero = static(given(node, 1)), static(given(node, 2))
    if given(node, 2) is None and not integer(node, "output_dtype", 0):
        zero = np.zeros((), np.uint8)
    if scale is None or zero is None or scale.size != 1 or zero.size != 1:
        return None
    middle = _UINT8_MIDDLE if zero.dtype == np.uint8 else 0
    shift = int(zero.reshape(())) - middle
    is_taken = zero.dtype == np.int8 and shift == 0
    if is_taken or zero.dtype not in (np.int8, np.uint8) or scale.dtype != np.float32:
        return None
    readers = node.outputs[0].consumers()
    for reader in readers:
        own = static(given(reader, 1)), static(given(reader, 2))
        same = all(
            (a is None and b is None) or (a is not None and b is not None and np.array_equal(a, b))
            for a, b in zip(own, (scale, static(given(node, 2))), strict=True)
        )
        if reader.op_type != "DequantizeLinear" or not same:
            return None
    return _Pair(
        first=node,
        seconds=tuple(readers),
        scale=scale.reshape(()),
        shift=float(scale.reshape(()) * np.float32(shift)),
    )


class _Shift:
    """Writes one pair around zero, and takes the shift off in what reads it."""

    def __init__(self, edit: Edit, pair: _Pair) -> None:
        self._edit, self._pair = edit, pair
        self._x = needed(pair.first, 0)
        self._made: dict[tuple[int, ...], ir.Value] = {}

    def write(self) -> None:
        """Rewrite the pair."""
        edit = self._edit
        for second in self._pair.seconds:
            output = second.outputs[0]
            for reader, index in [*output.uses()]:
                if index == 0 and is_standard(reader) and reader.op_type in _TAKES_OFF:
                    _TAKES_OFF[reader.op_type](self, reader)
            if output.uses() or output.is_graph_output():
                value = self._around_zero(())
                edit.begin(second)
                edit.replace(edit.op("Sub", [value, self._constant()], like=self._x))
            else:
                edit.begin(second)
                assert second.graph is not None
                second.graph.remove(second, safe=True)
        edit.begin(self._pair.first)
        if not self._pair.first.outputs[0].uses():
            assert self._pair.first.graph is not None
            self._pair.first.graph.remove(self._pair.first, safe=True)

    def convolution(self, node: ir.Node) -> None:
        """Conv: the bias, and the padding that the shift has moved."""
        weight, bias = _weight(node), static(given(node, 2))
        if weight is None or (bias is None and given(node, 2) is not None):
            return
        if text(node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
            return
        total = weight.sum(axis=tuple(range(1, weight.ndim)), dtype=np.float64)
        pads = tuple(ints(node, "pads", [0] * (2 * (weight.ndim - 2))))
        if self._pair.shift == 0.0:
            pads = (0,) * len(pads)
        else:
            node.attributes.pop("pads", None)
        self._set(node, self._around_zero(pads), bias, total)

    def gemm(self, node: ir.Node) -> None:
        """Gemm: C, or one that it had not."""
        weight, bias = _weight(node), static(given(node, 2))
        if weight is None or (bias is None and given(node, 2) is not None):
            return
        if integer(node, "transA", 0):
            return
        total = weight.sum(axis=1 if integer(node, "transB", 0) else 0, dtype=np.float64)
        total *= number(node, "alpha", 1.0)
        if bias is not None:
            bias = bias * np.float64(number(node, "beta", 1.0))
        node.attributes.pop("beta", None)
        self._set(node, self._around_zero(()), bias, total)

    def product(self, node: ir.Node) -> None:
        """MatMul with a matrix: what the shift adds is subtracted behind it."""
        weight = _weight(node)
        if weight is None or weight.ndim != 2:
            return
        total = weight.sum(axis=0, dtype=np.float64) * self._pair.shift
        edit, value, name, y = self._edit, self._around_zero(()), node.name, node.outputs[0]
        edit.begin(node)
        made = edit.op("MatMul", [value, needed(node, 1)], like=y)
        constant = edit.constant(total.astype(np.float32), "shift")
        edit.replace(edit.op("Sub", [made, constant], like=y))
        producer_of(made).name = name

    def _set(
        self,
        node: ir.Node,
        value: ir.Value,
        bias: np.ndarray | None,
        total: npt.NDArray[np.float64],
    ) -> None:
        """Give a layer the shifted value, and the bias that takes the shift off."""
        self._edit.begin(node)
        self._edit.set_input(0, value)
        moved = (0.0 if bias is None else bias.astype(np.float64)) - self._pair.shift * total
        self._edit.set_input(2, self._edit.constant(moved.astype(np.float32), "bias"))

    def _constant(self) -> ir.Value:
        return self._edit.constant(np.array(self._pair.shift, dtype=np.float32), "shift")

    def _around_zero(self, pads: tuple[int, ...]) -> ir.Value:
        """Return the shifted value, padded, through a pair around zero."""
        pads = pads if any(pads) else ()
        if pads in self._made:
            return self._made[pads]
        edit, value, x = self._edit, self._x, self._x
        edit.begin(self._pair.first)
        if self._pair.shift:
            value = edit.op("Add", [value, self._constant()], like=x)
        if pads:
            n = len(pads) // 2
            full = edit.integers([0, 0, *pads[:n], 0, 0, *pads[n:]], "pads")
            value = edit.op("Pad", [value, full, self._constant()])
        scale = edit.constant(self._pair.scale, "scale")
        zero = edit.constant(np.zeros((), np.int8), "zero_point")
        value = edit.op("QuantizeLinear", [value, scale, zero], like=value)
        self._made[pads] = edit.op("DequantizeLinear", [value, scale, zero], like=value)
        return self._made[pads]


_TAKES_OFF: Final = {"Conv": _Shift.convolution, "Gemm": _Shift.gemm, "MatMul": _Shift.product}


def _weight(node: ir.Node) -> np.ndarray | None:
    """Return a layer's constant weights, quantised ones as what they stand for."""
    value = needed(node, 1)
    producer = value.producer()
    if producer is not None and producer.op_type == "DequantizeLinear":
        return dequantised(producer)
    return static(value)
