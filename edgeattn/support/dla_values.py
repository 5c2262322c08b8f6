"""What a DLA demands of the values that a node reads and writes, whatever the node does."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import onnx_ir as ir

from edgeattn.graph.nodes import bodies_of, given, is_standard, is_static, is_weight, static_sizes
from edgeattn.support.answers import Answer
from edgeattn.support.dla_unit import GUIDE, HEADER, TYPED, Unit, no, unknown

_FLOATS: Final = frozenset([ir.DataType.FLOAT, ir.DataType.FLOAT16])
# What quantisation and, with a cast right behind them, comparisons give; their rules speak of both.
_NARROW: Final = frozenset([ir.DataType.INT8, ir.DataType.BOOL])
_COMPUTED: Final = "edgeattn.computed"
_MOST_BATCH: Final = 4096
_MOST_LENGTH: Final = 8192
_MOST_BYTES: Final = 2**30


def is_folded(node: ir.Node) -> bool:
    """Return whether TensorRT computes a node when it builds: of constants and sizes alone.

    That a node depends on an input of the graph is kept with it, for those behind it.
    """
    waiting, seen = [node], {node}
    while waiting:
        one = waiting.pop()
        if one.meta.get(_COMPUTED):
            node.meta[_COMPUTED] = True
            return False
        if is_standard(one) and one.op_type in ("Shape", "Size"):
            sizes = None if (value := given(one, 0)) is None else static_sizes(value)
            if sizes is None or None in sizes:
                return False
            continue
        # Of what it is cast like, only the type counts.
        inputs = one.inputs[:1] if one.op_type == "CastLike" else one.inputs
        read = [value for value in inputs if value is not None]
        if any(bodies_of(one)):
            return False
        if not read and not (is_standard(one) and one.op_type == "Constant"):
            return False
        for value in read:
            producer = value.producer()
            if is_weight(value) or producer in seen:  # a Constant is a node like others
                continue
            if producer is None:
                node.meta[_COMPUTED] = True
                return False
            seen.add(producer)
            waiting.append(producer)
    return True


def is_left_out(node: ir.Node) -> bool:
    """Return whether TensorRT's parser passes what a node reads on, as it is."""
    value = given(node, 0)
    same = value is not None and value.dtype is not None and value.dtype == node.outputs[0].dtype
    return is_standard(node) and (node.op_type == "Dropout" or (node.op_type == "Cast" and same))


def is_constant(value: ir.Value | None) -> bool:
    """Return whether a value is absent, or known when the engine is built."""
    if value is None or is_static(value):
        return True
    producer = value.producer()
    return producer is not None and is_folded(producer)


def data_of(node: ir.Node) -> list[ir.Value]:
    """Return what a node reads that is no constant."""
    return [value for value in node.inputs if value is not None and not is_constant(value)]


def of_values(unit: Unit, node: ir.Node) -> Iterator[Answer]:
    """Yield what speaks against a node in the types and sizes of what it reads and writes."""
    for value in [*data_of(node), *(one for one in node.outputs if one.name)]:
        yield from _of_type(unit, value)
        yield from _of_sizes(unit, value)


def _of_type(unit: Unit, value: ir.Value) -> Iterator[Answer]:
    if value.dtype is None:
        yield unknown("the type of what it reads or writes is not known", mend="")
    elif unit.precision == "int8" and value.dtype in _NARROW:
        return
    elif value.dtype not in _FLOATS:
        name = value.dtype.name.lower()
        mend = "Export it in float32." if name in {"double", "bfloat16"} else ""
        yield no(f"a DLA computes in fp16 and int8, not in {name}", GUIDE, mend)
    elif unit.precision == "fp16" and unit.version >= (11,) and value.dtype != ir.DataType.FLOAT16:
        reason = "TensorRT 11 computes in the file's types, and a DLA not in float"
        yield no(reason, TYPED, "Export with --precision fp16 --half-io.")


def _of_sizes(unit: Unit, value: ir.Value) -> Iterator[Answer]:
    sizes = static_sizes(value)
    if sizes is None:
        yield unknown("the shape of what it reads or writes is not known", mend="")
        return
    known = [size for size in sizes if size is not None]
    if len(known) < len(sizes):
        reason = "its sizes are open, and a DLA takes them where a profile's min and max are one"
        yield unknown(reason, GUIDE, "Export with fixed sizes.")
    elif 0 in known:
        yield unknown("it has a tensor without elements")
    elif (batch := math.prod(known[:-3])) > _MOST_BATCH:
        yield no(f"a batch of {batch} is above {_MOST_BATCH}", GUIDE, "Use a smaller batch.")
    elif (length := max(known[-3:], default=1)) > _MOST_LENGTH:
        yield no(f"a side of {length} is above {_MOST_LENGTH}", GUIDE, "Give smaller inputs.")
    elif (
        math.prod(known) * unit.element_bytes >= _MOST_BYTES
        and not value.is_graph_input()
        and not value.is_graph_output()
    ):
        yield no("a tensor within the network takes 1 GiB or more", HEADER, "Use a smaller batch.")
