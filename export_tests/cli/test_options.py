"""What is written after the options is read as meant, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeattn.base.errors import InputError
from edgeattn.cli.groups import Asked
from edgeattn.cli.options import attention_requests, export_options, for_device, request_of
from edgeattn.options.cast import CastOptions
from edgeattn.options.export import ExportOptions
from edgeattn.options.model import AttentionRequest, ModelRequest, parse_pairs
from edgeattn.options.shapes import parse_shape


@pytest.mark.parametrize(
    ("text", "shape"),
    [("1x3x224x224", (1, 3, 224, 224)), ("8X3x32x64", (8, 3, 32, 64)), ("2x10", (2, 10))],
)
def test_shapes(text, shape):
    assert parse_shape(text) == shape


@pytest.mark.parametrize(
    "text",
    ["", "x", "224", "1x3x224x", "1x3x0x224", "1x-3x8x8", "1,3,224,224", "1x3xHxW", "1x3x8.5x8",
     "1x³x8x8"],
)  # fmt: skip
def test_bad_shapes(text):
    with pytest.raises(InputError) as caught:
        parse_shape(text)
    assert repr(text) in caught.value.fact
    assert "1x3x224x224" in caught.value.mend


def test_pairs():
    texts = ["a=1", "b=x=y", "c="]
    assert parse_pairs(texts, option="--model-arg") == {"a": "1", "b": "x=y", "c": ""}


@pytest.mark.parametrize("texts", [["a"], ["=1"], [" =1"], [""], ["a=1", "a=2"], ["a=1", "a=1"]])
def test_bad_pairs(texts):
    with pytest.raises(InputError, match="--model-arg"):
        parse_pairs(texts, option="--model-arg")


def requests(names, options=(), places=()):
    return {
        request.name: (dict(request.options), request.at)
        for request in attention_requests(names, options, places)
    }


@pytest.mark.parametrize("names", [[], ["none"]])
def test_no_attention(names):
    assert requests(names) == {}


@pytest.mark.parametrize(
    ("names", "options", "places", "read"),
    [
        (["se"], ["reduction=8"], [], {"se": ({"reduction": "8"}, None)}),
        (["se"], ["se.reduction=8"], ["conv2"], {"se": ({"reduction": "8"}, "conv2")}),
        (
            ["se", "simam"],
            ["reduction=8"],
            ["stage-end"],
            {"se": ({"reduction": "8"}, "stage-end"), "simam": ({}, "stage-end")},
        ),
        (
            ["se", "cbam"],
            ["reduction=8", "cbam.reduction=4"],
            ["last", "cbam=layer3.*.bn2"],
            {"se": ({"reduction": "8"}, "last"), "cbam": ({"reduction": "4"}, "layer3.*.bn2")},
        ),
        (
            ["cbam", "se"],
            ["cbam.reduction=4", "reduction=8"],
            ["cbam=conv2", "last"],
            {"cbam": ({"reduction": "4"}, "conv2"), "se": ({"reduction": "8"}, "last")},
        ),
    ],
)
def test_attentions(names, options, places, read):
    assert requests(names, options, places) == read
    assert list(requests(names, options, places)) == names


OWN = f"{Path(__file__).parents[1] / 'attention' / 'papers.py'}:CBAM"


@pytest.mark.parametrize("prefix", ["CBAM", OWN])
def test_ones_own_beside_one_that_has_a_name(prefix):
    read = requests([OWN, "se"], ["reduction=8", f"{prefix}.no_spatial=1"], [f"{prefix}=last"])
    assert read == {OWN: ({"no_spatial": "1"}, "last"), "se": ({"reduction": "8"}, None)}


def test_two_of_ones_own_that_no_report_could_tell_apart():
    with pytest.raises(InputError, match=r"a\.py:A and b\.py:A are both called A") as caught:
        ModelRequest(source="m", attentions=[AttentionRequest(name=f"{n}.py:A") for n in "ab"])
    assert "A2 = A" in caught.value.mend


@pytest.mark.parametrize(
    ("names", "options", "places", "said"),
    [
        ([OWN], ["pool_type=8"], [], "Did you mean pool_types? CBAM takes gate_channels"),
        ([OWN], ["CBAN.no_spatial=1"], [], "Did you mean CBAM?"),
        (["none", "se"], [], [], "none"),
        (["se", "se"], [], [], "twice"),
        ([], ["reduction=8"], [], "--attention-arg"),
        (["none"], [], ["conv2"], "--attention none inserts none"),
        (["none"], ["k=3"], [], "--attention-arg is for an attention"),
        ([], [], ["conv2"], "Add --attention NAME."),
        (["se"], ["reductoin=8"], [], "reduction"),
        (["se", "cbam"], ["reductoin=8"], [], "reduction"),
        (["se", "simam"], ["simam.reduction=8"], [], "simam takes"),
        (["se"], ["cbam.reduction=8"], [], "cbam"),
        (["se"], ["reduction"], [], "K=V"),
        (["se"], ["reduction=8", "reduction=4"], [], "twice"),
        (["se"], [], ["cbam=conv2"], "cbam"),
        (["se"], [], ["conv2", "last"], "two places"),
        (["se"], [], ["se=conv2", "se=last"], "two places"),
        (["se"], [], [""], "place"),
        (["se"], [], ["se="], "place"),
        (["sse"], [], [], "se"),
    ],
)
def test_bad_attentions(names, options, places, said):
    with pytest.raises(InputError) as caught:
        requests(names, options, places)
    assert said in f"{caught.value.fact} {caught.value.mend}"


def test_a_choice_becomes_a_request():
    given = {
        "attention": ["se"],
        "attention_arg": ["reduction=8"],
        "at": None,
        "model_arg": ["drop_rate=0.1"],
        "num_classes": 10,
        "seed": 3,
        "shape": ["1x3x64x64"],
    }
    request = request_of(Asked(ModelRequest, given), "resnet18")
    assert request.source == "resnet18"
    assert request.model_args == {"drop_rate": "0.1"}
    assert request.num_classes == 10
    assert request.seed == 3
    assert request.shapes == ((1, 3, 64, 64),)
    assert [attention.name for attention in request.attentions] == ["se"]


NOTHING = dict.fromkeys(
    ["target", "device", "jetpack", "dla", "tensorrt", "forms", "rules", "opset", "no_lower"]
)


def destined(casting=None, **given):
    """What is exported for, and the precision that the file is cast to."""
    cast = Asked(CastOptions, {"precision": None, **(casting or {})})
    asked, precision, notes = for_device(Asked(ExportOptions, {**NOTHING, **given}), cast)
    options = export_options(asked)
    return options.target, options.opset, options.tensorrt, precision.get("precision"), notes


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ("tensorrt", 17, None, None)),
        # TensorRT 8 is told of fp16 when it builds.
        ({"device": "jetson-nano"}, ("tensorrt", 13, None, None)),
        ({"device": "jetson-nano", "jetpack": "4.6"}, ("tensorrt", 13, "8.0.1", None)),
        ({"device": "jetson-orin-nx-8gb", "jetpack": "6.2"}, ("tensorrt", 17, "10.3", "fp16")),
        ({"device": "rtx-4090"}, ("tensorrt", 17, None, "fp16")),
        ({"device": "raspberry-pi-5"}, ("onnxruntime", 17, None, "fp32")),
        # What is given wins.
        ({"device": "jetson-nano", "opset": 14}, ("tensorrt", 14, None, None)),
        (
            {"device": "jetson-orin-nx-8gb", "jetpack": "6.2", "casting": {"precision": "fp32"}},
            ("tensorrt", 17, "10.3", None),
        ),
        (
            {"device": "jetson-orin-nx-8gb", "casting": {"keep_fp32": ["fc"]}},
            ("tensorrt", 17, None, "fp16"),
        ),
        # Another runtime there: TensorRT says nothing of it.
        ({"device": "jetson-nano", "target": "onnxruntime"}, ("onnxruntime", 17, None, None)),
        (
            {"device": "jetson-nano", "jetpack": "4.6", "target": "onnxruntime"},
            ("onnxruntime", 17, None, None),
        ),
        ({"device": "jetson-nano", "target": "portable"}, ("portable", 13, None, None)),
        ({"device": "jetson-nano", "no_lower": True}, ("tensorrt", 13, None, None)),
    ],
)
def test_what_a_device_says(given, expected):
    *found, notes = destined(**given)
    assert tuple(found) == expected
    assert bool(notes) == (given.get("device") is not None and given.get("target") != "onnxruntime")


def test_the_reasons_are_told():
    *_, notes = destined(device="jetson-nano")
    assert notes == (
        "From jetson-nano: target tensorrt, TensorRT 8.2.1 of JetPack 4.6.1 runs models there.",
        "From jetson-nano: opset 13, the highest that TensorRT 8.2.1 of JetPack 4.6.1 parses.",
        (
            "From jetson-nano: precision fp16, the Jetson Nano reaches 2 times the peak of fp32 in"
            " it; TensorRT 8.2.1 of JetPack 4.6.1 is told so (--fp16), and the file stays in"
            " float32."
        ),
    )


@pytest.mark.parametrize(
    ("given", "fact"),
    [
        ({"jetpack": "5.1"}, "--jetpack is of a device"),
        ({"dla": True}, "--dla is of a device"),
        ({"device": "jetson-xavier-nx", "dla": True, "target": "portable"}, "--target portable"),
        ({"device": "jetson-nano", "dla": True}, "has no DLA"),
        ({"device": "jetson-agx-orin-64gb", "dla": True, "tensorrt": "11.1"}, "is not reached"),
        ({"device": "jetson-nano", "target": "tensorrt", "no_lower": True}, "--no-lower forbids"),
    ],
)
def test_what_contradicts_a_device(given, fact):
    with pytest.raises(InputError) as caught:
        destined(**given)
    assert fact in caught.value.fact
