"""What photos are normalised by is what the options or the model's own files say."""

from __future__ import annotations

import json

import numpy as np
import onnx_ir as ir
import pytest
import torch

from edgeattn.base.errors import InputError
from edgeattn.base.files import sha256
from edgeattn.models.zoo import pixels_of
from edgeattn.options.photos import PHOTO_NAMES, parse
from edgeattn.precision.pixels import beside, choose, known
from edgeattn.records.pixels import IMAGENET, Pixels

NOT = ()


def said(**texts):
    return parse(*(texts.get(name, NOT) for name in PHOTO_NAMES))


def test_options():
    assert said() == {}
    assert said(mean="0", std="1") == {"mean": (0,), "std": (1,), "scale": 1 / 255}
    assert said(mean="0.1,0.2,0.3", std="0.5")["mean"] == (0.1, 0.2, 0.3)
    of_255 = said(mean="123.675,116.28,103.53", std="58.395,57.12,57.375", scale="1")
    assert of_255["mean"] == (123.675, 116.28, 103.53)
    assert said(scale="1/255") == {"scale": 1 / 255, "mean": (0,), "std": (1,)}
    assert said(resize="256:bilinear", crop="224") == {
        "fit": "crop", "resize": (256,), "filter": "bilinear", "crop": (224, 224),
    }  # fmt: skip
    assert said(resize="256x320") == {"fit": "stretch", "resize": (256, 320), "crop": 1.0}
    assert said(crop="0.875") == {"crop": 0.875}
    assert said(crop="1") == {"crop": 1.0}
    assert said(resize="letterbox", layout="nhwc") == {
        "fit": "letterbox", "resize": (), "crop": 1.0, "layout": "nhwc",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"mean": "0"}, "--mean is given without --std"),
        ({"std": "1"}, "--std is given without --mean"),
        ({"mean": "a", "std": "1"}, "neither one number nor three"),
        ({"mean": "0,0", "std": "1"}, "neither one number nor three"),
        ({"mean": "nan", "std": "1"}, "neither one number nor three"),
        ({"mean": "0", "std": "0"}, "not those of pixels"),
        ({"mean": "123.675,116.28,103.53", "std": "58.395,57.12,57.375"}, "add --scale 1"),
        ({"scale": "255"}, "nothing that 0...255 is multiplied by"),
        ({"scale": "1/0"}, "no number"),
        ({"resize": "big"}, "nothing that photos can be resized by"),
        ({"resize": "1x2x3"}, "no sizes"),
        ({"resize": "64:cubic"}, "nothing that photos can be resized by"),
        ({"crop": "1.5"}, "no sizes"),
        ({"crop": "0"}, "no sizes"),
        ({"crop": "half"}, "no number"),
        ({"layout": "hwc"}, "neither nchw nor nhwc"),
    ],
)
def test_options_that_say_nothing(texts, message):
    with pytest.raises(InputError, match=message):
        said(**texts)


def test_options_stand_over_what_is_known_and_leave_the_rest():
    timm = Pixels(mean=(0.5,), std=(0.5,), fit="crop", crop=0.95, said_by="timm")
    asked = said(mean="0", std="1")
    found = choose(asked, own=timm)
    assert found.pixels == Pixels(
        mean=(0,), std=(1,), fit="crop", crop=0.95, said_by="timm and the options"
    )
    assert choose(asked, own=found.pixels).pixels == found.pixels
    assert choose(said(crop="0.875")).pixels.fit == "crop"
    assert choose(said(crop="0.875")).pixels.said_by == ""
    assert choose(said(resize="stretch"), own=timm).pixels.crop == 1.0
    assert known(said(layout="nhwc"), None) is None
    assert known(said(mean="0", std="1"), None) is not None


def test_sizes_of_what_is_open():
    assert Pixels(mean=(0,), std=(1,), crop=(48, 64)).size(None, None) == (48, 64)
    assert Pixels(mean=(0,), std=(1,), resize=(48, 64)).size(None, None) == (48, 64)
    assert Pixels(mean=(0,), std=(1,), resize=(48, 64)).size(48, None) == (48, 64)
    for pixels, message in [
        (IMAGENET, "nothing says how large"),
        (Pixels(mean=(0,), std=(1,), crop=(48, 64)), "not the input's size, 32x32"),
        (Pixels(mean=(0,), std=(1,), fit="crop", resize=(24,)), "smaller than the input"),
    ]:
        with pytest.raises(InputError, match=message):
            pixels.size(*((None, None) if pixels is IMAGENET else (32, 32)))


