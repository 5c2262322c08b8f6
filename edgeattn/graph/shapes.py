"""Types and shapes of a model's values: what is missing, and ONNX's inference of it."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
import onnx_ir as ir
from onnx import shape_inference

from edgeattn.graph.nodes import size_bytes

# Larger initializers are weights: no shape hangs on what they hold.
_LARGEST_CONSTANT_BYTES = 1024
_UNLIKELY_SIZE = 65521


def is_incomplete(model: ir.Model) -> bool:
    """Return whether some node's output has no type or no shape."""
    return any(value.dtype is None or value.shape is None for value in _made(model) if value.name)


def without_weights(model: ir.Model) -> onnx.ModelProto:
    """Return a copy whose weights are inputs; constants that a shape may hang on stay."""
    skeleton = model.clone()
    graph = skeleton.graph
    for name, value in list(graph.initializers.items()):
        tensor = value.const_value
        if tensor is None or size_bytes(tensor) > _LARGEST_CONSTANT_BYTES:
            if tensor is not None:
                value.type = ir.TensorType(tensor.dtype)
                value.shape = ir.Shape(tensor.shape.numpy())
            del graph.initializers[name]
            if not value.is_graph_input():
                graph.inputs.append(value)
    return ir.to_proto(skeleton)


def infer(model: ir.Model) -> None:
    """Fill in the types and shapes that ONNX can infer, in place; nothing else is touched.

    Weights never pass through: a model of any size may be given. What cannot be inferred (behind an
    operator of another domain) stays as it is.
    """
    try:
        proto = shape_inference.infer_shapes(without_weights(model), data_prop=True)
    except shape_inference.InferenceError:
        return
    inferred = ir.from_proto(proto)
    for graph, found in zip(model.graphs(), inferred.graphs(), strict=True):
        known = ir.convenience.create_value_mapping(found)
        for name, value in ir.convenience.create_value_mapping(graph).items():
            other = known.get(name)
            if other is not None:
                value.type = value.type if other.type is None else other.type
                value.shape = value.shape if other.shape is None else other.shape


def resolve(model: ir.Model) -> None:
    """Fill in the shapes that `infer` cannot find, because a target shape is computed, in place.

    ONNX's inference follows a target shape through few operators only. On a copy without weights,
    whatever is computed from sizes that are known by now is folded into constants; no node of the
    model is touched.

    Args:
        model: A model whose inputs have static shapes.
    """
    from onnxscript.optimizer import fold_constants_ir

    folded = ir.from_proto(without_weights(model))
    try:
        fold_constants_ir(folded)
    except RuntimeError:  # an operator that it cannot evaluate, such as one of sequences
        return
    for value in _made(folded):
        if value.shape is not None and not value.shape.is_static():
            value.shape = None  # inference would keep the open sizes that it made up before
    infer(folded)
    for value, other in _resolved(model, folded):
        value.shape = other.shape


def resolve_open(model: ir.Model) -> None:
    """Fill in the shapes of a model whose only open size is the first of its inputs, in place.

    The open size is bound to a prime that is no size of a real model's, on a copy; a size that
    comes out as that prime is the open one. What is a multiple of it stays unknown.

    Args:
        model: The model; one with other open sizes is left as it is.
    """
    opened = [value.shape for value in model.graph.inputs if value.shape is not None]
    names = {size.value for shape in opened for size in shape if isinstance(size, ir.SymbolicDim)}
    if len(names) != 1 or any(ir.Shape(list(shape)[1:]).is_dynamic() for shape in opened):
        return
    (name,) = names
    if all(_is_known(value, name) for value in _made(model) if value.name):
        return
    bound = ir.from_proto(without_weights(model))
    bind_batch(bound, _UNLIKELY_SIZE)
    infer(bound)
    resolve(bound)
    for value, other in _resolved(model, bound):
        value.type = other.type if value.type is None else value.type
        value.shape = ir.Shape([_opened(size, name) for size in other.shape or ()])


def _made(model: ir.Model) -> Iterator[ir.Value]:
    """Return the outputs of all nodes."""
    return (value for node in model.graph.all_nodes() for value in node.outputs)


def _is_known(value: ir.Value, name: str | None) -> bool:
    """Return whether a value's type and sizes are known, but for the open one of this name."""
    sizes = (None,) if value.dtype is None or value.shape is None else value.shape
    return name is not None and all(
        isinstance(size, int) or (isinstance(size, ir.SymbolicDim) and size.value == name)
        for size in sizes
    )


def _resolved(model: ir.Model, copy: ir.Model) -> Iterator[tuple[ir.Value, ir.Value]]:
    """Return a model's values with those of a copy whose shapes are static."""
    found = {value.name: value for value in _made(copy)}
    for value in _made(model):
        other = found.get(value.name)
        if other is not None and other.shape is not None and other.shape.is_static():
            yield value, other


def _opened(size: int | ir.SymbolicDim, name: str | None) -> int | str | None:
    if not isinstance(size, int) or size % _UNLIKELY_SIZE:
        return size if isinstance(size, int) else None
    return name if size == _UNLIKELY_SIZE else None


def find(model: ir.Model) -> None:
    """Fill in the shapes of a model's values, behind computed reshapes too.

    Args:
        model: The model, changed in place; its batch may be open.
    """
    infer(model)
    if is_open(model):
        resolve_open(model)
    elif not is_static(model):
        resolve(model)


def is_static(model: ir.Model) -> bool:
    """Return whether every node's outputs have static shapes."""
    return all(v.shape is not None and v.shape.is_static() for v in _made(model) if v.name)


def is_open(model: ir.Model) -> bool:
    """Return whether an input has a dimension that is not static."""
    return any(
        value.shape is not None and not value.shape.is_static() for value in model.graph.inputs
    )


def bind_batch(model: ir.Model, batch: int) -> None:
    """Bind the open first dimension of the inputs to a number, in place.

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
    for value in (*model.graph.inputs, *_made(model)):
        if value.shape is None:
            continue
        dims = [
            batch if isinstance(d, ir.SymbolicDim) and d.value in names else d for d in value.shape
        ]
        static = all(isinstance(d, int) for d in dims)
        value.shape = ir.Shape(dims) if static or value.is_graph_input() else None
