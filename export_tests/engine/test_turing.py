"""Float32 products for Turing: the same function, under the same names, in a form that builds."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from edgeattn.base.errors import InputError
from edgeattn.engine.build import build_engine
from edgeattn.engine.libraries import load
from edgeattn.engine.target import choose
from edgeattn.engine.turing import for_turing, rewrite
from edgeattn.graph.reading import name_nodes
from edgeattn.options.build import EngineOptions, Profile
from edgeattn.workflows.build import BuildOptions, build
from export_tests.engine.nets import FLOAT, HALF

TURING = (7, 5)


def model_of(nodes, inputs, weights=None, *, opset=17, dtype=FLOAT, outputs=("y",)):
    """Makes a model whose first node names may be of modules; output shapes are not said."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, dtype, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, dtype, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    domains = [helper.make_opsetid("", opset), helper.make_opsetid("my", 1)]
    proto = helper.make_model(graph, opset_imports=domains, ir_version=8)
    inferred = onnx.shape_inference.infer_shapes(proto)
    for value, found in zip(proto.graph.output, inferred.graph.output, strict=True):
        value.CopyFrom(found)
    model = ir.from_proto(proto)
    name_nodes(model)
    return model


def run(model, feeds):
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
    return session.run(None, feeds)[0]


def drawn(*shape, seed=0):
    generator = np.random.default_rng([seed, *shape])
    return generator.normal(0, 1, shape).astype(np.float32)


def ops(model):
    return [node.op_type for node in model.graph]


def check(model, feeds, expected):
    """Compares what is rewritten with float64, and gives it."""
    found = rewrite(model)
    assert found is not None
    assert not {"Gemm", "MatMul"} & set(ops(found.model))
    value = run(found.model, feeds)
    assert value.shape == np.shape(expected)
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-5)
    return found


GEMMS = [
    ({}, None),
    ({}, (5,)),
    ({"transB": 1}, (5,)),
    ({"transB": 1, "alpha": 0.5, "beta": -2.0}, (5,)),
    ({"transA": 1}, (1,)),
    ({"transA": 1, "transB": 1, "alpha": 3.0}, (3, 5)),
    ({"beta": 0.25}, (3, 1)),
    ({"beta": 2.0}, ()),
    ({"beta": 0.0}, (5,)),
]


@pytest.mark.parametrize("is_open", [False, True])
@pytest.mark.parametrize(("attributes", "bias"), GEMMS)
def test_gemm(attributes, bias, is_open):
    left, right = drawn(3, 4), drawn(4, 5)
    expected = attributes.get("alpha", 1.0) * left.astype(np.float64) @ right.astype(np.float64)
    weights = {"w": right.T if attributes.get("transB") else right}
    if bias is not None:
        weights["b"] = drawn(*bias, seed=1)
        expected = expected + attributes.get("beta", 1.0) * weights["b"].astype(np.float64)
    x = left.T if attributes.get("transA") else left
    shape = ["batch" if is_open and size == 3 else size for size in x.shape]
    node = helper.make_node("Gemm", ["x", *weights], ["y"], name="head.fc/Gemm", **attributes)
    check(model_of([node], {"x": shape}, weights), {"x": np.ascontiguousarray(x)}, expected)


def test_the_bias_of_a_classifier_is_the_convolutions():
    weights = {"w": drawn(5, 4), "b": drawn(5)}
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], name="head.fc/Gemm", transB=1)
    found = rewrite(model_of([node], {"x": ["batch", 4]}, weights))
    assert [op for op in ops(found.model) if op != "Reshape"] == ["Conv"]
    assert found.notes[0].endswith("built instead: products as convolutions (1).")


def test_a_bias_that_is_computed_is_added():
    weights = {"w": drawn(4, 5), "c": drawn(5)}
    nodes = [
        helper.make_node("Mul", ["c", "z"], ["b"], name="head.fc/Mul"),
        helper.make_node("Gemm", ["x", "w", "b"], ["y"], name="head.fc/Gemm"),
    ]
    feeds = {"x": drawn(3, 4), "z": drawn(5, seed=2)}
    expected = feeds["x"].astype(np.float64) @ weights["w"] + weights["c"] * feeds["z"]
    found = check(model_of(nodes, {"x": [3, 4], "z": [5]}, weights), feeds, expected)
    assert ops(found.model)[-1] == "Add"