def test_a_model_s_library_says_it():
    module = torch.nn.Identity()
    assert pixels_of(module, "net.py:make") is None
    module.pretrained_cfg = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
    found = pixels_of(module, "net.py:make")
    assert found is not None
    assert (found.mean, found.std, found.said_by) == ((0.5,) * 3, (0.5,) * 3, "timm")
    assert (found.fit, found.crop, found.filter) == ("crop", 0.875, "bicubic")
    module.pretrained_cfg |= {"crop_pct": 1, "crop_mode": "squash", "interpolation": "bilinear"}
    found = pixels_of(module, "net.py:make")
    assert (found.fit, found.crop, found.filter) == ("stretch", 1.0, "bilinear")
    module.pretrained_cfg = {"mean": None, "std": (0.5,) * 3}
    assert pixels_of(module, "net.py:make") is None


@pytest.mark.parametrize("said", [{"mean": [0.5], "std": [0.25]}, {"mean": [9]}, [], None, "x"])
def test_manifests_of_what_a_file_was_made_from_say_it(tmp_path, said):
    first, second = tmp_path / "a.onnx", tmp_path / "b.onnx"
    for path in (first, second):
        path.write_bytes(path.name.encode())
    manifest = {"sha256": {"a.onnx": sha256(first)}, "pixels": said}
    first.with_suffix(".json").write_text(json.dumps(manifest))
    manifest = {"sha256": {"b.onnx": sha256(second)}, "sources": {str(first): ""}}
    second.with_suffix(".json").write_text(json.dumps(manifest))
    found = beside(second)
    if said == {"mean": [0.5], "std": [0.25]}:
        assert found == Pixels(mean=(0.5,), std=(0.25,), said_by="the manifest of a.onnx")
    else:
        assert found is None


def graph(*nodes: ir.Node, output: tuple[int, ...], name: str = "main") -> ir.Model:
    nodes[-1].outputs[0].shape = ir.Shape(output)
    (image,) = [value for value in nodes[0].inputs[:1] if value is not None]
    made = ir.Graph([image], [nodes[-1].outputs[0]], nodes=nodes, name=name)
    return ir.Model(made, ir_version=8)


def image(height: int = 640) -> ir.Value:
    return ir.Value(name="images", shape=ir.Shape([1, 3, height, 640]))


def test_a_file_that_looks_like_a_detector_is_doubted(tmp_path):
    def doubts(model: ir.Model, name: str = "net") -> tuple[str, ...]:
        return choose(None, path=tmp_path / f"{name}.onnx", model=model).doubts

    conv = ir.node("Conv", [image(), ir.Value(name="w")], name="stem")
    plain = graph(conv, output=(1, 1000))
    assert doubts(plain) == ()
    assert "called yolo" in doubts(plain, "my-YOLOv8n")[0]
    plain.metadata_props["description"] = "Ultralytics"
    assert "called ultralytics" in doubts(plain)[0]
    conv = ir.node("Conv", [image(), ir.Value(name="w")])
    assert "8400 candidates" in doubts(graph(conv, output=(1, 84, 8400)))[0]
    conv = ir.node("Conv", [image(480), ir.Value(name="w")])
    assert "18900 candidates" in doubts(graph(conv, output=(1, 18900, 85)))[0]
    cast = ir.node("Cast", [image()], {"to": 1})
    divide = ir.node("Div", [cast.outputs[0], ir.Value(name="c")], name="/Div")
    conv = ir.node("Conv", [divide.outputs[0], ir.Value(name="w")])
    assert "/Div (Div) scales" in doubts(graph(cast, divide, conv, output=(1, 10)))[0]
    chosen = choose(None, path=tmp_path / "ssd.onnx", model=plain)
    assert (
        "It may be something else"
        in chosen.notes(type("Input", (), {"shape": (1, 3, 8, 8), "dtype": "float32"}))[1]
    )
    assert chosen.pixels is IMAGENET
    np.testing.assert_equal(choose(IMAGENET, model=plain).doubts, ())


def test_what_ultralytics_exports_says_how_it_takes_photos():
    model = graph(ir.node("Conv", [image(), ir.Value(name="w")]), output=(1, 84, 8400))
    model.metadata_props.update({"author": "Ultralytics", "task": "detect", "stride": "32"})
    found = choose(None, model=model)
    assert (found.pixels.mean, found.pixels.fit) == ((0.0,), "letterbox")
    assert found.doubts == ()
    model.metadata_props["task"] = "classify"
    assert choose(None, model=model).pixels.fit == "crop"
