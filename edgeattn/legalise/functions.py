"""Operators that ONNX itself defines by a function body: the body takes the node's place.

Used for the rarer ones; those that attention and its backbones use have an adapter of their own,
which needs no shape arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

import onnx
import onnx_ir as ir
from onnx import defs

from edgeattn.graph.edit import Edit
from edgeattn.graph.names import STANDARD_DOMAINS
from edgeattn.graph.nodes import given, is_static
from edgeattn.legalise.refusals import RefusedError

# Larger constants say nothing of a shape.
_SMALL: Final = 64


def _body(node: ir.Node, opset: int) -> onnx.FunctionProto | None:
    # onnx's stub omits what its C++ schema has.
    schema: Any = defs.get_schema(node.op_type, opset, "")
    if schema.has_function:
        return cast("onnx.FunctionProto", schema.function_body)
    if not schema.has_context_dependent_function:
        return None
    types = [b"" if v is None else ir.to_proto(v).type.SerializeToString() for v in node.inputs]
    proto = ir.to_proto(node)
    found = schema.get_context_dependent_function(proto.SerializeToString(), types)
    body = onnx.FunctionProto()
    body.ParseFromString(found)
    return body


def _attributes(
    call: ir.Node, inner: onnx.NodeProto, defaults: dict[str, onnx.AttributeProto]
) -> dict[str, ir.Attr]:
    """Return a body node's attributes, those that refer to the call's resolved."""
    out = {}
    for proto in inner.attribute:
        wanted = proto.ref_attr_name
        if not wanted:
            found = ir.serde.deserialize_attribute(proto)
        elif wanted in call.attributes:
            found = call.attributes[wanted]
        elif wanted in defaults:
            found = ir.serde.deserialize_attribute(defaults[wanted])
        else:
            continue
        out[proto.name] = ir.Attr(proto.name, found.type, found.value)
    return out


def _infer(made: Sequence[ir.Node], opset: int) -> None:
    """Fill in the types and shapes of what was made, for the adapters that need them."""
    own = {output.name: output for node in made for output in node.outputs}
    read = {v.name: v for node in made for v in node.inputs if v is not None and v.name not in own}
    model = onnx.ModelProto(ir_version=onnx.IR_VERSION)
    model.opset_import.add(version=opset)
    model.graph.node.extend(ir.to_proto(node) for node in made)
    for value in read.values():
        model.graph.input.append(ir.to_proto(value))
        if is_static(value) and value.const_value is not None and value.const_value.size <= _SMALL:
            model.graph.initializer.append(ir.to_proto(value.const_value))
    try:
        found = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except onnx.shape_inference.InferenceError:
        return
    for info in found.graph.value_info:
        output = own.get(info.name)
        if output is not None and output.shape is None and info.type.tensor_type.HasField("shape"):
            output.shape = ir.serde.deserialize_type_proto_for_shape(info.type)


def expand(node: ir.Node, edit: Edit, opset: int) -> None:
    """Put the function body of the node's schema at `opset` in its place. Real-number-exact.

    Requires that ONNX has a body for these types, without a loop.
    """
    body = _body(node, opset)
    if body is None or not body.node:
        raise RefusedError("ONNX gives no function body for its types")
    if any(a.HasField("g") or a.graphs for n in body.node for a in n.attribute):
        raise RefusedError("its function body has a loop or a branch")
    defaults = {a.name: a for a in body.attribute_proto}
    for name, attribute in defs.get_schema(node.op_type, opset, "").attributes.items():
        if attribute.default_value.name:
            defaults.setdefault(name, attribute.default_value)
    values = {name: given(node, index) for index, name in enumerate(body.input)}
    values[""] = None
    for inner in body.node:
        made = edit.nodes(
            inner.op_type,
            [values[name] for name in inner.input],
            _attributes(node, inner, defaults),
            count=len(inner.output),
        )
        values.update(zip(inner.output, made, strict=True))
    # A body leaves out what the call leaves out: the cache of an attention without one.
    ends = [values.get(name) for name in body.output]
    edit.written_at = next(o.version for o in body.opset_import if o.domain in STANDARD_DOMAINS)
    _infer(edit.made, edit.written_at)
    edit.replace(*ends[: len(node.outputs)])
