"""A file knows what it was lowered for; elsewhere it is said so, with the command to type."""

from __future__ import annotations

import json
import shlex

import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from edgeattn.base.files import sha256
from edgeattn.graph.marks import FORMS, TARGET, forms_of, mark, target_of
from edgeattn.graph.reading import load
from edgeattn.lowering.misfit import misfit, strangers
from edgeattn.options.cast import CastOptions
from edgeattn.options.optimize import OptimizeOptions
from edgeattn.workflows.cast import cast
from edgeattn.workflows.optimize import optimize
from export_tests.foreign import net

PLAIN = OptimizeOptions(simplify=False)


def relu(path, **marks):
    """A file of one node, with marks."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    model = helper.make_model(
        helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    )
    helper.set_model_props(model, marks)
    onnx.save(model, path)
    return path


def said(path, command, *, of=(), **more):
    """Puts a manifest beside a file."""
    sources = {str(one): "" for one in of}
    text = {"command": command, "sha256": {path.name: sha256(path)}, "sources": sources, **more}
    path.with_suffix(".json").write_text(json.dumps(text))


def typed(message):
    """The commands that a message has one type."""
    return message.partition(" Type: ")[2].split(" && ")


@pytest.mark.parametrize(
    ("forms", "runtime", "found"),
    [
        (["tensorrt"], "onnxruntime", ("tensorrt",)),
        (["tensorrt"], "tensorrt-rtx", ()),
        (["tensorrt", "openvino"], "openvino", ("tensorrt",)),
        (["onnxruntime"], "openvino", ("onnxruntime",)),
        (["openvino"], "tensorrt", ("openvino",)),
        (["dla"], "tensorrt-rtx", ("dla",)),
        (["tensorrt", "dla"], "dla", ("tensorrt",)),
        (["of the future"], "onnxruntime", ()),
        ([], "openvino", ()),
    ],
)  # fmt: skip
def test_who_is_a_stranger(forms, runtime, found):
    assert strangers(forms, runtime) == found


def test_marks_add_up():
    model = ir.Model(ir.Graph([], [], nodes=[], opset_imports={"": 17}), ir_version=10)
    mark(model, "tensorrt", is_rewritten=True)
    mark(model, "openvino", is_rewritten=False)
    assert (target_of(model), forms_of(model)) == ("openvino", ("tensorrt",))
    mark(model, "onnxruntime", is_rewritten=True)
    mark(model, "tensorrt", is_rewritten=True)
    assert (target_of(model), forms_of(model)) == ("tensorrt", ("tensorrt", "onnxruntime"))


def test_lowering_marks_and_a_cast_keeps(tmp_path):
    source = net(tmp_path / "in.onnx")
    lowered, half = tmp_path / "m.onnx", tmp_path / "half.onnx"
    assert not any("was lowered for" in note for note in optimize(source, PLAIN, lowered).notes)
    manifest = cast(lowered, CastOptions(precision="fp16"), half)
    assert manifest.target == "tensorrt"
    for path in (lowered, half):
        assert load(path).metadata_props == {
            TARGET: "tensorrt",
            FORMS: "tensorrt",
        }
    again = optimize(
        lowered, OptimizeOptions(simplify=False, target="openvino"), tmp_path / "o.onnx"
    )
    assert "m.onnx was lowered for tensorrt, and is for openvino now" in again.notes[0]
    found = load(tmp_path / "o.onnx")
    assert target_of(found) == "openvino"
    assert forms_of(found)[0] == "tensorrt"


def test_the_export_is_typed_again(tmp_path):
    path = relu(tmp_path / "a b.onnx")
    said(
        path,
        "edgeattn export nets/x.py:f --attention se -o'a b.onnx' --target=tensorrt --tensorrt 8.5"
        " --forms f.json -v --opset 16",
        target="tensorrt",
    )
    (command,) = typed(misfit(path, ["tensorrt"], "openvino"))
    wanted = "edgeattn export nets/x.py:f --attention se --opset 16 --target openvino -o"
    assert command == f"{wanted} {shlex.quote(str(tmp_path / 'a b-openvino.onnx'))}"


def test_a_device_is_not_typed_again_but_what_was_taken_from_it(tmp_path):
    path = tmp_path / "a.onnx"
    path.write_bytes(b"")
    options = {"opset": 13, "cast": {"precision": "fp16"}}
    for more, taken in (("", " --opset 13 --precision fp16"), (" --dla --opset=14", None)):
        device = f"--device jetson-xavier-nx --jetpack 5.1{more}"
        said(path, f"edgeattn export resnet50 {device} -a se", target="tensorrt", options=options)
        (command,) = typed(misfit(path, ["tensorrt"], "onnxruntime"))
        own = f"resnet50 -a se{taken}" if taken else "resnet50 --opset=14 -a se --precision fp16"
        assert command.startswith(f"edgeattn export {own} --target onnxruntime -o ")


def test_casts_are_typed_again_and_what_lowered_once_more_is_not(tmp_path):
    first, more, half = (relu(tmp_path / f"{name}.onnx", n=name) for name in ("a", "b", "c"))
    said(first, "edgeattn optimize stock.onnx -o a.onnx", of=["stock.onnx"], target="tensorrt")
    said(
        more, "edgeattn optimize a.onnx --target openvino -o b.onnx", of=[first], target="openvino"
    )
    said(half, "edgeattn cast b.onnx --precision fp16 -o c.onnx", of=[more], target="openvino")
    found = typed(misfit(half, ["tensorrt", "openvino"], "onnxruntime"))
    made = tmp_path / "a-onnxruntime.onnx"
    assert found == [
        f"edgeattn optimize stock.onnx --target onnxruntime -o {made}",
        f"edgeattn cast {made} --precision fp16 -o {tmp_path / 'c-onnxruntime.onnx'}",
    ]


@pytest.mark.parametrize(
    "command", ["", "edgeattn build x --target onnxruntime", "rm -rf x", "edgeattn 'export", None]
)
def test_without_a_command_the_stock_file_is_lowered(tmp_path, command):
    path = relu(tmp_path / "a.onnx")
    if command is not None:
        said(path, command, target="onnxruntime")
    (found,) = typed(misfit(path, ["onnxruntime"], "openvino"))
    assert found.startswith(f"edgeattn optimize STOCK.onnx --target openvino -o {tmp_path}/a-open")


def test_a_build_is_typed_without_its_target(tmp_path):
    path = relu(tmp_path / "a.onnx")
    said(path, "edgeattn build resnet50 --target onnxruntime --attention se", target="onnxruntime")
    found = typed(misfit(path, ["onnxruntime"], "tensorrt"))
    assert found == ["edgeattn build resnet50 --attention se"]
