"""A model is checked for a device: what of it is taken, fits, holds in half, and runs on a DLA."""

from __future__ import annotations

import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeattn.base.errors import InputError
from edgeattn.devices.profile import find
from edgeattn.options.check import CheckOptions
from edgeattn.records.check import Checked
from edgeattn.workflows.check import check
from export_tests.engine.nets import small
from export_tests.profiling.nets import residual

ORIN = "jetson-agx-orin-64gb"
NANO = "jetson-nano"


def checked(path, device=ORIN, **options) -> Checked:
    return check(path, CheckOptions(device=device, **options))


def graph(path, nodes, *, inputs=None, outputs=(1, 8, 8, 8), weights=(), opset=17, dtype=None):
    """Writes a model of one output, `y`; its inputs by name, `x` alone by default."""
    kind = TensorProto.FLOAT if dtype is None else dtype
    shapes = inputs or {"x": (1, 8, 8, 8)}
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in shapes.items()],
        [helper.make_tensor_value_info("y", kind, outputs)],
        list(weights),
    )
    domains = {node.domain for node in nodes} | {""}
    imports = [helper.make_opsetid(one, opset if not one else 1) for one in sorted(domains)]
    onnx.save(helper.make_model(made, opset_imports=imports, ir_version=8), path)
    return path


def node(op_type, *inputs, to="y", name="", **attributes):
    return helper.make_node(op_type, inputs, [to], name=name or f"part/{op_type}", **attributes)


def constant(name, array):
    return numpy_helper.from_array(np.asarray(array, np.float32), name)


def about(found, *kinds):
    return [one for one in found.findings if one.about in kinds]


# ---- operators, types, opsets -------------------------------------------------------------------


def test_what_is_taken_runs(tmp_path):
    found = checked(residual(tmp_path / "net.onnx", "se"), jetpack="6.2")
    assert (found.verdict, found.findings) == ("yes", ())
    assert (found.jetpack, found.library, found.version) == ("6.2", "TensorRT", "10.3")
    assert (found.precision, found.opset) == ("fp16", 17)
    counts = {one.op: one.count for one in found.operators}
    assert counts == {"Add": 2, "Conv": 9, "Flatten": 1, "Gemm": 1, "GlobalAveragePool": 3,
                      "Mul": 2, "Relu": 7, "Sigmoid": 2}  # fmt: skip
    assert all(one.verdict == "yes" and one.source for one in found.operators)


@pytest.fixture
def sampled(tmp_path):
    return graph(
        tmp_path / "g.onnx",
        [node("GridSample", "x", "grid", name="layer1.0.stn/GridSample")],
        inputs={"x": (1, 8, 8, 8), "grid": (1, 8, 8, 2)},
    )


def test_what_no_version_there_has_is_refused_with_its_module(sampled):
    found = checked(sampled, NANO, jetpack="4.6")
    (one,) = about(found, "operator")
    assert (found.verdict, one.verdict, one.op) == ("no", "no", "GridSample")
    assert (one.nodes, one.module) == (("layer1.0.stn/GridSample",), "layer1.0.stn")
    assert one.source
    assert found.findings[0] == one  # the worst first
    assert checked(sampled, jetpack="6.2").verdict == "yes"


def test_a_version_that_is_named_is_asked(sampled):
    assert checked(sampled, "rtx-3090", tensorrt="8.2").verdict == "no"
    found = checked(sampled, "rtx-3090", tensorrt="10.3")
    assert (found.library, found.version, found.verdict) == ("TensorRT", "10.3", "yes")


def test_an_operator_of_ones_own_is_unknown(tmp_path):
    found = checked(small(tmp_path / "m.onnx", extra="Foo"), jetpack="6.2")
    (one,) = about(found, "operator")
    assert (found.verdict, one.op, one.module) == ("unknown", "my.Foo", "last")


def test_an_opset_above_what_is_documented_is_unknown_and_has_a_mend(tmp_path):
    found = checked(small(tmp_path / "m.onnx"), NANO)
    (one,) = about(found, "opset")
    assert (one.verdict, one.mend) == ("unknown", "--opset 13")


