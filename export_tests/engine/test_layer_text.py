"""Logs of TensorRT 7 to 10: both lists of layers, whole, or refused with the line."""

from __future__ import annotations

import re

import pytest

from edgeattn.base.errors import InputError
from edgeattn.engine.layers import read

COPY = "Reformatting CopyNode for Input Tensor 0 to stem/Conv + PWN(stem/Clip)"
REGION = "{ForeignNode[(Unnamed Layer* 13) [Shuffle]...head/Softmax]}"
BRIEF = f"""[12/04/2021-06:34:10] [V] [TRT] Tactic: 0x03ea Time: 0.01
[12/04/2021-06:34:17] [V] [TRT] Engine Layer Information:
Layer(Reformat): {COPY}, Tactic: 0x0000000000000000, x[Float(1,3,8,8)] -> Reformatted x[Int8(1,3,8,8)]
Layer(CaskConvolution): stem/Conv + PWN(stem/Clip), Tactic: -1838109259, Reformatted x[Int8(1,3,8,8)] -> 395[Half(1,4,8,8)]
Layer(NoOp): a, Tactic: 0, 395[Half(1,4,8,8)] -> squeezed, really[Half(1,4,64)]
Layer(Constant): b + (Unnamed Layer* 1) [Shuffle], Tactic: 0,  -> (Unnamed Layer* 1) [Shuffle]_output[Float(1,1,256)]
Layer(Myelin): {REGION}, Tactic: 0, squeezed, really[Half(1,4,64)], (Unnamed Layer* 1) [Shuffle]_output[Float(1,1,256)] -> y[Float(1,10)], z[Int32()]
[12/04/2021-06:34:18] [V] [TRT] Total Activation Memory: 24064
"""  # noqa: E501  # a log's own lines
PYTHON = "".join(
    f"[TensorRT] VERBOSE: {line}\n" if line.startswith("Layer(") else f"{line}\n"
    for line in BRIEF.splitlines()
).replace("[12/04/2021-06:34:17] [V] [TRT]", "[TensorRT] VERBOSE:")
LATER = re.sub(r"\[(Float|Half|Int8|Int32)\(([\d,]*)\)\]", r" (\1[\2])", BRIEF)

DETAILED = """[07/10/2024-10:00:00] [I] Layers:
Name: stem/Conv + stem/Relu, LayerType: CaskConvolution, Inputs: [ { Name: x, Location: Device, Dimensions: [6,3,8,8], Format/Datatype: Channel major FP16 format where channel % 4 == 0 }], Outputs: [ { Name: r, Location: Device, Dimensions: [6,4,8,8], Format/Datatype: Row major linear FP32 }], ParameterType: Convolution, Kernel: [3,3], PaddingMode: kEXPLICIT_ROUND_DOWN, Weights: {"Type": "Half", "Count": 108}, Bias: {"Type": "Float", "Count": 4}, HasBias: 1, Activation: RELU, TacticName: sm80_xmma_fprop, TacticValue: 0xa9a06d06, StreamId: 1, Metadata: [ONNX Layer: stem/Conv]\x1e[ONNX Layer: stem/Relu]
Name: head/MaxPool, LayerType: CaskPooling, Inputs: [ { Name: r, Location: Device, Dimensions: [6,4,8,8], Format/Datatype: Row major linear FP32 }], Outputs: [ { Name: y, Location: Device, Dimensions: [6,4,4,4], Format/Datatype: Row major linear FP32 }], ParameterType: Pooling, TacticName: sm50_xmma_pooling, TacticValue: 0x01, StreamId: 0, Metadata:

Bindings:
x
y
[07/10/2024-10:00:00] [I] Starting inference
"""  # noqa: E501  # a log's own lines


def parsed(tmp_path, text):
    path = tmp_path / "build.log"
    path.write_text(text, encoding="utf-8")
    return read(path)


@pytest.mark.parametrize("text", [BRIEF, PYTHON, LATER], ids=["8", "7", "later"])
def test_what_every_build_says(tmp_path, text):
    found = parsed(tmp_path, text)
    assert [(kernel.kind, kernel.nodes) for kernel in found.kernels] == [
        ("Reformat", ()),
        ("CaskConvolution", ("stem/Conv", "stem/Clip")),
        ("Constant", ("b",)),
        ("Myelin", ("head/Softmax",)),
    ]
    region = found.kernels[-1]
    assert [one.name for one in region.inputs] == [
        "squeezed, really", "(Unnamed Layer* 1) [Shuffle]_output"
    ]  # fmt: skip
    assert [(one.name, one.shape, one.dtype) for one in region.outputs] == [
        ("y", (1, 10), "fp32"),
        ("z", (), "int32"),
    ]
    assert found.kernels[1].traffic_bytes == 192 + 2 * 256
    assert [(one.name, one.is_input) for one in found.bindings] == [
        ("x", True), ("y", False), ("z", False)
    ]  # fmt: skip


def test_open_sizes(tmp_path):
    line = "Layer(Shuffle): a, Tactic: 0, x[Float(-8,256,-10)] -> y[Float(-8,2)]"
    text = f"[V] Engine Layer Information:\n{line}\n"
    (kernel,) = parsed(tmp_path, text).kernels
    assert [one.shape for one in kernel.activations] == [(-1, 256, -1), (-1, 2)]


def test_what_is_listed_in_detail(tmp_path):
    found = parsed(tmp_path, BRIEF + DETAILED)
    first, last = found.kernels
    assert first.nodes == ("stem/Conv", "stem/Relu")
    assert (first.tactic, first.stream) == ("sm80_xmma_fprop", 1)
    assert [(one.name, one.shape, one.dtype) for one in first.constants] == [
        ("Weights", (108,), "fp16"),
        ("Bias", (4,), "fp32"),
    ]
    assert first.inputs[0].dtype == "fp16"
    assert (last.name, last.nodes) == ("head/MaxPool", ())
    assert [one.name for one in found.bindings] == ["x", "y"]


@pytest.mark.parametrize(
    ("text", "said"),
    [(BRIEF + BRIEF, "of 2 engines"), (DETAILED + DETAILED, "of 2 engines"),
     ("Engine Layer Information:\nLayer(Conv): a, Tactic: 1", "Layer(Conv): a, Tactic: 1"),
     (BRIEF.replace("[Half(1,4,8,8)]", "[Odd(1,4,8,8)]"), "cannot be read"),
     (DETAILED.replace(", Outputs: ", ", Outs: "), "cannot be read"),
     ("[V] Engine Layer Information:\n[V] Total", "lists no layer")],
)  # fmt: skip
def test_what_cannot_be_read_is_told(tmp_path, text, said):
    with pytest.raises(InputError, match=re.escape(said)):
        parsed(tmp_path, text)
