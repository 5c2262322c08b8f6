"""Layer information: read whole, or refused with the line; never dropped."""

from __future__ import annotations

import pytest

from edgeattn.base.errors import InputError
from edgeattn.engine import layer_log
from edgeattn.records.layers import traffic_bytes

END = (
    "\n\nI/O Tensors:\n Name: x, IOMode: Input, DataType: Float, Dimensions: [1,4,8,8], Location:"
    " Device, IsShapeInferenceIO: false, ProfileInfo: [ { MinShape: [1,4,8,8], OptShape: [1,4,8,8],"
    " MaxShape: [1,4,8,8], Format: Row major linear FP32 format (kLINEAR) }]\n\n"
    "Engine Metadata:\n Multi-Device: Disabled"
)


def read_log(text):
    return layer_log.read_log(text).kernels


def tensor(name, shape="1,4,8,8", dtype="Float"):
    return (
        f"{{ Name: {name}, Dimensions: [{shape}], Strides: [256,64,8,1], StrideOrder: [3,2,1,0],"
        f" Datatype: {dtype}, Format: (Linear) Row major linear format }}"
    )


def listed(tensors):
    return f" {', '.join(tensors)}" if tensors else ""


def line(name, *, kind="kgen", inputs=(), constants=(), outputs=(), more="", metadata=""):
    return (
        f"Name: {name}, LayerType: {kind}, Inputs: [{listed(inputs)}], Constants:"
        f" [{listed(constants)}], Outputs: [{listed(outputs)}], TacticName: __myl_0x1,"
        f" StreamId: 0{more}, Metadata: {metadata}"
    )


def message(*lines):
    return "\n".join(["Layers:", *lines]) + END


def metadata(*nodes, between="\x1f"):
    return between.join(f"[ONNX Layer: {node}]" for node in nodes)


def test_a_kernel():
    text = line(
        "conv1/Conv_myl0_1",
        kind="correlation",
        inputs=[tensor("x", "1,3,8,8", "Half")],
        constants=[tensor("w", "4,3,3,3", "Half"), tensor("b", "4")],
        outputs=[tensor("y", "1,4,8,8", "Half")],
        metadata=metadata("conv1/Conv", "act1/Relu"),
    )
    (kernel,) = read_log(message(text))
    assert (kernel.name, kernel.kind) == ("conv1/Conv_myl0_1", "correlation")
    assert (kernel.tactic, kernel.stream) == ("__myl_0x1", 0)
    assert kernel.nodes == ("conv1/Conv", "act1/Relu")
    assert [one.shape for one in kernel.constants] == [(4, 3, 3, 3), (4,)]
    assert kernel.inputs[0].strides == (256, 64, 8, 1)
    assert kernel.outputs[0].layout == "(Linear) Row major linear format"
    assert kernel.traffic_bytes == 2 * 192 + 2 * 108 + 16 + 2 * 256


def test_every_kernel_counts_and_synchronisation_does_not():
    kernels = read_log(
        message(
            line("a", inputs=[tensor("x")], outputs=[tensor("y")]),
            line("s", kind="signal", more=", EventId: 1"),
            line("w", kind="wait", more=", EventId: 1"),
            line("b", inputs=[tensor("y")], outputs=[tensor("z", "")]),
        )
    )
    assert [kernel.name for kernel in kernels] == ["a", "b"]
    assert traffic_bytes(kernels) == 3 * 1024 + 4


def test_bits_that_fill_no_byte_are_rounded_up():
    (kernel,) = read_log(message(line("a", inputs=[tensor("x", "3", "FP4")])))
    assert kernel.traffic_bytes == 2


ODD = [
    "/layer1/layer1.0/conv1/Conv",
    "model.10.attn, part [2]",
    "a b\tc",
    "x }, { Name: y",
    "], Constants: [",
    "], Outputs: [ {",
    "}",
    "w, Dimensions: [3], z",
    "two\nlines",
    "a\x1eb",
    "x, LayerType: kgen",
    "größe",
]


@pytest.mark.parametrize("name", ODD)
def test_odd_names_of_tensors(name):
    text = line(
        "k",
        inputs=[tensor(name), tensor("b")],
        constants=[tensor(name, "7")],
        outputs=[tensor(name)],
        metadata=metadata("m/n"),
    )
    (kernel,) = read_log(message(text))
    assert [one.name for one in kernel.inputs] == [name, "b"]
    assert [one.name for one in kernel.constants] == [name]
    assert [one.name for one in kernel.outputs] == [name]
    assert kernel.traffic_bytes == 3 * 1024 + 28


@pytest.mark.parametrize("between", ["\x1f", "\x1e"])
@pytest.mark.parametrize("name", [*ODD, "b][ONNX Layer: c", "a]", "[d]", "", "Metadata: x"])
def test_odd_names_of_nodes(name, between):
    text = line("k", inputs=[tensor("x")], metadata=metadata("a/b", name, "c", between=between))
    (kernel,) = read_log(message(text))
    assert kernel.nodes == ("a/b", name, "c")


@pytest.mark.parametrize("name", [one for one in ODD if "LayerType" not in one])
def test_odd_names_of_kernels(name):
    (first, second) = read_log(message(line(name, inputs=[tensor("x")]), line("b")))
    assert (first.name, second.name) == (name, "b")
    assert first.traffic_bytes == 1024


GOOD = line("k", inputs=[tensor("x")], outputs=[tensor("y")], metadata=metadata("a"))


@pytest.mark.parametrize(
    "bad",
    [
        GOOD.replace("Datatype: Float", "Datatype: Float128"),
        GOOD.replace("Dimensions: [1,4,8,8]", "Dimensions: [1,4,N,8]"),
        GOOD.replace(", Format: (Linear) Row major linear format", ""),
        GOOD.replace("TacticName: ", ""),
        GOOD.replace("[ONNX Layer: a]", "[Layer: a]"),
        GOOD.replace("[ONNX Layer: a]", "[ONNX Layer: a"),
        GOOD.replace("LayerType: kgen", "Kind: kgen"),
        GOOD[:200],
        "Name: k",
        "k",
    ],
)
def test_a_line_that_cannot_be_read_is_told(bad):
    with pytest.raises(InputError) as caught:
        read_log(message(GOOD, bad))
    assert bad in caught.value.fact


def test_an_open_dimension_is_kept_and_has_no_bytes():
    (kernel,) = read_log(message(line("k", inputs=[tensor("x", "-1,4,8,8")])))
    assert kernel.inputs[0].shape == (-1, 4, 8, 8)
    with pytest.raises(InputError, match=r"x has open dimensions: \[-1, 4, 8, 8\]"):
        _ = kernel.traffic_bytes


@pytest.mark.parametrize(
    "jump",
    [
        line("k", kind="cjmp", more=", JumpTargetThen: a, JumpTargetElse: b"),
        line("k", kind="jmp", more=", JumpTarget: <EXIT>"),
    ],
)
def test_a_branch_is_told(jump):
    with pytest.raises(InputError, match="branches") as caught:
        read_log(message(GOOD, jump))
    assert jump in caught.value.fact


@pytest.mark.parametrize("text", ["", "Layers:", f"Layers:{END}", "conv1\nconv2"])
def test_a_message_without_layers_is_told(text):
    with pytest.raises(InputError, match="no layer information"):
        read_log(text)
