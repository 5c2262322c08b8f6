"""Small ONNX files, a line for each node: `name: Op(inputs; attributes) -> output`."""

from __future__ import annotations

import re

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LINE = re.compile(
    r"(?P<name>\S+): (?P<op>\w+)\((?P<inputs>[^;)]*)(; (?P<rest>.*))?\) -> (?P<out>.+)"
)
#: Constants that any net may name.
CONSTANTS = {
    "hw": np.array([2, 3]),
    "ch": np.array([1]),
    "half": np.array(0.5, np.float32),
    "three": np.array(3, np.float32),
    "flat": np.array([0, -1]),
    "twice": np.array([1, 1, 2, 2], np.float32),
}


def write(path, lines, *, shape=(1, 4, 8, 8), weights=None, opset=18, outputs=("y",), seed=0):
    """Writes a net with the input x.

    Weights are the names `w` and what follows, drawn at random; `w:8,4,3,3` gives the shape.
    """
    generator = np.random.default_rng(seed)
    tensors = dict(weights or {})
    nodes = []
    for line in filter(str.strip, lines.splitlines()):
        found = LINE.fullmatch(line.strip())
        assert found, line
        inputs = []
        for name in filter(None, found["inputs"].split()):
            if ":" in name:
                sizes = [int(size) for size in name.split(":")[1].split(",")]
                drawn = generator.standard_normal(sizes) / np.sqrt(np.prod(sizes[1:]))
                drawn *= np.exp(generator.uniform(-2, 0, (sizes[0], *[1] * (len(sizes) - 1))))
                tensors[name] = drawn.astype(np.float32)
            elif name in CONSTANTS:
                tensors[name] = CONSTANTS[name]
            inputs.append("" if name == "-" else name)
        attributes = eval(f"dict({found['rest'] or ''})")
        nodes.append(
            helper.make_node(
                found["op"], inputs, found["out"].split(), name=found["name"], **attributes
            )
        )
    kinds = {"x": helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)}
    graph = helper.make_graph(
        nodes,
        "net",
        list(kinds.values()),
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    onnx.checker.check_model(inferred, full_check=True)
    del inferred.graph.value_info[:]
    onnx.save(inferred, path)
    return path
