"""`edgeattn inspect`, from files to what is printed."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeattn.cli import app
from export_tests.engine.test_inspect import ENGINE, POINTS, SOURCE, manifest


def run(capsys, *words):
    """Runs the command line here: its exit code, and what it said on stdout and stderr."""
    code = app.run([str(word) for word in ("inspect", *words)])
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.fixture
def engine(tmp_path):
    def write(name="net", **fields):
        (tmp_path / f"{name}.engine").write_bytes(ENGINE)
        (tmp_path / "net.onnx").write_bytes(SOURCE)
        made = manifest(**{"engine": f"{name}.engine", **fields})
        (tmp_path / f"{name}.json").write_text(made.model_dump_json())
        return tmp_path / f"{name}.engine"

    return write


def listed(out, heading):
    """The lines under a table's heading, up to the next empty one."""
    lines = out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(heading))
    rest = [line.rstrip() for line in lines[start + 1 :]]
    return rest[: rest.index("")] if "" in rest else rest


def test_for_people(engine, capsys):
    code, out, err = run(capsys, engine())
    assert (code, err) == (0, "")
    for said in ("tensorrt-rtx 1.7.1", "8.6", "net.onnx (unchanged)", "x: fp32 1x3",
                 "m.conv/Conv + m/Relu", "note: Mind the gap."):  # fmt: skip
        assert said in out
    assert [line.split()[0] for line in listed(out, "#")] == ["0", "1", "2"]
    assert [line.split() for line in listed(out, "kind")] == [
        ["kgen", "2", "0.001", "92.9"], ["correlation", "1", "0.000", "7.1"],
    ]  # fmt: skip
    assert [line.split()[:2] for line in listed(out, "precision  kernels")] == [
        ["fp32", "2"], ["fp16", "1"], ["note:", "Mind"],
    ]  # fmt: skip


def test_the_most_bytes_first_and_no_more_than_asked(engine, capsys):
    _, out, _ = run(capsys, engine(), "--sort", "bytes", "--top", "2")
    assert [line.split()[0] for line in listed(out, "#")] == ["2", "0", "and"]
    assert "and 1 more" in out


def test_long_names_are_cut_and_whole_with_v(engine, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    nodes = tuple(f"layer1.0.attention/Operator_{k}" for k in range(9))
    layers = manifest().layers
    long = layers.kernels[0].__class__(
        **{name: getattr(layers.kernels[0], name) for name in layers.kernels[0].__slots__}
        | {"nodes": nodes}
    )
    path = engine(layers=layers.__class__(kernels=(long,), bindings=(), form="log"))
    _, out, _ = run(capsys, path)
    assert "…" in out
    assert "Operator_8" not in out
    _, whole, _ = run(capsys, path, "-v")
    assert "…" not in whole
    assert "Operator_8" in whole
    assert max(map(len, whole.splitlines())) <= 80


def test_the_bytes_at_a_point(engine, capsys):
    path = engine(points=POINTS)
    _, out, _ = run(capsys, path, "--profile", "1", "--point", "max", "--json")
    document = json.loads(out)
    assert document["traffic_bytes"] == 80 * 896
    assert document["point"] == {
        "profile": 1, "point": "max", "shapes": {"x": [80, 3]}, "traffic_bytes": 80 * 896,
    }  # fmt: skip
    _, out, _ = run(capsys, path, "--profile", "1", "--point", "max")
    assert "kernels at max of profile 1" in out
    assert "x: fp32 80x3" in out
    (line,) = (line for line in out.splitlines() if line.startswith("output"))
    assert line.split() == ["output", "y:", "fp32"]  # its shape there is not known


def test_as_json(engine, capsys):
    code, out, err = run(capsys, engine(), "--json", "--top", "1")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert document["kernels"] == len(document["table"]) == 3
    assert document["traffic_bytes"] == sum(one["traffic_bytes"] for one in document["table"])
    for key in ("by_kind", "by_precision"):
        assert sum(one["traffic_bytes"] for one in document[key]) == document["traffic_bytes"]
    assert document["table"][0]["nodes"] == ["m.conv/Conv", "m/Relu"]
    assert document["table"][0]["modules"] == ["m.conv", "m"]
    assert document["manifest"] == manifest().model_dump(mode="json")
    assert document["sources"] == [{"path": "net.onnx", "state": "same"}]


@pytest.mark.parametrize("diff", [False, True])
def test_a_hash_that_does_not_match_comes_first_and_ends_with_1(engine, capsys, diff):
    good, path = engine("good"), engine()
    path.write_bytes(b"another")
    asked = [good, "--diff", path] if diff else [path]
    code, out, _ = run(capsys, *asked)
    assert code == 1
    assert out.startswith(f"{path} is not the engine that its manifest describes")
    assert len(out.splitlines()) > 5
    code, out, _ = run(capsys, *asked, "--json")
    document = json.loads(out)
    (fault,) = (document["b"] if diff else document)["faults"]
    assert "is not the engine" in fault
    assert code == 1


def test_a_plan_says_what_it_is_not_for(engine, capsys):
    path = engine(not_for="jetson-orin-nano-8gb")
    assert "not for jetson-orin-nano-8gb" in " ".join(run(capsys, path)[1].lower().split())
    assert "NOT FOR jetson-orin-nano-8gb" in run(capsys, path, "--diff", path)[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["no.engine"], "There is no file no.engine."),
        (["net.engine", "--diff", "no.engine"], "There is no file no.engine."),
        (["net.engine", "--profile", "-1"], "--profile"),
        (["net.engine", "--profile", "1"], "no optimisation profile 1"),
        (["net.engine", "--point", "best"], "best"),
        (["net.engine", "--sort", "name"], "name"),
        (["net.engine", "--top", "0"], "--top"),
        (["net.onnx"], "edgeattn build net.onnx"),
        ([], "ENGINE"),
    ],
)
def test_bad_input(engine, tmp_path, monkeypatch, capsys, words, said):
    engine()
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert said in err


