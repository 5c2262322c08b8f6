"""A half-precision file as a device stores it, in a form that ONNX Runtime's CPU kernels compute.

These have hardly any kernels for half. ONNX Runtime computes in float32 instead and leaves out the
casts between two such operators, so that a value between them is never rounded, and none overflows.
Casts that stand in a file it keeps. So every value that is half becomes float32, cast to half and
back where it is made: each operator computes in float32, as TensorRT's sums do, and what it gives
is rounded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import onnx_ir as ir

from edgeattn.base import files
from edgeattn.graph.nodes import static
from edgeattn.graph.reading import facts_of, load
from edgeattn.graph.shapes import infer

_FLOAT, _HALF = ir.DataType.FLOAT, ir.DataType.FLOAT16
#: What gives half by an attribute, not by what it reads.
_BY_ATTRIBUTE: Final = frozenset({"Cast", "ConstantOfShape", "Constant", "EyeLike"})


@contextlib.contextmanager
def as_stored(path: Path) -> Iterator[Path]:
    """Return a file whose values ONNX Runtime rounds as a device stores them.

    Args:
        path: A file.

    Yields:
        The same file; where it is in half precision, one that emulates it, for as long as the block
        lasts.
    """
    if facts_of(path).precision != "fp16":
        yield path
        return
    with files.scratch() as folder:
        yield write_emulated(path, folder / path.name)


def write_emulated(path: Path, target: Path) -> Path:
    """Write a file that computes what another does, with every half value rounded.

    Args:
        path: A file in half precision.
        target: The file to write, of the same inputs and outputs.

    Returns:
        What was written.
    """
    model = load(path)
    infer(model)
    graph = model.graph
    for name, value in graph.initializers.items():
        if value.dtype == _HALF:
            exact = static(value)
            assert exact is not None
            value.const_value = ir.tensor(exact.astype(np.float32), name=name)
            value.dtype = _FLOAT
    nodes = list(graph)
    for value in graph.inputs:
        if value.dtype == _HALF:
            wide = _cast(value, _FLOAT)
            graph.insert_before(nodes[0], wide)
            _redirect(value, wide)
    for node in nodes:
        for value in node.outputs:
            if value.dtype == _HALF and value.name:
                _round(node, value)
    ir.save(model, target, external_data=f"{target.name}.data")
    return target


def _round(node: ir.Node, value: ir.Value) -> None:
    """Let what reads a half value read it rounded, as float32."""
    graph = node.graph
    assert graph is not None
    if node.op_type in _BY_ATTRIBUTE:
        wide = _cast(value, _FLOAT)
        graph.insert_after(node, wide)
        _redirect(value, wide)
        return
    half = _cast(value, _HALF)
    wide = _cast(half.outputs[0], _FLOAT)
    graph.insert_after(node, [half, wide])
    _redirect(value, wide, but=half)
    value.dtype = _FLOAT
    if value.is_graph_output():
        name = value.name
        value.name = f"{name}.wide"
        half.outputs[0].name = name
        for index, output in enumerate(graph.outputs):
            if output is value:
                graph.outputs[index] = half.outputs[0]


def _cast(value: ir.Value, to: ir.DataType) -> ir.Node:
    name = f"{value.name}.{to.name}"
    node = ir.node("Cast", [value], {"to": int(to)}, name=name)
    result = node.outputs[0]
    result.name, result.dtype, result.shape = name, to, value.shape
    return node


def _redirect(value: ir.Value, other: ir.Node, *, but: ir.Node | None = None) -> None:
    for user, index in value.uses():
        if user is not but and user is not other:
            user.replace_input_with(index, other.outputs[0])
