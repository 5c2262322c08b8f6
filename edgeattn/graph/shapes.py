"""Types and shapes of a model's values: what is missing, and ONNX's inference of it."""

from __future__ import annotations

import onnx_ir as ir
import onnx_ir.passes.common as passes


def is_incomplete(model: ir.Model) -> bool:
    """Says whether some node's output has no type or no shape."""
    return any(
        value.dtype is None or value.shape is None
        for node in model.graph.all_nodes()
        for value in node.outputs
        if value.name
    )


def infer(model: ir.Model) -> None:
    """Fills in the types and shapes that ONNX can infer, in place.

    Weights never pass through: a model of any size may be given. What cannot be inferred (an
    operator of another domain) stays as it is.
    """
    graph = model.graph
    order = list(graph.initializers)
    # check_type and strict_mode would turn one unknown operator into no inference at all.
    passes.ShapeInferencePass(check_type=False, strict_mode=False)(model)
    # The pass takes large initializers out and puts them back behind the small ones.
    values = [graph.initializers.pop(name) for name in order]
    for value in values:
        graph.register_initializer(value)


def is_open(model: ir.Model) -> bool:
    """Says whether an input has a dimension that is not static."""
    return any(
        value.shape is not None and not value.shape.is_static() for value in model.graph.inputs
    )


def bind_batch(model: ir.Model, batch: int) -> None:
    """Binds the open first dimension of the inputs to a number, in place.

    Shapes that still hold an open dimension afterwards are forgotten, for `infer` to find again.

    Args:
        model: The model.
        batch: The number.
    """
    names = set()
    for value in model.graph.inputs:
        if value.shape is not None and len(value.shape) and not isinstance(value.shape[0], int):
            names.add(value.shape[0].value)
            value.shape = ir.Shape([batch, *list(value.shape)[1:]])
    names.discard(None)
    made = (v for node in model.graph.all_nodes() for v in node.outputs)
    for value in (*model.graph.inputs, *made):
        if value.shape is None:
            continue
        dims = [
            batch if isinstance(d, ir.SymbolicDim) and d.value in names else d for d in value.shape
        ]
        static = all(isinstance(d, int) for d in dims)
        value.shape = ir.Shape(dims) if static or value.is_graph_input() else None