def test_an_engine_is_equal_to_itself(engine, capsys):
    code, out, _ = run(capsys, engine(), "--diff", engine("other"))
    assert code == 0
    rows = [line.split()[:2] for line in listed(out, "where")]
    assert rows == [["3", "equal"], ["total", "3"]]
    _, out, _ = run(capsys, engine(), "--diff", engine("other"), "-v")
    assert [line.split()[0] for line in listed(out, "where")] == [
        "m.conv", "B", "m", "B", "c", "A", "B", "total",
    ]  # fmt: skip


# Of NVIDIA's ResNet-18 on an A100, batch 32: TensorRT 8.2, in TF32 and in FP16.
def tensor(name, dtype, shape):
    return {"Name": name, "Dimensions": list(shape), "Format/Datatype": f"Channel major {dtype}"}


def layer(name, kind, dtype, source, out, channels=64, *, to=None):
    shape = (32, channels, 56, 56)
    return {
        "Name": name, "LayerType": kind, "Inputs": [tensor(source, dtype, shape)],
        "Outputs": [tensor(out, to or dtype, shape)], "TacticName": "t", "StreamId": 0,
    }  # fmt: skip


TF32 = [
    layer("MaxPool_2", "TiledPooling", "FP32", "x", "p"),
    layer("Reformatting CopyNode for Input Tensor 0 to Conv_3 + Relu_4", "Reformat", "FP32", "p",
          "Reformatted Input Tensor 0 to Conv_3 + Relu_4"),
    layer("Conv_3 + Relu_4", "CaskConvolution", "FP32",
          "Reformatted Input Tensor 0 to Conv_3 + Relu_4", "q"),
    layer("Conv_5", "CaskConvolution", "FP32", "q", "r"),
    layer("PWN(Add_6, Relu_7)", "PointWiseV2", "FP32", "r", "y"),
]  # fmt: skip
FP16 = [
    layer("MaxPool_2", "TiledPooling", "FP16", "x", "p"),
    layer("Conv_3 + Relu_4", "CaskConvolution", "FP16", "p", "q"),
    layer("Conv_5 + Add_6 + Relu_7", "CaskConvolution", "FP16", "q", "y"),
]


@pytest.fixture
def files(tmp_path):
    for name, layers in (("tf32", TF32), ("fp16", FP16)):
        document = {"Layers": layers, "Bindings": ["x", "y"]}
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    return tmp_path / "tf32.json", tmp_path / "fp16.json"


def test_what_was_fused_in_one_and_not_in_the_other(files, capsys):
    code, out, _ = run(capsys, files[0], "--diff", files[1])
    assert code == 0
    pool, conv, fused, total = (" ".join(line.split()) for line in listed(out, "where"))
    assert pool == "MaxPool_2 1 fp32 → fp16 51.380 25.690 -25.690"
    assert conv.startswith("Conv_3 2 → 1 fp32 → fp16 102.760 25.690 -77.070")
    assert conv.endswith("layout copies: 1 in A, 0 in B")
    assert fused.startswith("Conv_5 2 → 1 fp32 → fp16 102.760 25.690 -77.070")
    assert fused.endswith("Conv_5 + Add_6 + Relu_7 are one kernel in B, 2 in A")
    assert total == "total 5 → 3 fp32 → fp16 256.901 77.070 -179.831 -70.0 % bytes"
    _, out, _ = run(capsys, files[0], "--diff", files[1], "--sort", "bytes", "--top", "1")
    lines = [" ".join(line.split()) for line in listed(out, "where")]
    assert lines[1] == "2 more 3 → 2 fp32 → fp16 154.141 51.380 -102.760"


