"""What an engine is, read from what lies beside it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest

from edgeattn.base.errors import InputError, MissingError
from edgeattn.engine import inspect as inspecting
from edgeattn.engine.gpu import Gpu
from edgeattn.engine.inspect import inspect, sums, traffic_of
from edgeattn.records.engine import EngineManifest, Point, Precision
from edgeattn.records.layers import Binding, Kernel, KernelTensor, LayerInformation

ENGINE = b"an engine"
SOURCE = b"a model"


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def tensor(name, shape, dtype="fp32"):
    return KernelTensor(name=name, shape=shape, strides=(), dtype=dtype, layout="")


def kernel(name, *, kind="kgen", dtype="fp32", size=8, nodes=("m/Add",)):
    return Kernel(
        name=name,
        kind=kind,
        inputs=(tensor(f"{name}.in", (1, size), dtype),),
        constants=(),
        outputs=(tensor(f"{name}.out", (1, size), dtype),),
        tactic="",
        stream=0,
        nodes=nodes,
    )


KERNELS = (
    kernel("a", kind="correlation", nodes=("m.conv/Conv", "m/Relu")),
    kernel("b", dtype="fp16"),
    kernel("c", size=100, nodes=()),
)
BYTES = (64, 32, 800)


def manifest(*, points=(), **fields):
    return EngineManifest(
        engine="net.engine", sha256=sha256(ENGINE), size_bytes=len(ENGINE), onnx="net.onnx",
        sources={"net.onnx": sha256(SOURCE)}, runtime="tensorrt-rtx", runtime_version="1.7.1",
        runtime_reason="", compute_capability="8.6", device=None, not_for=None,
        precision=Precision(asked="fp32", built={"fp32": 2, "fp16": 1}, kept=0, mismatches=()),
        kernels=len(KERNELS), traffic_bytes=sum(BYTES), weights_bytes=None, activation_bytes=None,
        points=points,
        layers=LayerInformation(
            kernels=tuple(
                replace(kernel, profile=profile)
                for profile in sorted({one.profile for one in points} | {0})
                for kernel in KERNELS
            ),
            bindings=(
                Binding(name="x", is_input=True, dtype="fp32", shape=(1, 3), profiles=()),
                Binding(name="y", is_input=False, dtype="fp32", shape=(1, 5), profiles=()),
            ),
            form="log",
        ),
        options={}, versions={}, seconds={}, notes=("Mind the gap.",), command="",
        manifest="net.json",
    ).model_copy(update=fields)  # fmt: skip


def point(profile, name, batch):
    return Point(
        profile=profile, point=name, shapes={"x": (batch, 3)},
        traffic_bytes=batch * sum(BYTES), kernel_bytes=tuple(batch * one for one in BYTES),
    )  # fmt: skip


POINTS = tuple(
    point(profile, name, 10**profile * batch)
    for profile in (0, 1)
    for name, batch in (("min", 1), ("opt", 4), ("max", 8))
)


@pytest.fixture
def written(tmp_path):
    """Writes an engine, its manifest and its source; gives the engine."""

    def write(**fields):
        (tmp_path / "net.engine").write_bytes(ENGINE)
        (tmp_path / "net.onnx").write_bytes(SOURCE)
        (tmp_path / "net.json").write_text(manifest(**fields).model_dump_json())
        return tmp_path / "net.engine"

    return write


@pytest.mark.parametrize("suffix", [".engine", ".json"])
def test_an_engine_and_its_manifest(written, suffix):
    found = inspect(written().with_suffix(suffix))
    assert found.manifest == manifest()
    assert [row.index for row in found.rows] == [0, 1, 2]
    assert [row.precision for row in found.rows] == ["fp32", "fp16", "fp32"]
    assert [row.traffic_bytes for row in found.rows] == list(BYTES)
    assert found.traffic_bytes == sum(BYTES) == found.manifest.traffic_bytes
    assert [one.name for one in found.bindings] == ["x", "y"]
    assert [one.state for one in found.sources] == ["same"]
    assert found.point is None
    assert found.faults == ()
    assert found.notes == ("Mind the gap.",)


@pytest.mark.parametrize("suffix", [".engine", ".json"])
def test_a_hash_that_does_not_match_is_a_fault(written, suffix):
    path = written()
    path.write_bytes(ENGINE + b"!")
    (fault,) = inspect(path.with_suffix(suffix)).faults
    assert "is not the engine that its manifest describes" in fault
    assert sha256(ENGINE)[:12] in fault
    assert sha256(ENGINE + b"!")[:12] in fault


def test_an_engine_that_was_renamed_with_its_manifest(written):
    path = written()
    renamed = path.rename(path.with_name("other.engine"))
    path.with_suffix(".json").rename(path.with_name("other.json"))
    assert inspect(renamed).faults == ()


@pytest.mark.parametrize("suffix", [".engine", ".json"])
def test_the_manifest_alone_is_enough(written, suffix):
    path = written()
    path.unlink()
    found = inspect(path.with_suffix(suffix))
    assert found.faults == ()
    assert found.notes[-1].startswith(f"The engine {path} is not here")
    assert len(found.rows) == 3


def test_what_it_was_built_from(written, tmp_path, monkeypatch):
    path = written(
        sources={
            "net.onnx": sha256(b"before it was changed"),
            "gone.onnx": sha256(SOURCE),
            "elsewhere/here.onnx": sha256(SOURCE),
            str(tmp_path / "net.onnx"): sha256(SOURCE),
        }
    )
    here = tmp_path / "work"
    (here / "elsewhere").mkdir(parents=True)
    (here / "elsewhere" / "here.onnx").write_bytes(SOURCE)
    monkeypatch.chdir(here)
    states = [one.state for one in inspect(path).sources]
    assert states == ["changed", "absent", "same", "same"]


@pytest.mark.parametrize(
    ("asked", "batch"),
    [
        ({}, 4),
        ({"point": "min"}, 1),
        ({"point": "max", "profile": 0}, 8),
        ({"profile": 1}, 40),
        ({"profile": 1, "point": "max"}, 80),
    ],
)
def test_the_bytes_at_a_point(written, asked, batch):
    found = inspect(written(points=POINTS), **asked)
    assert [row.traffic_bytes for row in found.rows] == [batch * one for one in BYTES]
    assert found.point.shapes == {"x": (batch, 3)}
    assert found.traffic_bytes == found.point.traffic_bytes


def test_points_that_are_not_of_these_kernels_are_told(written):
    torn = POINTS[1].model_copy(update={"kernel_bytes": (1, 2)})
    with pytest.raises(InputError, match="has 3 kernels, and bytes of 2"):
        inspect(written(points=(torn,)))


def test_sums():
    rows = inspecting._rows(manifest().layers, BYTES)
    found = sums(rows, lambda row: row.kernel.kind)
    assert [(one.name, one.kernels, one.traffic_bytes) for one in found] == [
        ("kgen", 2, 832), ("correlation", 1, 64),
    ]  # fmt: skip
    assert sum(one.traffic_bytes for one in found) == traffic_of(rows)


def layers(dimensions=(1, 3, 8, 8)):
    """As TensorRT 8.2 wrote them, of an A100."""
    described = {"Dimensions": list(dimensions), "Format/Datatype": "Row major linear FP16 format"}
    return {
        "Layers": [
            {
                "Name": "Conv_0 + Relu_1",
                "LayerType": "CaskConvolution",
                "Inputs": [{"Name": "x", **described}],
                "Outputs": [{"Name": "y", **described}],
                "Weights": {"Type": "Half", "Count": 9},
                "TacticName": "sm80_xmma_fprop",
            },
        ],
        "Bindings": ["x", "y"],
    }


def test_layer_information_of_trtexec(tmp_path):
    path = tmp_path / "layers.json"
    path.write_text(json.dumps(layers()))
    found = inspect(path)
    assert found.manifest is None
    assert found.faults == found.notes == found.sources == ()
    (row,) = found.rows
    assert row.kernel.nodes == ("Conv_0", "Relu_1")
    assert (row.precision, row.traffic_bytes) == ("fp16", 2 * (192 + 192 + 9))
    assert inspect(path, profile=0).rows == found.rows


def test_open_shapes_have_no_bytes(tmp_path):
    path = tmp_path / "layers.json"
    path.write_text(json.dumps(layers(dimensions=(-1, 3, 8, 8))))
    found = inspect(path)
    assert found.rows[0].traffic_bytes is None
    assert found.traffic_bytes is None
    assert "Shapes are open" in found.notes[0]
    assert sums(found.rows, lambda row: row.precision)[0].traffic_bytes is None


@pytest.mark.parametrize(
    ("name", "content", "asked", "said"),
    [
        ("no.engine", None, {}, "There is no file"),
        ("no.json", None, {}, "cannot be read: No such file"),
        ("folder", "/", {}, "is a folder"),
        ("a.onnx", b"", {}, "is an ONNX file"),
        ("a.json", b"{", {}, "no JSON"),
        ("a.json", b'{"artifact": "onnx"}', {}, "no layer information"),
        ("a.json", b'{"artifact": "engine"}', {}, "is no manifest of an engine"),
        ("a.log", b"hello", {}, "no layer information"),
        ("a.bin", b"\xff\xfe\x00", {}, "no layer information"),
        ("a.json", json.dumps(layers()).encode(), {"profile": 1}, "no optimisation profile 1"),
    ],
)
def test_what_is_no_engine_is_told(tmp_path, name, content, asked, said):
    path = tmp_path / name
    if content == "/":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=said):
        inspect(path, **asked)


@pytest.mark.parametrize("point", ["min", "opt", "max"])
def test_fixed_shapes_are_the_same_at_every_point(written, point):
    found = inspect(written(), point=point, profile=0)
    assert found == inspect(written())


@pytest.mark.parametrize(("points", "there"), [((), "0"), (POINTS, "0, 1")])
def test_a_profile_that_there_is_not(written, points, there):
    with pytest.raises(InputError, match="no optimisation profile 2") as caught:
        inspect(written(points=points), profile=2)
    assert caught.value.mend == f"It has {there}."


@pytest.mark.parametrize("beside", [None, b"{", b'{"artifact": "onnx"}'])
def test_an_engine_without_a_manifest_and_without_a_gpu(tmp_path, monkeypatch, beside):
    monkeypatch.setattr(inspecting, "local_gpu", lambda: None)
    path = tmp_path / "a.engine"
    path.write_bytes(ENGINE)
    if beside is not None:
        path.with_suffix(".json").write_bytes(beside)
    with pytest.raises(MissingError, match="no GPU is here") as caught:
        inspect(path)
    assert "trtexec --loadEngine=" in caught.value.mend


def test_a_library_that_does_not_take_an_engine_is_told(tmp_path, monkeypatch):
    gpu = Gpu(name="a GPU", compute_capability=(8, 6))
    monkeypatch.setattr(inspecting, "local_gpu", lambda: gpu)
    path = tmp_path / "a.engine"
    path.write_bytes(ENGINE)
    with pytest.raises(MissingError, match="it cannot be asked itself: TensorRT") as caught:
        inspect(path)
    assert "TensorRT-RTX" in caught.value.fact
