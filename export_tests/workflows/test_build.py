"""The whole stage: an ONNX file becomes an engine and a manifest, or nothing lands."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
import signal

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgeattn.base.errors import InputError
from edgeattn.engine import apart
from edgeattn.engine.inspect import inspect
from edgeattn.engine.target import choose
from edgeattn.graph.reading import read
from edgeattn.options.build import EngineOptions, Profile
from edgeattn.options.cast import CastOptions
from edgeattn.records.engine import EngineManifest, manifest_of, read_manifest
from edgeattn.records.layers import traffic_bytes
from edgeattn.workflows.artifact import check_destination
from edgeattn.workflows.build import BuildOptions, build, default_name
from export_tests.engine.nets import HALF, small

pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx has wheels for x86-64 only")
BYTES = {"Float": 4, "Half": 2, "Int8": 1, "Int32": 4, "Int64": 8, "Bool": 1}


def options(*, capability="8.6", device=None, as_plan=False, engine=None, **others):
    target = choose(
        device=device,
        capability=None if device else capability,
        runtime="tensorrt-rtx" if device is None else None,
        as_plan=as_plan,
    )
    return BuildOptions(target=target, engine=engine or EngineOptions(), **others)


def test_an_engine_and_its_manifest(tmp_path):
    source = small(tmp_path / "m.onnx")
    stages = []
    manifest = build(source, options(), tmp_path, command="edgeattn build", on_stage=stages.append)
    engine = tmp_path / "m.sm86.engine"
    assert (manifest.engine, manifest.manifest) == (engine.name, "m.sm86.json")
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        "m.onnx", "m.sm86.engine", "m.sm86.json"
    ]  # fmt: skip
    assert manifest.sha256 == hashlib.sha256(engine.read_bytes()).hexdigest()
    assert manifest.size_bytes == engine.stat().st_size
    assert manifest.sources == {"m.onnx": hashlib.sha256(source.read_bytes()).hexdigest()}
    assert manifest.onnx == "m.onnx"
    assert (manifest.runtime, manifest.compute_capability) == ("tensorrt-rtx", "8.6")
    assert manifest.precision.asked == "fp32"
    assert manifest.precision.built["fp32"] == manifest.kernels == len(manifest.layers.kernels)
    assert manifest.traffic_bytes == sum(k.traffic_bytes for k in manifest.layers.kernels)
    assert manifest.points == ()
    assert read_manifest(engine) == manifest
    assert [stage for stage in stages if "/" not in stage] == [
        "read", "build", "layers", "audit", "write"
    ]  # fmt: skip
    assert any(re.fullmatch(r"build \d+/\d+", stage) for stage in stages)


def test_kernels_and_bytes_are_those_of_an_independent_reading_of_the_log(tmp_path):
    log = tmp_path / "log.txt"
    manifest = build(small(tmp_path / "m.onnx"), options(log=log), tmp_path)
    listed = log.read_text().partition("Layers:\n")[2].partition("\n\nI/O Tensors:")[0]
    lines = [line for line in listed.splitlines() if "LayerType: wait" not in line]
    lines = [line for line in lines if "LayerType: signal" not in line]
    found = re.findall(r"Dimensions: \[([\d,]*)\][^{}]*Datatype: (\w+)", "\n".join(lines))
    assert manifest.kernels == len(lines)
    assert manifest.traffic_bytes == sum(
        math.prod(map(int, sizes.split(","))) * BYTES[kind] for sizes, kind in found
    )


def key(kernel):
    """A kernel's name, without its number in the engine."""
    return re.fullmatch(r"(?:__myl_)?(.*)_myl\d+_\d+", kernel.name)[1]


