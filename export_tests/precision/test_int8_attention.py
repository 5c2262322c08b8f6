"""A ResNet-18 with attention, lowered for TensorRT: the backbone's layers become int8 kernels."""

from __future__ import annotations

import numpy as np
import pytest

from edgeattn.engine.plan import plan
from edgeattn.graph.names import module_of
from edgeattn.options.export import ExportOptions
from edgeattn.options.model import AttentionRequest, ModelRequest
from edgeattn.parity.metrics import measure, tolerance_of
from edgeattn.precision.calibration import read_samples
from edgeattn.precision.int8 import quantise
from edgeattn.runtimes.onnxruntime import Session
from edgeattn.workflows.export import export

pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx has wheels for x86-64 only")

#: Of each attention, the layers that are maps' and not gates'.
LAYERS = {"cbam": set(), "nonlocal": {"g", "out"}}


@pytest.mark.parametrize("attention", ["cbam", pytest.param("nonlocal", marks=pytest.mark.slow)])
def test_backbones_are_int8_and_gates_are_not(tmp_path, attention):
    source, target = tmp_path / "fp32.onnx", tmp_path / "int8.onnx"
    request = ModelRequest(
        source="resnet18",
        attentions=(AttentionRequest(name=attention),),
        shapes=((1, 3, 64, 64),),
    )
    manifest = export(request, ExportOptions(simplify=False), source)
    samples = read_samples("random", manifest.inputs, limit=4, seed=0)
    result = quantise(source, target, samples)
    layers = [name for name in result.quantised if "/Add" not in name]
    backbone = {name for name in layers if "attention" not in name}
    assert len(backbone) == 21
    assert {module_of(name).rpartition(".")[2] for name in set(layers) - backbone} == LAYERS[
        attention
    ]
    assert all("attention" in name for name, _ in result.left)
    made = {
        node
        for kernel in plan(target)
        if kernel.kind in {"correlation", "gemm"}
        and any(tensor.dtype == "int8" for tensor in kernel.inputs)
        for node in kernel.nodes
    }
    assert set(layers) <= made
    fresh = list(read_samples("random", manifest.inputs, limit=4, seed=1))
    before, after = (
        np.concatenate([Session(path).run([feed["input"]])[0] for feed in fresh])
        for path in (source, target)
    )
    figures = measure("output", before, after, tolerance_of("fp16"))
    assert figures.sqnr_db is not None
    assert figures.sqnr_db > 20