def test_a_comparison_as_json(files, capsys):
    code, out, err = run(capsys, files[0], "--diff", files[1], "--json", "--top", "1")
    assert (code, err) == (0, "")
    document = json.loads(out)
    groups = document["groups"]
    assert [group["place"] for group in groups] == ["MaxPool_2", "Conv_3", "Conv_5"]
    for side in "ab":
        whole = document[side]
        assert whole["traffic_bytes"] == sum(group[side]["traffic_bytes"] for group in groups)
        assert whole["kernels"] == sum(group[side]["kernels"] for group in groups)
    assert document["delta_bytes"] == sum(group["delta_bytes"] for group in groups)
    assert document["equal_groups"] == 0
    assert groups[2]["fused_in_b"] == [
        {"nodes": ["Conv_5", "Add_6", "Relu_7"], "kernel": 2, "kernels_in_the_other": 2}
    ]
    assert groups[1]["differences"] == ["layout copies: 1 in A, 0 in B"]


def test_tensors_that_differ_are_told(files, tmp_path, capsys):
    padded = json.loads(files[1].read_text())
    padded["Layers"][1]["Outputs"][0]["Dimensions"][1] = 72
    (tmp_path / "padded.json").write_text(json.dumps(padded))
    _, out, _ = run(capsys, files[1], "--diff", tmp_path / "padded.json")
    assert "32x64x56x56 in A, 32x72x56x56 in B" in out


def test_inputs_that_differ_are_told(files, engine, capsys):
    _, out, _ = run(capsys, engine(), "--diff", files[0])
    assert "note: The inputs have other shapes: 1x3 in A, 32x64x56x56 in B." in out


def gated(path, *, mean):
    """A convolution and its squeeze, the mean written in one of two ways."""
    generator = np.random.default_rng(0)
    weights = {
        "w": generator.normal(0, 0.3, (16, 3, 3, 3)),
        "v": generator.normal(0, 0.3, (16, 16, 1, 1)),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="l.conv/Conv", pads=[1] * 4),
        *mean,
        helper.make_node("Conv", ["m", "v"], ["e"], name="l.att.fc/Conv"),
        helper.make_node("Sigmoid", ["e"], ["g"], name="l.att.gate/Sigmoid"),
        helper.make_node("Mul", ["c", "g"], ["a"], name="l.att/Mul"),
        helper.make_node("Relu", ["a"], ["y"], name="l.act/Relu"),
    ]
    tensors = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()]
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, 32, 32])
        for name, channels in (("x", 3), ("y", 16))
    )
    graph = helper.make_graph(nodes, "g", [x], [y], tensors)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )


def test_real_engines(tmp_path, capsys):
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx has wheels for x86-64 only")
    flat = {"axes": [2, 3], "keepdims": 1}
    gated(
        tmp_path / "a.onnx",
        mean=[helper.make_node("ReduceMean", ["c"], ["m"], name="l.att/ReduceMean", **flat)],
    )
    gated(
        tmp_path / "b.onnx",
        mean=[
            helper.make_node("GlobalAveragePool", ["c"], ["s"], name="l.att/GlobalAveragePool_1"),
            helper.make_node("Tanh", ["s"], ["m"], name="l.att/Tanh_1"),
        ],
    )
    for name in "ab":
        out = tmp_path / f"{name}.engine"
        built = ["build", tmp_path / f"{name}.onnx", "-o", out, "--compute-capability", "8.6"]
        assert app.run([*map(str, built), "-q"]) == 0
    code, out, _ = run(capsys, tmp_path / "a.engine", "--json")
    assert code == 0
    document = json.loads(out)
    made = json.loads((tmp_path / "a.json").read_text())
    assert document["manifest"] == made
    assert document["traffic_bytes"] == made["traffic_bytes"]
    assert document["kernels"] == made["kernels"]
    assert document["sources"][0]["state"] == "same"
    code, out, _ = run(capsys, tmp_path / "a.engine", "--diff", tmp_path / "b.engine", "--json")
    document = json.loads(out)
    assert code == 0
    groups = document["groups"]
    for side in "ab":
        total = sum(group[side]["traffic_bytes"] for group in groups)
        assert total == document[side]["traffic_bytes"]
    group = next(one for one in groups if "l.att/ReduceMean" in one["nodes_only_in_a"])
    assert group["matched_by"] == "module"
    assert "l.att/Tanh_1" in group["nodes_only_in_b"]
