"""A model in float64, and its evaluation by ONNX's reference, with no runtime.

A rewrite that is exact in real numbers may round its new constants to the model's type, and that
shows at 1e-7. So models are brought to float64 first, lowered there, and compared there: the
constants that a rule computes then have 1e-16. Attributes are float32 in a file, but not in
memory: they are handed to the reference as they stand in the node.
"""

from __future__ import annotations

import hashlib

import numpy as np
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from edgeattn.graph.marks import maps_of
from export_tests.lowering.reference_ops import OPS

_REAL = {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16}
_TENSORS = {"value", "value_float", "value_floats"}
_KNOWN = {}


def as_double(model):
    """Gives a copy of a model in which every real type is DOUBLE."""
    model = model.clone()
    for graph in model.graphs():
        made = [v for node in graph for v in node.outputs]
        for value in {*graph.inputs, *graph.initializers.values(), *made}:
            if value.const_value is not None and value.const_value.dtype in _REAL:
                value.const_value = _double(value.const_value, value.name)
            if value.dtype in _REAL:
                value.type = ir.TensorType(ir.DataType.DOUBLE)  # clones share the old one
        for node in graph:
            _convert(node)
    return model


def _double(tensor, name=None):
    array = np.asarray(tensor.numpy() if hasattr(tensor, "numpy") else tensor)
    return ir.tensor(array.astype(np.float64), name=name)


def _convert(node):
    """Converts what a node itself says of types."""
    if node.op_type in {"Constant", "ConstantOfShape"}:
        for name in _TENSORS & set(node.attributes):
            value = node.attributes[name].value
            if name != "value" or value.dtype in _REAL:
                node.attributes.pop(name)
                node.attributes["value"] = ir.AttrTensor("value", _double(value))
        if node.op_type == "ConstantOfShape" and "value" not in node.attributes:
            node.attributes["value"] = ir.AttrTensor("value", ir.tensor(np.zeros(1)))
    for name in ("to", "dtype"):
        found = node.attributes.get(name)
        if found is not None and ir.DataType(found.as_int()) in _REAL:
            node.attributes[name] = ir.AttrInt64(name, ir.DataType.DOUBLE)


def evaluate64(model, inputs, *, new_ops=()):
    """Runs a model in float64.

    Args:
        model: The model, of any real type; it stays as it is.
        inputs: Arrays, in the order of the graph's inputs or by their names.
        new_ops: More OpRun classes, for operators of other domains.

    Returns:
        The outputs, in order.
    """
    double = as_double(model)
    for domain in {node.domain for node in double.graph}:
        double.opset_imports.setdefault(domain, 1)
    names = [v.name for v in double.graph.inputs if v.name not in double.graph.initializers]
    feeds = inputs if isinstance(inputs, dict) else dict(zip(names, inputs, strict=True))
    feeds = {k: v.astype(np.float64) if v.dtype.kind == "f" else v for k, v in feeds.items()}
    proto = ir.to_proto(double)
    floats = [
        (place, one.name, one.as_float())
        for place, node in enumerate(double.graph)
        for one in node.attributes.values()
        if one.type == ir.AttributeType.FLOAT
    ]
    key = hashlib.sha256(proto.SerializeToString(deterministic=True) + repr(floats).encode())
    for name, array in feeds.items():
        key.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
    if key.digest() not in _KNOWN:  # the same net stands before many a rewrite
        evaluator = ReferenceEvaluator(proto, new_ops=[*OPS, *new_ops])
        for place, name, value in floats:
            setattr(evaluator.rt_nodes_[place], name, value)
        _KNOWN[key.digest()] = evaluator.run(None, feeds)
    return [np.copy(output) for output in _KNOWN[key.digest()]]


def assert_equal64(before, after, shapes=None, *, rel=1e-12, batches=(1, 3), seed=11):
    """Asserts that two models compute the same in float64.

    Args:
        before: The model as it was; give it `as_double`, and rewrite a copy of that.
        after: The model that should equal it.
        shapes: The inputs' shapes, with None for the batch; by default what `before` says.
        rel: The largest difference, as a part of the output's largest value.
        batches: What the batch is bound to, where it is open.
        seed: Seed of the inputs.
    """
    shapes = [list(v.shape) for v in before.graph.inputs] if shapes is None else shapes
    assert [v.name for v in before.graph.inputs] == [v.name for v in after.graph.inputs]
    is_open = any(not isinstance(d, int) for shape in shapes for d in shape)
    rng = np.random.default_rng(seed)
    for batch in batches if is_open else (0,):
        feeds = [
            rng.normal(0.5, 2.0, [d if isinstance(d, int) else batch for d in shape])
            for shape in shapes
        ]
        wanted, got = evaluate64(before, feeds), evaluate64(after, feeds)
        maps = [value.name in maps_of(after) for value in after.graph.outputs]
        for want, made, is_map in zip(wanted, got, maps, strict=True):
            have = made.reshape(made.shape[:2]) if is_map else made
            assert have.shape == want.shape, f"batch {batch}: {have.shape} for {want.shape}"
            assert have.dtype == want.dtype
            assert np.isfinite(want).all()
            error = np.abs(have - want).max() / np.abs(want).max()
            assert error <= rel, f"batch {batch}: the relative error is {error:.3g}"