def test_a_dynamic_batch_has_the_bytes_of_each_point(tmp_path):
    profile = Profile(
        min={"x": (1, 3, 16, 16)}, opt={"x": (4, 3, 16, 16)}, max={"x": (8, 3, 16, 16)}
    )
    manifest = build(
        small(tmp_path / "open.onnx", batch="batch"),
        options(engine=EngineOptions(profiles=(profile,))),
        tmp_path,
    )
    assert [(one.profile, one.point) for one in manifest.points] == [
        (0, "min"), (0, "opt"), (0, "max")
    ]  # fmt: skip
    for point in manifest.points:
        assert sum(point.kernel_bytes) == point.traffic_bytes
        batch = point.shapes["x"][0]
        fixed = build(small(tmp_path / f"fixed{batch}.onnx", batch=batch), options(), tmp_path)
        # A fixed batch may be fused otherwise; what is the same kernel must have the same bytes.
        own = {
            key(k): size
            for k, size in zip(manifest.layers.kernels, point.kernel_bytes, strict=True)
        }
        others = {key(kernel): kernel.traffic_bytes for kernel in fixed.layers.kernels}
        common = own.keys() & others.keys()
        assert {"stem/Conv", "head/Conv", "SigmMul"} <= common
        assert {name: own[name] for name in common} == {name: others[name] for name in common}
    one, four, eight = (np.array(point.kernel_bytes) for point in manifest.points)
    assert (3 * (eight - one) == 7 * (four - one)).all()  # linear in the batch
    assert (four > one).all()
    assert manifest.traffic_bytes == manifest.points[1].traffic_bytes
    assert traffic_bytes(manifest.layers.kernels) == manifest.traffic_bytes


def test_every_profile_has_its_points(tmp_path):
    profiles = tuple(
        Profile(**{point: {"x": (batch, 3, 16, 16)} for point in ("min", "opt", "max")})
        for batch in (1, 6)
    )
    manifest = build(
        small(tmp_path / "open.onnx", batch="batch"),
        options(engine=EngineOptions(profiles=profiles)),
        tmp_path,
    )
    sizes = [point.shapes["x"][0] for point in manifest.points]
    assert sizes == [1, 1, 1, 6, 6, 6]
    assert manifest.traffic_bytes == manifest.points[0].traffic_bytes
    assert manifest.kernels == len(manifest.points[0].kernel_bytes)
    assert manifest.layers.profiles == (0, 1)
    for number, point in ((0, manifest.points[1]), (1, manifest.points[4])):
        own = manifest.layers.of_profile(number).kernels
        assert tuple(kernel.traffic_bytes for kernel in own) == point.kernel_bytes
    assert manifest.points[3].traffic_bytes > 4 * manifest.points[0].traffic_bytes


def test_nodes_without_names_are_those_that_tensorrt_names(tmp_path):
    model = onnx.load(small(tmp_path / "named.onnx"))
    for node in model.graph.node:
        node.name = ""
    onnx.save(model, tmp_path / "m.onnx")
    manifest = build(tmp_path / "m.onnx", options(), tmp_path)
    nodes = {node for kernel in manifest.layers.kernels for node in kernel.nodes}
    assert nodes == {str(node.name) for node in read(tmp_path / "m.onnx").model.graph}


def test_a_file_is_cast_to_the_precision_that_is_asked(tmp_path):
    source = small(tmp_path / "m.onnx")
    asked = options(precision="fp16", cast=CastOptions(precision="fp16"))
    manifest = build(source, asked, tmp_path)
    assert manifest.engine == "m-fp16.sm86.engine"
    assert manifest.onnx == "m-fp16.onnx"
    cast = onnx.load(tmp_path / "m-fp16.onnx")
    assert any(one.data_type == HALF for one in cast.graph.initializer)
    assert set(manifest.sources) == {"m-fp16.onnx", "m.onnx"}
    assert manifest.precision.asked == "fp16"
    assert manifest.precision.built["fp16"] >= 2
    assert manifest.precision.mismatches == ()
    # The cast file itself is of that precision, and is built as it is.
    again = build(tmp_path / "m-fp16.onnx", asked, tmp_path / "again.sm86.engine")
    assert again.onnx == "m-fp16.onnx"
    assert again.precision == manifest.precision