@st.composite
def matmuls(draw):
    """Draws two shapes that a MatMul takes, which axes are open, and which operand is constant."""
    sizes = st.integers(1, 4)
    leading = draw(st.lists(sizes, max_size=2))
    rows, depth, columns = draw(sizes), draw(sizes), draw(sizes)
    left, right = [*leading, rows, depth], [*leading, depth, columns]
    shape = draw(st.sampled_from(["same", "left", "right", "tail", "ones", "row", "column"]))
    if shape == "left":
        left = left[-2:]
    elif shape == "right":
        right = right[-2:]
    elif shape == "tail":
        right = [draw(sizes), *right]
    elif shape == "ones":
        left[:-2] = [1] * len(leading)
    elif shape == "row":
        left = [depth]
    elif shape == "column":
        right = [depth]
    constant = draw(st.sampled_from(["a", "b", ""]))
    return tuple(left), tuple(right), constant, draw(st.integers(0, 2)), draw(st.booleans())


@given(matmuls())
def test_matmul(drawn_case):
    left, right, constant, opened, is_old = drawn_case
    values = {"a": drawn(*left), "b": drawn(*right, seed=1)}
    weights = {name: values[name] for name in values if name == constant}
    inputs = {}
    for name in ("a", "b"):
        if name != constant:
            shape = list(values[name].shape)
            # Open axes of one name are of one size, and no summed axis is open.
            for axis in range(min(opened, len(shape) - 2)):
                shape[axis] = f"d{len(shape) - axis}_{shape[axis]}"
            inputs[name] = shape
    node = helper.make_node("MatMul", ["a", "b"], ["y"], name="attention/MatMul")
    model = model_of([node], inputs, weights, opset=12 if is_old else 17)
    expected = np.matmul(*(array.astype(np.float64) for array in values.values()))
    check(model, {name: values[name] for name in inputs}, expected)


@pytest.mark.parametrize(
    ("left", "right", "form"),
    [
        (["batch", 6, 4], [4, 5], "Conv"),
        ([2, 3, 6, 4], [2, 3, 4, 5], "Conv"),
        ([6, 4], ["batch", 4, 5], "Conv"),
        ([3, 6, 4], ["batch", 3, 4, 5], "Conv"),
        (["batch", 6, 4], ["batch", 4, 5], "ReduceSum"),
        (["batch", "width", 4], [4, 5], "ReduceSum"),
        ([2, 1, 6, 4], [2, 3, 4, 5], "ReduceSum"),
        ([6, "depth"], ["depth", 5], "ReduceSum"),
    ],
)
def test_the_form_that_the_shapes_allow(left, right, form):
    node = helper.make_node("MatMul", ["a", "b"], ["y"], name="attention/MatMul")
    found = rewrite(model_of([node], {"a": left, "b": right}))
    (same,) = (node for node in found.model.graph if node.name == "attention/MatMul")
    assert same.op_type == form
    assert ("products as sums (1)" in found.notes[0]) == (form == "ReduceSum")
    others = {node.name for node in found.model.graph} - {"attention/MatMul"}
    assert others
    assert all(name.startswith("attention/") for name in others)
    assert found.with_made(frozenset({"attention/MatMul", "other"})) == others | {
        "attention/MatMul", "other"
    }  # fmt: skip


@pytest.mark.parametrize("batch", [1, 3, "batch"])
@pytest.mark.parametrize(
    "attributes",
    [
        {"pads": [4, 1, 0, 4, 1, 0]},
        {"pads": [1, 0, 0, 2, 3, 0], "dilations": [2, 2, 3], "strides": [2, 1, 1], "group": 2},
    ],
)
def test_a_flat_3d_convolution(batch, attributes):
    weights = {"w": drawn(4, 4 // attributes.get("group", 1), 5, 3, 1), "b": drawn(4)}
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], name="lambda/Conv", **attributes)
    model = model_of([node], {"x": [batch, 4, 10, 8, 6]}, weights)
    feeds = {"x": drawn(batch if isinstance(batch, int) else 2, 4, 10, 8, 6)}
    found = rewrite(model)
    (same,) = (node for node in found.model.graph if node.name == "lambda/Conv")
    assert len(same.inputs[0].producer().inputs[1].const_value.numpy()) == 4
    expected = run(model, feeds)
    np.testing.assert_allclose(run(found.model, feeds), expected, rtol=1e-5, atol=1e-5)
    assert found.notes[0].endswith("3D convolutions as 2D ones (1).")