def test_nodes_of_branches_are_asked_too(tmp_path):
    body = helper.make_graph(
        [node("GridSample", "x", "grid", to="b", name="inner/GridSample")],
        "body",
        [],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, (1, 8, 8, 8))],
    )
    path = graph(
        tmp_path / "g.onnx",
        [
            node("ReduceMax", "x", to="m", name="top/ReduceMax", keepdims=0),
            helper.make_node("Cast", ["m"], ["c"], name="top/Cast", to=TensorProto.BOOL),
            node("If", "c", name="top/If", then_branch=body, else_branch=body),
        ],
        inputs={"x": (1, 8, 8, 8), "grid": (1, 8, 8, 2)},
    )  # fmt: skip
    found = checked(path, NANO, jetpack="4.6")
    assert "GridSample" in {one.op for one in about(found, "operator") if one.verdict == "no"}
    assert found.memory.activations_bytes


def test_functions_are_inlined_and_external_data_is_found(tmp_path):
    path = small(tmp_path / "m.onnx")
    model = onnx.load(path)
    function = helper.make_function(
        "my", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"], name="sum/Add")],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("my", 1))
    model.graph.node[-1].output[0] = "before"
    model.graph.node.append(helper.make_node("Twice", ["before"], ["y"], name="t", domain="my"))
    onnx.save(model, path, save_as_external_data=True, size_threshold=0, location="w.bin")
    found = checked(path, jetpack="6.2")
    assert found.verdict == "yes"
    assert "Add" in {one.op for one in found.operators}
    old = checked(path, "jetson-agx-xavier", jetpack="5.1")
    (one,) = about(old, "function")
    assert (old.verdict, one.verdict) == ("no", "no")
    assert "my.Twice" in one.fact


def test_a_model_without_nodes_runs(tmp_path):
    made = helper.make_graph(
        [], "g", *([helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 8, 8))],) * 2
    )
    path = tmp_path / "g.onnx"
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)]), path)
    found = checked(path, jetpack="6.2", dla=True)
    assert (found.verdict, found.operators, found.dla.dla) == ("yes", (), 0)


def test_open_sizes_want_a_profile_and_others_than_the_batch_a_shape(tmp_path):
    batch = checked(small(tmp_path / "b.onnx", batch="n"), jetpack="6.2")
    assert [one.verdict for one in about(batch, "shape")] == ["yes"]
    assert batch.memory.activations_bytes
    sizes = small(tmp_path / "s.onnx", batch="n", size="s")
    found = checked(sizes, jetpack="6.2")
    assert [one.verdict for one in about(found, "shape")] == ["unknown", "yes"]
    assert (found.verdict, found.memory.activations_bytes) == ("unknown", None)
    known = checked(sizes, jetpack="6.2", shapes=((2, 3, 16, 16),))
    assert (known.verdict, known.memory.activations_bytes) == (
        "yes",
        2 * batch.memory.activations_bytes,
    )


# ---- libraries that are here --------------------------------------------------------------------


def test_onnxruntime_is_asked_itself(tmp_path):
    taken = checked(residual(tmp_path / "net.onnx"), "raspberry-pi-5")
    assert (taken.library, taken.precision, taken.verdict) == ("ONNX Runtime", "fp32", "yes")
    assert all(one.source.startswith("measured: ONNX Runtime") for one in taken.operators)
    refused = checked(small(tmp_path / "m.onnx", extra="Foo"), "raspberry-pi-5")
    (one,) = refused.findings
    assert (one.verdict, one.op, one.module) == ("no", "my.Foo", "last")
    assert "[ONNXRuntimeError]" not in one.fact


