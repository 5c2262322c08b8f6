"""What opsets 11 and 12 said differently: softmax of a matrix, dropout's ratio."""

from __future__ import annotations

import onnx_ir as ir

from edgeattn.graph.edit import Edit
from edgeattn.graph.nodes import integer, is_used, needed


def softmax_up(node: ir.Node, edit: Edit) -> None:
    """Softmax, LogSoftmax, Hardmax 11 → 13. Bit-exact.

    Version 11 flattens x to a matrix at `axis` (1 where not given) and works on its rows; version
    13 works along one axis. They agree where all dimensions behind `axis` are 1; else the matrix
    is made and unmade: Flatten, Softmax(-1), Reshape to the shape of x.
    """
    x, axis = needed(node, 0), integer(node, "axis", 1)
    behind = [] if x.shape is None else list(x.shape)[axis if axis < 0 else axis - len(x.shape) :]
    if x.shape is not None and axis == len(x.shape):
        behind = []
    if behind and all(d == 1 for d in behind[1:]):
        node.attributes["axis"] = ir.AttrInt64("axis", axis)
        return
    matrix = edit.op("Flatten", [x], {"axis": axis})
    rows = edit.op(node.op_type, [matrix], {"axis": -1})
    edit.replace(edit.op("Reshape", [rows, edit.op("Shape", [x])], like=x))


def dropout_up(node: ir.Node, edit: Edit) -> None:
    """Dropout 10 → 12: at inference the ratio says nothing. Bit-exact."""
    node.attributes.pop("ratio", None)
    if len(node.outputs) > 1 and not is_used(node.outputs[1]):
        edit.trim()