def test_the_model_that_is_given_stays_as_it_is():
    weights = {"w": drawn(5, 4), "b": drawn(5)}
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["y"], name="fc/Gemm", transB=1)]
    model = model_of(nodes, {"x": ["batch", 4]}, weights)
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    found = rewrite(model)
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before
    assert [value.name for value in found.model.graph.outputs] == ["y"]
    assert "w" in found.model.graph.initializers


CUBES = {"a": [1, 2, 5, 5, 5], "b": [2, 2, 3, 3, 1]}
LEFT_ALONE = {
    "half": ("MatMul", {"a": [2, 3], "b": [3, 4]}, {"dtype": HALF}, {}),
    "einsum": ("Einsum", {"a": [2, 3], "b": [3, 4]}, {}, {"equation": "ij,jk->ik"}),
    "deep 3D": ("Conv", CUBES | {"b": [2, 2, 1, 1, 3]}, {}, {}),
    "padded 3D": ("Conv", CUBES, {}, {"pads": [0, 0, 1, 0, 0, 1]}),
    "same 3D": ("Conv", CUBES, {}, {"auto_pad": "SAME_UPPER"}),
    "strided 3D": ("Conv", CUBES, {}, {"strides": [1, 2, 1]}),
    "open 3D": ("Conv", CUBES | {"a": [1, 2, 5, 5, "d"]}, {}, {}),
    "2D": ("Conv", {"a": [1, 2, 5, 5], "b": [2, 2, 3, 3]}, {}, {}),
    "open Gemm": ("Gemm", {"a": ["m", "k"], "b": ["k", "n"]}, {}, {}),
}


@pytest.mark.parametrize("case", LEFT_ALONE)
def test_left_alone(case):
    op_type, inputs, options, attributes = LEFT_ALONE[case]
    node = helper.make_node(op_type, [*inputs], ["y"], name="m/Op", **attributes)
    assert rewrite(model_of([node], inputs, **options)) is None


def test_without_a_known_rank_it_stays():
    nodes = [
        helper.make_node("Strange", ["x"], ["s"], domain="my", name="m/Strange"),
        helper.make_node("MatMul", ["s", "s"], ["y"], name="m/MatMul"),
    ]
    assert rewrite(model_of(nodes, {"x": [2, 2]})) is None


@pytest.fixture
def library():
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx has wheels for x86-64 only")
    return load("tensorrt-rtx")


def attending(path, *, batch=1, dtype=FLOAT):
    """Writes attention over positions (two activations, twice), pooled to a classifier."""
    numbers = np.float32 if dtype == FLOAT else np.float16
    weights = {
        "w": drawn(8, 3, 3, 3).astype(numbers),
        "fc.weight": drawn(5, 8).astype(numbers),
        "fc.bias": drawn(5).astype(numbers),
        "rows": np.array([0, 8, -1]),
        "map": np.array([0, 8, 14, 14]),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="stem/Conv"),
        helper.make_node("Reshape", ["c", "rows"], ["k"], name="nl/Reshape"),
        helper.make_node("Transpose", ["k"], ["q"], name="nl/Transpose", perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "k"], ["s"], name="nl/MatMul"),
        helper.make_node("Softmax", ["s"], ["p"], name="nl/Softmax", axis=-1),
        helper.make_node("MatMul", ["k", "p"], ["v"], name="nl/MatMul_1"),
        helper.make_node("Reshape", ["v", "map"], ["m"], name="nl/Reshape_1"),
        helper.make_node("GlobalAveragePool", ["m"], ["g"], name="pool/GlobalAveragePool"),
        helper.make_node("Flatten", ["g"], ["f"], name="pool/Flatten"),
        helper.make_node("Gemm", ["f", "fc.weight", "fc.bias"], ["y"], name="fc/Gemm", transB=1),
    ]
    model = model_of(nodes, {"x": [batch, 3, 16, 16]}, weights, dtype=dtype)
    onnx.save(ir.to_proto(model), path)
    return path