def test_what_was_kept_is_no_mismatch_and_what_was_not_is(tmp_path):
    source = small(tmp_path / "m.onnx")
    cast = CastOptions(precision="fp16", keep_fp32=("head",))
    asked = options(precision="fp16", cast=cast)
    found = build(source, asked, tmp_path).precision
    assert found.kept >= 1
    assert found.mismatches == ()
    # Without the record of the cast, nobody knows that it was meant.
    (tmp_path / "m-fp16.json").unlink()
    found = build(tmp_path / "m-fp16.onnx", options(), tmp_path).precision
    assert [node for one in found.mismatches for node in one.nodes if node == "head/Conv"]


def test_a_record_of_another_file_counts_for_nothing(tmp_path):
    source = small(tmp_path / "m.onnx")
    asked = options(precision="fp16", cast=CastOptions(precision="fp16", keep_fp32=("head",)))
    build(source, asked, tmp_path)
    model = ir.load(tmp_path / "m-fp16.onnx")
    model.doc_string = "changed"
    ir.save(model, tmp_path / "m-fp16.onnx")
    assert build(tmp_path / "m-fp16.onnx", options(), tmp_path).precision.mismatches


def test_a_plan_is_named_and_stamped(tmp_path):
    source = small(tmp_path / "m.onnx")
    manifest = build(source, options(device="jetson", as_plan=True), tmp_path)
    assert manifest.engine == "m.plan-sm86.engine"
    assert manifest.not_for == manifest.device == "jetson-orin-nano-8gb"
    assert "profiling only" in manifest.notes[0]
    with pytest.raises(InputError, match="taken for an engine") as caught:
        build(source, options(device="jetson", as_plan=True), tmp_path / "m.engine")
    assert "m.plan-sm86.engine" in caught.value.mend


def test_weights_in_a_file_beside(tmp_path):
    model = onnx.load(small(tmp_path / "inline.onnx"))
    path = tmp_path / "m.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    manifest = build(path, options(), tmp_path)
    assert set(manifest.sources) == {"m.onnx", "weights.bin"}
    (tmp_path / "weights.bin").write_bytes(b"short")
    with pytest.raises(InputError, match=r"weights\.bin"):
        build(path, options(), tmp_path)


@pytest.mark.parametrize(
    ("name", "fact"),
    [
        ("m.trt", "must end in .engine"),
        ("no/where/m.engine", "does not exist"),
        ("folder.engine/x.engine", "does not exist"),
    ],
)
def test_a_place_that_cannot_be_written(tmp_path, name, fact):
    with pytest.raises(InputError, match=fact):
        build(small(tmp_path / "m.onnx"), options(), tmp_path / name)


def test_a_manifest_of_something_else_is_not_replaced(tmp_path):
    source = small(tmp_path / "m.onnx")
    (tmp_path / "m.json").write_text('{"onnx": "m.onnx"}')
    manifest = build(source, options(), tmp_path / "m.engine")
    assert manifest.manifest == "m.engine.json"
    assert (tmp_path / "m.json").read_text() == '{"onnx": "m.onnx"}'
    assert read_manifest(tmp_path / "m.engine") == manifest
    (tmp_path / "m.json").unlink()
    (tmp_path / "m.engine.json").unlink()
    assert build(source, options(), tmp_path / "m.engine").manifest == "m.json"
    with pytest.raises(InputError, match="manifest of an engine"):
        check_destination(tmp_path / "m.onnx")


def test_what_is_read_is_not_replaced(tmp_path):
    source = small(tmp_path / "m.onnx")
    with pytest.raises(InputError, match="read from"):
        build(source, options(log=source), tmp_path)
    with pytest.raises(InputError, match="two things"):
        build(source, options(log=tmp_path / "m.sm86.json"), tmp_path)


def test_what_fails_leaves_nothing_but_the_log(tmp_path):
    source = small(tmp_path / "m.onnx", extra="Foo")
    log = tmp_path / "log.txt"
    with pytest.raises(InputError, match="last/Foo"):
        build(source, options(log=log), tmp_path)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["log.txt", "m.onnx"]
    assert "[E] " in log.read_text()


def test_half_cannot_become_float32(tmp_path):
    source = small(tmp_path / "m.onnx", dtype=HALF)
    with pytest.raises(InputError, match="is fp16 already"):
        build(source, options(precision="fp32"), tmp_path)