def test_the_parser_of_tensorrt_rtx_is_asked_itself(tmp_path):
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx has wheels for x86-64 only")
    taken = checked(small(tmp_path / "m.onnx"), "rtx-4090", precision="fp32")
    assert (taken.library, taken.verdict) == ("TensorRT-RTX", "yes")
    assert all(one.source.startswith("measured: TensorRT-RTX") for one in taken.operators)
    path = small(tmp_path / "n.onnx", extra="Foo")
    model = onnx.load(path)
    for one in model.graph.node:
        one.name = ""  # its own names for these are others than ours
    onnx.save(model, path)
    refused = checked(path, "rtx-4090", precision="fp32")
    (one,) = about(refused, "operator")
    assert (one.verdict, one.op, one.nodes) == ("no", "my.Foo", ("node_of_y",))


# ---- memory and precision -----------------------------------------------------------------------


@pytest.mark.parametrize(("mib", "verdict"), [(1, "no"), (3, "unknown"), (8, "yes")])
def test_memory_that_is_not_there(tmp_path, monkeypatch, mib, verdict):
    # 1024·1024 weights in half are 2 MiB.
    path = graph(
        tmp_path / "g.onnx",
        [node("MatMul", "x", "w")],
        inputs={"x": (1, 1024)},
        outputs=(1, 1024),
        weights=[constant("w", np.zeros((1024, 1024)))],
    )
    device = find(ORIN).model_copy(update={"memory_gib": mib / 1024})
    monkeypatch.setattr("edgeattn.workflows.check.find", lambda _: device)
    found = checked(path, jetpack="6.2")
    assert found.memory.weights_bytes == 2 << 20
    assert found.memory.activations_bytes == 2 * 2 * 1024
    assert [one.verdict for one in about(found, "memory")] == (
        [] if verdict == "yes" else [verdict]
    )


def test_weights_count_in_the_precision_that_they_run_in(tmp_path):
    path = residual(tmp_path / "net.onnx")
    whole, half, byte = (
        checked(path, jetpack="6.2", precision=one).memory for one in ("fp32", "fp16", "int8")
    )
    assert whole.weights_bytes == 2 * half.weights_bytes
    assert whole.activations_bytes == 2 * half.activations_bytes
    assert half.weights_bytes / 2 < byte.weights_bytes < 0.6 * half.weights_bytes


def scaled(path, *factors):
    nodes = [node("Relu", "x", to="v0", name="stem/Relu")]
    for place, _ in enumerate(factors):
        at = f"gain.{place}/Mul"
        nodes.append(node("Mul", f"v{place}", f"f{place}", to=f"v{place + 1}", name=at))
    nodes.append(node("Tanh", f"v{len(factors)}", name="last/Tanh"))
    return graph(path, nodes, weights=[constant(f"f{p}", one) for p, one in enumerate(factors)])


def test_what_half_cannot_hold_is_found_by_module(tmp_path):
    found = checked(scaled(tmp_path / "g.onnx", 300.0, 300.0), jetpack="6.2")
    (over,) = [one for one in about(found, "precision") if one.verdict == "unknown"]
    assert (found.verdict, over.module, over.nodes) == ("unknown", "gain.1", ("gain.1/Mul",))
    assert over.source.startswith("measured in ONNX Runtime")
    assert checked(tmp_path / "g.onnx", jetpack="6.2", precision="fp32").verdict == "yes"


def test_what_comes_near_or_is_a_constant_is_said_and_no_failure(tmp_path):
    found = checked(scaled(tmp_path / "g.onnx", 3000.0, 1e-3, 1e-9, 1e6), jetpack="6.2")
    said = {one.module: one.verdict for one in about(found, "precision")}
    assert said == {"gain.0": "yes", "gain.3": "yes"}
    assert found.verdict == "yes"


def test_a_calibration_is_what_ranges_are_measured_on(tmp_path):
    path = scaled(tmp_path / "g.onnx", 300.0)
    np.save(tmp_path / "data.npy", np.full((2, 8, 8, 8), 1000.0, np.float32))
    found = checked(path, jetpack="6.2", calibration=str(tmp_path / "data.npy"))
    assert [one.module for one in about(found, "precision")] == ["gain.0"]
    with pytest.raises(InputError, match="no file"):
        checked(path, jetpack="6.2", calibration=str(tmp_path / "none.npy"))


