"""Small ONNX files to build, with weights drawn at random."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def small(
    path: Path, *, batch: int | str = 1, dtype: int = FLOAT, extra: str = "", size: int | str = 16
) -> Path:
    """Writes a convolution, a gate on its mean, and a second convolution.

    Args:
        path: The file.
        batch: The batch size, a name where it is open.
        dtype: FLOAT or HALF, of all but the input and output, which are float32.
        extra: An operator of its own domain to end with, which no runtime knows.
        size: Height and width.
    """
    generator = np.random.default_rng(7)
    numbers = np.float32 if dtype == FLOAT else np.float16
    weights = {
        "stem.weight": generator.normal(0, 0.3, (16, 3, 3, 3)),
        "stem.bias": generator.normal(0, 1, 16),
        "head.weight": generator.normal(0, 0.2, (8, 16, 1, 1)),
    }
    nodes = [
        helper.make_node(
            "Conv",
            ["c", "stem.weight", "stem.bias"],
            ["stem"],
            name="stem/Conv",
            pads=[1] * 4,
        ),
        helper.make_node("GlobalAveragePool", ["stem"], ["mean"], name="gate/GlobalAveragePool"),
        helper.make_node("Sigmoid", ["mean"], ["gate"], name="gate/Sigmoid"),
        helper.make_node("Mul", ["stem", "gate"], ["gated"], name="gate/Mul"),
        helper.make_node("Conv", ["gated", "head.weight"], ["h"], name="head/Conv"),
    ]
    if dtype == HALF:
        nodes.insert(0, helper.make_node("Cast", ["x"], ["c"], name="/Cast", to=HALF))
        nodes.append(helper.make_node("Cast", ["h"], ["y"], name="/Cast_1", to=FLOAT))
    else:
        nodes[0].input[0] = "x"
        nodes[-1].output[0] = "y"
    domains = [helper.make_opsetid("", 17)]
    if extra:
        nodes[-1].output[0] = "before"
        nodes.append(helper.make_node(extra, ["before"], ["y"], name=f"last/{extra}", domain="my"))
        domains.append(helper.make_opsetid("my", 1))
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", FLOAT, [batch, 3, size, size])],
        [helper.make_tensor_value_info("y", FLOAT, [batch, 8, size, size])],
        [numpy_helper.from_array(v.astype(numbers), name) for name, v in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=domains, ir_version=8), path)
    return path
