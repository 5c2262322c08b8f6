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
from edgeattn.precision.pixels import beside, choose
from edgeattn.records.pixels import IMAGENET, Pixels, parse


def test_options():
    assert parse("0", "1") == Pixels(mean=(0,), std=(1,), said_by="the options")
    assert parse("0.1,0.2,0.3", "0.5").mean == (0.1, 0.2, 0.3)
    for mean, std, message in [
        ("0", (), "--mean is given without --std"),
        ((), "1", "--std is given without --mean"),
        ("a", "1", "neither one number nor three"),
        ("0,0", "1", "neither one number nor three"),
        ("nan", "1", "neither one number nor three"),
        ("0", "0", "not those of pixels"),
        ("123.675,116.28,103.53", "58.395,57.12,57.375", "not those of pixels"),
    ]:
        with pytest.raises(InputError, match=message):
            parse(mean, std)


def test_a_model_s_library_says_it():
    module = torch.nn.Identity()
    assert pixels_of(module, "net.py:make") is None
    module.pretrained_cfg = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
    found = pixels_of(module, "net.py:make")
    assert found is not None
    assert (found.mean, found.std, found.said_by) == ((0.5,) * 3, (0.5,) * 3, "timm")
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
    plain.metadata_props["author"] = "Ultralytics"
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