def test_int8_where_there_is_none_and_where_the_file_has_no_scales(tmp_path):
    path = small(tmp_path / "m.onnx")
    nano = about(checked(path, NANO, precision="int8"), "precision")
    assert {one.verdict for one in nano} == {"yes"}
    assert any("no int8" in one.fact for one in nano)


def test_where_types_are_orders_a_float32_file_runs_in_that(tmp_path):
    path = small(tmp_path / "m.onnx")
    for device, asked in (("h100-sxm", {"tensorrt": "11.1"}), ("raspberry-pi-5", {})):
        for precision in ("fp16", "int8"):
            found = checked(path, device, precision=precision, **asked)
            (one,) = (each for each in about(found, "precision") if each.verdict == "no")
            assert (found.verdict, found.precision) == ("no", precision)
            assert f"--precision {precision}" in one.mend
        assert not about(checked(path, device, precision="fp32", **asked), "precision")
    found = checked(path, "h100-sxm", tensorrt="11.1")
    (one,) = about(found, "precision")
    assert (found.verdict, found.precision, one.verdict) == ("yes", "fp32", "yes")
    assert checked(path, "h100-sxm", tensorrt="10.3").precision == "fp16"
    options = CheckOptions(device="h100-sxm", tensorrt="11.1")
    later = check(path, options, is_cast_later=True)
    assert (later.precision, later.findings) == ("fp16", ())


def test_what_tensorrt_rtx_lacks_for_turing(tmp_path):
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx has wheels for x86-64 only")
    path = graph(
        tmp_path / "g.onnx",
        [
            node("MatMul", "x", "w", to="a", name="fc/MatMul"),
            node("Einsum", "a", "w", name="last/Einsum", equation="nchw,wv->nchv"),
        ],
        weights=[constant("w", np.eye(8))],
    )
    found = checked(path, "t4", precision="fp32")
    said = {one.module: one.verdict for one in about(found, "precision")}
    assert said == {"last": "no", "fc": "yes"}
    assert checked(path, "rtx-3090", precision="fp32").verdict == "yes"


def test_a_file_in_half_is_no_other(tmp_path):
    path = small(tmp_path / "m.onnx", dtype=TensorProto.FLOAT16)
    assert checked(path, jetpack="6.2").precision == "fp16"
    with pytest.raises(InputError, match="in fp16 already, and --precision says int8"):
        checked(path, jetpack="6.2", precision="int8")


def test_a_type_that_the_gpu_has_not(tmp_path):
    path = graph(tmp_path / "g.onnx", [node("Relu", "x")], dtype=TensorProto.BFLOAT16)
    found = checked(path, "t4", tensorrt="10.3")
    assert found.precision == "bf16"
    assert any("no bfloat16" in one.fact for one in about(found, "precision"))
    assert not about(checked(path, "l4", tensorrt="10.3"), "precision")


def test_without_onnxruntime_less_is_known_and_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    path = small(tmp_path / "m.onnx")
    found = checked(path, jetpack="6.2")
    assert found.verdict == "yes"
    assert "onnxruntime is not installed" in found.notes[-1]
    found = checked(path, "raspberry-pi-5")
    assert (found.verdict, found.version) == ("unknown", "")


# ---- DLA ----------------------------------------------------------------------------------------


def test_a_dla_is_asked_node_by_node(tmp_path):
    path = residual(tmp_path / "net.onnx", "se")
    found = checked(path, jetpack="6.2", dla=True)
    report = found.dla
    assert (report.generation, report.precision) == ("orin", "fp16")
    assert report.dla + report.gpu + report.unknown == 27
    attention = next(one for one in report.modules if one.module == "layer1.0.attention")
    assert (attention.site, attention.dla, attention.gpu) == ("layer1.0.attention", 1, 1)
    assert attention.reasons[0].startswith("GlobalAveragePool: ")
    assert [one.module for one in report.modules[:2]] == ["stem", "act"]
    off = about(found, "dla")
    assert found.verdict == "no"
    assert {"layer1.0.attention", "layer2.0.attention"} <= {one.site for one in off}
    assert report.copies_us[0] <= report.copies_us[1]


