"""Classifiers of plain colours, and images for them, of which it is known what comes out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

#: Of each colour the row that is largest for it: blue, green, red.
RIGHT = np.eye(3)[::-1]
COLOURS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}


def classifier(
    path: Path, rows=RIGHT, *, batch="n", size=(8, 8), dtype="float32", last=False
) -> Path:
    """Write a file that gives, for each class, the mean colour times its row."""
    kind = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8}[dtype]
    weight = np.array(rows, np.float32)
    shape = [batch, *size, 3] if last else [batch, 3, *size]
    axes = [1, 2] if last else [2, 3]
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["colour"], axes=axes, keepdims=0),
        helper.make_node("Gemm", ["colour", "weight"], ["scores"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("image", kind, shape)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, len(weight)])],
        [numpy_helper.from_array(weight, "weight")],
    )
    opsets = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def colours(folder: Path, count: int = 4, names=None) -> Path:
    """Write images of plain colours, a folder for each."""
    for name, value in (names or COLOURS).items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for k in range(count):
            Image.new("RGB", (10 + k, 12), value).save(folder / name / f"{k:04}.png")
    return folder
