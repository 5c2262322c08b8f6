"""Open dimensions: against engines of the same file, built for that shape."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import onnx
import onnx_ir as ir
import pytest
from onnx import parser

from edgeattn.base.errors import InputError
from edgeattn.engine.dynamic import resolve
from edgeattn.engine.layer_json import read_json
from edgeattn.engine.layer_log import read_log
from export_tests.engine.test_layer_json import document, layer
from export_tests.engine.test_layer_log import built

HEAD = '<ir_version: 8, opset_import: ["": 17]>'


def numbers(count):
    return ", ".join(str((7 * i % 11 - 5) / 8) for i in range(count))


# Groups in the batch and back, as SA-Net has them.
SHUFFLED = """g (float[n,16,8,8] x) => (float[n,16,8,8] y)
<int64[5] a = {0, 4, 4, 8, 8}, int64[4] b = {-1, 4, 8, 8}, int64[4] c = {-1, 16, 8, 8},
 float[1,4,1,1] w = {0.5, -1.0, 2.0, 0.25}, float[16,16,3,3] k = {NUMBERS}> {
    s = Conv<pads=[1,1,1,1]>(x, k)
    g = Reshape(s, b)
    m = ReduceMean<axes=[2,3]>(g)
    v = Mul(m, w)
    h = Sigmoid(v)
    t = Mul(g, h)
    r = Reshape(t, c)
    y = Add(r, x)
}""".replace("NUMBERS", numbers(16 * 16 * 9))
# One product for two inputs, as CBAM has them.
SHARED = """g (float[n,16,8,8] x) => (float[n,16,8,8] y)
<float[16,4] u = {NUMBERS}, float[4,16] d = {NUMBERS},
 int64[2] f = {0, 16}, int64[4] e = {0, 16, 1, 1}> {
    p = ReduceMean<axes=[2,3]>(x)
    q = ReduceMax<axes=[2,3]>(x)
    pf = Reshape(p, f)
    qf = Reshape(q, f)
    pa = MatMul(pf, u)
    qa = MatMul(qf, u)
    pr = Relu(pa)
    qr = Relu(qa)
    pb = MatMul(pr, d)
    qb = MatMul(qr, d)
    s = Add(pb, qb)
    h = Sigmoid(s)
    z = Reshape(h, e)
    y = Mul(x, z)
}""".replace("NUMBERS", numbers(64))
# Two activations multiplied, as the non-local block has them: TensorRT writes one transposed.
PAIRED = """g (float[n,16,4,4] x) => (float[n,32,4,4] y)
<float[32,16,1,1] u = {NUMBERS}, float[32,16,1,1] d = {NUMBERS},
 int64[3] f = {0, 32, 16}, int64[4] e = {0, 32, 4, 4}> {
    p = Conv(x, u)
    q = Conv(x, d)
    pf = Reshape(p, f)
    qf = Reshape(q, f)
    pt = Transpose<perm=[0,2,1]>(pf)
    qt = Transpose<perm=[0,2,1]>(qf)
    a = MatMul(pt, qf)
    s = Softmax<axis=2>(a)
    m = MatMul(s, qt)
    t = Transpose<perm=[0,2,1]>(m)
    y = Reshape(t, e)
}""".replace("NUMBERS", numbers(512))
MAPS = """g (float[n,3,h,w] x) => (float[n,8,p,q] y)
<float[8,3,3,3] k = {NUMBERS}> {
    c = Conv<pads=[1,1,1,1], strides=[2,2]>(x, k)
    r = Relu(c)
    m = ReduceMean<axes=[2,3]>(r)
    s = Sigmoid(m)
    t = Mul(r, s)
    y = MaxPool<kernel_shape=[2,2], strides=[2,2]>(t)
}""".replace("NUMBERS", numbers(216))


def saved(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "open.onnx"
    onnx.save(parser.parse_model(f"{HEAD} {text}"), path)
    return path


def fixed(path: Path, shape) -> Path:
    model = onnx.load(path)
    for dim, size in zip(model.graph.input[0].type.tensor_type.shape.dim, shape, strict=True):
        dim.dim_value = size
    for dim in model.graph.output[0].type.tensor_type.shape.dim:
        dim.Clear()
    target = path.with_name("fixed.onnx")
    onnx.save(model, target)
    return target


def key(kernel):
    return re.sub(r"_myl\d+_\d+$", "", kernel.name), kernel.kind, frozenset(kernel.nodes)


def agreeing(opened, resolved, known) -> tuple[int, int]:
    """Counts the kernels that the fixed engine has as well, and those of one shape in both."""
    found = defaultdict(list)
    for kernel in known.kernels:
        found[key(kernel)].append(kernel)
    same = alike = 0
    for before, after in zip(opened.kernels, resolved.kernels, strict=True):
        if not found[key(before)]:
            continue
        other = found[key(before)].pop(0)
        if [len(t.shape) for t in before.tensors] == [len(t.shape) for t in other.tensors]:
            same += 1
            alike += [t.shape for t in after.tensors] == [t.shape for t in other.tensors]
    return same, alike


@pytest.mark.parametrize(
    ("text", "points"),
    [
        (SHUFFLED, [(1, 16, 8, 8), (4, 16, 8, 8), (8, 16, 8, 8)]),
        (SHARED, [(1, 16, 8, 8), (4, 16, 8, 8), (8, 16, 8, 8)]),
        (PAIRED, [(1, 16, 4, 4), (4, 16, 4, 4), (8, 16, 4, 4)]),
        (MAPS, [(1, 3, 16, 16), (2, 3, 32, 48), (4, 3, 64, 64)]),
    ],
    ids=["groups", "shared", "paired", "maps"],
)
def test_against_engines_for_fixed_shapes(tmp_path, text, points):
    path = saved(tmp_path, text)
    opened = read_log(built(path, [{"x": tuple(points)}]))
    assert opened.is_open
    for shape in points[1:]:
        resolved = resolve(opened, {"x": shape}, path)
        assert not resolved.is_open
        assert resolved.bindings[0].shape == shape
        assert -1 not in resolved.bindings[1].shape
        known = read_log(built(fixed(path, shape)))
        same, alike = agreeing(opened, resolved, known)
        assert same == alike
        assert same >= len(opened.kernels) // 2


def test_bytes_grow_with_the_batch(tmp_path):
    path = saved(tmp_path, SHUFFLED)
    opened = read_log(built(path, [{"x": ((1, 16, 8, 8), (4, 16, 8, 8), (8, 16, 8, 8))}]))
    model = ir.load(path)
    one, four, eight = (
        resolve(opened, {"x": (batch, 16, 8, 8)}, model).kernels for batch in (1, 4, 8)
    )
    for a, b, c in zip(one, four, eight, strict=True):
        sample = (c.traffic_bytes - a.traffic_bytes) // 7
        assert b.traffic_bytes - a.traffic_bytes == 3 * sample
        assert a.traffic_bytes - sample == a.weights_bytes


def open_layer(kind="CaskConvolution", shape=(-1, 4, 8, 8)):
    one = {"Dimensions": list(shape), "Format/Datatype": "Half"}
    return layer(
        LayerType=kind, Inputs=[{"Name": "x", **one}], Outputs=[{"Name": "y", **one}], Metadata=""
    )


def test_without_a_model_the_batch_is_taken_where_it_stays_first():
    information = read_json(document(open_layer()))
    assert resolve(information, {"x": (3, 4, 8, 8)}, None).traffic_bytes == 2 * 3 * 512
    with pytest.raises(InputError, match=r"tensor y, .* of kernel .* cannot be told"):
        resolve(read_json(document(open_layer("kgen"))), {"x": (3, 4, 8, 8)}, None)


def test_what_the_model_does_not_tell_is_an_error(tmp_path):
    path = saved(tmp_path, MAPS)
    opened = read_log(built(path, [{"x": ((1, 3, 16, 16), (2, 3, 32, 32), (4, 3, 64, 64))}]))
    lost = replace(opened, kernels=tuple(replace(k, nodes=()) for k in opened.kernels))
    with pytest.raises(InputError, match="cannot be told"):
        resolve(lost, {"x": (2, 3, 32, 32)}, path)


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ({}, "no shape is given"),
        ({"x": (3, 4, 8, 8), "z": (1,)}, "no input z"),
        ({"x": (3, 4, 8)}, "not \\[3, 4, 8\\]"),
        ({"x": (3, 5, 8, 8)}, "not \\[3, 5, 8, 8\\]"),
    ],
)
def test_shapes_that_do_not_fit(shapes, said):
    with pytest.raises(InputError, match=said):
        resolve(read_json(document(open_layer())), shapes, None)


def test_what_is_fixed_stays_as_it_is():
    information = read_json(document(open_layer(shape=(3, 4, 8, 8))))
    assert resolve(information, {"x": (3, 4, 8, 8)}, None) == information
    with pytest.raises(InputError, match="no optimisation profile 1"):
        resolve(information, {"x": (3, 4, 8, 8)}, None, profile=1)