def test_with_fallback_nothing_fails(tmp_path):
    path = residual(tmp_path / "net.onnx", "se")
    found = checked(path, jetpack="6.2", dla=True, gpu_fallback=True)
    assert found.verdict == "yes"
    assert {one.verdict for one in about(found, "dla")} == {"yes"}
    assert found.dla == checked(path, jetpack="6.2", dla=True).dla


def test_an_orins_dla_is_built_for_int8(tmp_path):
    path = residual(tmp_path / "net.onnx")

    def told(device, jetpack, precision=None):
        found = checked(path, device, jetpack=jetpack, dla=True, precision=precision)
        return [one for one in found.findings if "built for int8" in one.fact]

    (one,) = told("jetson-orin-nx-16gb", "6.2")
    assert (one.verdict, one.about) == ("yes", "precision")
    assert not told("jetson-orin-nx-16gb", "6.2", "int8")
    assert not told("jetson-xavier-nx", "5.1")


def test_lowering_for_a_dla_is_no_way_out_twice(tmp_path):
    path = residual(tmp_path / "net.onnx", "se")
    first = {one.mend for one in about(checked(path, jetpack="6.2", dla=True), "dla")}
    model = onnx.load(path)
    model.metadata_props.add(key="edgeattn.target", value="dla")
    onnx.save(model, path)
    again = {one.mend for one in about(checked(path, jetpack="6.2", dla=True), "dla")}
    assert any("--target dla" in mend for mend in first)
    assert all(mend.startswith("It is lowered for a DLA already.") for mend in again)
    model.metadata_props.add(key="edgeattn.forms", value="dla")
    onnx.save(model, path)
    (note,) = checked(path, jetpack="6.2").notes[-1:]
    assert note.startswith("net.onnx was lowered for dla, and is for tensorrt now")


def test_a_version_that_reaches_no_dla(tmp_path):
    path = residual(tmp_path / "net.onnx", "none")
    found = checked(path, tensorrt="11.1", dla=True)
    assert (found.verdict, found.dla) == ("no", None)
    assert checked(path, dla=True, jetpack="7.2", gpu_fallback=True).verdict == "unknown"


def test_more_weights_than_a_loadable_gets(tmp_path, monkeypatch):
    path = residual(tmp_path / "net.onnx", "none")
    assert not about(checked(path, jetpack="6.2", dla=True), "memory")
    monkeypatch.setattr("edgeattn.workflows.check_dla._WEIGHTS_BYTES", 60_000)
    (one,) = about(checked(path, jetpack="6.2", dla=True), "memory")
    assert (one.verdict, one.mend) == (
        "unknown",
        "Give it more: trtexec --memPoolSize=dlaGlobalDRAM:1",
    )


@pytest.mark.parametrize(
    ("device", "options", "said"),
    [
        ("jetson-orin-nano-8gb", {"dla": True}, "has no DLA"),
        ("raspberry-pi-4", {"dla": True}, "has no DLA"),
        (ORIN, {"dla": True, "precision": "fp32"}, "fp16 and int8 only"),
        (ORIN, {"gpu_fallback": True}, "--gpu-fallback is for what a DLA cannot do"),
        (NANO, {"jetpack": "5.1"}, "no JetPack '5.1'"),
        ("raspberry-pi-4", {"tensorrt": "8.5"}, "no TensorRT"),
    ],
)
def test_what_a_device_has_not(tmp_path, device, options, said):
    with pytest.raises(InputError, match=said):
        checked(small(tmp_path / "m.onnx"), device, **options)


def test_a_file_that_is_no_model(tmp_path):
    (tmp_path / "m.onnx").write_text("no model")
    with pytest.raises(InputError, match="is no ONNX model"):
        checked(tmp_path / "m.onnx")
