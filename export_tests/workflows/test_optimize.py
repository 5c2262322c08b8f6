"""The whole of optimize, as a library: what it writes, what it proves, and what it leaves alone."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import helper

import edgeattn.lowering.pipeline
from edgeattn.base.errors import CheckError, InputError
from edgeattn.lowering.record import Lowered
from edgeattn.lowering.target import RULES, TARGETS
from edgeattn.options.export import ExportOptions
from edgeattn.options.lowering import DEFAULT_TARGET
from edgeattn.options.optimize import OptimizeOptions
from edgeattn.records import sidecar
from edgeattn.records.lowering import NearMiss, Rewrite
from edgeattn.records.manifest import Optimised
from edgeattn.workflows.optimize import optimize
from export_tests.foreign import net, old_end
from export_tests.lowering.graphs import Graph

OPTIONS = OptimizeOptions(simplify_timeout_s=120)
PLAIN = OptimizeOptions(simplify=False)


@pytest.fixture
def lowers(monkeypatch):
    """Puts another pass in the place of lowering."""

    def put(function):
        monkeypatch.setattr(edgeattn.lowering.pipeline, "lower", function)

    return put


def outputs(path, array):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: array})


def left_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_written(tmp_path, target):
    source = net(tmp_path / "in.onnx")
    out = tmp_path / "out"
    out.mkdir()
    stages = []
    options = dataclasses.replace(OPTIONS, target=target)
    manifest = optimize(source, options, out / "m.onnx", command="x y", on_stage=stages.append)
    assert left_in(out) == ["m.json", "m.onnx"]
    text = (out / "m.json").read_text()
    assert Optimised.model_validate_json(text).model_dump_json() == manifest.model_dump_json()
    model = onnx.load(out / "m.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [(one.domain, one.version) for one in model.opset_import] == [("", 17)]
    assert (manifest.opset.before, manifest.opset.after) == (17, 17)
    assert manifest.nodes.before == 8
    assert manifest.nodes.after == len(model.graph.node)
    assert manifest.target == target
    assert manifest.schema_version == 1
    assert manifest.command == "x y"
    assert manifest.sha256 == {"m.onnx": hashlib.sha256((out / "m.onnx").read_bytes()).hexdigest()}
    assert manifest.sources == {str(source): hashlib.sha256(source.read_bytes()).hexdigest()}
    assert manifest.size_bytes == (out / "m.onnx").stat().st_size
    assert [(one.name, one.shape) for one in manifest.inputs] == [("x", (1, 3, 12, 12))]
    assert [one.name for one in manifest.outputs] == ["y"]
    assert manifest.parity.passed
    assert manifest.versions["onnxruntime"]
    assert {"read", "simplify", "lower", "legalise", "write", "parity"} <= set(stages)
    array = np.random.default_rng(3).standard_normal((1, 3, 12, 12)).astype(np.float32)
    (have,), (want,) = outputs(out / "m.onnx", array), outputs(source, array)
    np.testing.assert_allclose(have, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("opset", "simplify"), [(7, False), (8, True)])
def test_an_old_file(tmp_path, opset, simplify):
    source = net(tmp_path / "in.onnx", opset=opset, shape=("n", 3, 12, 12), extra=old_end())
    options = OPTIONS if simplify else PLAIN
    manifest = optimize(source, options, tmp_path / "out.onnx")
    assert (manifest.opset.before, manifest.opset.after) == (opset, 13)
    assert manifest.parity.passed
    assert manifest.rewrites
    assert {one.op_type for one in manifest.legalised} >= {"Upsample", "Softmax"}


def test_a_file_that_is_too_old(tmp_path):
    source = net(tmp_path / "in.onnx", opset=6)
    with pytest.raises(InputError, match="what opset 7 changed in Mul is not known") as caught:
        optimize(source, PLAIN, tmp_path / "out.onnx")
    assert "onnx.version_converter" in caught.value.mend
    assert left_in(tmp_path) == ["in.onnx"]


@pytest.mark.parametrize("opset", [11, 12, 13, 17, 18, 21])
def test_opsets_of_strangers(tmp_path, opset):
    source = net(tmp_path / "in.onnx", opset=opset, shape=("n", 3, 12, 12))
    manifest = optimize(source, PLAIN, tmp_path / "out.onnx")
    assert (manifest.opset.before, manifest.opset.after) == (opset, max(13, opset))
    assert onnx.load(tmp_path / "out.onnx").opset_import[0].version == max(13, opset)
    assert {case.batch for case in manifest.parity.cases} == {1, 2, 3, 8}
    assert manifest.inputs[0].shape == ("n", 3, 12, 12)


@pytest.mark.parametrize(("have", "asked"), [(11, 20), (17, 13), (21, 17), (13, 18)])
def test_the_opset_asked_is_written(tmp_path, have, asked):
    options = dataclasses.replace(PLAIN, opset=asked)
    manifest = optimize(net(tmp_path / "in.onnx", opset=have), options, tmp_path / "out.onnx")
    assert manifest.opset.after == asked
    assert onnx.load(tmp_path / "out.onnx").opset_import[0].version == asked


def test_an_opset_that_cannot_be_is_refused_before_anything_is_read(tmp_path):
    for opset in (12, 99):
        with pytest.raises(InputError, match=f"Opset {opset}"):
            optimize(
                tmp_path / "missing.onnx",
                dataclasses.replace(PLAIN, opset=opset),
                tmp_path / "out.onnx",
            )


def test_half_precision(tmp_path):
    source = net(tmp_path / "in.onnx", dtype=np.float16)
    manifest = optimize(source, OPTIONS, tmp_path / "out.onnx")
    assert manifest.parity.precision == "fp16"
    assert manifest.inputs[0].dtype == "float16"


@pytest.mark.parametrize("options", [OPTIONS, PLAIN])
def test_what_a_file_says_of_itself_stays(tmp_path, options):
    source = net(tmp_path / "in.onnx", meta={"names": "{0: 'cat'}"})
    optimize(source, options, tmp_path / "out.onnx")
    model = onnx.load(tmp_path / "out.onnx")
    said = {one.key: one.value for one in model.metadata_props}
    marks = {key: said.pop(key) for key in list(said) if key.startswith("edgeattn.")}
    assert said == {"names": "{0: 'cat'}"}
    assert marks == {"edgeattn.target": "tensorrt", "edgeattn.forms": "tensorrt"}
    assert (model.producer_name, model.graph.name) == ("stranger", "stranger")


def test_nodes_without_names_get_one(tmp_path):
    optimize(net(tmp_path / "in.onnx", named=False), OPTIONS, tmp_path / "out.onnx")
    names = [node.name for node in onnx.load(tmp_path / "out.onnx").graph.node]
    assert all(names)
    assert len(set(names)) == len(names)


def test_weights_beside_the_file_are_read_and_hashed(tmp_path):
    source = net(tmp_path / "in.onnx", external="in.weights")
    manifest = optimize(source, OPTIONS, tmp_path / "out.onnx")
    weights = tmp_path / "in.weights"
    assert manifest.sources[str(weights)] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert left_in(tmp_path) == ["in.onnx", "in.weights", "out.json", "out.onnx"]


def test_large_weights_go_to_a_file_beside(tmp_path, monkeypatch):
    monkeypatch.setattr("edgeattn.graph.writing._LARGEST_INLINE_BYTES", 100)
    manifest = optimize(net(tmp_path / "in.onnx"), PLAIN, tmp_path / "out.onnx")
    assert left_in(tmp_path) == ["in.onnx", "out.json", "out.onnx", "out.onnx.data"]
    assert set(manifest.sha256) == {"out.onnx", "out.onnx.data"}


def test_what_is_read_is_not_replaced(tmp_path):
    source = net(tmp_path / "in.onnx")
    before = source.read_bytes()
    (tmp_path / "link.onnx").symlink_to(source)
    for target in ("in.onnx", "link.onnx"):
        with pytest.raises(InputError, match="is what the model is read from") as caught:
            optimize(source, PLAIN, tmp_path / target)
        assert caught.value.mend
    external = net(tmp_path / "ext.onnx", external="out.onnx.data")
    with pytest.raises(InputError, match=r"out\.onnx\.data is what the model is read from"):
        optimize(external, PLAIN, tmp_path / "out.onnx")
    assert source.read_bytes() == before


def test_operators_of_another_domain_stay_as_they_are(tmp_path):
    extra = [
        helper.make_node("QuickGelu", ["a"], ["q"], domain="com.microsoft", name="q", alpha=1.3),
        helper.make_node("Relu", ["q"], ["y"], name="last"),
    ]
    source = net(tmp_path / "in.onnx", extra=extra, domains=("com.microsoft",))
    optimize(source, OPTIONS, tmp_path / "out.onnx")
    model = onnx.load(tmp_path / "out.onnx")
    (node,) = [one for one in model.graph.node if one.domain == "com.microsoft"]
    assert (node.op_type, node.attribute[0].f) == ("QuickGelu", pytest.approx(1.3))
    assert {one.domain: one.version for one in model.opset_import}["com.microsoft"] == 1


def test_onnxsim_may_fail(tmp_path, monkeypatch):
    monkeypatch.setattr("edgeattn.graph.simplify.Simplification.wait", lambda _: "onnxsim crashed")
    manifest = optimize(net(tmp_path / "in.onnx"), OPTIONS, tmp_path / "out.onnx")
    assert manifest.notes == ("The model is not simplified: onnxsim crashed.",)


def test_nothing_is_written_when_the_result_differs(tmp_path, lowers):
    def spoil(model, **_):
        value = model.graph.initializers["b3"]
        value.const_value = ir.tensor(value.const_value.numpy() * np.float32(1.1), name="b3")
        return Lowered(target="tensorrt")

    lowers(spoil)
    source = net(tmp_path / "in.onnx")
    (tmp_path / "out.onnx").write_text("what was there")
    with pytest.raises(CheckError, match="first module that differs is e"):
        optimize(source, PLAIN, tmp_path / "out.onnx")
    assert left_in(tmp_path) == ["in.onnx", "out.onnx"]
    assert (tmp_path / "out.onnx").read_text() == "what was there"


def test_lowering_is_asked_at_an_opset_that_it_knows_and_recorded(tmp_path, lowers):
    seen = {}
    one = Rewrite(rule="r", site="s", nodes_before=("a", "b"), nodes_after=("c",))
    miss = NearMiss(rule="r", site="t", reason="because")

    def watch(model, *, target, rules):
        seen.update(opset=model.opset_imports[""], target=target, rules=frozenset(rules))
        return Lowered(target=target, rewrites=(one,), near_misses=(miss,))

    lowers(watch)
    names = tuple(RULES)[:1]
    options = dataclasses.replace(PLAIN, target="onnxruntime", rules=names, opset=14)
    manifest = optimize(net(tmp_path / "in.onnx", opset=11), options, tmp_path / "out.onnx")
    assert seen == {"opset": 13, "target": "onnxruntime", "rules": frozenset(names)}
    assert manifest.rewrites[0].model_dump() == one.model_dump()
    assert manifest.near_misses[0].model_dump() == miss.model_dump()
    assert manifest.opset.after == 14


def test_what_legalisation_did_is_recorded(tmp_path):
    extra = [helper.make_node("HardSwish", ["a"], ["y"], name="act/HardSwish")]
    options = dataclasses.replace(PLAIN, opset=13, rules=())
    source = net(tmp_path / "in.onnx", extra=extra)
    manifest = optimize(source, options, tmp_path / "out.onnx")
    assert [(one.op_type, one.opset) for one in manifest.legalised] == [("HardSwish", 14)]


def test_a_target_or_rule_that_there_is_not_is_refused(tmp_path):
    source = net(tmp_path / "in.onnx")
    with pytest.raises(InputError, match="no target 'tensort'") as caught:
        optimize(source, dataclasses.replace(PLAIN, target="tensort"), tmp_path / "out.onnx")
    assert "Did you mean tensorrt?" in caught.value.mend
    known = next(iter(RULES), None)
    with pytest.raises(InputError, match="no rule 'nonsense'") as caught:
        optimize(source, dataclasses.replace(PLAIN, rules=("nonsense",)), tmp_path / "out.onnx")
    assert "edgeattn list rules" in caught.value.mend
    if known is not None:
        near = dataclasses.replace(PLAIN, rules=(f"{known}s",))
        with pytest.raises(InputError) as caught:
            optimize(source, near, tmp_path / "out.onnx")
        assert known in caught.value.mend


def test_the_default_target_is_one():
    assert OptimizeOptions().target == ExportOptions().target == DEFAULT_TARGET


def test_optimizing_again_changes_nothing_that_counts(tmp_path):
    optimize(net(tmp_path / "in.onnx"), OPTIONS, tmp_path / "one.onnx")
    manifest = optimize(tmp_path / "one.onnx", OPTIONS, tmp_path / "two.onnx")
    assert manifest.nodes.after <= manifest.nodes.before


def test_the_same_bytes_each_time(tmp_path):
    source = net(tmp_path / "in.onnx")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        optimize(source, OPTIONS, tmp_path / name / "m.onnx")
    assert (tmp_path / "one/m.onnx").read_bytes() == (tmp_path / "two/m.onnx").read_bytes()


def test_a_link_is_written_through_and_the_manifest_is_found_from_its_name(tmp_path):
    source = net(tmp_path / "in.onnx")
    here, real = tmp_path / "here", tmp_path / "real"
    here.mkdir()
    real.mkdir()
    (real / "x.onnx").write_bytes(b"old")
    (real / "x.json").write_bytes(b"another's")
    (here / "m.onnx").symlink_to("../real/x.onnx")
    manifest = optimize(source, PLAIN, here / "m.onnx")
    assert (here / "m.onnx").is_symlink()
    assert left_in(here) == ["m.json", "m.onnx"]
    assert left_in(real) == ["x.json", "x.onnx"]
    assert (real / "x.json").read_bytes() == b"another's"
    assert manifest.onnx == "m.onnx"
    assert sidecar.read_beside(here / "m.onnx") is not None
    (here / "m.json").unlink()
    (here / "m.json").symlink_to("m.onnx")
    with pytest.raises(InputError, match="two things"):
        optimize(source, PLAIN, here / "m.onnx")
    (here / "m.onnx").unlink()
    (here / "m.onnx").symlink_to(source)
    with pytest.raises(InputError, match="read from"):
        optimize(source, PLAIN, here / "m.onnx")
    (here / "loop").symlink_to("loop")
    with pytest.raises(InputError, match="levels of symbolic links"):
        optimize(source, PLAIN, here / "loop" / "m.onnx")


def test_a_dla_has_maps_for_outputs(tmp_path):
    source, path = tmp_path / "in.onnx", tmp_path / "out.onnx"
    graph = Graph(batch=1)
    mean = graph.reduce("ReduceMean", graph.input(3, 8, 8), [2, 3], keepdims=0)
    graph.output(graph.op("Gemm", mean, graph.random(3, 5)), rank=2)
    ir.save(graph.model(), source)
    options = dataclasses.replace(PLAIN, target="dla")
    found = optimize(source, options, path)
    (said,) = (note for note in found.notes if "is a map now" in note)
    assert "--rules -map-output" in said
    shape = [one.dim_value for one in onnx.load(path).graph.output[0].type.tensor_type.shape.dim]
    assert shape[2:] == [1, 1]
    kept = dataclasses.replace(options, rules=sorted(TARGETS["dla"].rules - {"map-output"}))
    found = optimize(source, kept, path)
    assert any("not sure to run" in note for note in found.notes)
    assert not any("weights" in note for note in found.notes)
    again = optimize(path, options, tmp_path / "again.onnx")
    assert again.parity.passed


def test_how_much_more_the_weights_take_is_said(tmp_path):
    graph = Graph(batch=1)
    x = graph.input(640, 2, 2)
    mean = graph.op("Reshape", graph.op("GlobalAveragePool", x), np.array([1, 1, 640]))
    band = graph.op("Conv", mean, graph.random(1, 1, 3), pads=[1, 1])
    gate = graph.op("Sigmoid", graph.op("Reshape", band, np.array([1, 640, 1, 1])))
    graph.output(graph.op("Mul", x, gate), rank=4)
    ir.save(graph.model(), tmp_path / "in.onnx")
    options = dataclasses.replace(PLAIN, target="dla")
    found = optimize(tmp_path / "in.onnx", options, tmp_path / "out.onnx")
    assert any("weights take 2 MB, and took 0 MB" in note for note in found.notes)