def target(capability="7.5"):
    return choose(device=None, capability=capability, runtime="tensorrt-rtx", as_plan=False)


def test_only_where_the_library_lacks_them(tmp_path, library):
    model = ir.load(attending(tmp_path / "m.onnx"))
    turing = target()
    proper = dataclasses.replace(library, runtime="tensorrt")
    assert for_turing(model, turing) is not None
    assert for_turing(model, target("8.6")) is None
    assert for_turing(model, dataclasses.replace(turing, library=proper)) is None


def test_the_library_still_lacks_them(tmp_path, library):
    """Once this builds, the rewriting is to be bound to the versions that need it."""
    with pytest.raises(InputError, match="FP32 GEMM is not supported"):
        build_engine(attending(tmp_path / "m.onnx"), library, TURING)


def test_half_precision_builds_as_it_is(tmp_path, library):
    source = attending(tmp_path / "m.onnx", dtype=HALF)
    manifest = build(source, BuildOptions(target=target(), engine=EngineOptions()), tmp_path)
    assert manifest.precision.mismatches == ()
    assert not any("built instead" in note for note in manifest.notes)


def test_the_whole_build(tmp_path, library):
    source = attending(tmp_path / "m.onnx")
    before = source.read_bytes()
    manifest = build(source, BuildOptions(target=target(), engine=EngineOptions()), tmp_path)
    assert source.read_bytes() == before
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        "m.onnx", "m.sm75.engine", "m.sm75.json"
    ]  # fmt: skip
    (note,) = (note for note in manifest.notes if "built instead" in note)
    assert note.endswith("products as convolutions (3).")
    assert manifest.precision.mismatches == ()
    nodes = {node for kernel in manifest.layers.kernels for node in kernel.nodes}
    assert {"nl/MatMul", "nl/MatMul_1", "fc/Gemm"} <= nodes


def test_an_open_batch_has_its_bytes(tmp_path, library):
    """Bytes hang on the batch as they do in engines of that batch: each activation once more."""
    source = attending(tmp_path / "m.onnx", batch="batch")
    shapes = [{"x": (batch, 3, 16, 16)} for batch in (1, 4, 8)]
    profile = Profile(min=shapes[0], opt=shapes[1], max=shapes[2])
    options = BuildOptions(target=target(), engine=EngineOptions(profiles=(profile,)))
    manifest = build(source, options, tmp_path)
    one, four, eight = (point.traffic_bytes for point in manifest.points)
    assert (eight - one) * 3 == (four - one) * 7
    assert eight > 4 * one
    (note,) = (note for note in manifest.notes if "built instead" in note)
    assert note.endswith("products as convolutions (1), products as sums (2).")


def test_quantised_products_build(tmp_path, library):
    """TensorRT-RTX computes them in float32 on Turing; the audit then says so."""
    weights = {
        "scale": np.float32(0.05),
        "zero": np.int8(0),
        "w": np.random.default_rng(3).integers(-127, 128, (5, 8), dtype=np.int8),
        "scales": np.linspace(0.01, 0.02, 5, dtype=np.float32),
        "zeros": np.zeros(5, np.int8),
        "b": drawn(5),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], name="fc/Q"),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"], name="fc/DQ"),
        helper.make_node(
            "DequantizeLinear", ["w", "scales", "zeros"], ["wd"], name="fc/DQ_1", axis=0
        ),
        helper.make_node("Gemm", ["d", "wd", "b"], ["y"], name="fc/Gemm", transB=1),
    ]
    model = model_of(nodes, {"x": [3, 8]}, weights)
    feeds = {"x": drawn(3, 8)}
    found = rewrite(model)
    np.testing.assert_allclose(run(found.model, feeds), run(model, feeds), rtol=1e-5, atol=1e-5)
    onnx.save(ir.to_proto(model), tmp_path / "m.onnx")
    options = BuildOptions(target=target(), engine=EngineOptions())
    manifest = build(tmp_path / "m.onnx", options, tmp_path)
    assert manifest.precision.asked == "int8"
    assert any("fc/Gemm" in mismatch.nodes for mismatch in manifest.precision.mismatches)
