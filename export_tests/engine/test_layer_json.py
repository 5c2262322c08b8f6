"""Layer information as JSON: real files of TensorRT 8, the forms of 10 and 11, and bad ones."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from edgeattn.base.errors import InputError
from edgeattn.engine.layer_json import read_json
from edgeattn.engine.layer_names import metadata_nodes, name_nodes
from edgeattn.engine.layers import read
from edgeattn.records.layers import LayerInformation

FILES = Path(__file__).parent / "files"
BYTES = {"FP32": 4, "FP16": 2, "Int8": 1, "Float": 4, "Half": 2}


def real(tmp_path, name):
    path = tmp_path / "layers.json"
    path.write_bytes(gzip.decompress((FILES / f"{name}.layers.json.gz").read_bytes()))
    return path


def elements(sizes):
    product = 1
    for size in sizes:
        product *= size
    return product


@pytest.mark.parametrize(
    ("name", "layers", "precisions"),
    [
        ("a100-80g-pcie_resnet18_b32_fp16", 25, {"fp16"}),
        ("a100-80g-pcie_resnet18_b32_tf32", 24, {"fp32"}),
        ("rtx3090_resnet50_b32_fp16", 61, {"fp16", "fp32"}),
        ("titan-rtx_mobilenetv2-residuals_b1_int8", 57, {"int8", "fp16"}),
    ],
)
def test_real_files(tmp_path, name, layers, precisions):
    path = real(tmp_path, name)
    information = read(path)
    assert len(information.kernels) == layers
    assert {kernel.precision for kernel in information.kernels} == precisions
    assert [binding.is_input for binding in information.bindings] == [True, False]
    assert all(binding.dtype == "fp32" for binding in information.bindings)
    # Another way: each mention of a tensor or of weights in the text of the layers that run.
    total = 0
    for layer in json.loads(path.read_text())["Layers"]:
        if layer["LayerType"] == "NoOp":
            continue
        for one in layer["Inputs"] + layer["Outputs"]:
            dtype = re.search("FP32|FP16|Int8", one["Format/Datatype"])[0]
            total += elements(one["Dimensions"]) * BYTES[dtype]
        for what in ("Weights", "Bias"):
            weights = layer.get(what, {"Type": "Float", "Count": 0})
            total += weights["Count"] * BYTES.get(weights["Type"], 1)
    assert information.traffic_bytes == total


def test_a_real_layer(tmp_path):
    information = read(real(tmp_path, "titan-rtx_mobilenetv2-residuals_b1_int8"))
    kernel = information.kernels[1]
    assert (kernel.kind, kernel.precision) == ("CaskConvolution", "int8")
    assert kernel.nodes == ("features.0.0.weight", "QuantizeLinear_7", "Conv_9", "Clip_13")
    assert [(one.name, one.dtype) for one in kernel.constants] == [
        ("Weights", "int8"),
        ("Bias", "fp32"),
    ]
    assert kernel.inputs[0].layout.startswith("Four wide channel vectorized")


def layer(name="conv_myl0_1", **other):
    # The form of TensorRT 10: one string for type and layout, a name of the type alone for Myelin.
    return {
        "Name": name,
        "LayerType": "kgen",
        "Inputs": [{"Name": "x", "Dimensions": [1, 4, 8, 8], "Format/Datatype": "Half"}],
        "Outputs": [{"Name": "y", "Dimensions": [1, 4, 8, 8], "Format/Datatype": "Half"}],
        "TacticName": "__myl_Mul_0x1",
        "StreamId": 2,
        "Metadata": "[ONNX Layer: a/Mul]\x1e[ONNX Layer: b/Add]",
        **other,
    }


def document(*layers, **other):
    return json.dumps({"Layers": list(layers), "Bindings": ["x", "y"], **other})


def test_tensorrt_10():
    information = read_json(document(layer(), layer("s", LayerType="signal")))
    (kernel,) = information.kernels
    assert (kernel.stream, kernel.tactic, kernel.precision) == (2, "__myl_Mul_0x1", "fp16")
    assert kernel.nodes == ("a/Mul", "b/Add")
    assert kernel.traffic_bytes == 2 * 2 * 256
    assert [(b.name, b.is_input, b.shape) for b in information.bindings] == [
        ("x", True, (1, 4, 8, 8)),
        ("y", False, (1, 4, 8, 8)),
    ]


def test_tensorrt_11():
    def tensor(name):
        return {
            "Name": name,
            "Dimensions": [-1, 4, 8, 8],
            "Strides": [256, 64, 8, 1],
            "StrideOrder": [3, 2, 1, 0],
            "Datatype": "BFloat16",
            "Format": "(Linear) Row major linear format",
        }

    weights = {**tensor("w"), "Dimensions": [4, 4]}
    binding = {
        "Name": "x",
        "IOMode": "Input",
        "DataType": "Float",
        "Dimensions": [-1, 4, 8, 8],
        "Location": "Device",
        "IsShapeInferenceIO": False,
        "ProfileInfo": [
            {
                "MinShape": [1, 4, 8, 8],
                "OptShape": [2, 4, 8, 8],
                "MaxShape": [4, 4, 8, 8],
                "Format": "Row major linear FP32 format (kLINEAR)",
            }
        ],
    }
    text = json.dumps(
        {
            "Layers": [layer(Inputs=[tensor("x")], Constants=[weights], Outputs=[tensor("y")])],
            "I/O Tensors": [
                binding,
                {**binding, "Name": "y", "IOMode": "Output", "ProfileInfo": [{}]},
            ],
        }
    )
    information = read_json(text)
    (kernel,) = information.kernels
    assert kernel.inputs[0].strides == (256, 64, 8, 1)
    assert (kernel.inputs[0].dtype, kernel.weights_bytes) == ("bf16", 32)
    assert information.is_open
    x, y = information.bindings
    assert x.profiles == (((1, 4, 8, 8), (2, 4, 8, 8), (4, 4, 8, 8)),)
    assert (y.is_input, y.profiles) == (False, ())


def test_a_type_that_another_layer_says():
    unsaid = {
        "Name": "x",
        "Dimensions": [1, 4, 8, 8],
        "Format/Datatype": "N/A due to dynamic shapes",
    }
    copied = layer("copy", Inputs=[unsaid], Outputs=[{**unsaid, "Name": "z"}])
    first, second = read_json(document(copied, layer())).kernels
    assert first.inputs[0].dtype == "fp16"
    assert second.traffic_bytes == 1024
    with pytest.raises(InputError, match="what type tensor z has"):
        _ = first.traffic_bytes


def test_layers_of_another_profile():
    def suffixed(name):
        one = {"Dimensions": [2, 4, 8, 8], "Format/Datatype": "Half"}
        return layer(
            name,
            Inputs=[{"Name": "x [profile 1]", **one}],
            Outputs=[{"Name": "y [profile 1]", **one}],
        )

    text = document(
        layer(), suffixed("k_myl1_0"), Bindings=["x", "y", "x [profile 1]", "y [profile 1]"]
    )
    information = read_json(text)
    assert [binding.name for binding in information.bindings] == ["x", "y"]
    assert [kernel.profile for kernel in information.kernels] == [0, 1]
    assert information.of_profile(1).traffic_bytes == 2 * 1024


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "no JSON, or not all of it"),
        (document(layer())[:-30], "no JSON, or not all of it"),
        ("{}", "no list `Layers`"),
        ('{"Layers": {}}', "no list `Layers`"),
        (document(), "lists no layer"),
        (document("conv", "relu"), "names of layers alone"),
        (document(1), "cannot be read"),
        (document(layer(Metadata="[Layer: a]")), "Layer: a"),
        (document(layer(Inputs=[{"Name": "q"}])), '"q"'),
        (
            document(layer(Inputs=[{"Name": "q", "Dimensions": [1.5], "Format/Datatype": "Half"}])),
            "1.5",
        ),
        (
            document(layer(Inputs=[{"Name": "q", "Dimensions": [1], "Format/Datatype": "Odd"}])),
            "Odd",
        ),
        (document(layer(Weights={"Type": "Odd", "Count": 3})), "Odd"),
        (document({"Name": "k"}), '"k"'),
        (document(layer(LayerType="cjmp")), "branches"),
        (json.dumps({"Layers": [layer()], "I/O Tensors": [{"Name": "q"}]}), '"q"'),
        (document(layer(), **{"I/O Tensors": 7}), '"I/O Tensors": 7'),
        (document(layer(), Bindings=7), '"Bindings": 7'),
        (document(layer(Name="\\ud800")).replace("\\\\u", "\\u"), "half a character"),
        (document(layer(StreamId=10**30)), "a number has 31 digits"),
    ],
)
def test_bad_files(tmp_path, text, said):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        read(path)
    assert str(path) in caught.value.fact


def test_no_file_and_no_text(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path / "none.json")
    (tmp_path / "engine").write_bytes(b"ftrt\xff\xfe\x00")
    with pytest.raises(InputError, match="it is no text"):
        read(tmp_path / "engine")
    (tmp_path / "names.txt").write_text("conv1\nconv2")
    with pytest.raises(InputError, match="no layer information"):
        read(tmp_path / "names.txt")


def test_a_manifest_gives_what_went_in(tmp_path):
    information = read(real(tmp_path, "rtx3090_resnet50_b32_fp16"))
    adapter = TypeAdapter(LayerInformation)
    path = tmp_path / "engine.json"
    path.write_text(json.dumps({"layers": adapter.dump_python(information, mode="json")}))
    assert read(path) == information
    path.write_text('{"layers": {"kernels": 3}}')
    with pytest.raises(InputError, match="of this manifest cannot be read: kernels"):
        read(path)


@pytest.mark.parametrize(
    ("name", "nodes"),
    [
        ("Conv_0 + Relu_1", ("Conv_0", "Relu_1")),
        ("a/conv || b/conv", ("a/conv", "b/conv")),
        ("PWN(Clip_13)", ("Clip_13",)),
        ("PWN(PWN(Sigmoid_3), Mul_4)", ("Sigmoid_3", "Mul_4")),
        ("Conv_1 + PWN(PWN(Sigmoid_3), f(x))", ("Conv_1", "Sigmoid_3", "f(x)")),
        ("a, b", ("a, b",)),
        ("{ForeignNode[a...b]}", ("a", "b")),
        ("Reformatting CopyNode for Input Tensor 0 to Conv_5 + Add_6", ()),
        ("copied_squeeze_after_(Unnamed Layer* 803) [ElementWise]", ()),
        ("reshape_after_Gemm_48", ()),
        ("w + (Unnamed Layer* 1) [Shuffle] + Gemm_2", ("w", "Gemm_2")),
        ("resnet50/conv1_conv/Conv2D__6", ("resnet50/conv1_conv/Conv2D__6",)),
    ],
)
def test_nodes_in_names(name, nodes):
    assert name_nodes(name) == nodes


def test_nodes_in_metadata():
    assert metadata_nodes("") == ()
    assert metadata_nodes("[ONNX Layer: a]__gemm_from_conv1x1\x1f[ONNX Layer: b]") == ("a", "b")
    assert metadata_nodes("[ONNX Layer: a][ONNX Layer: b]") == ("a", "b")
    assert metadata_nodes("a") is None
