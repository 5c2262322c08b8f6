"""A model in half precision, but for the nodes that must stay float32.

ONNX Runtime's converter does the cast, and this module what it leaves to its caller: constants that
a kept node shares with others get a copy, so that they are not rounded; casts that are doubled, or
go there and back, are removed; and each new node is named after the module that it belongs to.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from edgeattn.base.errors import InputError
from edgeattn.graph.names import Names, module_of
from edgeattn.graph.nodes import static
from edgeattn.graph.shapes import infer, resolve_open

_FLOAT, _HALF = ir.DataType.FLOAT, ir.DataType.FLOAT16
_BODIES: Final = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Halved:
    """A model that was cast.

    Attributes:
        model: The model; its nodes keep their names, and each value that is half its own.
        half: How many nodes work in half.
        casts: How many Cast nodes were added.
        lost_weights: How many weights became 0, because they are too small for half.
    """

    model: ir.Model
    half: int
    casts: int
    lost_weights: int


def prepare(model: ir.Model) -> None:
    """Make a model ready to be measured and cast, in place: typed, constants apart.

    Raises:
        InputError: It is half or quantised already, holds no float32, has branches or loops, or a
            value whose type cannot be inferred.
    """
    _check(model)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    infer(model)
    resolve_open(model)
    for node in model.graph:
        for value in node.outputs:
            if value.name and not isinstance(value.type, ir.TensorType | None):
                raise InputError(
                    f"{node.name} is a {node.op_type}, which gives no tensor, and is not cast.",
                    mend="Export the model without it, or let onnxsim remove it.",
                )
            if value.name and value.dtype is None:
                domain = f" of the domain {node.domain}" if node.domain else ""
                raise InputError(
                    f"The type of {value.name} is not known: {node.name} is a {node.op_type}"
                    f"{domain}, which ONNX cannot infer.",
                    mend="Write the types of its values into the file (value_info).",
                )


def _check(model: ir.Model) -> None:
    for node in model.graph:
        refuse_body(node, "cast")
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            raise InputError(
                f"{node.name} is a {node.op_type}: the model is quantised already.",
                mend="Cast the float32 model that it was made from.",
            )
    for value in model.graph.outputs:
        if value.producer() is None:
            raise InputError(
                f"The output {value.name} is an input or a weight as it is, which no cast changes.",
                mend="Take it off the model's outputs.",
            )
    if len(set(model.graph.outputs)) < len(model.graph.outputs):
        raise InputError("The model gives one output twice.", mend="Take it off once.")
    values = _values(model)
    if any(value.dtype == _HALF for value in values):
        raise InputError(
            "The model holds half-precision values already.",
            mend="Cast the float32 model that it was made from.",
        )
    if not any(value.dtype == _FLOAT for value in values):
        raise InputError("The model holds no float32 values, so there is nothing to cast.")


def refuse_body(node: ir.Node, done: str) -> None:
    """Refuse a node with branches or a loop body.

    Raises:
        InputError: Says that its body is not `done`.
    """
    if any(attribute.type in _BODIES for attribute in node.attributes.values()):
        raise InputError(
            f"The body of {node.name} ({node.op_type}) is not {done}.",
            mend="Export the model without control flow. Where it does not depend on data, this"
            " removes it: edgeattn optimize IN.onnx -o OUT.onnx",
        )


def to_half(model: ir.Model, kept: Collection[str], *, half_io: bool = False) -> Halved:
    """Cast a model to half precision.

    Args:
        model: The model after `prepare`; it is not changed.
        kept: Names of the nodes that stay float32.
        half_io: Cast the inputs and outputs of the graph too.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = model.clone()
    names = {str(node.name) for node in model.graph}
    stays = set(kept)
    _unshare(model, stays)
    proto = convert_float_to_float16(
        _without_weights(model),
        keep_io_types=not half_io,
        disable_shape_infer=True,
        op_block_list=[],
        node_block_list=list(stays),
    )
    _drop_twins(proto)
    made = ir.from_proto(proto)
    made.graph.sort()
    lost = _give_weights(made, model)
    _undo_round_trips(made, names)
    casts = _name_casts(made, names, stays)
    floats = {str(node.name) for node in model.graph if _touches_floats(node)}
    return Halved(model=made, half=len(floats - stays), casts=casts, lost_weights=lost)


def _touches_floats(node: ir.Node) -> bool:
    return any(v is not None and v.dtype == _FLOAT for v in (*node.inputs, *node.outputs))


