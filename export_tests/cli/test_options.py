"""What is written after the options is read as meant, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeattn.base.errors import InputError
from edgeattn.cli.groups import Asked
from edgeattn.cli.options import attention_requests, request_of
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
