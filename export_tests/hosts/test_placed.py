"""Where a log says that layers run: lines of logs that people published."""
# ruff: noqa: E501  # as they were printed

from __future__ import annotations

import pytest

from edgeattn.hosts.trtexec.placed import placed
from edgeattn.hosts.trtexec.said import log_of

# TensorRT 10.3 on an AGX Orin: ResNet-50.
RESNET = """\
[08/20/2026-10:00:00] [V] [TRT] Registering layer: /fc/Gemm for ONNX node: /fc/Gemm
[08/20/2026-10:00:00] [I] Finished parsing network model. Parse time: 0.2
[08/20/2026-10:00:01] [W] [TRT] /avgpool/GlobalAveragePool: DLA cores do not support AVG Reduce operation.
[08/20/2026-10:00:01] [W] [TRT] Layer '/avgpool/GlobalAveragePool' (REDUCE): Unsupported on DLA. Switching this layer's device type to GPU.
[08/20/2026-10:00:01] [W] [TRT] Layer '/Flatten' (SHUFFLE): Unsupported on DLA. Switching this layer's device type to GPU.
[08/20/2026-10:00:02] [V] [TRT] ---------- Layers Running on DLA ----------
[08/20/2026-10:00:02] [V] [TRT] [DlaLayer] {ForeignNode[/conv1/Conv.../layer4/layer4.2/relu_2/Relu]}
[08/20/2026-10:00:02] [V] [TRT] [DlaLayer] {ForeignNode[/fc/Gemm + (Unnamed Layer* 125) [ElementWise]]}
[08/20/2026-10:00:02] [V] [TRT] ---------- Layers Running on GPU ----------
[08/20/2026-10:00:02] [V] [TRT] [GpuLayer] REDUCE: /avgpool/GlobalAveragePool
[08/20/2026-10:00:02] [V] [TRT] [GpuLayer] SHUFFLE: reshape_after_/fc/Gemm
[08/20/2026-10:00:09] [V] [TRT] {ForeignNode[/conv1/Conv.../layer4/layer4.2/relu_2/Relu]} successfully offloaded to DLA.
"""
RESNET_NODES = [
    "/conv1/Conv", "/relu/Relu", "/layer4/layer4.2/relu_2/Relu", "/avgpool/GlobalAveragePool",
    "/Flatten", "/fc/Gemm",
]  # fmt: skip

# TensorRT 8.5 on an AGX Orin: YOLO11, where the compiler of loadables refuses what the builder took.
YOLO = """\
[12/04/2024-11:57:45] [V] [TRT] Registering layer: /model.23/Split_25 for ONNX node: /model.23/Split
[12/04/2024-11:57:45] [W] [TRT] /model.23/Split_25: DLA only supports slicing 4 dimensional tensors.
[12/04/2024-11:57:45] [W] [TRT] Layer '/model.23/Split_25' (SLICE): Unsupported on DLA. Switching this layer's device type to GPU.
[12/04/2024-11:57:45] [W] [TRT] Layer '(Unnamed Layer* 388) [Shuffle]' (SHUFFLE): Unsupported on DLA. Switching this layer's device type to GPU.
[12/04/2024-11:57:45] [W] [TRT] This version of DLA does not support reshape layers directly connected to Slice or Concat
[12/04/2024-11:57:45] [W] [TRT] Validation failed for DLA layer: /model.10/m/m.0/attn/Reshape. Switching to GPU fallback.
[12/04/2024-11:57:45] [W] [TRT] Splitting DLA subgraph at: /model.10/m/m.0/attn/Reshape because DLA validation failed for this layer.
[12/04/2024-11:57:45] [W] [TRT] DLA supports only 16 subgraphs per DLA core. Switching to GPU for layer /model.4/Add
"""

# TensorRT 8.0 on a Xavier, and 8.2 with Myelin's regions.
OLDER = """\
[W] [TRT] DLA Layer /a/Conv does not support dynamic shapes in any dimension.
[W] [TRT] Default DLA is enabled but layer /a/Conv is not supported on DLA, falling back to GPU.
[W] [TRT] DLA only supports FP16 and Int8 precision type. Switching /b/Gather device type to GPU.
[I] [TRT] ---------- Layers Running on DLA ----------
[I] [TRT] [DlaLayer] {ForeignNode[/f/Relu]}
[I] [TRT] ---------- Layers Running on GPU ----------
[I] [TRT] [GpuLayer] /a/Conv
[I] [TRT] [GpuLayer] PWN(PWN(/b/Sigmoid), /b/Mul)
[I] [TRT] [GpuLayer] {ForeignNode[/c/Softmax.../e/MatMul]}
"""


def test_a_resnet() -> None:
    found = placed(log_of(RESNET))
    assert found.dla == (("/conv1/Conv", "/layer4/layer4.2/relu_2/Relu"), ("/fc/Gemm",))
    assert found.on_dla(RESNET_NODES) == {
        name: name not in ("/avgpool/GlobalAveragePool", "/Flatten") for name in RESNET_NODES
    }
    why = found.reasons["/avgpool/GlobalAveragePool"]
    assert why == "DLA cores do not support AVG Reduce operation"
    assert "SHUFFLE" in found.reasons["/Flatten"]


def test_reasons_of_the_compiler_and_of_layers_with_a_number() -> None:
    found = placed(log_of(YOLO))
    assert found.reasons == {
        "/model.23/Split": "DLA only supports slicing 4 dimensional tensors",
        "/model.10/m/m.0/attn/Reshape": "This version of DLA does not support reshape layers"
        " directly connected to Slice or Concat",
        "/model.4/Add": "DLA supports only 16 subgraphs per DLA core",
    }
    # Without the list, nothing is said of the others.
    nodes = ["/model.23/Split", "/model.4/Add", "/model.0/Conv"]
    assert found.on_dla(nodes) == {"/model.23/Split": False, "/model.4/Add": False}


def test_what_lies_in_a_region_of_the_gpu_is_not_known() -> None:
    found = placed(log_of(OLDER))
    nodes = [
        "/a/Conv", "/b/Gather", "/b/Sigmoid", "/b/Mul", "/c/Softmax", "/d/Add", "/e/MatMul",
        "/f/Relu", "/g/Conv",
    ]  # fmt: skip
    expected = dict.fromkeys(["/f/Relu", "/g/Conv"], True)
    expected |= dict.fromkeys([*nodes[:5], "/e/MatMul"], False)
    assert found.on_dla(nodes) == expected
    assert found.reasons == {
        "/a/Conv": "does not support dynamic shapes in any dimension",
        "/b/Gather": "DLA only supports FP16 and Int8 precision type",
    }
    # One of its ends is no node of the file: anything may lie in it.
    assert "/g/Conv" not in found.on_dla([name for name in nodes if name != "/e/MatMul"])


@pytest.mark.parametrize("text", ["", "[I] Finish parsing network model\n", "\x00[DlaLayer]"])
def test_a_log_that_says_nothing(text: str) -> None:
    found = placed(log_of(text))
    assert found.on_dla(["a"]) == {}
    assert not found.is_listed


def test_the_parser_that_reports() -> None:
    said = "[E] [TRT] In node 3 with name: /a/Pow and operator: Pow (checkDLASupport):"
    found = placed(log_of(f"{said} UNSUPPORTED_NODE: DLA validation failed for layer: /a/Pow\n"))
    assert list(found.reasons) == ["/a/Pow"]