def _unshare(model: ir.Model, kept: Collection[str]) -> None:
    """Copy the constants that kept nodes share with others, which the converter would round."""
    graph = model.graph
    for value in [v for v in graph.initializers.values() if v.dtype == _FLOAT]:
        inside = [(node, index) for node, index in value.uses() if node.name in kept]
        if not inside or len(inside) == len(value.uses()):
            continue
        name = f"{value.name}.float32"
        while name in graph.initializers:
            name += "_"
        copy = ir.Value(name=name, type=value.type, shape=value.shape)
        copy.const_value = value.const_value
        graph.register_initializer(copy)
        for node, index in inside:
            node.replace_input_with(index, copy)


def _without_weights(model: ir.Model) -> onnx.ModelProto:
    """Return a model whose weights hold no data: the converter would take seconds to round them."""
    proto = ir.to_proto(model)
    weights = {tensor.name: tensor for tensor in proto.graph.initializer}
    for tensor in weights.values():
        if tensor.data_type == onnx.TensorProto.FLOAT:
            name = tensor.name
            tensor.Clear()
            tensor.name, tensor.data_type = name, onnx.TensorProto.FLOAT
            tensor.dims.append(0)
    # The converter takes each type that is declared for half, a kept node's constants' too.
    values = [value for value in proto.graph.value_info if value.name not in weights]
    del proto.graph.value_info[:]
    proto.graph.value_info.extend(values)
    return proto


def _give_weights(made: ir.Model, model: ir.Model) -> int:
    """Give the cast model its weights, each in its type, and return how many became 0."""
    lost = 0
    for name, value in made.graph.initializers.items():
        exact = static(model.graph.initializers[name])
        assert exact is not None
        half = value.dtype == _HALF
        with np.errstate(under="ignore"):
            array = exact.astype(np.float16) if half else exact
        if half:
            lost += int(np.count_nonzero(exact) - np.count_nonzero(array))
        value.const_value = ir.tensor(array, name=name)
        value.shape = ir.Shape(array.shape)
    return lost


def _drop_twins(proto: onnx.ModelProto) -> None:
    """Drop casts that the converter repeats for each reader, under one name."""
    graph = proto.graph
    seen: set[str] = set()
    nodes = []
    for node in graph.node:
        if node.op_type == "Cast" and node.output[0] in seen:
            continue
        seen.update(node.output)
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _undo_round_trips(model: ir.Model, names: Collection[str]) -> None:
    """Let a kept node read another's float32 value directly, not cast there and back."""
    graph = model.graph
    for node in list(graph):
        if not _is_new_cast(node, names):
            continue
        (source,) = node.inputs
        before = None if source is None else source.producer()
        if before is None or not _is_new_cast(before, names):
            continue
        (origin,) = before.inputs
        (result,) = node.outputs
        if origin is None or origin.dtype != result.dtype:
            continue
        if not result.is_graph_output():
            ir.convenience.replace_all_uses_with(result, origin)
        elif origin.producer() is not None and not origin.is_graph_output():
            _hand_over(origin, result, node)
    common.RemoveUnusedNodesPass()(model)


def _hand_over(origin: ir.Value, result: ir.Value, cast: ir.Node) -> None:
    """Make `origin` the graph's output in the place of `result`."""
    name = result.name
    ir.convenience.replace_all_uses_with(result, origin, replace_graph_outputs=True)
    result.name = f"{name}.cast"  # it is removed with its node, and frees its name
    origin.name = name
    assert cast.graph is not None
    cast.graph.remove(cast, safe=True)


def _is_new_cast(node: ir.Node, names: Collection[str]) -> bool:
    return node.op_type == "Cast" and node.name not in names


def _name_casts(model: ir.Model, names: Collection[str], kept: Collection[str]) -> int:
    """Name each new cast after the module of the kept node that it is there for."""
    taken = Names({*names, *(value.name for value in _values(model))})
    added = [node for node in model.graph if _is_new_cast(node, names)]
    for node in added:
        owner = _owner(node, kept)
        name = taken.new(f"{module_of(owner)}/Cast" if "/" in owner else "Cast")
        node.name = name
        (result,) = node.outputs
        if str(result.name).endswith(("_cast_to_fp32", "_cast_0")) and not result.is_graph_output():
            result.name = f"{name}:0"
    return len(added)


def _owner(cast: ir.Node, kept: Collection[str]) -> str:
    producer = None if cast.inputs[0] is None else cast.inputs[0].producer()
    near = [*cast.successors(), *([] if producer is None else [producer])]
    found = next((node for node in near if node.name in kept), near[0] if near else cast)
    return str(found.name)


def _values(model: ir.Model) -> list[ir.Value]:
    made = [value for node in model.graph for value in node.outputs]
    return [*model.graph.inputs, *model.graph.initializers.values(), *made]
