"""What an ONNX file says of itself: costs of its nodes, and where its sites are from."""

from __future__ import annotations

import hashlib
import json

import onnx
import pytest

from edgeattn.base.errors import InputError
from edgeattn.profiling.sources.model import read_subject
from export_tests.foreign import net, old_end
from export_tests.profiling.nets import CHANNELS, SIZE, residual

SITES = ["layer1.0.attention", "layer2.0.attention"]


def paths(subject):
    return [site.path for site in subject.sites]


def test_sites_are_the_manifests(tmp_path):
    found = read_subject(residual(tmp_path / "a.onnx", "se"))
    assert paths(found) == SITES
    assert {site.attention for site in found.sites} == {"se"}
    assert found.sites[0].params == 292
    assert found.params == 40_000
    assert found.sites_by.startswith("by the manifest of")
    assert {node.site for node in found.nodes if "attention" in node.name} == set(SITES)
    assert {node.site for node in found.nodes if "attention" not in node.name} == {""}


def test_an_old_file_is_taken_up(tmp_path):
    found = read_subject(net(tmp_path / "old.onnx", opset=8, extra=old_end()))
    assert found.model.opset_imports[""] == 13
    assert not found.is_as_written
    assert "old.onnx is of opset 8, and was taken up to 13." in found.notes
    assert found.sites


def test_a_file_that_was_made_from_it_has_its_sites(tmp_path):
    first = residual(tmp_path / "a.onnx", "se")
    second = tmp_path / "b.onnx"
    model = onnx.load(first)
    model.doc_string = "optimised"
    onnx.save(model, second)
    digest = hashlib.sha256(second.read_bytes()).hexdigest()
    said = {"sha256": {"b.onnx": digest}, "sources": {"/elsewhere/a.onnx": "..."}}
    second.with_suffix(".json").write_text(json.dumps(said))
    found = read_subject(second)
    assert paths(found) == SITES
    assert found.params == 40_000


@pytest.mark.parametrize("spoil", ["gone", "changed", "none"])
def test_without_a_manifest_of_its_own_gates_are_found(tmp_path, spoil):
    path = residual(tmp_path / "a.onnx", "se")
    manifest = path.with_suffix(".json")
    if spoil == "gone":
        manifest.unlink()
    elif spoil == "changed":
        manifest.write_text(manifest.read_text().replace('"sha256": {"a.onnx": "', '"x": {"a": "'))
    else:  # the backbone has attention of its own
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"sites": []}))
    found = read_subject(path)
    assert paths(found) == SITES
    assert {site.attention for site in found.sites} == {"gate"}
    assert found.sites_by.startswith("from the graph alone")
    assert found.sites[0].shape == (CHANNELS, SIZE, SIZE)
    assert (found.params == 40_000) is (spoil == "none")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"sites": [{"path": 3}]}, "sites.0.path: input should be a valid string"),
        ({"sites": {"path": "a"}}, "sites: input should be a valid tuple"),
        ({"params": "many"}, "params: input should be a valid integer"),
        ({"sites": None}, "sites: input should be a valid tuple"),
        ("{", "is no JSON, or not all of it"),
        ("[" * 5000, "nested too deeply"),
    ],
)
def test_a_broken_manifest_counts_as_none_and_that_is_said(tmp_path, broken, said):
    path = residual(tmp_path / "a.onnx", "se")
    manifest = path.with_suffix(".json")
    if isinstance(broken, dict):
        broken = json.dumps(json.loads(manifest.read_text()) | broken)
    manifest.write_text(broken)
    found = read_subject(path)
    assert found.sites_by.startswith("from the graph alone")
    assert said in found.notes[0]
    assert found.notes[0].endswith("It counts as no manifest.")


def test_parameters_are_counted_where_nobody_says(tmp_path):
    path = residual(tmp_path / "a.onnx", "none", with_manifest=False)
    tensors = onnx.load(path).graph.initializer
    expected = sum(onnx.numpy_helper.to_array(one).size for one in tensors)
    assert read_subject(path).params == expected


def test_named_sites(tmp_path):
    path = residual(tmp_path / "a.onnx", "se")
    found = read_subject(path, site_globs=["layer1.*", "pool"])
    assert paths(found) == ["layer1.0", "pool"]
    assert {node.site for node in found.nodes if node.name.startswith("layer1.0")} == {"layer1.0"}
    with pytest.raises(InputError, match="names no module"):
        read_subject(path, site_globs=["layer9*"])


def test_costs_are_those_of_the_shapes(tmp_path):
    nodes = {one.name: one for one in read_subject(residual(tmp_path / "a.onnx")).nodes}
    conv = nodes["layer1.0.conv1/Conv"]
    assert conv.macs == CHANNELS * CHANNELS * 9 * SIZE * SIZE
    assert conv.traffic_bytes == 4 * (2 * CHANNELS * SIZE**2 + CHANNELS * CHANNELS * 9 + CHANNELS)
    gate = nodes["layer1.0.attention/Mul_2"]
    assert gate.macs == 0
    assert gate.element_ops == CHANNELS * SIZE * SIZE
    assert gate.traffic_bytes == 3 * 4 * CHANNELS * SIZE * SIZE


def test_an_open_batch_is_bound(tmp_path):
    path = residual(tmp_path / "a.onnx", batch="n")
    one, three = (
        sum(node.macs for node in read_subject(path, batch=batch).nodes) for batch in (1, 3)
    )
    assert three == 3 * one
    shaped = read_subject(path, shapes=[(3, 3, SIZE, SIZE)])
    assert sum(node.macs for node in shaped.nodes) == three


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ([(1, 3, 8, 8)], "holds the shape 1x3x8x8, not 1x3x28x28"),
        ([(1, 3, SIZE, SIZE)] * 2, "takes 1 inputs, and --shape is given 2"),
        ([(1, 3, SIZE)], "holds the shape"),
    ],
)
def test_shapes_that_do_not_fit(tmp_path, shapes, said):
    with pytest.raises(InputError, match=said):
        read_subject(residual(tmp_path / "a.onnx"), shapes=shapes)


def test_an_open_size_must_be_said(tmp_path):
    path = residual(tmp_path / "a.onnx")
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "h"
    onnx.save(model, path)
    with pytest.raises(InputError, match="has open dimensions"):
        read_subject(path)


def test_the_batch_is_the_first_size_that_is_open(tmp_path):
    nodes = [onnx.helper.make_node("Mul", ["scale", "x"], ["y"], name="gate/Mul")]
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("scale", [8, 1, 1]), ("x", ["n", 8, 4, 4]), ("y", ["n", 8, 4, 4]))
    ]
    graph = onnx.helper.make_graph(nodes, "g", values[:2], values[2:])
    path = tmp_path / "gate.onnx"
    onnx.save(onnx.helper.make_model(graph), path)
    assert read_subject(path, batch=3).batch == 3
    assert read_subject(residual(tmp_path / "a.onnx", "se")).batch == 1
