"""Small residual networks with attention, written node by node and tagged as export tags them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CHANNELS = 32
SIZE = 28


class Writer:
    """Writes nodes, each named after its module; a value is its name."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.counts: dict[str, int] = {}

    def weight(self, *shape: int, scale: float = 0.2) -> str:
        return self.constant(self.rng.normal(0, scale, shape).astype(np.float32))

    def constant(self, array: np.ndarray) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def add(self, module: str, op_type: str, *inputs: str, **attributes: object) -> str:
        stem = f"{module}/{op_type}"
        count = self.counts[stem] = self.counts.get(stem, -1) + 1
        name = stem if not count else f"{stem}_{count}"
        self.nodes.append(helper.make_node(op_type, inputs, [f"{name}:0"], name=name, **attributes))
        return f"{name}:0"

    def conv(self, module: str, x: str, c_in: int, c_out: int, k: int = 3) -> str:
        w, b = self.weight(c_out, c_in, k, k), self.weight(c_out)
        return self.add(module, "Conv", x, w, b, pads=[k // 2] * 4)


def se(net: Writer, at: str, x: str) -> str:
    """SE: a mean, two layers, a gate."""
    squeezed = net.add(at, "GlobalAveragePool", x)
    hidden = net.add(f"{at}.act", "Relu", net.conv(f"{at}.fc1", squeezed, CHANNELS, 4, 1))
    excited = net.conv(f"{at}.fc2", hidden, 4, CHANNELS, 1)
    return net.add(at, "Mul", x, net.add(f"{at}.gate", "Sigmoid", excited))


def simam(net: Writer, at: str, x: str) -> str:
    """SimAM: no parameters, no multiply-accumulates, passes over the map only."""
    mean = net.add(at, "ReduceMean", x, axes=[2, 3], keepdims=1)
    distance = net.add(at, "Sub", x, mean)
    square = net.add(at, "Mul", distance, distance)
    variance = net.add(at, "ReduceMean", square, axes=[2, 3], keepdims=1)
    scaled = net.add(at, "Mul", variance, net.constant(np.array(4.0, np.float32)))
    energy = net.add(at, "Div", square, net.add(at, "Add", scaled, net.constant(np.float32(1e-4))))
    shifted = net.add(at, "Add", energy, net.constant(np.float32(0.5)))
    return net.add(at, "Mul", x, net.add(at, "Sigmoid", shifted))


GATES = {"none": lambda _net, _at, x: x, "se": se, "simam": simam}


def residual(
    path: Path,
    attention: str = "simam",
    *,
    blocks: int = 2,
    batch: int | str = 1,
    with_manifest: bool = True,
) -> Path:
    """Writes a stem and residual blocks, each with attention at its end.

    Args:
        path: The ONNX file.
        attention: none, se or simam.
        blocks: How many blocks.
        batch: The batch size, a name where it is open.
        with_manifest: Write the manifest beside it that names the sites.
    """
    net = Writer()
    x = net.add("act", "Relu", net.conv("stem", "input", 3, CHANNELS))
    for place in range(blocks):
        block = f"layer{place + 1}.0"
        y = net.conv(f"{block}.conv1", x, CHANNELS, CHANNELS)
        y = net.conv(f"{block}.conv2", net.add(f"{block}.act1", "Relu", y), CHANNELS, CHANNELS)
        y = GATES[attention](net, f"{block}.attention", y)
        x = net.add(f"{block}.act2", "Relu", net.add(block, "Add", y, x))
    pooled = net.add("pool", "GlobalAveragePool", x)
    flat = net.add("pool", "Flatten", pooled)
    net.nodes.append(
        helper.make_node(
            "Gemm", [flat, net.weight(10, CHANNELS), net.weight(10)], ["output"], name="fc/Gemm",
            transB=1,
        )
    )  # fmt: skip
    graph = helper.make_graph(
        net.nodes,
        "residual",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [batch, 10])],
        net.weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    if with_manifest:
        write_manifest(path, attention, blocks)
    return path


def write_manifest(path: Path, attention: str, blocks: int) -> None:
    """Writes what export would say of the sites."""
    sites = [
        {
            "path": f"layer{place + 1}.0.attention",
            "attention": attention,
            "shape": [CHANNELS, SIZE, SIZE],
            "params": 0 if attention == "simam" else 292,
        }
        for place in range(blocks if attention != "none" else 0)
    ]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    said = {"sites": sites, "params": 40_000, "sha256": {path.name: digest}}
    path.with_suffix(".json").write_text(json.dumps(said))
