"""ONNX files as others write them: no module tags, old opsets, functions, weights elsewhere."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def value(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def weights(dtype=np.float32):
    """Weights of `net`, different in every channel."""
    generator = np.random.default_rng(0)
    found = {
        "w1": generator.normal(0, 0.3, (8, 3, 3, 3)),
        "b1": generator.normal(0, 1, 8),
        "w2": generator.normal(0, 0.3, (2, 8, 1, 1)),
        "w3": generator.normal(0, 0.8, (8, 2, 1, 1)),
        "b3": generator.normal(0, 1, 8),
    }
    return {name: array.astype(dtype) for name, array in found.items()}


def old_end():
    """Operators that said something else before opset 10: bounds, positions, a matrix's softmax."""
    return [
        helper.make_node("Clip", ["a"], ["k"], min=-0.5, max=1.5),
        helper.make_node("Upsample", ["k"], ["u"], scales=[1.0, 1.0, 2.0, 2.0]),
        helper.make_node("Slice", ["u"], ["v"], starts=[0, 0], ends=[-1, 1 << 30], axes=[2, 3]),
        helper.make_node("Pad", ["v"], ["p"], pads=[0, 0, 1, 0, 0, 0, 0, 0], value=0.25),
        helper.make_node("MaxPool", ["p"], ["q"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Dropout", ["q"], ["d", "mask"]),
        helper.make_node("Softmax", ["d"], ["y"]),
    ]


def net(
    path,
    *,
    opset=17,
    shape=(1, 3, 12, 12),
    dtype=np.float32,
    extra=(),
    functions=(),
    domains=(),
    named=True,
    external=None,
    meta=None,
):
    """Writes a convolution with a squeeze and an excitation, as if by a stranger's hand."""
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c"], pads=[1] * 4),
        helper.make_node("ReduceMean", ["c"], ["m"], axes=[2, 3], keepdims=1)
        if opset < 18
        else helper.make_node("ReduceMean", ["c", "axes"], ["m"], keepdims=1),
        helper.make_node("Conv", ["m", "w2"], ["s"]),
        helper.make_node("Relu", ["s"], ["r"]),
        helper.make_node("Conv", ["r", "w3", "b3"], ["e"]),
        helper.make_node("Sigmoid", ["e"], ["g"]),
        helper.make_node("Mul", ["c", "g"], ["a"]),
        *(extra or [helper.make_node("Relu", ["a"], ["y"])]),
    ]
    for index, node in enumerate(nodes if named else ()):
        node.name = f"{node.op_type}_{index}"
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    tensors = [numpy_helper.from_array(array, name) for name, array in weights(dtype).items()]
    if opset >= 18:
        tensors.append(numpy_helper.from_array(np.array([2, 3]), "axes"))
    out = value("y", [shape[0], 8, *shape[2:]], kind)
    graph = helper.make_graph(nodes, "stranger", [value("x", shape, kind)], [out], tensors)
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    model = helper.make_model(
        graph, opset_imports=opsets, functions=list(functions), ir_version=8,
        producer_name="stranger",
    )  # fmt: skip
    helper.set_model_props(model, meta or {})
    where = {"save_as_external_data": True, "location": external, "size_threshold": 0}
    onnx.save(model, path, **(where if external else {}))
    return path