def test_a_precision_that_the_device_has_not(tmp_path, monkeypatch):
    source = small(tmp_path / "m.onnx", dtype=HALF)
    asked = options()
    device = choose(device="rtx-3090", capability=None, runtime=None, as_plan=False).device
    slow = device.model_copy(update={"peak_tflops": {"fp32": 1.0}})
    target = dataclasses.replace(asked.target, device=slow)
    with pytest.raises(InputError, match="not built for fp16"):
        build(source, dataclasses.replace(asked, target=target), tmp_path)


def test_the_manifest_is_json_that_is_read_again(tmp_path):
    manifest = build(small(tmp_path / "m.onnx"), options(), tmp_path)
    text = manifest_of(tmp_path / manifest.engine).read_text()
    assert EngineManifest.model_validate_json(text) == manifest
    said = json.loads(text)
    assert said["schema_version"] == 1
    assert np.isfinite(said["seconds"]["total"])
    assert len(said["layers"]["kernels"]) == said["kernels"]


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"schema_version": 1}', '{"schema_version": 2}', "\x00"]
)
def test_what_is_no_manifest_is_refused(tmp_path, content):
    (tmp_path / "m.json").write_text(content)
    with pytest.raises(InputError, match=r"no manifest of an engine|m\.json is no JSON"):
        read_manifest(tmp_path / "m.engine")
    with pytest.raises(InputError, match=r"There is no file .*other\.engine"):
        read_manifest(tmp_path / "other.engine")
    (tmp_path / "other.engine").write_bytes(b"engine")
    with pytest.raises(InputError, match="There is no manifest"):
        read_manifest(tmp_path / "other.engine")


def test_names():
    target = options().target
    assert default_name("m", target) == "m.sm86.engine"
    assert default_name("m", target, precision="int8") == "m-int8.sm86.engine"


def test_an_engine_through_a_link_has_its_manifest_beside_the_name_that_was_asked(tmp_path):
    here, real = tmp_path / "here", tmp_path / "real"
    here.mkdir()
    real.mkdir()
    source = small(here / "m.onnx")
    (here / "m.engine").symlink_to(real / "x.engine")  # which is not there yet
    manifest = build(source, options(), here / "m.engine")
    assert (real / "x.engine").is_file()
    assert sorted(path.name for path in real.iterdir()) == ["x.engine"]
    assert read_manifest(here / "m.engine") == manifest
    assert (manifest.engine, manifest.onnx) == ("m.engine", "m.onnx")
    assert inspect(here / "m.engine").faults == ()


@pytest.mark.skipif(not hasattr(signal, "SIGSEGV"), reason="signals are POSIX's")
def test_a_crash_of_the_library_leaves_the_old_engine_and_keeps_the_log(tmp_path, monkeypatch):
    (tmp_path / "crashing.py").write_text(
        "import json, os, pathlib, signal, sys\n"
        "from edgeattn.base.worker import serve\n"
        "def do(job):\n"
        "    log = pathlib.Path(job['log'])\n"
        "    log.write_text(json.dumps(['VERBOSE', 'Parsing node: gate/Mul [Mul]']))\n"
        "    pathlib.Path(job['engine']).write_bytes(b'half')\n"
        "    os.kill(os.getpid(), signal.SIGSEGV)\n"
        "if __name__ == '__main__':\n"
        "    sys.exit(serve(do))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(apart, "_PROCESS", "crashing")
    monkeypatch.setattr(apart, "_waiting", [])
    out = tmp_path / "out"
    out.mkdir()
    (out / "m.engine").write_bytes(b"old")
    log = tmp_path / "log.txt"
    with pytest.raises(InputError, match=r"crashed \(SIGSEGV\) at gate/Mul"):
        build(small(tmp_path / "m.onnx"), options(log=log), out / "m.engine")
    assert [(path.name, path.read_bytes()) for path in out.iterdir()] == [("m.engine", b"old")]
    assert log.read_text() == "[V] Parsing node: gate/Mul [Mul]\n"
